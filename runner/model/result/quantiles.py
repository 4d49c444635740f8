"""Many whole numbers in a few kilobytes, and their quantiles.

Belongs here: keeping numbers and reading ranks. Must not know what they measure.

Up to 4,096 values are kept as they are. Beyond that each counts in the bucket that the upper 16 bits of it as a
32-bit float name: 128 buckets to every doubling, so a quantile is within 0.8 % of the truth, and the counting itself
runs in C.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil
from typing import Final

EXACT: Final = 4096
_HIGH: Final = 1 if sys.byteorder == "little" else 0
_SIGN: Final = 0x8000
_BARS: Final = 8


@dataclass(frozen=True, slots=True)
class Counted:
    """What there is to read: sorted values, how many are as large as each or smaller (repetitions counted), and the
    largest."""

    values: Sequence[int]
    below: Sequence[int]
    most: int

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.below[-1] if self.below else 0

    def quantiles(self, percents: Iterable[int]) -> Iterator[int]:
        """The nearest-rank quantiles; of nothing they are 0."""
        for percent in percents:
            rank = max(ceil(self.count * percent / 100) - 1, 0)
            yield self.values[bisect_right(self.below, rank)] if self.values else 0

    def bars(self) -> tuple[int, ...]:
        """Counts in a few logarithmic buckets from the smallest value above zero to the largest; what is not above
        zero is in the first."""
        if not self.values:
            return ()
        values, below = self.values, self.below
        first = bisect_right(values, 0)
        least = values[first] if first < len(values) else 1
        most = max(values[-1], least)
        edges = [least * (most / least) ** (n / _BARS) for n in range(1, _BARS)]
        found = [0, *(below[at - 1] if (at := bisect_right(values, edge)) else 0 for edge in edges), below[-1]]
        return tuple(upper - lower for lower, upper in pairwise(found))


class Values:
    """Numbers that are added, and now and then taken back, one by one or many at once."""

    __slots__ = ("_buckets", "_folded", "_fresh", "_max")

    def __init__(self) -> None:
        self._fresh: list[int] = []
        self._buckets: Counter[int] = Counter()
        self._folded = 0
        self._max = 0

    def copy(self) -> "Values":
        """Another one with the same numbers."""
        twin = Values()
        twin._fresh, twin._buckets = self._fresh.copy(), self._buckets.copy()
        twin._folded, twin._max = self._folded, self._max
        return twin

    def add(self, value: int) -> None:
        self._fresh.append(value)
        if len(self._fresh) > EXACT:
            self._fold()

    def add_all(self, values: Iterable[int]) -> None:
        self._fresh.extend(values)
        if len(self._fresh) > EXACT:
            self._fold()

    def take_back(self, value: int) -> None:
        """Undo one `add`."""
        if not self._folded:
            self._fresh.remove(value)
            return
        if self._fresh:  # not searched: each value is folded once, and there may be thousands to take back
            self._fold()
        (bucket,) = _buckets_of((value,))
        self._buckets[bucket] -= 1
        self._folded -= 1
        if not self._buckets[bucket]:
            del self._buckets[bucket]
        if value == self._max:
            self._max = max(map(_middle, self._buckets), default=0)

    def counted(self, side: int = 0) -> Counted:
        """Everything, to be read. A bucket counts as its middle, or as its lower (`side` -1) or upper end (1)."""
        if not self._folded:
            values = sorted(self._fresh)
            return Counted(values, range(1, len(values) + 1), values[-1] if values else 0)
        if self._fresh:
            self._fold()
        buckets = sorted(self._buckets, key=_order)
        values = [min(_at(bucket, side), self._max) for bucket in buckets]
        return Counted(values, list(accumulate(self._buckets[bucket] for bucket in buckets)), self._max)

    def _fold(self) -> None:
        largest = max(self._fresh)
        self._max = max(self._max, largest) if self._folded else largest
        self._buckets.update(_buckets_of(self._fresh))
        self._folded += len(self._fresh)
        self._fresh.clear()


def _buckets_of(values: Sequence[int]) -> memoryview:
    """The bucket of each value: the upper half of its 32-bit float."""
    return memoryview(array("f", values)).cast("B").cast("H")[_HIGH::2]


def _order(bucket: int) -> int:
    """Sorts buckets by their values: the float of a negative number has its sign in the highest bit."""
    return bucket if bucket < _SIGN else _SIGN - 1 - bucket


def _middle(bucket: int) -> int:
    """The value in the middle of a bucket."""
    return _at(bucket, 0)


def _at(bucket: int, side: int) -> int:
    """The value at the lower end (-1), in the middle (0) or at the upper end (1) of a bucket."""
    away = side if bucket < _SIGN else -side  # the further from zero, the larger the float's bits
    value: float = struct.unpack("=f", struct.pack("=I", bucket << 16 | (0x0000, 0x8000, 0xFFFF)[away + 1]))[0]
    return round(value)
