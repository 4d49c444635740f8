"""Links: the connection of one incarnation, from its journal to the broker and back.

Belongs here: what is said to the broker when, and what its answers mean. What of the journal is still to be said is
`backlog`'s business, when a link has its turn the sender's.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Protocol

from probe import handlers, handshake, keys, wire
from probe import message as m
from probe.backlog import Backlog, JournalPosition
from probe.clock import monotonic, monotonic_ns
from probe.clock_pings import CLOCK, ClockPings
from probe.errors import KeysError, WireError, warn
from probe.journal import Journal
from probe.native import Latch
from probe.sender import LINGER_MS, SDK, SenderThread, forget, open_socket

if TYPE_CHECKING:
    import zmq

RETRY_S: Final = 1.0
"""How often a journal that could not grow is tried again."""
KNOCK_S: Final = 5.0
"""How often a broker that does not let us in is tried again: each time it counts one more that it refused."""
FEW: Final = 64
"""So many events are not worth a message of their own while another one is under way."""
CALM_S: Final = 0.03
"""So long after the moment of a release its units do not ring: all of them go on now, and sending what they say would
hold up those that have not had the processor yet."""
HELLO_ASKS_BYTES: Final = 16 * 1024
"""So much of what the unit waits for stands in its HELLO, the oldest first; all of it is asked again anyway."""
TURN_MESSAGES: Final = 64
"""Messages of one unit that are handled before the next unit has its turn."""


class Speaker(Protocol):
    """What a link needs of its unit; `probe.units.Unit` is one."""

    @property
    def last_seq(self) -> int: ...

    on_order: Callable[[m.Order], None] | None
    on_pong: Callable[[m.Pong], None] | None
    units_key: str

    @property
    def waiting(self) -> Mapping[str, object]: ...

    refused: str
    lock: AbstractContextManager[object]

    def point(self, journal: Journal) -> JournalPosition | None: ...
    def doze(self, journal: Journal, next_seq: int) -> bool: ...
    def refuse(self, why: str) -> None: ...
    def answer(self, order: m.Release | m.Break) -> None: ...
    def ask_again(self) -> None: ...
    def expect_note(self) -> None: ...
    def take_notes(self) -> None: ...
    def state(self, step: str, /, key: object = None, **data: object) -> None: ...


class Link:
    """One incarnation's connection. All but what stands under "for any thread" is for the sender's thread."""

    def __init__(self, unit: Speaker, journal: Journal, broker: str, told_keys: str = "") -> None:
        """`told_keys` is the value of CIRCUIT_KEYS."""
        self._unit = unit
        self._journal = journal
        self._broker = broker
        self._told_keys = keys.anchored(told_keys)
        self._handshakes = handshake.Handshakes(None)
        self._knock_s = 0.0
        """When to try again to get in, on the monotonic clock; 0: we are not kept out."""
        self._complained = False
        """Whether it has been said since we were last in."""
        self._keyed = False
        """Whether we prove who we are."""
        self._tail = Backlog(journal.segments)
        self._sender: SenderThread | None = None
        self._alone = ""
        """Why there is no sender; "" while there is one."""
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._connected = False
        self._said_hello = False
        self._welcomed = False
        """Whether the broker has ever known us."""
        self._credit = 0
        """What the broker allows; 0 until its WELCOME."""
        self._sync = False
        self._calm_until_s = 0.0
        """When the calm ends that a release with a moment brings, on the monotonic clock; 0: there is none."""
        self._measuring = ClockPings(self._say_clock) if unit.on_pong is not None else None
        """None: nobody wants to know about our clock, and it costs nothing."""
        self._final_point: JournalPosition | None = None
        self._final_sent = False
        self._final_acked = False
        self._unwanted = False
        """The broker has refused it: nobody will ever want the journal."""
        self._deadline_s = 0.0
        self._settled = Latch()
        """Set when the broker has said whether it wants our clock, and has it; or will not say so soon."""
        self.done = Latch()

    # --- for any thread ---

    @staticmethod
    def forget_sender() -> None:
        """In a forked child: the sender of this process is the parent's."""
        forget()

    def enlist(self) -> None:
        """Give this link to the process's sender, which is started if there is none. Where there can be none, because
        the interpreter is ending or cannot load pyzmq, the journal is for the supervisor."""
        try:
            self._sender = SenderThread.of_process(self)
        except (ImportError, RuntimeError) as error:
            if handlers.raised(error):
                raise
            self._alone = f"{type(error).__name__}: {error}"
            warn(
                f"unit {self._journal.owner.unit!r} cannot send its events while it lives ({self._alone}); "
                f"they are {self._journal.fate}"
            )

    @property
    def cut_off(self) -> str:
        """Why no order can come; "" if one can."""
        if self._alone or self._sender is None or not self._sender.is_alive:
            return f"cannot speak to its broker ({self._alone or 'its sender has ended'})"
        return ""

    def wake(self) -> None:
        """Have the sender look at this link."""
        if self._sender is not None:
            self._sender.call(self)

    def say_last(self, timeout_s: float) -> None:
        """Record what is known about the clock; `seal` comes next. A unit that has just begun waits for it, which takes
        no longer than to send its events. The unit's lock is not held."""
        if self._sender is not None and self._sender.is_alive:
            self._settled.wait(timeout_s)
        if self._measuring is not None:
            self._measuring.last_report()

    def seal(self, point: JournalPosition, timeout_s: float) -> None:
        """There will be nothing after `point`. The unit's lock is held."""
        self._deadline_s = monotonic() + timeout_s
        self._final_point = point

    def wait_final(self, timeout_s: float) -> bool:
        """Wait until everything and FINAL have been said. True if the broker has it all."""
        if self._sender is not None and self._sender.is_alive and not self.done.is_open:
            self.wake()
            self.done.wait(timeout_s + 1.0)  # the sender keeps the deadline; this is for a thread that is gone
        else:
            self._journal.close()
        return self._final_acked

    # --- for the sender ---

    def open(self, context: "zmq.Context[Any]", poller: "zmq.Poller") -> None:
        """Connect; without effect while there are no keys to do it with."""
        if monotonic() < self._knock_s:
            return
        import zmq

        try:
            ours = keys.read(self._told_keys, self._broker)
        except KeysError as error:
            self._kept_out(str(error))
            return
        self._knock_s, self._keyed = 0.0, ours is not None
        self._handshakes = handshake.Handshakes(ours)
        self._socket = open_socket(context, ours)
        self._socket.ipv6 = "[" in self._broker
        self._monitor = self._socket.get_monitor_socket(handshake.MONITORED)
        self._socket.connect(self._broker)  # not before somebody watches
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def _kept_out(self, why: str) -> None:
        """The broker does not let us in. Whatever is emitted goes on into the journal, and we knock again later."""
        self._settled.open()
        self._knock_s = monotonic() + KNOCK_S
        if not self._complained:
            self._complained = True
            warn(
                f"unit {self._journal.owner.unit!r} does not get into the broker at {self._broker}: {why}. "
                f"Its events are {self._journal.fate}, and it goes on trying"
            )

    def _knock(self) -> None:
        """Try again to get in, if it is time; ZeroMQ itself has given up."""
        if self._knock_s and self._socket is not None and monotonic() >= self._knock_s:
            self._knock_s = 0.0
            self._socket.connect(self._broker)

    def fail(self, why: str) -> None:
        """It cannot go on. The journal stays for a supervisor."""
        unit, fate = self._journal.owner.unit, self._journal.fate
        warn(f"unit {unit!r} cannot send to {self._broker!r}: {why}; its events are {fate}")
        self._unit.refuse(f"cannot send to its broker: {why}")

    def leave(self, poller: "zmq.Poller") -> None:
        """Close the sockets, and delete the journal if nothing in it is needed any more."""
        for socket in self.sockets:
            if socket in poller:
                poller.unregister(socket)
        if self._socket is not None and self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close(linger=0 if self._final_acked else LINGER_MS)
        if self._final_acked or self._unwanted:
            self._journal.remove()
        elif self._final_point is not None:  # else the unit still has it
            self._journal.close()
        self._settled.open()
        self.done.open()

    @property
    def sockets(self) -> "tuple[zmq.Socket[bytes], ...]":
        """What the sender listens to for this link; () before `open`."""
        return (self._socket, self._monitor) if self._socket is not None and self._monitor is not None else ()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or no time left to do it in."""
        if self._final_acked or self._final_point is None:
            return self._final_acked
        return bool(self._unit.refused) or self._knock_s > 0 or monotonic() >= self._deadline_s

    @property
    def timer_s(self) -> float | None:
        """When something has to be done though nobody rings, on the monotonic clock."""
        if self._final_point is not None:
            return self._deadline_s
        due = [self._knock_s] if self._knock_s else []
        if self._journal.why_full:
            due = [monotonic() + RETRY_S]
        if self._calm_until_s:
            due.append(self._calm_until_s)
        if self._measuring is not None and not self._unit.refused:
            due.append(self._measuring.due_s)
        return min(due, default=None)

    def doze(self) -> bool:
        """Let the next event ring the alarm, if it could be sent at all. False: there is something to do already."""
        if not self._credit or self._tail.bytes_under_way >= self._credit or self._final_point is not None:
            return True
        if self._gathers or self._is_calm:
            return True
        return self._unit.doze(self._journal, self._tail.next_seq)

    @property
    def _is_calm(self) -> bool:
        """Whether the moment of a release is just over."""
        return 0 < self._calm_until_s <= monotonic() + CALM_S

    def turn(self, ready: set[Any]) -> bool:
        """Do what there is to do; `ready` has the sockets that have something. True if it sent events."""
        if self._monitor in ready:
            self._watch()
        if self._socket in ready:
            self._listen()
        self._knock()
        self._look()
        self._measure()
        spoke = self._speak()
        if not spoke:  # what was sent a moment ago may be gone from here in the next
            self._journal.check()
        self._prepare()
        return spoke

    def _look(self) -> None:
        """Take what the unit has noted in the calm, if that is over."""
        if self._calm_until_s and monotonic() >= self._calm_until_s:
            self._calm_until_s = 0.0
            self._unit.take_notes()

    def _watch(self) -> None:
        """Take what the monitor says: a connection is there, it is gone, or there will be none."""
        import zmq

        assert self._monitor is not None
        assert self._socket is not None
        while True:
            try:
                event, value = struct.unpack("=Hi", self._monitor.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            self._monitor.recv()  # the address
            self._connected = event == handshake.SUCCEEDED
            self._said_hello = False
            self._credit = 0
            if self._connected:
                self._complained = False
            why = self._handshakes.judge(event, value)
            if why and not self._unit.refused:
                self._kept_out(why)
                self._socket.disconnect(self._broker)  # else it would go on by itself, or hold on to what is dead

    def _listen(self) -> None:
        """Take what the broker says."""
        import zmq

        assert self._socket is not None
        for _ in range(TURN_MESSAGES):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            now_ns = monotonic_ns() if self._measuring is not None else 0
            try:
                message, body = wire.decode(frames[:3])
                self._heard(message, body, frames[3] if len(frames) > 3 else b"", now_ns)
            except WireError as error:
                warn(f"unit {self._journal.owner.unit!r} got something that is no message: {error}")

    def _heard(self, message: m.Message, body: bytes, private: bytes, now_ns: int) -> None:
        match message:
            case m.Welcome():
                begins = not self._credit  # else it only tells us to go back
                self._measure_from(message, begins=begins)
                self._credit = max(message.credit, 1)
                self._tail.rewind(message.next_seq)
                self._free()
                if begins and self._welcomed:  # an answer may have been lost with the connection before
                    self._unit.ask_again()
                self._welcomed = True
            case m.Ack(below):
                self._tail.ack(below)
                self._final_acked = self._final_sent
                self._free()
            case m.Pong() if self._measuring is not None:
                self._measuring.answered(message, now_ns)
                self._answer(self._unit.on_pong, message)
            case m.Command():
                self._obey(wire.with_private(wire.decode_order(body), private))
            case m.Refused(why):
                self._credit = 0
                self._settled.open()
                # with another key its events may be welcome; and what a supervisor finds is known to be lost
                self._unwanted = not self._keyed and not self._journal.supervised
                warn(f"the broker refuses unit {self._journal.owner.unit!r}: {why}; what it emits from now on is lost")
                self._unit.refuse(f"was refused by the broker: {why}")
            case m.Error(stranger=True):
                self._said_hello, self._credit = False, 0
            case m.Error(why):
                warn(f"the broker says to unit {self._journal.owner.unit!r}: {why}")

    def _obey(self, order: m.Order) -> None:
        if isinstance(order, m.Sync):
            self._sync = True
        if isinstance(order, m.Release) and order.at_ns:
            ahead_s = (order.at_ns - monotonic_ns()) / 1e9
            until_s = monotonic() + max(0.0, ahead_s) + CALM_S
            self._calm_until_s = min(until_s, self._calm_until_s or until_s)
            self._unit.expect_note()
        if isinstance(order, m.Release | m.Break):
            self._answer(self._unit.answer, order)
        else:
            self._answer(self._unit.on_order, order)

    def _answer(self, take: Callable[[Any], None] | None, said: m.Order | m.Pong) -> None:
        """Have the unit take what was said to it."""
        if take is not None:
            try:
                take(said)
            except Exception as error:
                warn(f"unit {self._journal.owner.unit!r} failed over {said}: {type(error).__name__}: {error}")

    def _measure_from(self, welcome: m.Welcome, *, begins: bool) -> None:
        if welcome.measure and self._measuring is None:
            self._measuring, begins = ClockPings(self._say_clock), True
        if self._measuring is None:
            self._settled.open()
        elif begins:
            self._measuring.begin()

    def _measure(self) -> None:
        if self._measuring is not None and self._final_point is None and not self._unit.refused:
            if not self._credit:
                self._measuring.pause()
            self._measuring.turn(self._send)

    def _say_clock(self, report: dict[str, object]) -> None:
        """Record it, unless the incarnation has ended meanwhile: that would begin the next one."""
        with self._unit.lock:
            if self._final_point is None and not self._unit.refused:
                self._unit.state(CLOCK, **report)
        self._settled.open()

    def _free(self) -> None:
        with self._unit.lock:
            gone = self._journal.free(self._tail.acked)
            self._tail.freed()
        for segment in gone:
            segment.remove()

    def _speak(self) -> bool:
        """Send what can be sent now. True if that was anything of the journal."""
        if not self._connected or self._unit.refused:
            return False
        if not self._said_hello:
            self._said_hello = self._send(self._hello())
            return False
        if not self._credit or not self._has_more or self._gathers:
            return False
        spoke = False
        point = self._point()
        while self._tail.bytes_under_way < self._credit:
            taken = self._tail.take(point)
            if taken is None:
                break
            message, body = taken
            with body:
                if not self._send(message, body):  # cannot be while the connection lives; a new one begins with WELCOME
                    self._credit = 0
                    return spoke
            spoke = True
        if self._tail.next_seq > point.seq:
            if self._sync:
                self._sync = not self._send(self._tail.watermark(point), b"")
            if self._final_point is not None and not self._final_sent and self._tail.all_acked:
                self._final_sent = self._send(m.Final(point.seq))
        return spoke

    @property
    def _has_more(self) -> bool:
        """Whether there may be anything to say; asked often, and for many links at once."""
        return self._unit.last_seq >= self._tail.next_seq or self._sync or self._final_point is not None

    @property
    def _gathers(self) -> bool:
        """Whether the few events that wait go together with those that come until what is under way is acknowledged. So
        a busy broker gets fewer and larger pieces, from a thousand units too, instead of a queue that grows."""
        few = self._unit.last_seq - self._tail.next_seq < FEW
        return few and self._tail.bytes_under_way > 0 and not self._sync and self._final_point is None

    def _prepare(self) -> None:
        """Keep a spare segment ready, so that the journal's growing costs the unit nothing."""
        if self._final_point is None and self._journal.wants_spare():
            spare = self._journal.make_spare()
            if spare is not None:
                with self._unit.lock:
                    self._journal.keep(spare)

    def _point(self) -> JournalPosition:
        point = self._unit.point(self._journal) or self._final_point
        assert point is not None, "a link is sealed before its unit lets go of it"
        return point

    def _hello(self) -> m.Hello:
        owner = self._journal.owner
        return m.Hello(
            version=m.VERSION,
            role="agent" if self._unit.on_order is not None else "unit",
            run=owner.run,
            unit=owner.unit,
            incarnation=owner.incarnation,
            host=owner.boot,
            pid=owner.pid,
            sdk=SDK,
            waiting=_first_of(self._unit.waiting),
            journal=self._journal.is_kept,
            units_key=self._unit.units_key,
        )

    def _send(self, message: m.Message, *body: bytes | memoryview) -> bool:
        import zmq

        assert self._socket is not None
        try:
            self._socket.send_multipart(wire.encode(message, *body), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


def _first_of(asks: Iterable[str]) -> tuple[str, ...]:
    """As many of them as fit into a HELLO."""
    known = tuple(asks)
    sizes = accumulate(len(ask.encode()) + 3 for ask in known)
    return tuple(ask for ask, size in zip(known, sizes, strict=True) if size <= HELLO_ASKS_BYTES)
