"""Why a run ended as it did, in a few words for the line of the verdict.

Belongs here: which finding is the most telling, and its shortest sentence. Must not know layout.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from runner.core.report.quantity import plural
from runner.core.report.text import clean
from runner.core.report.words import subject
from runner.model.result.ranking import by_cause
from runner.model.result.result import CircuitResult, Evidence, Finding, FindingClass, Result, Verdict
from runner.model.signals import signal_name

INSTANCES: Final = {
    FindingClass.MISSING: "did not arrive",
    FindingClass.ORPHAN: "came from nowhere",
    FindingClass.DUPLICATE: "arrived more than once",
    FindingClass.ACAUSAL: "came out of order",
    FindingClass.LATE: "came too late",
}
"""What became of the instances of a circuit."""

_REASONS: Final = {
    FindingClass.NOT_READY: "did not get ready",
    FindingClass.UNIT_FAILED: "failed",
    FindingClass.EXCEPTION: "raised an exception",
    FindingClass.BUDGET: "is over its budget",
    FindingClass.MISSING: "left out a probe",
    FindingClass.LEFTOVER: "left something behind",
}
"""What a unit or a circuit did, for the line of the verdict."""

_OF_CIRCUIT: Final = (*INSTANCES, FindingClass.COUNT)
"""Findings about a circuit as a whole, where no instance of it has failed: the finding says it best."""


def reasons(result: Result) -> list[str]:
    """The most telling reason in a few words, from long to short; the finding itself is shown below. Where a run was
    interrupted, only what was surely wrong till then is one."""
    if result.verdict is Verdict.INTERRUPTED:
        result = replace(result, findings=tuple(finding for finding in result.findings if not finding.inconclusive))
    if not result.findings:
        return [_undecided(result)] if result.verdict is not Verdict.PASSED else []
    ordered = by_cause(result.findings)
    first = ordered[0]
    if first.cls is FindingClass.LOST_EVIDENCE:
        lost = _undecided(result)
        rest = tuple(finding for finding in ordered if finding.cls is not FindingClass.LOST_EVIDENCE)
        return [*(f"{lost}, {text}" for text in reasons(replace(result, findings=rest)) if rest), lost]
    circuit = next((c for c in result.circuits if c.name == first.circuit), None)
    if circuit is not None and first.cls in INSTANCES and (circuit.instances.failed or circuit.instances.inconclusive):
        return _instances_reasons(circuit, result.findings)
    if found := _reasons(first, result):
        more = [f"{found[0]}, and {plural(len(ordered) - 1, 'finding')} more"] if len(ordered) > 1 else []
        return [*more, *found]
    counts = Counter(finding.cls.value for finding in ordered)
    return [", ".join(f"{number:,} {name}" for name, number in counts.items())]


def _is_about_a_pair(finding: Finding) -> bool:
    """Whether it is about a send and its receive, for which no circuit answers."""
    return finding.circuit is None and finding.key is not None and finding.cls in INSTANCES


def _reasons(finding: Finding, result: Result) -> list[str]:
    """Who did what, from long to short. An exit code is named only if the finding names it: else it is that of a unit
    that the run stopped."""
    if finding.circuit is not None and finding.cls is FindingClass.UNEXPECTED:
        forbidden = sum(f.cls is finding.cls and f.circuit == finding.circuit for f in result.findings)
        return [subject(finding), f"{clean(finding.circuit)}: {plural(forbidden, 'forbidden event')}"]
    if _is_about_a_pair(finding) or finding.cls is FindingClass.CHECK:
        return [subject(finding)]
    if finding.circuit is not None and finding.cls in _OF_CIRCUIT:
        return [subject(finding), subject(finding).partition(";")[0]]
    who = clean(finding.circuit or "" if finding.cls is FindingClass.BUDGET else finding.unit or finding.circuit or "")
    if not who or finding.cls not in _REASONS:
        return []
    if finding.cls is FindingClass.UNIT_FAILED:
        code = next((unit.exit_code for unit in result.units if unit.name == finding.unit), None) or 0
        end = f"exited with code {code}" if code >= 0 else f"was killed by {signal_name(-code)}"
        whole = subject(finding)
        return [f"{who} {end}"] if end in finding.message else [whole, whole.partition(" and ")[0]]
    if finding.cls is FindingClass.BUDGET and finding.inconclusive:
        return [f"{who} may be over its budget"]
    return [f"{who} {_REASONS[finding.cls]}"]


def _instances_reasons(circuit: CircuitResult, findings: Iterable[Finding]) -> list[str]:
    """What became of its instances, and beside them what is none: an orphan never started, and an event that the
    circuit forbids may have any key."""
    mine = [finding for finding in findings if finding.circuit == circuit.name]
    classes = {finding.cls for finding in mine if finding.cls in INSTANCES}
    now = circuit.instances
    number = now.failed or now.inconclusive
    unsure = "may have " if not now.failed and now.inconclusive else ""
    orphans = min(max(now.complete + now.failed + now.open + now.inconclusive - now.started, 0), number)
    orphans = orphans if FindingClass.ORPHAN in classes else 0
    forbidden = sum(finding.cls is FindingClass.UNEXPECTED for finding in mine)
    beside = [
        *([plural(orphans, "orphan")] if orphans else []),
        *([plural(forbidden, "forbidden event")] if forbidden else []),
    ]
    if orphans == number:
        return [f"{clean(circuit.name)}: {' and '.join(beside)}"]
    if orphans:
        classes.discard(FindingClass.ORPHAN)
        number -= orphans
    what = INSTANCES[classes.pop()] if len(classes) == 1 and not unsure else "failed"
    reason = f"{clean(circuit.name)}: {number:,} of {max(now.started, number):,} {unsure}{what}"
    return [", and ".join([reason, *beside]), reason]


def _undecided(result: Result) -> str:
    lost = lost_records(result.evidence)
    if lost:
        return f"{plural(lost, 'event')} lost"
    if result.evidence.unknown:
        return "events may be lost"
    open_ = sum(circuit.instances.open for circuit in result.circuits)
    return f"{plural(open_, 'instance')} still open" if open_ else ""


def lost_records(evidence: Evidence) -> int:
    """How many records are lost."""
    return sum(lost.last - lost.first + 1 for lost in evidence.lost)
