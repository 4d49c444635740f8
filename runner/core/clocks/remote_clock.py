"""Remote clocks: from what is reported about one, and what messages say, to its knots.

Belongs here: when a knot is made and from what. Must not know which unit has which clock.

A knot is at a multiple of `STEP_NS` of the clock's own time and is made as soon as a report says that everything before
it has been reported. So it depends on what happened at that host, not on when the report arrived; only where messages
make it tighter does it matter whether the other clock is known that far.

A reporter may lie, or have another clock. Where there are several reporters nothing is known before each of them has
reported, and the offset is anywhere in what any of them says: so it is true if one of them is right. Where two exclude
each other the clock is contested, and nothing is known about it any more. No reporter is waited for longer than
`PATIENCE_NS`: a silent one would hold back all events of the others' units.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from probe.clock import drift_ns
from runner.core.clocks.bounds import Bounds
from runner.core.clocks.clock_map import FOREVER, ClockMap
from runner.core.clocks.pair import ClockPair
from runner.core.clocks.reference_clock import ReferenceClock
from runner.core.clocks.reports import ClockReport
from runner.model.result.result import UNKNOWN

STEP_NS: Final = 250_000_000
"""How far apart knots are, while there are reports."""
NEAR_NS: Final = 1_000_000_000
"""A clock is known at a moment if it has a knot no longer than this before it."""
PATIENCE_NS: Final = 5_000_000_000
"""How far one reporter may be behind another one, by the clock's own time."""


class RemoteClock:
    """One clock that is not the timeline's. `expect` names the reporters to wait for."""

    def __init__(self) -> None:
        self.knots = ClockMap()
        self.pairs: dict[Clock, ClockPair] = {}
        """What messages say, by the other clock. Of two remote clocks one has the pair."""
        self.others: list[ClockPair] = []
        """The pairs that the other clock has."""
        self.rtt_ns: int | None = None
        """The shortest round trip seen."""
        self.jumps = 0
        self.epoch_ns = 0
        """When it jumped last, by its own time."""
        self.contested: tuple[str, str] | None = None
        """Two reporters that cannot both be right."""
        self._bounds: dict[str, Bounds] = {}
        """By reporter."""
        self._reported_ns: dict[str, int] = {}
        """Reporter that is there -> it has reported everything before this moment."""
        self._last_ns = 0
        """The same of those that have left."""
        self._reached_ns = 0
        self._jumped = False
        """Whether it has jumped since its newest knot."""
        self._closed = False

    @property
    def known_ns(self) -> int:
        """Stamps below this can be translated for good."""
        if self._closed:
            return FOREVER
        return self.knots.last_ns if len(self.knots) else 0

    @property
    def is_known(self) -> bool:
        """Whether anything is known about it."""
        return len(self.knots) > 0 and self.contested is None

    @property
    def newest_ns(self) -> int:
        """When the newest bound was measured, by its own time; 0: none has been."""
        return max((bounds.newest_ns for bounds in self._bounds.values()), default=0)

    def to_common(self, stamps: Sequence[int]) -> list[int]:
        """Its stamps on the timeline; fast if they are close together."""
        return self.knots.translate(stamps)

    def to_host(self, common_ns: int) -> int:
        """What it shows at a moment of the timeline; while nothing is known, that moment."""
        return self.knots.at_common(common_ns).host_ns if len(self.knots) else common_ns

    def worst_ns(self, first_ns: int, last_ns: int) -> int:
        """The largest error between two moments of the timeline; UNKNOWN: nothing is known."""
        return self.knots.worst_ns(first_ns, last_ns) if self.is_known else UNKNOWN

    def offset_at(self, common_ns: int, unsure_ns: int) -> tuple[int, int, int] | None:
        """Low, value and high of its offset at a moment of the timeline that is known to within `unsure_ns`; None: it
        is not known that far."""
        if not len(self.knots):
            return None
        view = self.knots.at_common(common_ns)
        if view.host_ns > self.knots.last_ns + NEAR_NS:
            return None
        return view.low_ns - unsure_ns, view.offset_ns, view.high_ns + unsure_ns

    # --- reports ------------------------------------------------------------------------------------------------------

    def expect(self, reporter: str) -> None:
        """This one is there and will report."""
        self._reported_ns.setdefault(reporter, 0)
        self._closed = False

    def report(self, reporter: str, report: ClockReport) -> bool:
        """Take what was reported. Returns whether there are new knots."""
        self.expect(reporter)
        bounds = self._bounds.setdefault(reporter, Bounds())
        for at_ns, bound in report.low:
            bounds.add_low(at_ns, bound)
        for at_ns, bound in report.high:
            bounds.add_high(at_ns, bound)
        if report.rtt_ns is not None:
            self.rtt_ns = min(report.rtt_ns, report.rtt_ns if self.rtt_ns is None else self.rtt_ns)
        self._reported_ns[reporter] = max(self._reported_ns[reporter], report.stamp_ns)
        return self._go_on()

    def leave(self, reporter: str) -> bool:
        """This one reports no more. Returns whether there are new knots."""
        self._last_ns = max(self._last_ns, self._reported_ns.pop(reporter, 0))
        return bool(self._reported_ns) and self._go_on()

    def _go_on(self) -> bool:
        reported_ns = self._reported_ns.values()
        full_ns = max(min(reported_ns), max(reported_ns) - PATIENCE_NS) // STEP_NS * STEP_NS
        moments = {at_ns for bounds in self._bounds.values() for at_ns in bounds.moments}
        places = {-(-at_ns // STEP_NS) * STEP_NS for at_ns in moments}
        before = len(self.knots), self.known_ns
        for place_ns in sorted(places | {full_ns}):
            if self._reached_ns < place_ns <= full_ns:
                self._knot(place_ns)
        return (len(self.knots), self.known_ns) != before

    def close(self) -> None:
        """There will be no more reports: what is known now has to do. If there are some nevertheless, it goes on."""
        last_ns = max(self._last_ns, *self._reported_ns.values(), 0)
        if last_ns > self._reached_ns and any(bounds.moments for bounds in self._bounds.values()):
            self._knot(last_ns)
        self._closed = True

    def _knot(self, at_ns: int) -> None:
        self._reached_ns = at_ns
        jumped = [bounds for bounds in self._bounds.values() if not bounds.advance(at_ns)]
        if jumped:
            self._jumped = True
            self.jumps += 1
            self.epoch_ns = at_ns
            for bounds in jumped:
                bounds.restart()
            for pair in (*self.pairs.values(), *self.others):
                pair.forget()
        said = [(*bounds.interval, name) for name, bounds in self._bounds.items() if bounds.interval is not None]
        if not said:
            return
        highest, lowest = max(said), min(said, key=lambda each: each[1])
        if highest[0] > lowest[1] and self.contested is None:
            self.contested = highest[2], lowest[2]
        low, high = min(said)[0], max(each[1] for each in said)
        wish_low, wish_high = low, high
        for other, pair in self.pairs.items():
            there = other.offset_at(at_ns - (low + high) // 2, drift_ns(high - low))
            if there is None:
                continue
            other_low, other_value, other_high = there
            between = pair.advance(at_ns, (low - other_high, high - other_low))
            if between is None:
                continue
            low, high = _tightened(low, high, other_low + between[0], other_high + between[1])
            wish_low, wish_high = _tightened(wish_low, wish_high, other_value + between[0], other_value + between[1])
        wish = min(max((wish_low + wish_high) // 2, low), high)
        self.knots.stand(at_ns, low, high, wish, jumped=self._jumped)
        self._jumped = False


Clock: TypeAlias = ReferenceClock | RemoteClock


def _tightened(low: int, high: int, other_low: int, other_high: int) -> tuple[int, int]:
    """The intersection; the first interval if there is none: then the messages are wrong about cause and effect."""
    both = max(low, other_low), min(high, other_high)
    return both if both[0] <= both[1] else (low, high)
