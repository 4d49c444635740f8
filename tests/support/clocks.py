"""Clocks of several hosts whose errors a test says."""

from collections.abc import Callable
from dataclasses import dataclass

from runner.model.result.result import UNKNOWN


@dataclass(frozen=True)
class Several:
    """The error of two events is that of both their hosts, and each grows with its stamp."""

    hosts: dict[str, str]
    """Unit -> host."""
    errors: dict[str, tuple[int, int]]
    """Host -> its error at stamp 0, and after how many nanoseconds it is one more; others have the timeline's clock."""
    one_clock: bool = False

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        if self.hosts[unit] == self.hosts[other]:
            return 0
        return min(self._of(unit, stamp_ns) + self._of(other, other_stamp_ns), UNKNOWN)

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        assert first_ns <= last_ns
        return self.error(unit, last_ns, other, last_ns)

    def _of(self, unit: str, stamp_ns: int) -> int:
        start, every = self.errors.get(self.hosts[unit], (0, UNKNOWN))
        return start + max(stamp_ns, 0) // every


@dataclass(frozen=True)
class Apart:
    """Every unit is on a host of its own; any two stamps are off by `off(the later of them)`."""

    off: Callable[[int], int]
    one_clock: bool = False

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        return 0 if unit == other else self.off(max(stamp_ns, other_stamp_ns))

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        del first_ns
        return self.error(unit, last_ns, other, last_ns)
