"""All that was found, in words and in order: most telling first.

Belongs here: how many are explained, and a total order of faults. The words are in `explain`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from runner.core.verifier.context import Context
from runner.core.verifier.explain import FaultText
from runner.core.verifier.judge import Fault
from runner.model.result.ranking import CAUSE_RANK, in_order
from runner.model.result.result import Finding, FindingClass, Lost, UnknownLoss

EXPLAINED: Final = 1_000
"""Findings with details; those beyond have their sentence only."""


def findings(context: Context) -> tuple[Finding, ...]:
    """All faults and losses of `context` as findings, most telling first."""
    faults = list(context.faults)
    weak = {id(fault): context.is_inconclusive(fault) for fault in faults}

    def rank(fault: Fault) -> tuple[Any, ...]:
        """Total, so that the order of arrival shows nowhere."""
        at = fault.event or fault.after
        where = fault.event.slot if fault.event else fault.slot or 0
        place = -1 if fault.place is None else fault.place
        named = (fault.circuit or "", fault.key or "", place, where, fault.unit or "", fault.step or "", fault.note)
        return weak[id(fault)], CAUSE_RANK[fault.cls], at.stamp_ns if at else 0, *named

    in_words = [
        _finding(FaultText(fault, context), explained=n < EXPLAINED) for n, fault in enumerate(sorted(faults, key=rank))
    ]
    return in_order([*in_words, *map(_lost, context.losses.ranges), *_unknown(context.losses.unknown)])


def _lost(lost: Lost) -> Finding:
    many = f"events {lost.first:,} to {lost.last:,}" if lost.last > lost.first else f"event {lost.first:,}"
    return Finding(
        FindingClass.LOST_EVIDENCE,
        f"{lost.unit} (incarnation {lost.incarnation}) lost {many}: {lost.why}",
        unit=lost.unit,
        inconclusive=True,
    )


def _unknown(losses: Iterable[UnknownLoss]) -> Iterator[Finding]:
    """One for all processes of a unit that may have lost events for the same reason."""
    alike: dict[tuple[str, str], list[UnknownLoss]] = {}
    for loss in losses:
        alike.setdefault((loss.unit, loss.why), []).append(loss)
    for (unit, why), found in alike.items():
        who = f"incarnation {found[0].incarnation}" if len(found) == 1 else f"{len(found):,} incarnations"
        yield Finding(
            FindingClass.LOST_EVIDENCE,
            f"{unit} ({who}) may have lost events, how many is not known: {why}",
            unit=unit,
            inconclusive=True,
        )


def _finding(text: FaultText, *, explained: bool) -> Finding:
    fault, slot = text.fault, text.slot
    at = fault.event or fault.after
    return Finding(
        cls=fault.cls,
        message=text.message(),
        circuit=fault.circuit,
        key=fault.key,
        unit=fault.event.unit if fault.event else slot.unit if slot else fault.unit,
        step=slot.step if slot else fault.step,
        stamp_ns=at.stamp_ns if at else None,
        details=tuple(text.details()) if explained else (),
        inconclusive=text.inconclusive,
    )
