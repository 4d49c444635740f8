"""The rhythm of clock measurement: when a unit asks the broker for its clock, and when it reports what came of it.

Belongs here: the rhythm of PINGs and reports. What they say about the clocks is `sampling`'s business, who has to
measure is `unit_clock`'s, how anything is sent the link's. Must not know sockets.

The rhythm goes by `monotonic`, stamps are `monotonic_ns`: a test may shift the one and not the other.
"""

from collections.abc import Callable
from typing import Final

from probe import message as m
from probe.clock import monotonic, monotonic_ns
from probe.native import allocate_lock
from probe.sampling import Sampler

CLOCK: Final = "clock"
"""Step of a report."""
PING_S: Final = 0.05
"""How often the broker is asked."""
REPORT_S: Final = 0.25
"""How often it is reported what came of it."""
BURST: Final = 5
"""Questions at the beginning of a connection, each as soon as the one before is answered: a unit that does not live
long is to have a clock too."""
MAX_UNANSWERED: Final = 40
"""A broker that stands still is not asked more questions than this."""


class ClockPings:
    """The clock of one incarnation, measured. All of it is for the sender's thread, but `last_report`."""

    def __init__(self, say: Callable[[dict[str, object]], None]) -> None:
        """`say` records a report as an event."""
        self._say = say
        self._sampler = Sampler()
        self._saying = allocate_lock()
        """Held from the making of a report until it is recorded, so that they are recorded in order."""
        self._ping_s = 0.0
        self._report_s = monotonic() + REPORT_S
        self._burst = 0
        """Answers that are still to be followed by a question at once."""
        self._unanswered = 0
        self._asks = False

    @property
    def due_s(self) -> float:
        """When there is something to do, on the monotonic clock."""
        return min(self._ping_s, self._report_s) if self._asks else self._report_s

    def begin(self) -> None:
        """The broker has welcomed us on a new connection."""
        self._asks, self._burst, self._unanswered = True, BURST, 0
        self._ping_s = monotonic()

    def pause(self) -> None:
        """There is no broker to ask."""
        self._asks = False

    def turn(self, send: Callable[[m.Message], bool]) -> None:
        """Do what is due."""
        now_s = monotonic()
        if self._asks and now_s >= self._ping_s:
            self._ping_s = now_s + PING_S
            if self._unanswered < MAX_UNANSWERED:
                self._unanswered += send(m.Ping(monotonic_ns()))
        if now_s >= self._report_s:
            with self._saying:
                self._report()

    def answered(self, pong: m.Pong, returned_ns: int) -> None:
        """The broker's answer came at `returned_ns` of our clock."""
        self._sampler.add(pong.sent_ns, pong.received_ns, pong.answered_ns, returned_ns)
        self._unanswered = max(0, self._unanswered - 1)
        if self._burst:
            self._burst -= 1
            if self._burst:
                self._ping_s = 0.0
            else:
                self._report_s = 0.0

    def last_report(self) -> None:
        """From any thread: report what is known, for nothing will be said after this. Never blocks: if a report is
        just being made, that one is the last."""
        if self._saying.acquire(blocking=False):
            try:
                self._report()
            finally:
                self._saying.release()

    def _report(self) -> None:
        self._report_s = monotonic() + REPORT_S
        self._say(self._sampler.report())
        self._sampler.reported(monotonic_ns())
