"""Durations as people read them, on the screen and in sentences.

Belongs here: nanoseconds to words. Must not know the sentence. A duration has at most 7 characters.
"""

from typing import Final

UNITS: Final = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000))
"""Names and sizes in nanoseconds."""
_SECOND: Final = 1_000_000_000


def duration(ns: float) -> str:
    """Three significant digits and the unit: "412 ns", "3.14 ms", "12.4 s", from 100 s on "1m 40s" and "2h 05m".

    A negative one has two digits: "-3.1 ms". One that is known within an error is no plain number: see
    `runner.model.result.interval`.
    """
    if ns < 0:
        return "-" + _scaled(-ns, digits=2)
    return _scaled(ns, digits=3)


def span(ns: float) -> str:
    """The same for a sentence, without zeros at its end: "20 ms", "1.5 s"."""
    number, unit = duration(ns).rsplit(" ", 1)
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def _scaled(ns: float, digits: int) -> str:
    for unit, size in UNITS:
        value = ns / size
        if value < (99.95 if unit == "s" else 999.5):
            return f"{value:.0f} ns" if unit == "ns" else f"{significant(value, digits)} {unit}"
    seconds = round(ns / _SECOND)
    if seconds < 6000:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if seconds < 360_000:
        return f"{seconds // 3600}h {seconds // 60 % 60:02}m"
    return f"{seconds // 86400}d {seconds // 3600 % 24:02}h"


def significant(value: float, digits: int) -> str:
    """`value` below 1,000 with that many significant digits, but never with fewer than it has before the point."""
    for decimals in range(digits - 1, 0, -1):
        if round(value, decimals) < 10 ** (digits - decimals):
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"
