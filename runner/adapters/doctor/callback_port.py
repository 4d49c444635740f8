"""A port of this machine that is open for as long as a host tries to reach it.

Belongs here: listening, and seeing which host has connected. Must not know which hosts are asked to, nor what it means
when none does."""

import secrets
import socket
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from runner.model.errors import UsageError

TOKEN_BYTES: Final = 16
_WAIT_S: Final = 2.0
"""How long a token may take that was sent already."""
_ANYWHERE: Final = ("0.0.0.0", "::", "*")


class CallbackPort:
    """Listens on `host` and `port` (0: a free one) until the end of `with`. `fixed`: the user named the place, and all
    hosts are to come there, one after the other (`lock`)."""

    def __init__(self, host: str, port: int = 0, *, fixed: bool = True) -> None:
        """Raises OSError if it cannot listen there."""
        self.host: Final = host
        self.fixed: Final = fixed
        self.lock: Final = threading.Lock()
        """Held while one host is asked to connect."""
        family, kind, number, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.socket(family, kind, number)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen()
        except BaseException:
            self._socket.close()
            raise
        self.port: Final[int] = self._socket.getsockname()[1]

    @classmethod
    def at(cls, host: str, port: int) -> Self:
        """One that the user asked for. Raises UsageError if it cannot be."""
        try:
            return cls(host, port)
        except OSError as error:
            place = f"--listen tcp://{host}:{port}: {error.strerror or error}"
            raise UsageError(
                f"{place}; name an address of this machine and a port that is free. Where a broker listens already, "
                "look whether the host gets into it, with --join in place of --listen"
            ) from None

    @classmethod
    def on_first(cls, addresses: Iterable[str]) -> Self | None:
        """One on a free port of the first of `addresses` that is this machine's."""
        for address in addresses:
            try:
                return cls(address, fixed=False)
            except OSError:  # it is the address of something between us: a jump host, a translation of addresses
                continue
        return None

    def addresses(self, seen_at: Sequence[str]) -> tuple[str, ...]:
        """Where others may try to reach it: `seen_at` are addresses under which this machine seems to be known."""
        return tuple(seen_at) if self.host in _ANYWHERE else (self.host,)

    def came(self, token: str) -> bool:
        """Whether a host has connected and said `token`. To be called when the host says that it has."""
        self._socket.settimeout(_WAIT_S)
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return False
            with visitor:  # others may connect, too: a scanner, an earlier host that was given up
                visitor.settimeout(_WAIT_S)
                if _all_that_comes(visitor, len(token)) == token.encode("ascii"):
                    return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def new_token() -> str:
    """A word that no other program says by chance."""
    return secrets.token_hex(TOKEN_BYTES)


def towards(host: str, port: int) -> str:
    """The address of this machine from which packets to `host` leave; "" where there is none. Sends nothing."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as way:
            way.connect(address)
            return str(way.getsockname()[0])
    except OSError:
        return ""


def _all_that_comes(visitor: socket.socket, most: int) -> bytes:
    said = b""
    try:
        while len(said) < most and (more := visitor.recv(most - len(said))):
            said += more
    except OSError:
        pass
    return said
