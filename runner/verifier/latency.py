"""Latencies of a whole run in a few kilobytes.

Belongs here: counting values and reading quantiles. Must not know circuits, events or budgets.

Up to 4,096 values are kept as they are. Beyond that each counts in the bucket that the upper 16 bits of it as a
32-bit float name: 128 buckets to every doubling, so a quantile is within 0.8 % of the truth, and the counting itself
runs in C.
"""

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil, log
from typing import Final

from runner.verifier.verdict import Latency

EXACT: Final = 4096
_HIGH: Final = 1 if sys.byteorder == "little" else 0
_BARS: Final = 8


class Distribution:
    """Values that are added, and now and then taken back, one by one or many at once.

    A value below zero (a clock error, or an effect before its cause) is counted but is in no quantile.
    """

    __slots__ = ("_buckets", "_counted", "_fresh", "_max", "_summary", "error_ns", "negative")

    def __init__(self) -> None:
        self._fresh: list[int] = []
        self._buckets: Counter[int] = Counter()
        self._counted = 0
        self._max = 0
        self._summary: Latency | None = None
        self.error_ns = 0
        self.negative = 0

    def add(self, value: int, error_ns: int = 0) -> None:
        """Count one value, known within `error_ns`."""
        if error_ns > self.error_ns:
            self.error_ns = error_ns
        self._summary = None
        if value < 0:
            self.negative += 1
            return
        self._fresh.append(value)
        if len(self._fresh) > EXACT:
            self._fold()

    def add_all(self, values: Iterable[int]) -> None:
        """Count many values, none of them negative."""
        self._summary = None
        self._fresh.extend(values)
        if len(self._fresh) > EXACT:
            self._fold()

    def take_back(self, value: int) -> None:
        """Undo one `add`. Beyond 4,096 values the maximum is then known to its bucket only, if it was taken back."""
        self._summary = None
        if value < 0:
            self.negative -= 1
        elif value in self._fresh:
            self._fresh.remove(value)
        else:
            (bucket,) = _buckets_of((value,))
            self._buckets[bucket] -= 1
            self._counted -= 1
            if not self._buckets[bucket]:
                del self._buckets[bucket]
            if value == self._max:
                self._max = _middle(max(self._buckets, default=0))

    def summary(self) -> Latency:
        """The distribution as it stands."""
        if self._summary is None:
            self._summary = self._exact() if not self._counted else self._counted_out()
        return self._summary

    def _fold(self) -> None:
        self._max = max(self._max, *self._fresh)
        self._buckets.update(_buckets_of(self._fresh))
        self._counted += len(self._fresh)
        self._fresh.clear()

    def _exact(self) -> Latency:
        values = sorted(self._fresh)
        if not values:
            return Latency(error_ns=self.error_ns, negative=self.negative)
        p50, p90, p99 = (values[_rank(len(values), percent)] for percent in (50, 90, 99))
        bars = _bars(values[0], values[-1], ((value, 1) for value in values))
        return Latency(len(values), p50, p90, p99, values[-1], self.error_ns, bars, self.negative)

    def _counted_out(self) -> Latency:
        if self._fresh:
            self._fold()
        buckets = sorted(self._buckets.items())
        ranks = [_rank(self._counted, percent) for percent in (50, 90, 99)]
        found: list[int] = []
        below = 0
        for bucket, count in buckets:
            below += count
            while len(found) < len(ranks) and ranks[len(found)] < below:
                found.append(min(_middle(bucket), self._max))
        pairs = [(_middle(bucket), count) for bucket, count in buckets]
        bars = _bars(pairs[0][0], self._max, pairs) if pairs else ()
        p50, p90, p99 = found or (0, 0, 0)
        return Latency(self._counted, p50, p90, p99, self._max, self.error_ns, bars, self.negative)


def _rank(count: int, percent: int) -> int:
    """Index of the nearest-rank quantile among `count` sorted values."""
    return max(ceil(count * percent / 100) - 1, 0)


def _buckets_of(values: Sequence[int]) -> memoryview:
    """The bucket of each value: the upper half of its 32-bit float."""
    return memoryview(array("f", values)).cast("B").cast("H")[_HIGH::2]


def _middle(bucket: int) -> int:
    """The value in the middle of a bucket."""
    value: float = struct.unpack("=f", struct.pack("=I", bucket << 16 | 0x8000))[0]
    return round(value)


def _bars(least: int, most: int, counted: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Counts in `_BARS` logarithmic buckets from `least` to `most`."""
    low = log(max(least, 1))
    width = (log(max(most, 1)) - low) / _BARS
    bars = [0] * _BARS
    for value, count in counted:
        place = int((log(max(value, 1)) - low) / width) if width > 0 else 0
        bars[min(max(place, 0), _BARS - 1)] += count
    return tuple(bars)
