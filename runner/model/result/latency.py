"""Latencies of a whole run in a few kilobytes.

Belongs here: what of a value and its error is counted, and where its quantiles may be. Must not know circuits, events
or budgets; how values are kept is in `quantiles`.
"""

from collections.abc import Sequence
from operator import add, sub
from typing import Final

from runner.model.result.quantiles import Values
from runner.model.result.result import UNKNOWN, Latency, Quantiles

_PERCENTS: Final = (50, 90, 99)


class Distribution:
    """Values that are added, and now and then taken back, one by one or many at once.

    A value that is below zero beyond its error (an effect before its cause) is counted but is in no quantile, nor is
    one whose error is `UNKNOWN`. As soon as any value has an error, all are kept twice more: as small and as large as
    they may be. Each quantile of the true values lies between the same quantiles of these two.
    """

    __slots__ = ("_errors", "_highs", "_lows", "_summary", "_values", "negative", "unknown")

    def __init__(self) -> None:
        self._values = Values()
        self._lows: Values | None = None
        self._highs: Values | None = None
        self._errors = Values()
        """Those that are not 0."""
        self._summary: Latency | None = None
        self.negative = 0
        self.unknown = 0

    def copy(self) -> "Distribution":
        """Another one with the same values."""
        twin = Distribution()
        twin._values, twin._errors = self._values.copy(), self._errors.copy()
        twin._lows = None if self._lows is None else self._lows.copy()
        twin._highs = None if self._highs is None else self._highs.copy()
        twin.negative, twin.unknown = self.negative, self.unknown
        return twin

    def add(self, value: int, error_ns: int = 0) -> None:
        """Count one value, known within `error_ns`."""
        self._summary = None
        if error_ns >= UNKNOWN:
            self.unknown += 1
            lows, highs = self._bounds()
            lows.add(-UNKNOWN)
            highs.add(UNKNOWN)
        elif value + error_ns < 0:
            self.negative += 1
        else:
            if error_ns or self._lows is not None:
                lows, highs = self._bounds()
                lows.add(value - error_ns)
                highs.add(value + error_ns)
                if error_ns:
                    self._errors.add(error_ns)
            self._values.add(value)

    def add_all(self, values: Sequence[int], errors: Sequence[int] | None = None) -> None:
        """Count many values, none of them negative, and each known within the error beside it (None: exactly)."""
        self._summary = None
        if errors is not None and max(errors, default=0) >= UNKNOWN:
            for value, error_ns in zip(values, errors, strict=True):
                self.add(value, error_ns)
            return
        if errors is not None and any(errors):
            lows, highs = self._bounds()
            lows.add_all(map(sub, values, errors))
            highs.add_all(map(add, values, errors))
            self._errors.add_all(filter(None, errors))
        elif self._lows is not None:
            lows, highs = self._bounds()
            lows.add_all(values)
            highs.add_all(values)
        self._values.add_all(values)

    def take_back(self, value: int, error_ns: int = 0) -> None:
        """Undo one `add`. Beyond 4,096 values the maximum is then known to its bucket only, if it was taken back."""
        self._summary = None
        if error_ns >= UNKNOWN:
            self.unknown -= 1
            lows, highs = self._bounds()
            lows.take_back(-UNKNOWN)
            highs.take_back(UNKNOWN)
        elif value + error_ns < 0:
            self.negative -= 1
        else:
            if self._lows is not None:
                lows, highs = self._bounds()
                lows.take_back(value - error_ns)
                highs.take_back(value + error_ns)
                if error_ns:
                    self._errors.take_back(error_ns)
            self._values.take_back(value)

    def _bounds(self) -> tuple[Values, Values]:
        """The values as small and as large as they may be; until the first error comes they are the values."""
        if self._lows is None or self._highs is None:
            self._lows, self._highs = self._values.copy(), self._values.copy()
        return self._lows, self._highs

    def summary(self) -> Latency:
        """The distribution as it stands."""
        if self._summary is None:
            self._summary = self._summed_up()
        return self._summary

    def _summed_up(self) -> Latency:
        counted = self._values.counted()
        p50, p90, p99 = counted.quantiles(_PERCENTS)
        error_ns = self._errors.counted().most
        low = high = None
        if self._lows is not None and self._highs is not None and (error_ns or self.unknown):
            found = (p50, p90, p99, counted.most)
            lows = zip(found, _all(self._lows, -1), strict=True)
            highs = zip(found, _all(self._highs, 1), strict=True)
            low = Quantiles(*(min(v, max(at, -UNKNOWN if self.unknown else v - error_ns)) for v, at in lows))
            high = Quantiles(*(max(v, min(at, UNKNOWN if self.unknown else v + error_ns)) for v, at in highs))
        return Latency(
            counted.count,
            p50,
            p90,
            p99,
            counted.most,
            error_ns,
            counted.bars(),
            self.negative,
            self.unknown,
            low,
            high,
        )


def _all(bounds: Values, side: int) -> tuple[int, ...]:
    """p50, p90, p99 and the maximum of lower (`side` -1) or upper (1) bounds. A bucket counts as its end on that side:
    the errors may be much smaller than it is wide."""
    counted = bounds.counted(side)
    return *counted.quantiles(_PERCENTS), counted.most
