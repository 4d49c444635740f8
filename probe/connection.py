"""The connection of one peer to its broker: socket, keys, handshake, HELLO, and another attempt where that fails.

Units, recovery, agents and readers of a log all speak to their broker through `BrokerConnection`. Messages go in;
what comes out is what became of the connection (`watch`) and what the broker said (`receive`).

Belongs here: how a socket is set up, and when HELLO is said. Must not know what other messages mean, when anything is
sent, or who waits for it. pyzmq is imported when a connection is opened: a unit may have to do without it.
"""

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from probe import message as m
from probe import wire
from probe.clock import monotonic, monotonic_ns
from probe.handshake import MONITORED, SUCCEEDED, Handshakes
from probe.keys import Keys

if TYPE_CHECKING:
    import zmq

SDK: Final = "circuit-run-python"
RETRY_S: Final = 5.0
"""How often to try a broker again that keeps us out: it counts each attempt as one more that it refused."""
LINGER_MS: Final = 200
"""How long a closed socket may still send."""
UNANSWERED_MS: Final = 4000
"""How long sent data may stay unanswered by the other host's system until the connection is given up."""
CONNECT_MS: Final = 2000
"""How long a TCP connection may take to come about."""
_EVENT: Final = struct.Struct("=Hi")
"""What a monitor says: event, value."""


class SocketOptions(NamedTuple):
    """What differs between peers."""

    max_message_bytes: int = wire.MAX_FRAME_BYTES
    max_queued: int = 0
    """How many messages may wait for the broker; 0: the broker's credit bounds what is under way."""
    reconnect_ms: tuple[int, int] = (20, 1000)
    """The first pause before ZeroMQ connects again, and the longest."""


USUAL: Final = SocketOptions()


class Connected(NamedTuple):
    """A new connection is through its handshake, and HELLO has been said on it. Nothing else may be said before the
    broker's WELCOME; what was said on the connection before may be lost."""


class Disconnected(NamedTuple):
    """The connection is gone, or did not come about; ZeroMQ tries again by itself."""


class KeptOut(NamedTuple):
    """The broker does not let us in. ZeroMQ may not try again by itself; see `BrokerConnection.retry_later`."""

    why: str
    """In words that name the remedy; "the broker ..." before it makes a sentence."""


Change = Connected | Disconnected | KeptOut


class Received(NamedTuple):
    """One message of the broker."""

    message: m.Message
    body: bytes
    private: bytes
    """The frame behind the body, which no log shows; b"" if there was none."""
    at_ns: int
    """When it was read, on CLOCK_MONOTONIC."""


class BrokerConnection:
    """One peer's way to one broker, over as many connections as that takes. Not thread-safe; never blocks."""

    def __init__(self, endpoint: str, hello: Callable[[], m.Hello | None], options: SocketOptions = USUAL) -> None:
        """`hello` makes the HELLO of a connection that has come about; None: this peer has nothing more to say."""
        self.endpoint: Final = endpoint
        self.is_welcome = False
        """Whether the broker has answered HELLO on the present connection, as far as has been noticed."""
        self.retry_s = 0.0
        """When to try again to get in, on the monotonic clock; 0: we are not kept out."""
        self._hello = hello
        self._options = options
        self._handshakes = Handshakes(None)
        self._sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]] | None = None
        """The connection's own, and its monitor; None: it is not open."""

    def open(self, context: "zmq.Context[Any]", keys: Keys | None) -> None:
        """Connect, with these keys. After `close` it may be opened again. Raises zmq.ZMQError if the endpoint is
        none."""
        if self._handshakes.keys != keys:
            self._handshakes = Handshakes(keys)
        self.retry_s = 0.0
        socket = open_socket(context, keys, self._options)
        socket.ipv6 = "[" in self.endpoint
        self._sockets = socket, socket.get_monitor_socket(MONITORED)
        socket.connect(self.endpoint)  # not before the monitor listens

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Let go of the sockets; what is not sent has `linger_ms` left. Harmless when repeated."""
        if self._sockets is not None:
            socket, monitor = self._sockets
            self._sockets, self.is_welcome = None, False
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=linger_ms)

    @property
    def sockets(self) -> "tuple[zmq.Socket[bytes], ...]":
        """For a poller: when the first one is readable, `receive`; when the second is, `watch`. () unless open."""
        return self._sockets or ()

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The one that carries messages. Only while it is open."""
        assert self._sockets is not None, "the connection is not open"
        return self._sockets[0]

    def register(self, poller: "zmq.Poller") -> None:
        """Have `poller` listen to both sockets."""
        import zmq

        for socket in self.sockets:
            poller.register(socket, zmq.POLLIN)

    def unregister(self, poller: "zmq.Poller") -> None:
        """Have `poller` listen to them no more. Harmless when repeated."""
        for socket in self.sockets:
            if socket in poller:
                poller.unregister(socket)

    @property
    def has_keys(self) -> bool:
        """Whether we prove who we are."""
        return self._handshakes.keys is not None

    def watch(self) -> Iterator[Change]:
        """What became of the connection since the last call, in order."""
        import zmq

        while self._sockets is not None and int(self._sockets[1].get(zmq.EVENTS)) & zmq.POLLIN:
            event, value = _EVENT.unpack(self._sockets[1].recv_multipart(zmq.NOBLOCK)[0])
            self.is_welcome = False
            if why := self._handshakes.judge(event, value):
                yield KeptOut(why)
            elif event == SUCCEEDED:
                self._say_hello()
                yield Connected()
            else:
                yield Disconnected()

    def receive(self) -> Received | None:
        """What the broker said next; None: nothing for now. Raises WireError for what is no message of ours.

        An ERROR that says `stranger` has been answered by HELLO already: as after `Connected`, WELCOME comes first.
        """
        import zmq

        try:
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        at_ns = monotonic_ns()
        message, body = wire.decode(frames[:3])
        if isinstance(message, m.Welcome):
            self.is_welcome = True
        elif isinstance(message, m.Error) and message.stranger:
            self.is_welcome = False
            self._say_hello()
        return Received(message, body, frames[3] if len(frames) > 3 else b"", at_ns)

    def send(self, message: m.Message, *body: bytes | memoryview) -> bool:
        """Whether ZeroMQ took it. False: there is no connection, or no room for more (see `SocketOptions`)."""
        import zmq

        frames = wire.encode(message, *body)
        for _ in range(2):
            try:
                self.socket.send_multipart(frames, zmq.NOBLOCK)
                return True
            except zmq.Again:
                self.socket.get(zmq.EVENTS)  # makes it notice a connection that has just come about
        return False

    def retry_later(self) -> None:
        """Leave the broker alone for RETRY_S; then `retry_connect` connects again."""
        if self._sockets is not None and not self.retry_s:
            self.socket.disconnect(self.endpoint)  # else it would go on by itself, or hold on to what is dead
        self.is_welcome = False
        self.retry_s = monotonic() + RETRY_S

    def retry_connect(self) -> None:
        """Connect again, if it is time."""
        if self.retry_s and self._sockets is not None and monotonic() >= self.retry_s:
            self.retry_s = 0.0
            self.socket.connect(self.endpoint)

    def _say_hello(self) -> None:
        """If ZeroMQ does not take it, the connection is gone again, and the next one begins with HELLO, too."""
        if (hello := self._hello()) is not None:
            self.send(hello)


def open_socket(
    context: "zmq.Context[Any]", keys: Keys | None = None, options: SocketOptions = USUAL
) -> "zmq.Socket[bytes]":
    """A DEALER that is ready to connect to a broker."""
    import zmq

    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.linger = LINGER_MS
    socket.sndhwm = options.max_queued
    socket.immediate = 1  # nothing is queued for a broker that is not there: HELLO comes first on every connection
    socket.maxmsgsize = options.max_message_bytes
    socket.reconnect_ivl, socket.reconnect_ivl_max = options.reconnect_ms
    give_up_soon(socket)
    if keys is not None:
        keys.secure(socket)
    return socket


def keep_alive(socket: "zmq.Socket[Any]") -> None:
    """Have the system notice within half a minute that the host at the other end of a TCP connection is gone. The
    side that accepts connections is so patient; the side that makes them tries a new one earlier (`give_up_soon`).

    ZeroMQ's own heartbeats would be quicker and are off: in 4.3 their timer aborts the whole process (an assertion in
    stream_engine_base.cpp) when a peer resets a connection that was not being read.
    """
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 10, 5, 3
    socket.tcp_maxrt = 30_000


def give_up_soon(socket: "zmq.Socket[Any]") -> None:
    """Have the system give up a TCP connection whose link is down, and ZeroMQ try new ones, so that one is there soon
    after the link is. The old one would be silent for as long again as the link was down: TCP doubles its pauses.
    """
    keep_alive(socket)
    socket.tcp_maxrt = UNANSWERED_MS
    socket.connect_timeout = CONNECT_MS
