"""The runner's end of the bus: log entries in, in order; orders out.

Belongs here: one DEALER socket, the HELLO behind every (re)connection, the window of bytes the broker may send, and
sending as fast as the broker takes it (which orders is `outbox`'s business). Must not know what entries mean, nor who
is waiting for them.
"""

import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from broker import log
from broker.errors import LogError
from broker.log import Entry
from probe import clock, shortage, wire
from probe import message as m
from probe.clock import monotonic, monotonic_ns
from probe.errors import WireError
from probe.handshake import MONITORED, SUCCEEDED, Handshakes
from probe.keys import Keys
from probe.sender import reach_again
from runner.adapters.bus.broker_clock import BrokerClock
from runner.adapters.bus.outbox import Outbox
from runner.model.errors import BrokerFailed, BrokerFull, BrokerRefused

CREDIT_BYTES: Final = 8 * 1024 * 1024
"""How far the broker may send ahead; what a listener that is never asked holds at most."""
LINGER_MS: Final = 200
UNKNOWN: Final = -1
"""A byte of the log that the broker is still to name."""
ASK_NS: Final = 1_000_000_000
"""How often `ask` asks at most."""
SILENT_NS: Final = 1_000_000_000
"""A broker that was asked and says nothing for so long stands still, however busy it is."""
LOOK_NS: Final = 200_000_000
"""Who looks less often than that cannot say what was in between."""
TURN_BYTES: Final = 1024 * 1024
"""About so much of the log is handed out at a time, so that whoever digests it soon looks at something else."""
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
        the broker has to know of the run; it is told so on every connection.

        Raises BrokerFailed if nobody answers within `timeout_s`, and at once if the broker refuses or does not know
        our keys.
        """
        self.endpoint = endpoint
        self.offset = log.START
        """Byte of the log up to which entries were handed out."""
        self.log_end = log.START
        """Byte at which the log ended when the broker last said so."""
        self.pong: m.Pong | None = None
        """What the broker last said about itself and this run; see `ask`."""
        self.connection = 0
        """How often the broker has welcomed us."""
        self.heard_ns = monotonic_ns()
        """When the broker last said anything, on CLOCK_MONOTONIC."""
        self.host = ""
        """Boot id of the broker's host, whose clock is the run's."""
        self._lead = BrokerClock()
        self._copy = copy
        self._introduction = introduction
        self._hello = m.Hello(m.VERSION, role, run, sdk="circuit-run")
        self._limit = 0
        self._asked_ns = 0
        """The stamp of the last PING."""
        self._asking = False
        """Whether it is still to be answered."""
        self._incidents_before: Counter[str] = Counter()
        self._incidents_earlier: Counter[str] = Counter()
        """What is not of our time; see `disregard_incidents`."""
        self._duplicates_before = 0
        """What brokers had counted that have been restarted since."""
        self._stash: list[Entry] = []
        """Entries that came while we waited for something else."""
        self._outbox = Outbox()
        self._fetch_due = self._ping_due = False
        """Whether these are still to be said: the broker did not take them."""
        self._held_up = False
        """Whether the broker took less than there was to be said."""
        self._quiet_ns = 0
        """For how long it has given no sign of life, see `silent`."""
        self._looked_ns = 0
        """When that was looked at."""
        self.drained = False
        """Whether `receive` has left nothing that had come."""
        self._welcome = False
        """Whether the broker knows us on this connection."""
        self._behind: int | None = None
        """Up to where the log has to be read after a reconnection, before orders are sent; None: that is done."""
        shortage.ask_for_a_bus()
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = LINGER_MS
        self.socket.immediate = 1  # nothing is queued for a broker that is not there: HELLO comes first
        self.socket.reconnect_ivl, self.socket.reconnect_ivl_max = 10, 200
        self.socket.maxmsgsize = CREDIT_BYTES
        if keys is not None:
            keys.secure(self.socket)
        if endpoint.startswith("tcp:"):
            self.socket.ipv6 = "[" in endpoint
            reach_again(self.socket)
        self._handshakes = Handshakes(keys)
        self._monitor = self.socket.get_monitor_socket(MONITORED)
        self._poller = zmq.Poller()
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(timeout_s)
            for _ in range(MEASURED if self.host not in ("", clock.boot_id()) else 0):
                self.ping(timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        """Whether the broker has welcomed us on the present connection, as far as has been noticed."""
        return self._welcome

    @property
    def current(self) -> bool:
        """Whether everything has been read that was in the log when the present connection began. While it has not, a
        silence means nothing."""
        return self._welcome and self._behind is None

    @property
    def silent(self) -> bool:
        """Whether the broker is there and stands still: it was asked (see `ask`), and since then it has said nothing,
        and has taken nothing of what waits for it, as often as we looked."""
        return self._asking and self._quiet_ns > SILENT_NS and not int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN

    def now_ns(self) -> int:
        """This moment on the run's timeline, the broker's CLOCK_MONOTONIC."""
        return monotonic_ns() - self._lead.ns

    @property
    def silent_ns(self) -> int:
        """For how long the broker has not said anything."""
        return monotonic_ns() - self.heard_ns

    @property
    def behind(self) -> bool:
        """Whether the log has more than was read."""
        return self.offset < self.log_end

    @property
    def duplicates(self) -> int:
        """How many sequence numbers brokers left out because they came again, as far as they have told."""
        return self._duplicates_before + (self.pong.counters.get("duplicates", 0) if self.pong else 0)

    @property
    def incidents(self) -> Counter[str]:
        """What the broker has not let peers do, as far as it has told: "who: what" -> how often (docs/wire.md, PONG).
        A broker that was restarted counts anew; what it had told before is in here too."""
        told = self._incidents_before + Counter(self.pong.incidents if self.pong else {})
        return told - self._incidents_earlier

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
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self._watch_connection()
                self.drained = True
                break
            entries += self._take(frames)
            if entries and self.offset == self.log_end:
                self.drained = True
                break  # that was all, and asking once more would take as long as the message did
        self._note_quiet()
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
        return reads | (zmq.POLLOUT if self._held_up and self._welcome else 0)

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
        self._incidents_earlier += self.incidents

    def broker_died(self) -> None:
        """Say that the broker has died: the next one counts anew. Who watches another's broker need not know."""
        self._duplicates_before = self.duplicates
        self._incidents_before += Counter(self.pong.incidents if self.pong else {})
        self.pong = None

    def ask(self) -> None:
        """Ask what the broker has counted, without waiting: `pong` is the answer once `receive` has met it. Harmless
        when called often: the question goes out once a second, and not again before it is answered."""
        if not self._asking and monotonic_ns() - self._asked_ns >= ASK_NS:
            self._ping()

    def ping(self, timeout_s: float = 5.0) -> dict[str, int]:
        """What the broker has counted for this run (docs/wire.md, PONG). Raises BrokerFailed if it does not answer."""
        self._ping()
        self._until(lambda: not self._asking, timeout_s)
        assert self.pong is not None
        return self.pong.counters

    def close(self) -> None:
        """Leave. Harmless when repeated."""
        if not self._context.closed:
            self.socket.disable_monitor()
            self._monitor.close(0)
            self.socket.close()
            self._context.term()

    # --- connection ---

    def _connect(self, timeout_s: float) -> None:
        try:
            self.socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            raise BrokerFailed(
                f"{self.endpoint!r} is no address of a broker ({error.strerror}); expected tcp://HOST:PORT or ipc:///path"
            ) from None
        self._until(lambda: self._welcome, timeout_s)

    def _until(self, reached: Callable[[], bool], timeout_s: float) -> None:
        """Take what comes until `reached`; entries go to the stash."""
        deadline = monotonic() + timeout_s
        while not reached():
            left_ms = math.ceil((deadline - monotonic()) * 1000)
            if left_ms <= 0 or not self._poller.poll(left_ms):
                raise BrokerFailed(f"no broker answers at {self.endpoint} within {timeout_s:g} s; is it running?")
            self._stash = self.receive(len(self._stash) + 1)

    def _watch_connection(self) -> None:
        """Say HELLO on every new connection: a broker that was restarted does not know us."""
        while int(self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            event, value = struct.unpack("=Hi", self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            self._welcome = False
            if why := self._handshakes.judge(event, value):
                raise BrokerRefused(f"the broker at {self.endpoint} does not let us in: {why}")
            if event == SUCCEEDED:
                self._send(self._hello)

    def _ping(self) -> None:
        self._asked_ns, self._asking, self._ping_due, self._quiet_ns = monotonic_ns(), True, True, 0
        self._say_waiting()

    def _fetch(self) -> None:
        self._limit = self.offset + CREDIT_BYTES
        self._fetch_due = True
        self._say_waiting()

    def _say_waiting(self) -> None:
        """Whatever is to be said, as far as the broker takes it now. It need not take anything: one that stands still
        is noticed by its silence."""
        waited = len(self._outbox) if self._held_up else 0
        self._held_up = not (self._welcome and self._say_all())
        if len(self._outbox) < waited:
            self._quiet_ns = 0

    def _note_quiet(self) -> None:
        """The broker has been looked at. How long ago that was does not matter: it may be us who stood still."""
        now_ns = monotonic_ns()
        self._quiet_ns += min(now_ns - self._looked_ns, LOOK_NS)
        self._looked_ns = now_ns

    def _say_all(self) -> bool:
        if self._fetch_due:
            self._fetch_due = not self._send(m.Fetch(self.offset, CREDIT_BYTES))
        while self._behind is None and (given := self._outbox.next()):
            if not self._send(given.command, given.body, *([given.private] if given.private else [])):
                return False
            self._outbox.sent()
        if self._ping_due:  # its answer says that what was said before is written
            self._ping_due = not self._send(m.Ping(self._asked_ns))
        return not self._fetch_due and not self._ping_due

    def _send(self, message: m.Message, *body: bytes) -> bool:
        """Whether ZeroMQ took it; it has room for a thousand messages that the broker has not read."""
        for _ in range(2):
            try:
                self.socket.send_multipart(wire.encode(message, *body), zmq.NOBLOCK)
                return True
            except zmq.Again:
                self.socket.get(zmq.EVENTS)  # makes it notice a connection that has just come
        return False

    # --- what the broker says ---

    def _take(self, frames: list[bytes]) -> list[Entry]:
        self.heard_ns, self._quiet_ns = monotonic_ns(), 0
        try:
            message, body = wire.decode(frames)
        except WireError as error:
            raise BrokerFailed(f"{self.endpoint} does not speak our protocol: {error}") from None
        match message:
            case m.Records():
                return self._records(message, body)
            case m.Welcome():
                self._welcome = True
                self.connection += 1
                self.host = message.host
                for each in self._introduction:
                    self._send(each)
                self._behind = None if self._outbox.empty and self.offset == log.START else UNKNOWN
                self._fetch()
                if self._asking:  # the PING has met nobody
                    self._ping()
            case m.Pong():
                self._pong(message)
            case m.Refused(why, full):
                raise (BrokerFull if full else BrokerRefused)(f"the broker at {self.endpoint} refuses: {why}")
            case m.Error(_, stranger=True):
                self._welcome = False
                self._send(self._hello)
            case m.Error(why):
                raise BrokerFailed(f"the broker at {self.endpoint} did not understand: {why}")
        return []

    def _pong(self, pong: m.Pong) -> None:
        if self.pong is not None and sum(pong.incidents.values()) < sum(self.pong.incidents.values()):
            self._incidents_before += Counter(self.pong.incidents)
        self.pong = pong
        self._asking &= pong.sent_ns != self._asked_ns
        if self.host not in ("", clock.boot_id()):
            self._lead.add(pong.sent_ns, pong.received_ns, pong.answered_ns, self.heard_ns)

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
        if self._behind is not None:
            self._catch_up(records.end)
        return entries

    def _catch_up(self, end: int) -> None:
        """After a reconnection the log up to `end` shows which orders the broker before has taken: send the others."""
        self._behind = end if self._behind == UNKNOWN else self._behind
        if self._behind is not None and self.offset >= self._behind:
            self._behind = None
            self._outbox.lost()
            self._say_waiting()
