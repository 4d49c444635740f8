"""Foreign clocks: from what is reported about one, and what messages say, to its knots.

Belongs here: when a knot is made and from what. Must not know which unit lives by which clock.

A knot stands at a multiple of `STEP_NS` of the clock's own time and is made as soon as a report says that everything
before it has been told. So it depends on what happened at that host, not on when it was heard of; only where messages
make it tighter does it matter whether the other clock is known that far.
"""

from typing import Final

from probe.clock import drift_ns
from runner.clocks.bounds import Bounds
from runner.clocks.knots import FOREVER, Knots
from runner.clocks.pair import Pair
from runner.clocks.reports import Report

STEP_NS: Final = 250_000_000
"""How far apart knots are, while there are reports."""
NEAR_NS: Final = 1_000_000_000
"""A clock is known at a moment if it has a knot no longer than this before it."""


class Foreign:
    """One clock that is not the timeline's."""

    def __init__(self) -> None:
        self.knots = Knots()
        self.pairs: dict[Foreign | None, Pair] = {}
        """What messages say, by the other clock; None is the timeline's own. Of two foreign clocks one has the pair."""
        self.others: list[Pair] = []
        """The pairs that the other clock has."""
        self.rtt_ns: int | None = None
        """The shortest round trip seen."""
        self.jumps = 0
        self.epoch_ns = 0
        """When it jumped last, by its own time."""
        self._bounds = Bounds()
        self._reported_ns = 0
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
    def newest_ns(self) -> int:
        """When the newest bound was measured, by its own time; 0: none has been."""
        return self._bounds.newest_ns

    def report(self, report: Report) -> bool:
        """Take what was reported. Whether there are new knots."""
        self._closed = False
        for at_ns, bound in report.low:
            self._bounds.add_low(at_ns, bound)
        for at_ns, bound in report.high:
            self._bounds.add_high(at_ns, bound)
        if report.rtt_ns is not None:
            self.rtt_ns = min(report.rtt_ns, report.rtt_ns if self.rtt_ns is None else self.rtt_ns)
        self._reported_ns = max(self._reported_ns, report.stamp_ns)
        full_ns = self._reported_ns // STEP_NS * STEP_NS
        places = {-(-at_ns // STEP_NS) * STEP_NS for at_ns in self._bounds.moments}
        before = len(self.knots), self.known_ns
        for place_ns in sorted(places | {full_ns}):
            if self._reached_ns < place_ns <= full_ns:
                self._knot(place_ns)
        return (len(self.knots), self.known_ns) != before

    def close(self) -> None:
        """There will be no more reports: what is known now has to do. If there are some nevertheless, it goes on."""
        if self._reported_ns > self._reached_ns and self._bounds.moments:
            self._knot(self._reported_ns)
        self._closed = True

    def _knot(self, at_ns: int) -> None:
        self._reached_ns = at_ns
        if not self._bounds.advance(at_ns):
            self._jumped = True
            self.jumps += 1
            self.epoch_ns = at_ns
            self._bounds.restart()
            for pair in (*self.pairs.values(), *self.others):
                pair.forget()
        interval = self._bounds.interval
        if interval is None:
            return
        low, high = interval
        wish_low, wish_high = low, high
        for other, pair in self.pairs.items():
            there = _known(other, at_ns - (low + high) // 2, drift_ns(high - low))
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


def _known(other: Foreign | None, common_ns: int, unsure_ns: int) -> tuple[int, int, int] | None:
    """Low, value and high of another clock's offset at a moment of the timeline; None: it is not known that far."""
    if other is None:
        return 0, 0, 0
    if not len(other.knots):
        return None
    view = other.knots.at_common(common_ns)
    if view.host_ns > other.knots.last_ns + NEAR_NS:
        return None
    return view.low_ns - unsure_ns, view.offset_ns, view.high_ns + unsure_ns


def _tightened(low: int, high: int, other_low: int, other_high: int) -> tuple[int, int]:
    """The intersection; the first interval if there is none: then the messages are wrong about cause and effect."""
    both = max(low, other_low), min(high, other_high)
    return both if both[0] <= both[1] else (low, high)
