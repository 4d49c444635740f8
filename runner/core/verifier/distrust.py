"""Whether the stamps of a fault can be right at all, in words: what a clock did that no clock may do.

Belongs here: which of the two events of an `acausal` or a `late` was stamped by a clock that proves itself wrong. Must
not change what is found: order and time are judged by the stamps as they are. Pure.
"""

from dataclasses import dataclass
from typing import Final

from runner.core.verifier.context import Context
from runner.core.verifier.judge import Fault
from runner.core.verifier.timepieces import SURE_NS
from runner.model.duration import span
from runner.model.result.result import FindingClass

_ADVICE: Final = "an event is stamped with CLOCK_MONOTONIC of its host; which clock does {unit} stamp with?"


@dataclass(frozen=True, slots=True)
class Distrust:
    """The clock of `unit` cannot be right. `did` completes "the clock of <unit> ..."; `lines` say how that is known and
    what to do."""

    unit: str
    did: str
    lines: tuple[str, ...]


def distrust(fault: Fault, context: Context) -> Distrust | None:
    """The clock that explains an `acausal` or a `late`; None: both clocks may be right."""
    if fault.cls not in (FindingClass.ACAUSAL, FindingClass.LATE):
        return None
    for unit, stamp_ns in _stamps(fault):
        if wrong := _wrong(unit, stamp_ns, fault, context):
            did, how = wrong
            return Distrust(unit, did, (how, _ADVICE.format(unit=unit)))
    return None


def _stamps(fault: Fault) -> list[tuple[str, int]]:
    """(unit, stamp) of the two events; the earlier one first."""
    events = sorted(event for event in (fault.event, fault.after) if event is not None)
    return [(event.unit, event.stamp_ns) for event in events] or list(fault.stamped)


def _wrong(unit: str, stamp_ns: int, fault: Fault, context: Context) -> tuple[str, str] | None:
    """What the clock did that gave this stamp, and how that is known; None: what any clock does."""
    if number := context.still.get((unit, stamp_ns)):
        return "stood still", f"all {number:,} events of {unit} have the same stamp"
    if gap_ns := context.timepieces.back_ns(unit):
        how = f"{unit} stamped an event {span(gap_ns)} before the time up to which it had said that it had sent all"
        return "went back", how
    status = context.statuses.get(unit)
    if status is None or status.started_ns is None or status.pid is None or status.former:
        return None
    lead_ns = status.started_ns - stamp_ns - fault.error
    if lead_ns > SURE_NS:
        return "is behind", f"{unit} was started {span(lead_ns)} after it had fired that, says its stamp"
    return None
