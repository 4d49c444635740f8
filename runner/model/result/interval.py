"""A time and its error as people read them: "2.1 ms ±0.3", "<120 µs".

Belongs here: how a value that is known within an error is written. Must not know what was measured. Never more is
written than is known: errors are rounded up, and of a value that may be zero its upper end is written.
"""

from typing import Final, NamedTuple

from runner.model.duration import UNITS, duration, significant, span
from runner.model.result.result import UNKNOWN

_COARSE: Final = (("m", 60), ("h", 3600), ("d", 86400))


class Interval(NamedTuple):
    """The two parts of a time: at most 7 characters, and at most 8. `error` is empty if there is nothing to say."""

    value: str
    error: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.error}".rstrip()

    @property
    def text(self) -> str:
        """For a sentence: without zeros at the end of a decimal."""
        number, _, unit = self.value.rpartition(" ")
        value = f"{_trimmed(number)} {unit}" if number else self.value
        return f"{value} {_trimmed(self.error)}" if self.error else value


def interval(ns: int, error_ns: int) -> Interval:
    """`ns` give or take `error_ns`; `UNKNOWN` or more: "?". Both parts have the same unit."""
    if error_ns >= UNKNOWN:
        return Interval("?")
    if not error_ns:
        return Interval(duration(ns))
    if ns - error_ns <= 0:
        return Interval(f"<{at_most(ns + error_ns)}")
    for unit, size in UNITS:
        if ns / size < (99.95 if unit == "s" else 999.5):
            break
    else:
        return Interval(duration(ns), f"±{at_most(error_ns)}")
    decimals = len(significant(ns / size, 3).partition(".")[2])
    decimals = min(decimals, 0 if error_ns >= 9.95 * size else 1 if error_ns >= 0.995 * size else 2)
    step = max(size // 10**decimals, 1)
    shown = (ns + step // 2) // step * step
    error = -(-(error_ns + abs(ns - shown)) // step) * step
    if size == 1:
        return Interval(f"{shown} ns", f"±{error}")
    return Interval(f"{shown / size:.{decimals}f} {unit}", f"±{error / size:.{decimals}f}")


def at_most(ns: int) -> str:
    """Rounded up to two digits, in at most 6 characters: "120 µs", "1.3 ms", "3m"."""
    ns = max(ns, 1)
    unit = 10 ** max(len(str(ns)) - 2, 0)
    rounded = -(-ns // unit) * unit
    if rounded < 99_950_000_000:
        return span(rounded)
    seconds = -(-ns // 1_000_000_000)
    for letter, size in _COARSE:
        if seconds <= 99 * size:
            return f"{-(-seconds // size)}{letter}"
    return f"{-(-seconds // 86400)}d"


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
