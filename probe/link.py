"""Links: the connection of one incarnation, from its journal to the broker and back.

Belongs here: what is said to the broker when, and what its answers mean. What of the journal is still to be said is
`backlog`'s business, how a connection comes about `connection`'s, the clock `unit_clock`'s, when a link has its turn
the sender's.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from probe import handlers, hello, keys, wire
from probe import message as m
from probe.backlog import Backlog, JournalPosition
from probe.clock import monotonic, monotonic_ns
from probe.clock_pings import CLOCK
from probe.connection import LINGER_MS, BrokerConnection, Connected, KeptOut, Received
from probe.errors import KeysError, WireError, warn
from probe.journal import Journal
from probe.native import Latch
from probe.quiet_period import QuietPeriod
from probe.sender import SenderThread, forget
from probe.unit_clock import UnitClock

if TYPE_CHECKING:
    import zmq

GROW_RETRY_S: Final = 1.0
"""How often a journal that could not grow is tried again."""
FEW: Final = 64
"""So many events are not worth a message of their own while another one is under way."""
TURN_MESSAGES: Final = 64
"""Messages of one unit that are handled before the next unit has its turn."""


class LinkedUnit(Protocol):
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

    def position(self, journal: Journal) -> JournalPosition | None: ...
    def arm_wakeup(self, journal: Journal, next_seq: int) -> bool: ...
    def refuse(self, why: str) -> None: ...
    def answer(self, order: m.Release | m.Break) -> None: ...
    def ask_again(self) -> None: ...
    def expect_flush(self) -> None: ...
    def flush_deferred(self) -> None: ...
    def state(self, step: str, /, key: object = None, **data: object) -> None: ...


@dataclass(slots=True)
class Ending:
    """The end of an incarnation: there is nothing behind `position`, and until `deadline_s` that can be sent."""

    position: JournalPosition
    deadline_s: float
    final_sent: bool = False


class Link:
    """One incarnation's connection. All but what stands under "for any thread" is for the sender's thread."""

    def __init__(self, unit: LinkedUnit, journal: Journal, broker: str, keys_variable: str = "") -> None:
        """`keys_variable` is the value of CIRCUIT_KEYS."""
        self._unit = unit
        self._journal = journal
        self._keys_variable = keys.anchored(keys_variable)
        self._connection = BrokerConnection(broker, self._hello)
        self._warned_kept_out = False
        """Whether it has been said since we were last in."""
        self._backlog = Backlog(journal.segments)
        self._sender: SenderThread | None = None
        self._no_sender = ""
        """Why there is no sender; "" while there is one."""
        self._was_welcomed = False
        """Whether the broker has ever known us."""
        self._credit = 0
        """What the broker allows on this connection; 0 until its WELCOME."""
        self._sync = False
        """Whether the runner wants a watermark."""
        self._quiet = QuietPeriod()
        self._clock = UnitClock(self._record_clock, is_wanted=unit.on_pong is not None)
        self._ending: Ending | None = None
        """None: the incarnation goes on."""
        self._all_delivered = False
        """Whether the broker has everything, FINAL included."""
        self._is_useless = False
        """The broker has refused the unit: the journal will never be wanted."""
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
            self._no_sender = f"{type(error).__name__}: {error}"
            warn(
                f"unit {self._journal.owner.unit!r} cannot send its events while it lives ({self._no_sender}); "
                f"they are {self._journal.fate}"
            )

    @property
    def cut_off(self) -> str:
        """Why no order can come; "" if one can."""
        if self._no_sender or not self._has_sender:
            return f"cannot speak to its broker ({self._no_sender or 'its sender has ended'})"
        return ""

    def wake(self) -> None:
        """Have the sender give this link a turn."""
        if self._sender is not None:
            self._sender.call(self)

    def say_last(self, timeout_s: float) -> None:
        """Record what is known about the clock; `seal` comes next. The unit's lock is not held."""
        self._clock.report_last(timeout_s if self._has_sender else 0.0)

    def seal(self, position: JournalPosition, timeout_s: float) -> None:
        """There will be nothing after `position`. The unit's lock is held."""
        self._ending = Ending(position, monotonic() + timeout_s)

    def wait_final(self, timeout_s: float) -> bool:
        """Wait until everything and FINAL have been said. True if the broker has it all."""
        if self._has_sender and not self.done.is_open:
            self.wake()
            self.done.wait(timeout_s + 1.0)  # the sender keeps the deadline; this is for a thread that is gone
        else:
            self._journal.close()
        return self._all_delivered

    @property
    def _has_sender(self) -> bool:
        return self._sender is not None and self._sender.is_alive

    # --- for the sender ---

    def open(self, context: "zmq.Context[Any]", poller: "zmq.Poller") -> None:
        """Connect; without effect while there are no keys to do it with."""
        if monotonic() < self._connection.retry_s:
            return
        try:
            ours = keys.read(self._keys_variable, self._connection.endpoint)
        except KeysError as error:
            self._retry_later(str(error))
            return
        self._connection.open(context, ours)
        self._connection.register(poller)

    def _retry_later(self, why: str) -> None:
        """The broker does not let us in. What is emitted goes on into the journal, and we try again later."""
        self._clock.give_up()
        self._connection.retry_later()
        if not self._warned_kept_out:
            self._warned_kept_out = True
            warn(
                f"unit {self._journal.owner.unit!r} does not get into the broker at {self._connection.endpoint}: "
                f"{why}. Its events are {self._journal.fate}, and it goes on trying"
            )

    def fail(self, why: str) -> None:
        """It cannot go on. The journal stays for a supervisor."""
        unit, fate, broker = self._journal.owner.unit, self._journal.fate, self._connection.endpoint
        warn(f"unit {unit!r} cannot send to {broker!r}: {why}; its events are {fate}")
        self._unit.refuse(f"cannot send to its broker: {why}")

    def leave(self, poller: "zmq.Poller") -> None:
        """Close the sockets, and delete the journal if nothing in it is needed any more."""
        self._connection.unregister(poller)
        self._connection.close(linger_ms=0 if self._all_delivered else LINGER_MS)
        if self._all_delivered or self._is_useless:
            self._journal.remove()
        elif self._ending is not None:  # else the unit still has it
            self._journal.close()
        self._clock.give_up()
        self.done.open()

    @property
    def sockets(self) -> "tuple[zmq.Socket[bytes], ...]":
        """What the sender listens to for this link; () before `open`."""
        return self._connection.sockets

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or no time left to do it in."""
        if self._all_delivered or self._ending is None:
            return self._all_delivered
        return bool(self._unit.refused) or self._connection.retry_s > 0 or monotonic() >= self._ending.deadline_s

    @property
    def timer_s(self) -> float | None:
        """When the link has something to do without a call, on the monotonic clock."""
        if self._ending is not None:
            return self._ending.deadline_s
        retry_s = monotonic() + GROW_RETRY_S if self._journal.why_full else self._connection.retry_s or None
        clock_s = self._clock.due_s if not self._unit.refused else None
        return min((due for due in (retry_s, self._quiet.until_s, clock_s) if due is not None), default=None)

    def arm_wakeup(self) -> bool:
        """Have the next event wake the sender, if it could be sent at all. False: there is something to do already."""
        if not self._credit or self._backlog.bytes_under_way >= self._credit or self._ending is not None:
            return True
        if self._gathers or self._quiet.is_on(monotonic()):
            return True
        return self._unit.arm_wakeup(self._journal, self._backlog.next_seq)

    def turn(self, ready: set[Any]) -> bool:
        """Do what there is to do; `ready` has the sockets that have something. True if it sent events."""
        socket, monitor = self._connection.sockets or (None, None)
        if monitor in ready:
            self._watch()
        if socket in ready:
            self._receive()
        self._connection.retry_connect()
        if self._quiet.ends(monotonic()):
            self._unit.flush_deferred()
        if self._ending is None and not self._unit.refused:
            self._clock.turn(self._connection.send, has_broker=self._credit > 0)
        sent = self._send_events()
        if not sent:  # what was sent a moment ago may be gone from here in the next
            self._journal.check()
        self._make_spare()
        return sent

    # --- what the broker says ---

    def _watch(self) -> None:
        for change in self._connection.watch():
            self._credit = 0
            if isinstance(change, Connected):
                self._warned_kept_out = False
                if self._ending is not None:
                    self._ending.final_sent = False  # it may be lost with the connection before
            elif isinstance(change, KeptOut) and not self._unit.refused:
                self._retry_later(change.why)

    def _receive(self) -> None:
        for _ in range(TURN_MESSAGES):
            try:
                received = self._connection.receive()
                if received is None:
                    return
                self._take(received)
            except WireError as error:
                warn(f"unit {self._journal.owner.unit!r} got something that is no message: {error}")

    def _take(self, received: Received) -> None:
        match received.message:
            case m.Welcome() as welcome:
                self._welcomed(welcome)
            case m.Ack(below):
                self._backlog.ack(below)
                self._all_delivered = self._ending is not None and self._ending.final_sent
                self._free()
            case m.Pong() as pong:
                self._clock.answered(pong, received.at_ns)
                self._hand_over(self._unit.on_pong, pong)
            case m.Command():
                self._obey(wire.with_private(wire.decode_order(received.body), received.private))
            case m.Refused(why):
                self._refused(why)
            case m.Error(stranger=True):
                self._credit = 0
            case m.Error(why):
                warn(f"the broker says to unit {self._journal.owner.unit!r}: {why}")

    def _welcomed(self, welcome: m.Welcome) -> None:
        on_new_connection = not self._credit  # else the broker only wants us to go back
        self._clock.welcomed(welcome, on_new_connection=on_new_connection)
        self._credit = max(welcome.credit, 1)
        self._backlog.rewind(welcome.next_seq)
        self._free()
        if on_new_connection and self._was_welcomed:  # an answer may have been lost with the connection before
            self._unit.ask_again()
        self._was_welcomed = True

    def _refused(self, why: str) -> None:
        self._credit = 0
        self._clock.give_up()
        # with another key its events may be welcome; and what a supervisor finds is known to be lost
        self._is_useless = not self._connection.has_keys and not self._journal.supervised
        warn(f"the broker refuses unit {self._journal.owner.unit!r}: {why}; what it emits from now on is lost")
        self._unit.refuse(f"was refused by the broker: {why}")

    def _obey(self, order: m.Order) -> None:
        if isinstance(order, m.Sync):
            self._sync = True
        if isinstance(order, m.Release) and order.at_ns:
            ahead_s = (order.at_ns - monotonic_ns()) / 1e9
            self._quiet.begin(monotonic() + max(0.0, ahead_s))
            self._unit.expect_flush()
        if isinstance(order, m.Release | m.Break):
            self._hand_over(self._unit.answer, order)
        else:
            self._hand_over(self._unit.on_order, order)

    def _hand_over(self, take: Callable[[Any], None] | None, message: m.Order | m.Pong) -> None:
        if take is not None:
            try:
                take(message)
            except Exception as error:
                warn(f"unit {self._journal.owner.unit!r} failed over {message}: {type(error).__name__}: {error}")

    def _record_clock(self, report: dict[str, object]) -> None:
        """Record it, unless the incarnation has ended meanwhile: that would begin the next one."""
        with self._unit.lock:
            if self._ending is None and not self._unit.refused:
                self._unit.state(CLOCK, **report)

    def _free(self) -> None:
        """Give back the segments of the journal that the broker has."""
        with self._unit.lock:
            gone = self._journal.free(self._backlog.acked)
            self._backlog.freed()
        for segment in gone:
            segment.remove()

    # --- what is said to the broker ---

    def _send_events(self) -> bool:
        """Send what can be sent now. True if that was anything of the journal."""
        if self._unit.refused or not self._credit or not self._has_more or self._gathers:
            return False
        sent = False
        position = self._position()
        while self._backlog.bytes_under_way < self._credit:
            taken = self._backlog.take(position)
            if taken is None:
                break
            message, body = taken
            with body:
                if not self._connection.send(message, body):  # the connection is gone; a new one begins with WELCOME
                    self._credit = 0
                    return sent
            sent = True
        if self._backlog.next_seq > position.seq:
            if self._sync:
                self._sync = not self._connection.send(self._backlog.watermark(position), b"")
            if self._ending is not None and not self._ending.final_sent and self._backlog.all_acked:
                self._ending.final_sent = self._connection.send(m.Final(position.seq))
        return sent

    @property
    def _has_more(self) -> bool:
        """Whether there may be anything to say; asked often, and for many links at once."""
        return self._unit.last_seq >= self._backlog.next_seq or self._sync or self._ending is not None

    @property
    def _gathers(self) -> bool:
        """Whether the few events that wait go together with those that come until what is under way is acknowledged. So
        a busy broker gets fewer and larger pieces, from a thousand units too, instead of a queue that grows."""
        few = self._unit.last_seq - self._backlog.next_seq < FEW
        return few and self._backlog.bytes_under_way > 0 and not self._sync and self._ending is None

    def _make_spare(self) -> None:
        """Keep a spare segment ready, so that the journal's growing costs the unit nothing."""
        if self._ending is None and self._journal.wants_spare():
            spare = self._journal.make_spare()
            if spare is not None:
                with self._unit.lock:
                    self._journal.keep(spare)

    def _position(self) -> JournalPosition:
        position = self._unit.position(self._journal) or (self._ending.position if self._ending else None)
        assert position is not None, "a link is sealed before its unit lets go of it"
        return position

    def _hello(self) -> m.Hello | None:
        unit, journal = self._unit, self._journal
        if unit.refused:
            return None
        return hello.of_unit(
            journal.owner,
            is_agent=unit.on_order is not None,
            waiting=unit.waiting,
            journal=journal.is_kept,
            units_key=unit.units_key,
        )
