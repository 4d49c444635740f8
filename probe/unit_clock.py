"""The clock of one incarnation: whether it is measured, and when it is known well enough.

Belongs here: what WELCOME and PONG mean for the clock. The rhythm of PINGs and reports is `clock_pings`' business, how
anything is sent or recorded the link's. Must not know sockets.
"""

from collections.abc import Callable

from probe import message as m
from probe.clock_pings import ClockPings
from probe.native import Latch


class UnitClock:
    """Measures as soon as the clock is wanted. All of it is for the sender's thread, but `report_last`."""

    def __init__(self, record: Callable[[dict[str, object]], None], *, is_wanted: bool) -> None:
        """`record` records a report as an event, unless the incarnation has ended. `is_wanted`: measure whatever the
        broker says."""
        self._record = record
        self._pings = ClockPings(self._report) if is_wanted else None
        """None: the clock is not measured, and costs nothing."""
        self._settled = Latch()
        """Open when the broker has said whether it wants our clock, and has it; or will not say so soon."""

    def welcomed(self, welcome: m.Welcome, *, on_new_connection: bool) -> None:
        """The broker says whether it wants our clock; it may do so later, too."""
        if welcome.measure and self._pings is None:
            self._pings, on_new_connection = ClockPings(self._report), True
        if self._pings is None:
            self._settled.open()
        elif on_new_connection:
            self._pings.begin()

    def answered(self, pong: m.Pong, at_ns: int) -> None:
        """The broker's answer came at `at_ns` of our clock."""
        if self._pings is not None:
            self._pings.answered(pong, at_ns)

    def turn(self, send: Callable[[m.Message], bool], *, has_broker: bool) -> None:
        """Do what is due."""
        if self._pings is not None:
            if not has_broker:
                self._pings.pause()
            self._pings.turn(send)

    @property
    def due_s(self) -> float | None:
        """When there is something to do, on the monotonic clock; None: never."""
        return self._pings.due_s if self._pings is not None else None

    def give_up(self) -> None:
        """The clock will not be known soon: nothing is to wait for it."""
        self._settled.open()

    def report_last(self, timeout_s: float) -> None:
        """From any thread: record what is known, for nothing will be recorded after this. A unit that has just begun
        waits until its clock is known (0: it does not), which takes no longer than to send its events."""
        if timeout_s > 0:
            self._settled.wait(timeout_s)
        if self._pings is not None:
            self._pings.last_report()

    def _report(self, report: dict[str, object]) -> None:
        self._record(report)
        self._settled.open()
