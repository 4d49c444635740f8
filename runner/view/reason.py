"""Why a run ended as it did, in a few words for the line of the verdict.

Belongs here: which finding is the most telling, and its shortest sentence. Must not know layout.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from runner.signals import signal_name
from runner.verifier.findings import by_cause
from runner.verifier.verdict import CircuitResult, Evidence, Finding, FindingClass, Result, Verdict
from runner.view.quantity import plural
from runner.view.text import clean
from runner.view.words import subject

INSTANCES: Final = {
    FindingClass.MISSING: "did not arrive",
    FindingClass.ORPHAN: "came from nowhere",
    FindingClass.DUPLICATE: "arrived more than once",
    FindingClass.ACAUSAL: "came out of order",
    FindingClass.LATE: "came too late",
    FindingClass.UNEXPECTED: "took a forbidden step",
}
"""What became of the instances of a circuit."""

_REASONS: Final = {
    FindingClass.NOT_READY: "did not get ready",
    FindingClass.UNIT_FAILED: "failed",
    FindingClass.EXCEPTION: "raised an exception",
    FindingClass.COUNT: "was not started as often as it should",
    FindingClass.BUDGET: "is over its budget",
    FindingClass.MISSING: "left out a probe",
    FindingClass.LEFTOVER: "left something behind",
}
"""What a unit or a circuit did, for the line of the verdict."""


def reasons(result: Result) -> list[str]:
    """The most telling reason in a few words, from long to short; the finding itself is told below."""
    if not result.findings:
        return [_undecided(result)] if result.verdict is not Verdict.PASSED else []
    ordered = by_cause(result.findings)
    first = ordered[0]
    if first.cls is FindingClass.LOST_EVIDENCE:
        lost = _undecided(result)
        rest = tuple(finding for finding in ordered if finding.cls is not FindingClass.LOST_EVIDENCE)
        return [*(f"{lost}, {text}" for text in reasons(replace(result, findings=rest)) if rest), lost]
    circuit = next((c for c in result.circuits if c.name == first.circuit), None)
    if circuit is not None and first.cls in INSTANCES:
        return _instances_reasons(circuit, result.findings)
    reason = _reason(first, result)
    if reason:
        return [f"{reason}, and {plural(len(ordered) - 1, 'finding')} more", reason] if len(ordered) > 1 else [reason]
    counts = Counter(finding.cls.value for finding in ordered)
    return [", ".join(f"{number:,} {name}" for name, number in counts.items())]


def _reason(finding: Finding, result: Result) -> str:
    """Who did what. An exit code is told only if the finding tells it: else it is that of a unit that we stopped."""
    of_circuit = finding.cls in (FindingClass.BUDGET, FindingClass.COUNT)
    who = clean(finding.circuit or "" if of_circuit else finding.unit or finding.circuit or "")
    if not who or finding.cls not in _REASONS:
        return ""
    if finding.cls is FindingClass.UNIT_FAILED:
        code = next((unit.exit_code for unit in result.units if unit.name == finding.unit), None) or 0
        end = f"exited with code {code}" if code >= 0 else f"was killed by {signal_name(-code)}"
        return f"{who} {end}" if end in finding.message else subject(finding)
    if finding.cls is FindingClass.BUDGET and finding.inconclusive:
        return f"{who} may be over its budget"
    return f"{who} {_REASONS[finding.cls]}"


def _instances_reasons(circuit: CircuitResult, findings: Iterable[Finding]) -> list[str]:
    """An orphan never started, so it is told beside those that did."""
    mine = [finding for finding in findings if finding.circuit == circuit.name and finding.cls in INSTANCES]
    classes = {finding.cls for finding in mine}
    now = circuit.instances
    number = now.failed or now.inconclusive or len({finding.key for finding in mine})
    unsure = "may have " if not now.failed and now.inconclusive else ""
    orphans = min(max(now.complete + now.failed + now.open + now.inconclusive - now.started, 0), number)
    orphans = orphans if FindingClass.ORPHAN in classes else 0
    if orphans:
        if orphans == number:
            return [f"{clean(circuit.name)}: {plural(number, 'orphan')}"]
        classes.discard(FindingClass.ORPHAN)
        number -= orphans
    what = INSTANCES[classes.pop()] if len(classes) == 1 and not unsure else "failed"
    reason = f"{clean(circuit.name)}: {number:,} of {max(now.started, number):,} {unsure}{what}"
    return [f"{reason}, and {plural(orphans, 'orphan')}", reason] if orphans else [reason]


def _undecided(result: Result) -> str:
    lost = lost_records(result.evidence)
    if lost:
        return f"{plural(lost, 'event')} lost"
    open_ = sum(circuit.instances.open for circuit in result.circuits)
    return f"{plural(open_, 'instance')} still open" if open_ else ""


def lost_records(evidence: Evidence) -> int:
    """How many records nobody will ever see."""
    return sum(lost.last - lost.first + 1 for lost in evidence.lost)
