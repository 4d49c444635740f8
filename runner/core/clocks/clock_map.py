"""Knots: the way from one host's stamps to the timeline, and how far it may be off.

Each knot says, for one moment of the host's clock, between which bounds its offset (the host's clock minus the
timeline) lies and which value is taken for it; between two knots the value goes straight from one to the other. Later
moments of the host never come earlier on the timeline. Must not know where bounds come from.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from probe.clock import drift_ns
from runner.model.result.result import UNKNOWN

FOREVER: Final = 1 << 64
"""Later than any stamp, even one that makes no sense."""
ROUNDING_NS: Final = 2
"""What the translation of one stamp, and its way back, may be off by integer arithmetic."""
FINE: Final = 3600
"""Knots that are kept as they are: a quarter of an hour of them."""
COARSE: Final = 16
"""Of the older ones every so many-th is kept."""


class View(NamedTuple):
    """What is known about the clock at one moment."""

    host_ns: int
    """The moment, by the host's clock."""
    offset_ns: int
    """The value that the translation takes."""
    low_ns: int
    high_ns: int

    @property
    def error_ns(self) -> int:
        """How far the value may be off."""
        return max(self.high_ns - self.offset_ns, self.offset_ns - self.low_ns, 0) + ROUNDING_NS


class ClockMap:
    """All knots of one clock, by moment."""

    def __init__(self) -> None:
        self._at: list[int] = []
        self._common: list[int] = []
        """The knot's moment on the timeline."""
        self._low: list[int] = []
        self._high: list[int] = []
        self._worst: list[int] = []
        """The largest error between the knot before and this one."""
        self._blunt: list[bool] = []
        """Whether that is all that is known about the moments between the knot before and this one."""
        self._thinned = 0
        """The knots before this one are those that were kept."""

    def __len__(self) -> int:
        return len(self._at)

    @property
    def largest_error_ns(self) -> int:
        """The largest error between two knots; UNKNOWN if there are none."""
        return max(self._worst[1:], default=UNKNOWN)

    @property
    def last_ns(self) -> int:
        """The host's moment of the newest knot; there is one."""
        return self._at[-1]

    @property
    def last_common_ns(self) -> int:
        """The same moment on the timeline."""
        return self._common[-1]

    def stand(self, at_ns: int, low_ns: int, high_ns: int, wish_ns: int, *, jumped: bool = False) -> None:
        """One more knot, behind all others. `wish_ns` is the value to take, if time does not run backwards for it.
        `jumped`: the offset has not drifted here since the last knot, but jumped somewhere on the way."""
        offset = wish_ns
        worst, blunt = 0, False
        if self._at:
            step_ns = at_ns - self._at[-1]
            before = self._view(self._at[-1], len(self._at) - 1)
            offset = min(offset, before.offset_ns + step_ns // 2)
            ends = View(at_ns, offset, low_ns, high_ns).error_ns, before.error_ns
            worst = max(ends) + drift_ns(step_ns)
            if jumped:
                low, high = min(low_ns, before.low_ns), max(high_ns, before.high_ns)
                values = offset, before.offset_ns
                worst = max(high - min(values), max(values) - low) + drift_ns(step_ns) + ROUNDING_NS
                blunt = True
        self._at.append(at_ns)
        self._common.append(at_ns - offset)
        self._low.append(low_ns)
        self._high.append(high_ns)
        self._worst.append(worst)
        self._blunt.append(blunt)
        if len(self._at) - self._thinned > 2 * FINE:
            self._thin()

    # --- stamps of the host -> timeline ---

    def translate(self, stamps: Sequence[int]) -> list[int]:
        """Stamps of the host, on the timeline. Fast for stamps that are close together."""
        if not stamps or not self._at:
            return list(stamps)
        begin, end, start, rise, run = self._piece(stamps[0])
        if begin <= min(stamps) and max(stamps) < end:
            if not rise:
                return [stamp - start for stamp in stamps]
            return [stamp - start - (stamp - begin) * rise // run for stamp in stamps]
        out: list[int] = []
        for stamp in stamps:
            if not begin <= stamp < end:
                begin, end, start, rise, run = self._piece(stamp)
            out.append(stamp - start - ((stamp - begin) * rise // run if rise else 0))
        return out

    def _piece(self, host_ns: int) -> tuple[int, int, int, int, int]:
        """The straight piece that the stamp is on: from, until, the offset at its beginning, rise and run."""
        i = bisect_right(self._at, host_ns)
        if i == 0:
            return -FOREVER, self._at[0], self._at[0] - self._common[0], 0, 1
        begin, start = self._at[i - 1], self._at[i - 1] - self._common[i - 1]
        if i == len(self._at):
            return begin, FOREVER, start, 0, 1
        return begin, self._at[i], start, self._at[i] - self._common[i] - start, self._at[i] - begin

    # --- moments of the timeline -> host ---

    def at_common(self, common_ns: int) -> View:
        """What is known at a moment of the timeline; there is a knot."""
        i = bisect_right(self._common, common_ns)
        if i == 0:
            host_ns = common_ns + self._at[0] - self._common[0]
        elif i == len(self._at):
            host_ns = common_ns + self._at[-1] - self._common[-1]
        else:
            begin, first = self._at[i - 1], self._common[i - 1]
            host_ns = begin + (common_ns - first) * (self._at[i] - begin) // (self._common[i] - first)
        offset_ns = host_ns - common_ns
        if 0 < i < len(self._at):
            if self._blunt[i]:
                most_ns = self._worst[i] - ROUNDING_NS
                return View(host_ns, offset_ns, offset_ns - most_ns, offset_ns + most_ns)
            before, after = self._view(host_ns, i - 1), self._view(host_ns, i)
            low, high = max(before.low_ns, after.low_ns), min(before.high_ns, after.high_ns)
            return View(host_ns, offset_ns, low, high)
        end = self._view(host_ns, 0 if i == 0 else i - 1)
        return View(host_ns, offset_ns, end.low_ns, end.high_ns)

    def _view(self, host_ns: int, i: int) -> View:
        """What knot `i` alone says about a moment."""
        age_ns = drift_ns(host_ns - self._at[i])
        return View(host_ns, self._at[i] - self._common[i], self._low[i] - age_ns, self._high[i] + age_ns)

    def worst_ns(self, first_ns: int, last_ns: int) -> int:
        """No error between these two moments of the timeline is larger. Cheap."""
        if not self._at:
            return UNKNOWN
        i, j = bisect_right(self._common, first_ns), bisect_left(self._common, last_ns)
        worst = max(self._worst[max(i, 1) : j + 1], default=0)
        if i == 0:
            worst = max(worst, self.at_common(first_ns).error_ns)
        if j == len(self._at):
            worst = max(worst, self.at_common(last_ns).error_ns)
        return worst

    # --- for people ---

    def history(self, since_ns: int, count: int) -> list[tuple[int, int, int]]:
        """About so many knots from `since_ns` (host) on, evenly spaced, the newest among them: (moment, low, high)."""
        first, last = bisect_left(self._at, since_ns), len(self._at) - 1
        step = max(1, (last - first) // count)
        return [(self._at[i], self._low[i], self._high[i]) for i in range(last, first - 1, -step)][::-1]

    # --- memory ---

    def _thin(self) -> None:
        """Replace the older of the fine knots by few. Stamps that were translated with them keep their error, stamps
        that come later are as far off as the two lines differ, too."""
        end = len(self._at) - FINE
        kept = [*range(self._thinned), *range(self._thinned, end, COARSE), *range(end, len(self._at))]
        worst = [self._worst[i] for i in kept]
        blunt = [self._blunt[i] for i in kept]
        for place in range(max(self._thinned, 1), len(kept)):
            i, j = kept[place - 1], kept[place]
            if j > i + 1:
                worst[place] = max(self._worst[i + 1 : j + 1]) + self._bulge(i, j)
                blunt[place] = True
        self._thinned += len(range(self._thinned, end, COARSE))
        self._worst, self._blunt = worst, blunt
        for values in (self._at, self._common, self._low, self._high):
            values[:] = [values[i] for i in kept]

    def _bulge(self, i: int, j: int) -> int:
        """How far the values of the knots in between are off the straight line from `i` to `j`."""
        at, common = self._at, self._common
        run, rise = at[j] - at[i], common[j] - common[i]
        return max(abs(common[k] - common[i] - (at[k] - at[i]) * rise // run) for k in range(i + 1, j)) + ROUNDING_NS
