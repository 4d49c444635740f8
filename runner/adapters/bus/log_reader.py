"""The runner's end of the bus: log entries in, in order; orders out.

Belongs here: the window of bytes that the broker may send, and sending as fast as the broker takes it. How a connection
comes about is `probe.connection`'s business, which orders are sent `outbox`'s, whether the broker stands still
`liveness`'. Must not know what entries mean, nor who waits for them.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from broker import log
from broker.errors import LogError
from broker.log import Entry
from probe import clock, shortage
from probe import message as m
from probe.clock import monotonic, monotonic_ns
from probe.connection import BrokerConnection, KeptOut, Received, SocketOptions
from probe.errors import WireError
from probe.keys import Keys
from runner.adapters.bus.broker_clock import BrokerClock
from runner.adapters.bus.broker_counters import BrokerCounters
from runner.adapters.bus.catch_up import CatchUp
from runner.adapters.bus.liveness import Liveness
from runner.adapters.bus.outbox import Outbox
from runner.model.errors import BrokerFailed, BrokerFull, BrokerRefused

CREDIT_BYTES: Final = 8 * 1024 * 1024
"""How far the broker may send ahead; a reader that is never asked holds at most so much."""
OPTIONS: Final = SocketOptions(max_message_bytes=CREDIT_BYTES, max_queued=1000, reconnect_ms=(10, 200))
ASK_NS: Final = 1_000_000_000
"""How often `ask` asks at most."""
TURN_BYTES: Final = 1024 * 1024
"""About so much of the log is handed out at a time, so that the caller has time for other things."""
TRY_EVERY: Final = 64
"""So often, of so many orders, a broker that has not taken the one before is tried again."""
MEASURED: Final = 8
"""How often a broker on another host is asked for its clock at the beginning."""


class LogReader:
    """A reader of one run's log, from its beginning, that survives restarts of the broker.

    `socket` is for a `zmq.Poller`; it is readable when there may be something to `receive`. Call `receive` a few times
    a second even if it is not: that is when a lost connection is taken up again. Not thread-safe.
    """

    def __init__(
        self,
        endpoint: str,
        run: str,
        role: str = "runner",
        *,
        keys: Keys | None = None,
        timeout_s: float = 10.0,
        copy: Callable[[bytes], None] | None = None,
        introduction: Sequence[m.Message] = (),
    ) -> None:
        """Connect and wait for the broker's WELCOME. `role` is "runner", or "watcher" for one that sends no orders.
        `copy` gets the log as it comes, in whole entries, where the broker keeps it elsewhere. `introduction` is what
        the broker has to know of the run; it is sent on every connection.

        Raises BrokerFailed if no broker answers within `timeout_s`, and at once if the broker refuses or does not know
        our keys.
        """
        self.endpoint = endpoint
        self.offset = log.START
        """Byte of the log up to which entries were handed out."""
        self.log_end = log.START
        """Byte at which the log ended when the broker last said so."""
        self.connection = 0
        """How often the broker has welcomed us."""
        self.host = ""
        """Boot id of the broker's host, whose clock is the run's."""
        self.drained = False
        """Whether `receive` has left nothing that had come."""
        self._clock = BrokerClock()
        self._counters = BrokerCounters()
        self._liveness = Liveness(monotonic_ns())
        self._catch_up = CatchUp()
        self._copy = copy
        self._introduction = introduction
        self._limit = 0
        """Byte up to which the broker may send."""
        self._stash: list[Entry] = []
        """Entries that came while we waited for something else."""
        self._outbox = Outbox()
        self._fetch_due = self._ping_due = False
        """Whether these are still to be said: the broker did not take them."""
        self._held_up = False
        """Whether the broker took less than there was to be said."""
        shortage.ask_for_a_bus()
        hello = m.Hello(m.VERSION, role, run, sdk="circuit-run")
        self._bus = BrokerConnection(endpoint, lambda: hello, OPTIONS)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        try:
            self._connect(keys, timeout_s)
            for _ in range(MEASURED if self._is_remote else 0):
                self.ping(timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """For a poller: readable when there may be something to `receive`."""
        return self._bus.socket

    @property
    def connected(self) -> bool:
        """Whether the broker has welcomed us on the present connection, as far as has been noticed."""
        return self._bus.is_welcome

    @property
    def current(self) -> bool:
        """Whether everything has been read that was in the log when the present connection began. While it has not, a
        silence means nothing."""
        return self._bus.is_welcome and self._catch_up.is_done

    @property
    def silent(self) -> bool:
        """Whether the broker is there and stands still: it was asked (see `ask`), and since then it has said nothing,
        and has taken nothing of what waits for it, as often as was checked."""
        return self._liveness.is_silent and not int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN

    def now_ns(self) -> int:
        """This moment on the run's timeline, the broker's CLOCK_MONOTONIC."""
        return monotonic_ns() - self._clock.ns

    @property
    def heard_ns(self) -> int:
        """When the broker last said anything, on CLOCK_MONOTONIC."""
        return self._liveness.heard_ns

    @property
    def silent_ns(self) -> int:
        """For how long the broker has not said anything."""
        return monotonic_ns() - self._liveness.heard_ns

    @property
    def behind(self) -> bool:
        """Whether the log has more than was read."""
        return self.offset < self.log_end

    @property
    def pong(self) -> m.Pong | None:
        """What the broker last said about itself and this run; see `ask`."""
        return self._counters.pong

    @property
    def duplicates(self) -> int:
        """How many sequence numbers brokers left out because they came again, as far as they have said."""
        return self._counters.duplicates

    @property
    def incidents(self) -> Counter[str]:
        """What the broker has not let peers do, as far as it has said: "who: what" -> how often (docs/wire.md, PONG).
        A broker that was restarted counts anew; what it had counted before is in here too."""
        return self._counters.incidents

    def receive(self, limit: int = 1000) -> list[Entry]:
        """The next entries, in order, without waiting. Whole frames are handed out, so there may be some more than
        `limit`, or than TURN_BYTES of them; nothing is kept back that the socket does not show.

        Raises BrokerFailed if the broker refuses us, or its log is no longer the one we have read.
        """
        entries, self._stash = self._stash, []
        before, self.drained = self.offset, False
        self._say_waiting()
        while len(entries) < limit and self.offset - before < TURN_BYTES:
            if self._outbox.full and self.current:  # orders go first: each entry may bring more of them
                self._watch_connection()
                break
            received = self._next()
            if received is None:
                self._watch_connection()
                self.drained = True
                break
            entries += self._take(received)
            if entries and self.offset == self.log_end:
                self.drained = True
                break  # that was all, and asking once more would take as long as the message did
        self._liveness.checked(monotonic_ns())
        return entries

    def wait(self, others: Sequence[int] = (), timeout_ms: int | None = None) -> bool:
        """Sleep until there may be something to receive, the broker takes orders again, or one of the file descriptors
        `others` is readable. Whether it was so within `timeout_ms` (None: no limit)."""
        if self._stash:
            return True
        for other in others:
            self._poller.register(other, zmq.POLLIN)
        self._poller.register(self.socket, self._awaited)
        try:
            return bool(self._poller.poll(timeout_ms))
        finally:
            for other in others:
                self._poller.unregister(other)

    @property
    def _awaited(self) -> int:
        """What the socket may have for us: something to read, unless orders go first, or room for what waits."""
        reads = 0 if self._outbox.full and self.current else zmq.POLLIN
        return reads | (zmq.POLLOUT if self._held_up and self.connected else 0)

    def command(self, order: m.Order, to: Sequence[str] = (), at_ns: int = 0) -> None:
        """Send `order` to the units (or supervisors) named in `to`; to all that are connected if there are none. It is
        logged as decided at `at_ns`, whatever becomes of the broker meanwhile: at least once, in the order given."""
        self._outbox.put(order, to, at_ns)
        if not self._held_up or len(self._outbox) % TRY_EVERY == 0:
            self._watch_connection()
            self._say_waiting()

    def disregard_incidents(self) -> None:
        """Leave out of `incidents` what the broker has counted until now: it serves others, too, and did so before us.
        Raises BrokerFailed if it does not answer."""
        self.ping()
        self._counters.disregard_incidents()

    def broker_died(self) -> None:
        """The broker has died: the next one counts anew. A reader of another's broker need not say so."""
        self._counters.begin_anew()

    def ask(self) -> None:
        """Ask what the broker has counted, without waiting: `pong` is the answer once `receive` has met it. Harmless
        when called often: the question goes out once a second, and not again before it is answered."""
        if not self._liveness.is_asked and monotonic_ns() - self._liveness.asked_ns >= ASK_NS:
            self._ping()

    def ping(self, timeout_s: float = 5.0) -> dict[str, int]:
        """What the broker has counted for this run (docs/wire.md, PONG). Raises BrokerFailed if it does not answer."""
        self._ping()
        self._until(lambda: not self._liveness.is_asked, timeout_s)
        assert self.pong is not None
        return self.pong.counters

    def close(self) -> None:
        """Leave. Harmless when repeated."""
        if not self._context.closed:
            self._bus.close()
            self._context.term()

    # --- connection ---

    def _connect(self, keys: Keys | None, timeout_s: float) -> None:
        try:
            self._bus.open(self._context, keys)
        except zmq.ZMQError as error:
            raise BrokerFailed(
                f"{self.endpoint!r} is no address of a broker ({error.strerror}); expected tcp://HOST:PORT or ipc:///path"
            ) from None
        self._bus.register(self._poller)
        self._until(lambda: self.connected, timeout_s)

    def _until(self, reached: Callable[[], bool], timeout_s: float) -> None:
        """Take what comes until `reached`; entries go to the stash."""
        deadline = monotonic() + timeout_s
        while not reached():
            left_ms = math.ceil((deadline - monotonic()) * 1000)
            if left_ms <= 0 or not self._poller.poll(left_ms):
                raise BrokerFailed(f"no broker answers at {self.endpoint} within {timeout_s:g} s; is it running?")
            self._stash = self.receive(len(self._stash) + 1)

    def _watch_connection(self) -> None:
        """A broker that was restarted does not know us: HELLO is said again, and its WELCOME comes first."""
        for change in self._bus.watch():
            if isinstance(change, KeptOut):
                raise BrokerRefused(f"the broker at {self.endpoint} does not let us in: {change.why}")

    # --- what is said to the broker ---

    def _ping(self) -> None:
        self._liveness.asked(monotonic_ns())
        self._ping_due = True
        self._say_waiting()

    def _fetch(self) -> None:
        self._limit = self.offset + CREDIT_BYTES
        self._fetch_due = True
        self._say_waiting()

    def _say_waiting(self) -> None:
        """Say all that is to be said, as far as the broker takes it now. It need not take anything: one that stands
        still is noticed by its silence."""
        waited = len(self._outbox) if self._held_up else 0
        self._held_up = not (self.connected and self._say_all())
        if len(self._outbox) < waited:
            self._liveness.moved()

    def _say_all(self) -> bool:
        if self._fetch_due:
            self._fetch_due = not self._bus.send(m.Fetch(self.offset, CREDIT_BYTES))
        while self._catch_up.is_done and (given := self._outbox.next()):
            if not self._bus.send(given.command, given.body, *([given.private] if given.private else [])):
                return False
            self._outbox.sent()
        if self._ping_due:  # its answer says that what was said before is written
            self._ping_due = not self._bus.send(m.Ping(self._liveness.asked_ns))
        return not self._fetch_due and not self._ping_due

    # --- what the broker says ---

    @property
    def _is_remote(self) -> bool:
        """Whether the broker has another clock."""
        return self.host not in ("", clock.boot_id())

    def _next(self) -> Received | None:
        try:
            return self._bus.receive()
        except WireError as error:
            raise BrokerFailed(f"{self.endpoint} does not speak our protocol: {error}") from None

    def _take(self, received: Received) -> list[Entry]:
        self._liveness.heard(received.at_ns)
        match received.message:
            case m.Records() as records:
                return self._records(records, received.body)
            case m.Welcome() as welcome:
                self._welcomed(welcome)
            case m.Pong() as pong:
                self._counters.take(pong)
                self._liveness.answered(pong.sent_ns)
                if self._is_remote:
                    self._clock.add(pong.sent_ns, pong.received_ns, pong.answered_ns, received.at_ns)
            case m.Refused(why, full):
                raise (BrokerFull if full else BrokerRefused)(f"the broker at {self.endpoint} refuses: {why}")
            case m.Error(why, stranger) if not stranger:
                raise BrokerFailed(f"the broker at {self.endpoint} did not understand: {why}")
        return []

    def _welcomed(self, welcome: m.Welcome) -> None:
        self.connection += 1
        self.host = welcome.host
        for each in self._introduction:
            self._bus.send(each)
        self._catch_up.begin(is_needed=not self._outbox.empty or self.offset != log.START)
        self._fetch()
        if self._liveness.is_asked:  # the PING may be lost with the connection before
            self._ping()

    def _records(self, records: m.Records, body: bytes) -> list[Entry]:
        self.log_end = records.end
        if records.end < self.offset:
            raise BrokerFailed(
                f"the log at {self.endpoint} ends at byte {records.end}, but {self.offset} bytes of it have been read; "
                "the broker was restarted with another folder, or its disk lost what it had kept"
            )
        known = self.offset - records.offset
        entries: list[Entry] = []
        if 0 <= known < len(body):  # else left over from before a reconnection; what is missing has been asked for
            try:
                entries = list(log.entries(body[known:] if known else body, self.offset))
            except LogError as error:
                raise BrokerFailed(f"{self.endpoint} sent what is not a log: {error}") from None
            self.offset = records.offset + len(body)
            if self._copy is not None:
                self._copy(body[known:] if known else body)
            self._outbox.shown(entries)
            if self._limit - self.offset < CREDIT_BYTES // 2:
                self._fetch()
        if self._catch_up.completed_by(self.offset, records.end):
            self._outbox.lost()
            self._say_waiting()
        return entries
