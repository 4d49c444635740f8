"""Numbers as people read them: counts, ages, shares (durations: `runner.model.duration`).

Belongs here: every other conversion from a number to words that the view shows. Must not know boards, colours or
terminals. A number keeps its width while it changes, so that nothing on the screen jumps.
"""

from typing import Final

from runner.model.duration import duration, significant

NONE: Final = "–"
"""Stands where there is no number yet."""

_SECOND: Final = 1_000_000_000


def ago(ns: int) -> str:
    """How long ago, coarse so that it is calm: "now", "2 ms", "1.2 s", "41 s", "3 m", "2 h"."""
    if ns < 1_000_000:
        return "now"
    if ns < _SECOND:
        return f"{ns // 1_000_000} ms"
    seconds = ns / _SECOND
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, size in (("s", 1), ("m", 60), ("h", 3600)):
        if seconds < 99.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def elapsed(seconds: float) -> str:
    """A clock that runs: tenths of a second, "12.4 s", from 100 s on "1m 40s"."""
    return f"{seconds:.1f} s" if seconds < 99.95 else duration(seconds * _SECOND)


def count(number: int) -> str:
    """ "41,203"; from ten million on three significant digits: "41.2 M"."""
    if number < 10_000_000:
        return f"{number:,}"
    for letter, size in (("M", 1e6), ("G", 1e9)):
        if number < 999.5 * size:
            return f"{significant(number / size, 3)} {letter}"
    return f"{number / 1e12:.3g} T"


def compact(number: int) -> str:
    """At most four characters, rounded down so that it never looks done too early: "988", "1.9k", "12k", "1.2M"."""
    if number < 1000:
        return str(number)
    for letter in "kMGTP":
        tenths, number = number // 100, number // 1000
        if number < 10:
            return f"{tenths / 10:g}{letter}"
        if number < 1000:
            return f"{number}{letter}"
    return "∞"


def percent(part: float) -> str:
    """A share of one: "50 %", "155 %", "0.4 %"."""
    return f"{100 * part:.0f} %" if part >= 0.01 or part == 0 else f"{100 * part:.1g} %"


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 event", "41,203 events"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
