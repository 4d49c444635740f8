"""Connections: which there are, which are let in, and which are cut.

Over TCP with keys, ZeroMQ asks here whether a key is known (ZAP, RFC 27) before one of our frames is read. Its monitor
reports every connection that comes and goes. A peer that is not let in, or does not say who it is, is counted by name.

Belongs here: connections. Must not know what messages mean, nor what a run is. Everything is done in the relay's
thread; nothing here waits.
"""

import _socket  # `socket` itself takes ten milliseconds to load, and every run waits for its broker
import errno
import os
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import zmq

from broker.access import Grant
from broker.incidents import Incidents, place
from broker.issued import Issued
from broker.quotas import USUAL, Quotas, Share, Shares
from probe import process
from probe.clock import monotonic

HELLO_S: Final = 10.0
"""How long a connection may take to say HELLO."""
LEFT_S: Final = 1.0
"""How long a HELLO may lie unread after its sender has left; after that it has said none."""
READ_S: Final = 0.5
"""How long a peer that is dismissed has to read why."""
TURN_EVENTS: Final = 1000
"""Messages of the monitor, and of ZAP, that are handled in one turn."""
_ZAP: Final = "inproc://zeromq.zap.01"
_MONITOR: Final = "inproc://connections"
_EVENT: Final = struct.Struct("=Hi")
_UNKNOWN_KEY: Final = "refused, unknown key"
_REVOKED_KEY: Final = "refused, revoked key"
_WRONG_HANDSHAKE: Final = "refused, its keys are for another broker, or its traffic is a copy"
_NO_ROOM: Final = "cut off, the broker has no room for more connections (its limit of open files)"
_ONE_SIDED: Final = "refused, only one side has keys"
_NO_HELLO: Final = "left before it said HELLO"
_LATE_HELLO: Final = f"cut off, no HELLO within {HELLO_S:.0f} s"


class Greeting(Enum):
    """What is known of who is at the other end of a connection."""

    AWAITED = auto()
    """It has not said HELLO yet."""
    SAID = auto()
    """It has, and belongs to a peer."""
    MISSED = auto()
    """It is cut without one, and that is counted already."""


@dataclass(slots=True, eq=False)
class Connection:
    """One connection. `heard` counts the whole messages that came over it since it said HELLO."""

    fd: int
    """The broker's own file descriptor of it; -1: it has left."""
    place: str
    """See `incidents.place`."""
    since_s: float
    """When it came, and later when it left."""
    pid: int | None = None
    """The process at the other end; 0: one of this host that could not be found out any more, None: of elsewhere."""
    greeting: Greeting = Greeting.AWAITED
    identity: bytes = b""
    """The routing id under which it said HELLO; b"" unless it has."""
    heard: int = 0
    heard_before: int = 0
    """How many it had sent at the last check of `memory_guard`."""


class Connections:
    """What is known of connections. `sockets` are for a poller; when one is readable, `answer`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        grant: Callable[[str], Grant | None] | None,
        issued: Issued,
        room: int = sys.maxsize,
        quotas: Quotas = USUAL,
    ) -> None:
        """Watch `socket`, which is not bound yet. `grant` gives what the owner of a public key that lasts may do
        (None: there are no keys), `issued` has those of runs; `room` is how many connections there may be."""
        self.shares = Shares(quotas)
        """What each lasting key has of this broker."""
        self.incidents = Incidents()
        """What peers did that belong to no run."""
        self.issued = issued
        self._lasting = grant
        self.has_keys: Final = grant is not None
        """Whether peers may come that have proved to own one."""
        self._room = room
        self._present: dict[int, Connection] = {}
        self._left: list[Connection] = []
        self._dismissed: list[tuple[Connection, float]] = []
        """Those that are dismissed, and when they are cut."""
        self._let_in: Counter[str] = Counter()
        """Place -> how many came from there with a key that we know, and have not said HELLO yet."""
        self._failure: str | None = None
        """Why the handshake failed whose connection will be closed next; "": that was counted."""
        self._zap = context.socket(zmq.ROUTER)
        self._zap.bind(_ZAP)
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.rcvhwm = 0  # else the thread that carries all messages would wait for us
        socket.monitor(
            _MONITOR,
            zmq.EVENT_ACCEPTED
            | zmq.EVENT_DISCONNECTED
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        )
        self._monitor.connect(_MONITOR)
        self.sockets = (self._zap, self._monitor)

    def close(self) -> None:
        """Let go of the sockets; the watched one is closed after that."""
        for socket in self.sockets:
            socket.close(linger=0)

    def __len__(self) -> int:
        return len(self._present)

    @property
    def present(self) -> list[Connection]:
        """All connections that are there."""
        return list(self._present.values())

    def grant(self, public: str) -> Grant | None:
        """What the owner of this key may do; None for a key that is not known."""
        return (self._lasting and self._lasting(public)) or self.issued.grant(public)

    def share_of(self, grant: Grant | None) -> Share | None:
        """What the key behind `grant` has of this broker; None for who has none."""
        return self.shares.of(grant.holder, monotonic()) if grant is not None else None

    def share(self, frame: zmq.Frame) -> Share | None:
        """The same for the sender of `frame`."""
        public = public_key(frame)
        return self.share_of(self.grant(public)) if public else None

    # --- that come ---

    def answer(self) -> None:
        """Decide about keys, and take note of connections that came and went."""
        self._hear()
        for request in _messages(self._zap):
            sender, empty, version, number, _domain, address, _identity, _mechanism, *credentials = request
            public = _z85(credentials[0]) if credentials else ""
            grant = self.grant(public)
            if grant is not None and not grant.revoked:
                status, user = b"200", public.encode()
                self._let_in[address.decode()] += 1
            else:
                status, user = b"400", b""
                known = f"{grant.name} at {address.decode()}" if grant else address.decode()
                self.incidents.count(known, _REVOKED_KEY if grant else _UNKNOWN_KEY)
            self._zap.send_multipart([sender, empty, version, number, status, b"", user, b""])

    def greeted(self, frame: zmq.Frame, identity: bytes) -> Connection:
        """The connection over which a HELLO has come, as `frame` of a peer that is called `identity` from now on."""
        self._hear()  # that it has come was said before
        fd = int(frame.get(zmq.SRCFD))
        connection = self._present.get(fd)
        if connection is None:  # it spoke and left at once; `fd` may be another one's by now, or closed
            gone = [left for left in self._left if left.fd == fd and left.greeting is Greeting.AWAITED]
            connection = gone[0] if gone else Connection(-1, where(frame), monotonic())
        connection.greeting, connection.identity = Greeting.SAID, identity
        self._was_let_in(connection)
        return connection

    def dismiss(self, connection: Connection) -> None:
        """Cut it when it has had time to read why: what ZeroMQ has not sent yet goes with a connection that is cut."""
        self._dismissed.append((connection, monotonic() + READ_S))

    def hung_up(self) -> list[bytes]:
        """The routing ids of those that had said HELLO and have left since the last call."""
        gone = [connection.identity for connection in self._left if connection.greeting is Greeting.SAID]
        self._left = [connection for connection in self._left if connection.greeting is not Greeting.SAID]
        return gone

    # --- that go ---

    def tidy(self) -> None:
        """Cut those that have not said HELLO in time, and count those that left without. To be called now and then."""
        now = monotonic()
        for connection, at_s in self._dismissed:
            if at_s <= now:
                self.cut(connection)
        self._dismissed = [(connection, at_s) for connection, at_s in self._dismissed if at_s > now]
        for connection in self.present:
            if connection.greeting is Greeting.AWAITED and now - connection.since_s > HELLO_S:
                self.cut(connection)
                self.incidents.count(connection.place, _LATE_HELLO)
                connection.greeting = Greeting.MISSED
        waiting = []
        for connection in self._left:
            if connection.greeting is Greeting.AWAITED and now - connection.since_s > LEFT_S:
                if not self._came_to_its_end(connection):
                    self.incidents.count(connection.place, _NO_HELLO)
            else:
                waiting.append(connection)
        self._left = waiting

    def _came_to_its_end(self, connection: Connection) -> bool:
        """Whether it said no HELLO because its process has ended, as children do that are forked for one task: one of
        this host that is gone, or one of elsewhere that had shown a key that we know."""
        if connection.pid is None:
            return self._was_let_in(connection)
        return not connection.pid or not process.lives(connection.pid)

    def _was_let_in(self, connection: Connection) -> bool:
        """Whether a known key was shown from its place that no other HELLO has been counted for; now this one is."""
        if self._let_in[connection.place] > 1:
            self._let_in[connection.place] -= 1
            return True
        return self._let_in.pop(connection.place, 0) > 0

    def cut(self, connection: Connection) -> None:
        """End the connection: both sides then see that the other one hung up."""
        self._hear()
        if self._present.get(connection.fd) is connection:
            _hang_up(connection.fd)

    def _hear(self) -> None:
        too_many = []
        for data, endpoint in _messages(self._monitor):
            event, value = _EVENT.unpack(data)
            if event == zmq.EVENT_ACCEPTED:
                found, pid = _place(value)
                if pid is None and endpoint.startswith(b"ipc:"):  # it left at once
                    pid = 0
                connection = self._present[value] = Connection(value, found, monotonic(), pid)
                if len(self._present) > self._room:
                    too_many.append(connection)
            elif event == zmq.EVENT_DISCONNECTED:
                self._leave(value)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._failure = ""
            else:
                one_sided = value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
                self._failure = _ONE_SIDED if one_sided else _WRONG_HANDSHAKE
        for connection in too_many:
            self.incidents.count(connection.place, _NO_ROOM)
            if self._present.get(connection.fd) is connection:
                connection.greeting = Greeting.MISSED
                _hang_up(connection.fd)

    def _leave(self, fd: int) -> None:
        connection = self._present.pop(fd, None)
        failure, self._failure = self._failure, None
        if connection is None:
            return
        if failure is not None:
            if failure:
                self.incidents.count(connection.place, failure)
            return
        connection.since_s = monotonic()
        if connection.greeting is Greeting.MISSED:
            self._was_let_in(connection)
        else:
            self._left.append(connection)


def where(frame: zmq.Frame) -> str:
    """The place (see `incidents.place`) from which `frame` came."""
    try:
        return place(str(frame.get("Peer-Address")))
    except zmq.ZMQError:
        return place("")


def is_local(frame: zmq.Frame) -> bool:
    """Whether `frame` came over `ipc://`: from a process that may enter a folder of this user's."""
    return where(frame).startswith("pid ")


def public_key(frame: zmq.Frame) -> str | None:
    """The key that the sender of `frame` has proved to own; None: it came in without."""
    try:
        return str(frame.get("User-Id")) or None
    except zmq.ZMQError:
        return None


def _messages(socket: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    for _ in range(TURN_EVENTS):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def _z85(key: bytes) -> str:
    from zmq.utils import z85  # only who has keys needs it

    return z85.encode(key).decode()


@contextmanager
def _dup(fd: int) -> Iterator["_socket.socket | None"]:
    """The connection `fd`, which ZeroMQ may close at any time; None: it has."""
    ours = True
    try:
        try:
            connection = _socket.socket(fileno=os.dup(fd))
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            connection = _socket.socket(fileno=fd)  # just now it has to be possible to cut a connection
            ours = False
    except OSError:
        yield None
        return
    try:
        yield connection
    except OSError:  # it has hung up already
        pass
    finally:
        if ours:
            connection.close()
        else:
            connection.detach()


def _hang_up(fd: int) -> None:
    with _dup(fd) as end:
        if end is not None:
            end.shutdown(_socket.SHUT_RDWR)


def _place(fd: int) -> tuple[str, int | None]:
    """Where the other end of a connection that has just come is, and the process there if it is of this host."""
    with _dup(fd) as end:
        if end is not None and end.family == _socket.AF_UNIX:
            if (credentials := getattr(_socket, "SO_PEERCRED", None)) is None:  # only Linux has it
                return place(""), 0
            pid: int = struct.unpack("3i", end.getsockopt(_socket.SOL_SOCKET, credentials, 12))[0]
            return f"pid {pid}", pid
        if end is not None:
            return str(end.getpeername()[0]), None
    return "a peer that left at once", None
