"""All that was found, in words and in order: most telling first.

Belongs here: which finding comes before which, and how many are explained. The words are in `explain`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from runner.verifier.context import Context
from runner.verifier.explain import Told
from runner.verifier.judge import Fault
from runner.verifier.verdict import Finding, FindingClass, Lost, UnknownLoss

EXPLAINED: Final = 1_000
"""Findings with details; those beyond have their sentence only."""

_CAUSES: Final = (
    FindingClass.LOST_EVIDENCE,
    FindingClass.NOT_READY,
    FindingClass.UNIT_FAILED,
    FindingClass.EXCEPTION,
    FindingClass.MISSING,
    FindingClass.ORPHAN,
    FindingClass.DUPLICATE,
    FindingClass.ACAUSAL,
    FindingClass.UNEXPECTED,
    FindingClass.LATE,
    FindingClass.BUDGET,
    FindingClass.COUNT,
    FindingClass.CHECK,
    FindingClass.LEFTOVER,
)
_ORDER: Final = {cls: rank for rank, cls in enumerate(_CAUSES)}
"""What can be the cause of the rest comes first."""


def findings(context: Context) -> tuple[Finding, ...]:
    """All faults and losses of `context` as findings, most telling first."""
    faults = list(context.faults)
    weak = {id(fault): context.is_inconclusive(fault) for fault in faults}

    def rank(fault: Fault) -> tuple[Any, ...]:
        """Total, so that the order of arrival shows nowhere."""
        at = fault.mark or fault.after
        where = fault.mark.slot if fault.mark else fault.slot or 0
        place = -1 if fault.place is None else fault.place
        named = (fault.circuit or "", fault.key or "", place, where, fault.unit or "", fault.step or "", fault.note)
        return weak[id(fault)], _ORDER[fault.cls], at.stamp_ns if at else 0, *named

    told = [_finding(Told(fault, context), explained=n < EXPLAINED) for n, fault in enumerate(sorted(faults, key=rank))]
    return in_order([*told, *map(_lost, context.losses.ranges), *_unknown(context.losses.unknown)])


def by_cause(unordered: Iterable[Finding]) -> list[Finding]:
    """What is certain before what is not, causes before consequences, else as they were found."""
    return sorted(unordered, key=lambda finding: (finding.inconclusive, not _is_of_setup(finding), _ORDER[finding.cls]))


def _is_of_setup(finding: Finding) -> bool:
    """Whether `setup` failed: then nothing was started, and all the rest follows from it."""
    return finding.cls is FindingClass.CHECK and finding.step == "setup"


def in_order(unordered: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, most telling first: the first of each class by cause, then the rest."""
    leading: dict[FindingClass, Finding] = {}
    rest = [finding for finding in by_cause(unordered) if leading.setdefault(finding.cls, finding) is not finding]
    return (*leading.values(), *rest)


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


def _finding(told: Told, *, explained: bool) -> Finding:
    fault, slot = told.fault, told.slot
    at = fault.mark or fault.after
    return Finding(
        cls=fault.cls,
        message=told.message(),
        circuit=fault.circuit,
        key=fault.key,
        unit=fault.mark.unit if fault.mark else slot.unit if slot else fault.unit,
        step=slot.step if slot else fault.step,
        stamp_ns=at.stamp_ns if at else None,
        details=tuple(told.details()) if explained else (),
        inconclusive=told.inconclusive,
    )
