"""A real broker for tests, and a peer that speaks to it frame by frame.

`BrokerProcess` is what the fixture `broker` gives. Nothing here sleeps: it reads the line that says "listening on", and
a peer waits for a message with a deadline.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq

from broker import keyring, log
from probe import message as m
from probe import wire
from probe.keys import Keys, load

DEADLINE_S = 10.0
RUN = "run-1"
M = TypeVar("M")


class BrokerProcess:
    """`python -m broker`, started when made. `run` None: it serves any run. `options` are further ones; over TCP
    every peer may join unless they say otherwise. `within` are words of a command that runs it."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        listen: str = "tcp://127.0.0.1:0",
        run: str | None = RUN,
        lease: bool = False,
        within: Sequence[str] = (),
    ) -> None:
        self._within = within
        self.folder = folder
        self.run = run
        self.lease_fd = -1
        self._options = options or ("--insecure",)
        self._start(listen, lease)

    def _start(self, listen: str, lease: bool) -> None:
        argv = [*self._within, sys.executable, "-m", "broker", "--listen", listen, "--folder", str(self.folder)]
        argv += [*self._options, *(["--run", self.run] if self.run else [])]
        pass_fds: Sequence[int] = ()
        if lease:
            end, self.lease_fd = os.pipe()
            argv += ["--lease-fd", str(end)]
            pass_fds = (end,)
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds)
        for fd in pass_fds:
            os.close(fd)
        assert self.process.stdout is not None
        self.endpoint = self.next_endpoint()

    def next_endpoint(self) -> str:
        """Where it listens: each endpoint has its line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise AssertionError("the broker did not start; see its standard error above")
        return line.removeprefix("listening on ").rstrip("\n")

    @property
    def resident_bytes(self) -> int:
        """Memory it has."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def log(self) -> Path:
        """The log, when one run is served."""
        return self.folder / "events.log"

    def end_lease(self) -> None:
        """As if the process that started it had died."""
        if self.lease_fd >= 0:
            os.close(self.lease_fd)
            self.lease_fd = -1

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.wait()

    def restart(self) -> None:
        """Start it again where it was, after `kill` or `stop`."""
        self._start(self.endpoint, False)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.end_lease()
            assert self.process.stdout is not None
            self.process.stdout.close()


class KeyedBroker:
    """A broker of any run with a keyring, on a free port of loopback."""

    def __init__(self, folder: Path, *options: str, within: Sequence[str] = (), runs: str = "runs") -> None:
        self.ring = folder / "keys"
        keyring.create(self.ring)
        self.runs = folder / runs
        self.broker = BrokerProcess(self.runs, "--keys", str(self.ring), *options, run=None, within=within)

    def key(self, name: str, *roles: str, units: Sequence[str] = ("*",), runs: str = "*") -> Keys:
        """A new key, as its owner has it; without roles one for units."""
        speaks = {"unit", "agent"} & {*roles} or not roles
        return load(keyring.add(self.ring, name, roles=roles or ["unit"], units=units if speaks else (), runs=[runs]))

    def peer(self, keys: Keys, run: str = RUN, unit: str = "api", role: str = "unit", **more: Any) -> "Peer":
        """One that has said HELLO."""
        peer = Peer(self.broker.endpoint, keys=keys)
        speaks = role in ("unit", "agent")
        peer.say(m.Hello(m.VERSION, role, run, unit if speaks else "", 1 if speaks else 0, **more))
        return peer

    def welcomed(self, keys: Keys, run: str = RUN, unit: str = "api", role: str = "unit", **more: Any) -> "Peer":
        """One that was welcomed."""
        peer = self.peer(keys, run, unit, role, **more)
        peer.hear(m.Welcome)
        return peer

    def refused(self, keys: Keys, run: str = RUN, unit: str = "api", role: str = "unit", **more: Any) -> str:
        """Why one is refused."""
        with self.peer(keys, run, unit, role, **more) as peer:
            return peer.hear(m.Refused).why

    def log(self, run: str = RUN) -> list[log.Entry]:
        """What stands in the log of a run."""
        return list(log.scan(self.runs / run / log.FILE_NAME))


class Peer:
    """A DEALER without any manners of its own."""

    def __init__(self, endpoint: str, *, keys: Keys | None = None, identity: bytes = b"") -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys is not None:
            keys.secure(self.socket)
        if identity:
            self.socket.routing_id = identity
        self.socket.connect(endpoint)

    @classmethod
    def unit(cls, endpoint: str, name: str = "api", incarnation: int = 1, run: str = RUN) -> "Peer":
        """One that has been welcomed as a unit."""
        peer = cls(endpoint)
        peer.say(m.Hello(m.VERSION, "unit", run, name, incarnation))
        peer.hear(m.Welcome)
        return peer

    def say(self, message: m.Message, *body: bytes) -> None:
        self.socket.send_multipart(wire.encode(message, *body))

    def say_frames(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def emit(self, first: int, *steps: str, watermark_ns: int = 0) -> None:
        """EVENTS with one record per step."""
        self.say(m.Events(first, len(steps), watermark_ns), records(first, *steps))

    def hear(self, kind: type[M]) -> M:
        """The next message, which has to be a `kind`."""
        return self.hear_with_body(kind)[0]

    def hear_with_body(self, kind: type[M]) -> tuple[M, bytes]:
        if not self.socket.poll(DEADLINE_S * 1000):
            raise AssertionError(f"no {kind.__name__.upper()} came")
        message, body = wire.decode(self.socket.recv_multipart())
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message}"
        return message, body

    def hears_nothing_before_pong(self) -> dict[str, int]:
        """Everything said so far was answered with nothing but a PONG; its counters."""
        return self.pong().counters

    def pong(self) -> m.Pong:
        """The answer to a PING, which comes when everything said before has been dealt with."""
        self.say(m.Ping(1))
        return self.hear(m.Pong)

    def incidents(self) -> dict[str, int]:
        """Who did what they may not, as the broker counts it."""
        return self.pong().incidents

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()


def records(first: int, *steps: str) -> bytes:
    """Packed records, numbered from `first`."""
    pack = wire.record_packer()
    return b"".join(pack([seq, seq * 1000, step, 0, f"k{seq}", None]) for seq, step in enumerate(steps, first))


def large_record(seq: int, size: int) -> bytes:
    """One record with so many bytes in it."""
    return records(seq, "x" * size)
