"""Estimates: what is known about a clock, for people.

Belongs here: the drift, which nothing else needs. Must not know how it is shown.
"""

from dataclasses import dataclass
from typing import Final

from probe.clock import MAX_DRIFT_PPM

MIN_SPAN_NS: Final = 1_000_000_000
"""Two moments that are closer say nothing about the drift."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One clock against the timeline: the offset is its reading minus the timeline's."""

    clock: str
    """Its boot id."""
    units: tuple[str, ...]
    """Units that say they have this clock, supervisors first."""
    offset_ns: int | None
    """Now; None: nothing is known."""
    error_ns: int
    """Now; UNKNOWN if nothing is."""
    drift_ppm: float | None
    """In the mean, over all or most of the time since it is known. Above zero: the clock is fast. None: it has not been
    watched for long enough to say anything."""
    drift_error_ppm: float
    rtt_ns: int | None
    """The shortest round trip seen."""
    age_ns: int | None
    """How long ago the newest bound was measured."""
    worst_ns: int
    """The largest error between its first measurement and its last; UNKNOWN if there are no two."""
    jumps: int
    """How often it did what no clock may do: the machine was suspended, or its clock set."""


def drift_ppm(history: list[tuple[int, int, int]]) -> tuple[float | None, float]:
    """The mean drift and its error, from (moment, low, high) by moment: since that moment for which the error is the
    smallest. (None, the largest there can be) while it says nothing."""
    value, error = None, float(MAX_DRIFT_PPM)
    if history:
        now, low, high = history[-1]
        for at, low_then, high_then in history:
            span = now - at
            if span < MIN_SPAN_NS:
                break
            slowest, fastest = (low - high_then) * 1e6 / span, (high - low_then) * 1e6 / span
            if (fastest - slowest) / 2 < error:
                value, error = (fastest + slowest) / 2, (fastest - slowest) / 2
    return value, error
