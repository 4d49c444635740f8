"""Bounds: what is known about one offset that drifts, carried from one moment to the next.

Each bound is a fact about one moment (F. Cristian, "Probabilistic clock synchronization", 1989). What is known at
another moment is the intersection of all, each widened by the drift in between (K. Marzullo and S. Owicki, "Maintaining
the time in a distributed system", 1983). Must not know whose offset it is, nor what is made of it.
"""

from typing import Final

from probe.clock import MAX_DRIFT_PPM, drift_ns

MOST_WAITING: Final = 1024
"""Bounds of each side that wait for the next `advance`, at least; the newest ones."""

Bound = tuple[int, int]
"""(moment, bound of the offset at that moment), in nanoseconds."""


class Bounds:
    """One interval, at one moment: `low` and `high` are None while nothing is known on that side."""

    def __init__(self, ppm: int = MAX_DRIFT_PPM) -> None:
        """`ppm` is how fast the offset can change, in millionths."""
        self.low: int | None = None
        self.high: int | None = None
        self.newest_ns = 0
        """Moment of the newest bound that is in the interval."""
        self._ppm = ppm
        self._at_ns = 0
        self._lows: list[Bound] = []
        self._highs: list[Bound] = []
        self._taken: tuple[list[Bound], list[Bound]] = ([], [])
        """What the last `advance` has taken, low and high."""

    def add_low(self, moment_ns: int, bound: int) -> None:
        """The offset was at least `bound`. It counts from the next `advance` on, if that goes beyond its moment."""
        _keep(self._lows, (moment_ns, bound))

    def add_high(self, moment_ns: int, bound: int) -> None:
        """The offset was at most `bound`."""
        _keep(self._highs, (moment_ns, bound))

    @property
    def moments(self) -> list[int]:
        """Of the bounds that do not count yet."""
        return [moment for moment, _ in (*self._lows, *self._highs)]

    @property
    def interval(self) -> tuple[int, int] | None:
        """The offset at the moment of the last `advance`, with what is known of later moments already: that may have
        made an earlier bound superfluous that was never reported. None: not bounded on both sides, or contradictory."""
        low = [bound - drift_ns(at - self._at_ns, self._ppm) for at, bound in self._lows]
        high = [bound + drift_ns(at - self._at_ns, self._ppm) for at, bound in self._highs]
        if self.low is not None:
            low.append(self.low)
        if self.high is not None:
            high.append(self.high)
        if not low or not high:
            return None
        if max(low) <= min(high):
            return max(low), min(high)
        return (self.low, self.high) if self.low is not None and self.high is not None and self._agree else None

    @property
    def _agree(self) -> bool:
        """Whether both sides can be true."""
        return self.low is None or self.high is None or self.low <= self.high

    def advance(self, to_ns: int) -> bool:
        """Make it the interval at `to_ns`, which is not before the last one, with all bounds of moments up to there.

        False if they contradict each other, so that `low` is above `high`: the offset has jumped.
        """
        lows, self._lows = _split(self._lows, to_ns)
        highs, self._highs = _split(self._highs, to_ns)
        age_ns = drift_ns(to_ns - self._at_ns, self._ppm)
        self._at_ns = to_ns
        low = [bound - drift_ns(to_ns - at, self._ppm) for at, bound in lows]
        high = [bound + drift_ns(to_ns - at, self._ppm) for at, bound in highs]
        if self.low is not None:
            low.append(self.low - age_ns)
        if self.high is not None:
            high.append(self.high + age_ns)
        self.low, self.high = max(low, default=None), min(high, default=None)
        self.newest_ns = max(self.newest_ns, *(at for at, _ in (*lows, *highs)), 0)
        self._taken = lows, highs
        return self._agree

    def restart(self) -> None:
        """After a jump: believe the newest bound of each side that the last `advance` has taken, and no older one; if
        they contradict each other too, the newer of the two."""
        lows, highs = self._taken
        low, high = max(lows, default=None), max(highs, default=None)
        self.low = None if low is None else low[1] - drift_ns(self._at_ns - low[0], self._ppm)
        self.high = None if high is None else high[1] + drift_ns(self._at_ns - high[0], self._ppm)
        if low is not None and high is not None and not self._agree:
            if low[0] > high[0]:
                self.high = None
            else:
                self.low = None

    def clear(self) -> None:
        """Forget everything that is in the interval."""
        self.low = self.high = None


def _keep(waiting: list[Bound], bound: Bound) -> None:
    """One more. A reporter that reports without end about one moment gets no more than this; one less is no mistake."""
    waiting.append(bound)
    if len(waiting) > 2 * MOST_WAITING:
        del waiting[:-MOST_WAITING]


def _split(bounds: list[Bound], to_ns: int) -> tuple[list[Bound], list[Bound]]:
    """Those up to `to_ns`, and the later ones."""
    return [b for b in bounds if b[0] <= to_ns], [b for b in bounds if b[0] > to_ns]
