"""Which finding comes before which, for people: causes before consequences.

Belongs here: the order. Must not know how a finding came about.
"""

from collections.abc import Iterable
from typing import Final

from runner.model.result.result import Finding, FindingClass

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

CAUSE_RANK: Final = {cls: rank for rank, cls in enumerate(_CAUSES)}

"""What can be the cause of the rest comes first."""


def by_cause(unordered: Iterable[Finding]) -> list[Finding]:
    """What is certain before what is not, causes before consequences, else as they were found."""
    return sorted(
        unordered, key=lambda finding: (finding.inconclusive, not _is_of_setup(finding), CAUSE_RANK[finding.cls])
    )


def _is_of_setup(finding: Finding) -> bool:
    """Whether `setup` failed: then nothing was started, and all the rest follows from it."""
    return finding.cls is FindingClass.CHECK and finding.step == "setup"


def in_order(unordered: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, most telling first: the first of each class by cause, then the rest."""
    leading: dict[FindingClass, Finding] = {}
    rest = [finding for finding in by_cause(unordered) if leading.setdefault(finding.cls, finding) is not finding]
    return (*leading.values(), *rest)
