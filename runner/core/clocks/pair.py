"""Pairs: what the application's messages say about the offset of two clocks.

With messages both ways the difference of the two offsets is bounded on both sides, as tightly as the application's
network is quick, which may be far more so than the way to the broker. One of the two is the `other` clock here, the
difference is the offset of ours minus that of the other, and moments are ours. Must not know hosts by name or knots.
"""

from bisect import bisect_right
from typing import Final

from probe.clock import MAX_DRIFT_PPM, drift_ns
from runner.core.clocks.bounds import Bounds
from runner.core.clocks.messages import Message

DRIFT_PPM: Final = 2 * MAX_DRIFT_PPM
"""Of two clocks of which none is the timeline's: one may drift forwards and the other one backwards."""
MAX_KNOTS: Final = 3600
"""Moments that are remembered, at least: a quarter of an hour of them."""

MAX_FRESH: Final = 16_384
"""Messages that wait for a clock to be known, at least; the newest ones."""

Interval = tuple[int, int]


class ClockPair:
    """One pair of clocks."""

    def __init__(self, ours: str, ppm: int = DRIFT_PPM) -> None:
        """`ours` is the boot id of our clock, `ppm` how fast the difference can change."""
        self._ours = ours
        self._ppm = ppm
        self._bounds = Bounds(ppm)
        self._fresh: list[Message] = []
        self._at: list[int] = []
        self._low: list[int] = []
        self._high: list[int] = []

    def add(self, message: Message) -> None:
        """One went from one of the two to the other."""
        self._fresh.append(message)
        if len(self._fresh) > 2 * MAX_FRESH:
            del self._fresh[:-MAX_FRESH]

    def advance(self, to_ns: int, rough: Interval) -> Interval | None:
        """The difference at `to_ns` of our clock, as messages up to then have it; None: they do not say, or contradict
        each other or `rough`, the difference as it is known without them: they are wrong about cause and effect."""
        later: list[Message] = []
        for message in self._fresh:
            outward = message.sender == self._ours
            at_ns = message.sent_ns if outward else message.received_ns
            if at_ns > to_ns:
                later.append(message)
            elif message.clear:
                # the other end was at another moment; the other clock has drifted for as long as it was on the way
                gap = message.received_ns - message.sent_ns
                spare = drift_ns(to_ns - at_ns, self._ppm)
                if outward:
                    self._bounds.add_low(at_ns, -gap - drift_ns(max(0, gap + rough[1] + spare)))
                else:
                    self._bounds.add_high(at_ns, gap + drift_ns(max(0, gap - rough[0] + spare)))
        self._fresh = later
        self._bounds.advance(to_ns)
        interval = self._bounds.interval
        if interval is None or interval[0] > rough[1] or interval[1] < rough[0]:
            return None
        if len(self._at) > 2 * MAX_KNOTS:
            for values in (self._at, self._low, self._high):
                del values[:-MAX_KNOTS]
        self._at.append(to_ns)
        self._low.append(interval[0])
        self._high.append(interval[1])
        return interval

    def forget(self) -> None:
        """One of the two clocks has jumped: what was known holds no longer."""
        self._bounds.clear()
        self._fresh.clear()
        for values in (self._at, self._low, self._high):
            values.clear()

    def interval(self, at_ns: int) -> Interval | None:
        """The difference at a moment of our clock; None: nothing is known."""
        i = bisect_right(self._at, at_ns)
        near = [j for j in (i - 1, i) if 0 <= j < len(self._at)]
        if not near:
            return None
        ages = [drift_ns(at_ns - self._at[j], self._ppm) for j in near]
        return (
            max(self._low[j] - age for j, age in zip(near, ages, strict=True)),
            min(self._high[j] + age for j, age in zip(near, ages, strict=True)),
        )
