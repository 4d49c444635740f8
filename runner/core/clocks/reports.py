"""Reports: the data of `clock` records, as they come from the network (docs/wire.md, Clocks), to values.

Belongs here: what a report has to look like. Must not know what is made of it.
"""

from typing import Final, NamedTuple, TypeGuard

from runner.core.clocks.bounds import Bound

LARGEST: Final = 1 << 63
"""No moment or bound is as large as this."""
MOST: Final = 256
"""Bounds of each side that one report may have; of more the last ones count. An honest one has some twenty."""


class ClockReport(NamedTuple):
    """What one record said."""

    stamp_ns: int
    """Whatever was measured before this moment of the host's clock is in this report or was in an earlier one."""
    low: list[Bound]
    high: list[Bound]
    rtt_ns: int | None
    """The shortest round trip of those it is made of."""


def parse(stamp_ns: object, data: object) -> ClockReport | None:
    """The report; None if it is none."""
    if not isinstance(data, dict) or not _is_number(stamp_ns):
        return None
    low, high, rtt_ns = data.get("low"), data.get("high"), data.get("rtt_ns")
    if not _are_bounds(low, stamp_ns) or not _are_bounds(high, stamp_ns):
        return None
    if rtt_ns is not None and not (_is_number(rtt_ns) and rtt_ns >= 0):
        return None
    return ClockReport(stamp_ns, _newest(low), _newest(high), rtt_ns)


def _newest(bounds: list[list[int]]) -> list[Bound]:
    return [(at, bound) for at, bound in bounds[-MOST:]]


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and -LARGEST < value < LARGEST


def _are_bounds(value: object, stamp_ns: int) -> TypeGuard[list[list[int]]]:
    """Whether it is a list of bounds, none of them about a moment after the record."""
    return isinstance(value, list | tuple) and all(
        isinstance(bound, list | tuple)
        and len(bound) == 2
        and _is_number(bound[0])
        and _is_number(bound[1])
        and bound[0] <= stamp_ns
        for bound in value
    )
