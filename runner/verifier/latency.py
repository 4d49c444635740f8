"""Latencies of a whole run in a few kilobytes.

Belongs here: counting values and reading quantiles. Must not know circuits, events or budgets.

Up to 4,096 values are kept as they are. Beyond that each counts in the bucket that the upper 16 bits of it as a
32-bit float name: 128 buckets to every doubling, so a quantile is within 0.8 % of the truth, and the counting itself
runs in C.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import ceil
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

    def copy(self) -> "Distribution":
        """Another one with the same values."""
        twin = Distribution()
        twin._fresh, twin._buckets = self._fresh.copy(), self._buckets.copy()
        twin._counted, twin._max, twin.error_ns, twin.negative = self._counted, self._max, self.error_ns, self.negative
        return twin

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
        elif not self._counted:
            self._fresh.remove(value)
        else:
            if self._fresh:  # not searched: each value is folded once, and there may be thousands to take back
                self._fold()
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
        return self._described(values, range(1, len(values) + 1), max(values, default=0))

    def _counted_out(self) -> Latency:
        if self._fresh:
            self._fold()
        buckets = sorted(self._buckets)
        values = [min(_middle(bucket), self._max) for bucket in buckets]
        return self._described(values, list(accumulate(self._buckets[bucket] for bucket in buckets)), self._max)

    def _described(self, values: Sequence[int], below: Sequence[int], most: int) -> Latency:
        """`values` are sorted; `below` says for each how many are as large or smaller, repetitions counted."""
        if not values:
            return Latency(error_ns=self.error_ns, negative=self.negative)
        count = below[-1]
        p50, p90, p99 = (values[bisect_right(below, _rank(count, percent))] for percent in (50, 90, 99))
        bars = _bars(values, below)
        return Latency(count, p50, p90, p99, most, self.error_ns, bars, self.negative)


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


def _bars(values: Sequence[int], below: Sequence[int]) -> tuple[int, ...]:
    """Counts in `_BARS` logarithmic buckets from the smallest of `values` to the largest."""
    least, most = max(values[0], 1), max(values[-1], 1)
    edges = [least * (most / least) ** (n / _BARS) for n in range(1, _BARS)]
    found = [0, *(below[at - 1] if (at := bisect_right(values, edge)) else 0 for edge in edges), below[-1]]
    return tuple(upper - lower for lower, upper in pairwise(found))
