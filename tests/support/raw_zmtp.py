"""A hostile peer: ZeroMQ's own protocol (ZMTP 3.0, RFC 23) by hand, for what libzmq refuses to send."""

import socket
from types import TracebackType
from typing import Self

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4


def frame(body: bytes, flags: int = 0) -> bytes:
    """One frame; `flags` among MORE and COMMAND."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


def ready(identity: bytes = b"") -> bytes:
    """The handshake's second half: we are a DEALER called `identity`."""
    properties = b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
        for name, value in ((b"Socket-Type", b"DEALER"), (b"Identity", identity))
    )
    return frame(b"\x05READY" + properties, COMMAND)


class RawPeer:
    """A connection to `endpoint` on which anything can be sent. With `greeted`, as far as a DEALER that may speak."""

    def __init__(self, endpoint: str, *, greeted: bool = True) -> None:
        transport, _, address = endpoint.partition("://")
        if transport == "ipc":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(10.0)
        if greeted:
            self.send(GREETING + ready())
            heard = b""
            while b"READY" not in heard:  # what comes before that would be taken for part of the handshake
                heard += self.socket.recv(65536)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def cut_off(self) -> bool:
        """Wait until the other side hangs up; whatever it says until then is of no interest."""
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:  # reset
            return True
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()
