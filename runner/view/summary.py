"""The end of a run in words: what a person reads first, and often all that is read.

Belongs here: which facts of a result are said, in which order and how many of them. Must not know streams. The
order is fixed: the verdict with its reason, what is wrong and why, how fast it was, what the verdict stands on, where
it is kept.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from rich.cells import cell_len

from runner.scenario.model import Budget, Circuit, Scenario
from runner.signals import signal_name
from runner.verifier.verdict import CircuitResult, Evidence, Finding, FindingClass, Latency, Pairs, Result, Verdict
from runner.view.budgets import standings
from runner.view.quantity import duration, percent, plural
from runner.view.text import ALARM, ALERT, DIM, GOOD, PLAIN, STRONG, Line, Span, clean, fit, wrap
from runner.view.words import glyph, hop_names, subject

_FULL: Final = 4
"""So many groups of findings are told in full."""
_BRIEF: Final = 6
"""So many more are told without their explanation."""
_DETAILS: Final = (12, 5)
"""Lines of explanation for the first finding and for each other."""
_CIRCUITS: Final = 12
_RANGES: Final = 3
_LABEL: Final = 20

_CAUSES: Final = (
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
    FindingClass.LOST_EVIDENCE,
    FindingClass.LEFTOVER,
)
"""What is told first: what can be the cause of the rest."""

_INSTANCES: Final = {
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


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known beside the result itself. `folder`: where the run is kept; `show`: the command that shows it."""

    scenario: Scenario | None = None
    folder: str = ""
    show: str = "circuit-run show latest"
    interrupted: bool = False

    @property
    def explains(self) -> bool:
        """Whether findings are told with their details; an older folder may not want that (`diagnostics`)."""
        return self.scenario is None or self.scenario.legacy is None or self.scenario.legacy.diagnostics

    @property
    def times(self) -> bool:
        """Whether latencies are told; an older folder may not want that (`gen-metrics`)."""
        return self.scenario is None or self.scenario.legacy is None or self.scenario.legacy.gen_metrics


def summary(result: Result, about: Summary, width: int) -> list[Line]:
    """The end of a run in lines of at most `width` cells."""
    lines = [_verdict(result, about, width)]
    if result.findings:
        lines += [(), *_findings(result, about, width), ()]
    lines += _facts(result, about, width)
    return lines


# --- verdict --------------------------------------------------------------------------------------------------------


def _verdict(result: Result, about: Summary, width: int) -> Line:
    word = "interrupted" if about.interrupted else result.verdict.value
    tone = GOOD if word == Verdict.PASSED else ALARM
    head = [
        Span(clean(result.scenario), STRONG),
        Span("   "),
        Span(word.upper(), tone),
        Span(f"   in {duration(result.duration_s * 1e9)}"),
    ]
    room = width - sum(cell_len(span.text) for span in head) - 4
    reasons = _reasons(result)
    reason = next((text for text in reasons if cell_len(text) <= room), reasons[-1] if reasons else "")
    if reason and room >= 12:
        head.append(Span("    " + fit(reason, room, middle=False).rstrip()))
    return tuple(head)


def _reasons(result: Result) -> list[str]:
    """The most telling reason in a few words, from long to short; the finding itself is told below."""
    if not result.findings:
        return [_undecided(result)] if result.verdict is not Verdict.PASSED else []
    ordered = _by_cause(result.findings)
    first = ordered[0]
    circuit = next((c for c in result.circuits if c.name == first.circuit), None)
    if circuit is not None and first.cls in _INSTANCES:
        return [_instances_reason(circuit, result.findings)]
    who = clean(first.circuit or "" if first.cls is FindingClass.BUDGET else first.unit or first.circuit or "")
    if who and first.cls in _REASONS:
        reason = f"{who} {_fate(first, result)}"
        return [f"{reason}, and {plural(len(ordered) - 1, 'finding')} more", reason] if len(ordered) > 1 else [reason]
    counts = Counter(finding.cls.value for finding in ordered)
    return [", ".join(f"{number:,} {name}" for name, number in counts.items())]


def _fate(finding: Finding, result: Result) -> str:
    code = next((unit.exit_code for unit in result.units if unit.name == finding.unit), None)
    if finding.cls is not FindingClass.UNIT_FAILED or not code:
        return _REASONS[finding.cls]
    return f"exited with code {code}" if code > 0 else f"was killed by {signal_name(-code)}"


def _instances_reason(circuit: CircuitResult, findings: Iterable[Finding]) -> str:
    mine = [finding for finding in findings if finding.circuit == circuit.name and finding.cls in _INSTANCES]
    classes = {finding.cls for finding in mine}
    instances = circuit.instances
    number = instances.failed or instances.inconclusive or len({finding.key for finding in mine})
    unsure = "may have " if not instances.failed and instances.inconclusive else ""
    what = _INSTANCES[classes.pop()] if len(classes) == 1 and not unsure else "failed"
    return f"{clean(circuit.name)}: {number:,} of {max(instances.started, number):,} {unsure}{what}"


def _undecided(result: Result) -> str:
    lost = _lost(result.evidence)
    if lost:
        return f"{plural(lost, 'event')} lost"
    open_ = sum(circuit.instances.open for circuit in result.circuits)
    return f"{plural(open_, 'instance')} still open" if open_ else ""


# --- findings -------------------------------------------------------------------------------------------------------


def _findings(result: Result, about: Summary, width: int) -> list[Line]:
    """Findings that are alike are told once, in full, and counted; an indented line is a quotation, and is not quoted
    again."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in _by_cause(result.findings):
        alike = (finding.cls, finding.circuit, finding.unit, finding.step, finding.inconclusive)
        groups.setdefault(alike, []).append(finding)
    alike_findings = list(groups.values())
    indent = 2 + 2 + max(len(group[0].cls.value) for group in alike_findings[: _FULL + _BRIEF]) + 3
    if indent > width // 2:
        indent = 6
    blocks: list[list[Line]] = []
    told: set[str] = set()
    for number, group in enumerate(alike_findings[: _FULL + _BRIEF]):
        block = _told(group[0], indent, width)
        if number < _FULL and about.explains:
            details = [text for text in group[0].details if not (text.startswith(" ") and text.strip() in told)]
            told.update(text.strip() for text in details)
            block += _explained(group[0], details, about, indent, width, _DETAILS[number > 0])
        if len(group) > 1:
            block += _hanging(indent, f"and {len(group) - 1:,} more like this: {about.show}", width, DIM)
        blocks.append(block)
    rest = sum(len(group) for group in alike_findings[_FULL + _BRIEF :])
    if rest:
        blocks.append(_hanging(indent, f"and {plural(rest, 'finding')} more: {about.show}", width, DIM))
    lines: list[Line] = []
    for before, block in pairwise([[], *blocks]):
        if len(before) > 1 or (before and len(block) > 1):
            lines.append(())
        lines += block
    return lines


def _by_cause(findings: Sequence[Finding]) -> list[Finding]:
    """What is certain before what is not, causes before consequences, else as they were found."""
    return sorted(findings, key=lambda finding: (finding.inconclusive, _CAUSES.index(finding.cls)))


def _told(finding: Finding, indent: int, width: int) -> list[Line]:
    head = fit(f"  {glyph(finding)} {finding.cls.value}", indent - 1) + " "
    first, *more = wrap(subject(finding), width - indent)
    return [(Span(head, ALERT), Span(first)), *((Span(" " * indent + part),) for part in more)]


def _explained(
    finding: Finding, details: Sequence[str], about: Summary, indent: int, width: int, most: int
) -> list[Line]:
    lines: list[Line] = []
    for detail in details[:most]:
        lines += _hanging(indent, clean(detail), width)
    if len(details) > most:
        lines += _hanging(indent, f"… {plural(len(details) - most, 'line')} more", width, DIM)
    if finding.key is not None and not any("circuit-run" in detail for detail in finding.details):
        lines += _hanging(indent, f"show it:  {about.show} --key {_quoted(finding.key)}", width, DIM)
    return lines


def _quoted(key: str) -> str:
    """A key as a shell takes it."""
    key = clean(key)
    return key if key and all(c.isalnum() or c in "-_./:@%+=," for c in key) else "'" + key.replace("'", "'\\''") + "'"


def _hanging(indent: int, text: str, width: int, tone: str = PLAIN) -> list[Line]:
    return [(Span(" " * indent + part, tone),) for part in wrap(text, width - indent, hang=2, split=False)]


# --- facts ----------------------------------------------------------------------------------------------------------


def _facts(result: Result, about: Summary, width: int) -> list[Line]:
    """Circuits with their latencies, pairs, evidence, notes and where the run is kept, under labels."""
    circuits = sorted(result.circuits, key=lambda circuit: circuit.verdict is Verdict.PASSED)[:_CIRCUITS]
    declared = {circuit.name: circuit for circuit in about.scenario.circuits} if about.scenario else {}
    label = min(max((cell_len(circuit.name) for circuit in circuits), default=0), _LABEL)
    label = max(label, 8)
    rows = [row for circuit in circuits for row in _circuit(circuit, declared.get(circuit.name))] if about.times else []
    lines = _table(rows, label, width)
    if len(result.circuits) > len(circuits):
        rest = len(result.circuits) - len(circuits)
        lines += _labelled("", f"and {plural(rest, 'circuit')} more: {about.show}", label, width)
    for text in _pairs(result.pairs, times=about.times and not result.circuits):
        lines += _labelled("pairs", text, label, width)
    for number, (text, tone) in enumerate(_evidence(result)):
        lines += _labelled("" if number else "evidence", text, label, width, tone)
    for note in result.notes:
        lines += _labelled("note", clean(note), label, width)
    if about.folder:
        # Never broken: a path is there to be copied.
        lines.append((Span("  " + fit("kept in", label) + "   ", STRONG), Span(clean(about.folder))))
    return lines


class _Row(NamedTuple):
    """A fact of a circuit: what, and the numbers for it."""

    label: str
    text: str
    right: str = ""
    tone: str = PLAIN


def _table(rows: Sequence[_Row], label: int, width: int) -> list[Line]:
    """Numbers beside what they are about, or below it where there is no room."""
    room = width - (2 + label + 3) - 3 - max((cell_len(row.right) for row in rows), default=0)
    middle = min(max((cell_len(row.text) for row in rows), default=0), max(room, 0))
    counts = max((cell_len(row.text) for row in rows if row.label), default=0)
    lines: list[Line] = []
    for row in rows:
        head = Span("  " + fit(clean(row.label), label) + "   ", STRONG)
        if room >= max(20, counts):  # a name may be cut, a number not
            lines.append((head, Span(f"{fit(row.text, middle)}   {row.right}", row.tone)))
        else:
            lines.append((head, Span(fit(row.text, width - label - 5), row.tone)))
            lines += _hanging(label + 5, row.right, width, row.tone) if row.right else []
    return lines


def _labelled(label: str, text: str, room: int, width: int, tone: str = PLAIN) -> list[Line]:
    first, *more = wrap(text, width - room - 5)
    head = Span("  " + fit(label, room) + "   ", STRONG)
    return [(head, Span(first, tone)), *((Span(" " * (room + 5) + part, tone),) for part in more)]


def _circuit(circuit: CircuitResult, declared: Circuit | None) -> Iterable[_Row]:
    now = circuit.instances
    if not (now.started or circuit.latency.count or any(hop.latency.count for hop in circuit.hops)):
        yield _Row(circuit.name, "never started")
        return
    yield _Row(circuit.name, f"{now.complete:,} of {now.started:,} complete", _times(circuit.latency))
    for number, word in ((now.open, "open"), (now.inconclusive, "undecided")):
        if number:
            yield _Row("", f"{number:,} {word}")
    if declared is not None:
        yield from _budget(declared.budget, circuit.latency)
    for name, hop in zip(hop_names(circuit.hops), circuit.hops, strict=True):
        yield _Row("", f"→ {name}", _times(hop.latency))
        if declared is not None and hop.target in declared.hop_budgets:
            yield from _budget(declared.hop_budgets[hop.target], hop.latency, "  ")


def _budget(budget: Budget, latency: Latency, indent: str = "") -> Iterable[_Row]:
    for standing in standings(budget, latency):
        used = "nothing measured" if standing.share is None else f"{percent(standing.share)} of it used"
        yield _Row("", f"{indent}budget {standing}", used, ALERT if standing.broken else PLAIN)


def _times(latency: Latency) -> str:
    if not latency.count:
        return "nothing measured"
    values = (("p50", latency.p50_ns), ("p99", latency.p99_ns), ("max", latency.max_ns))
    text = "   ".join(f"{name} {duration(ns):>7}" for name, ns in values)
    return text + (f"   ±{duration(latency.error_ns)}" if latency.error_ns else "")


def _pairs(pairs: Pairs, *, times: bool) -> list[str]:
    """Only if there are any; with their latency where no circuit tells it."""
    if pairs == Pairs():
        return []
    parts = [f"{pairs.paired:,} paired{f'   {_times(pairs.latency)}' if times and pairs.latency.count else ''}"]
    for keys, what in (
        (pairs.orphan_sends, "sent and never received"),
        (pairs.orphan_receives, "received and never sent"),
        (pairs.duplicate_keys, "more than once"),
    ):
        if keys:
            named = ", ".join(clean(key) for key in keys[:_RANGES])
            parts.append(f"{len(keys):,} {what} ({named}{', …' if len(keys) > _RANGES else ''})")
    return [", ".join(parts)]


def _lost(evidence: Evidence) -> int:
    return sum(lost.last - lost.first + 1 for lost in evidence.lost)


def _evidence(result: Result) -> Iterable[tuple[str, str]]:
    evidence, lost = result.evidence, _lost(result.evidence)
    text = f"{plural(evidence.received, 'event')} from {plural(len(result.units), 'unit')}"
    if evidence.recovered:
        text += f", {evidence.recovered:,} recovered from journals"
    if evidence.duplicates_dropped:
        text += f", {evidence.duplicates_dropped:,} received twice"
    if not lost:
        missing = [f for f in result.findings if f.cls is FindingClass.MISSING and not f.inconclusive]
        never = f": the {'event was' if len(missing) == 1 else 'events were'} never emitted" if missing else ""
        yield f"{text}, none lost{never}", PLAIN
        return
    yield f"{text}, {lost:,} lost", ALERT
    for gap in evidence.lost[:_RANGES]:
        numbers = f"number {gap.first:,}" if gap.first == gap.last else f"numbers {gap.first:,} to {gap.last:,}"
        yield f"lost: {clean(gap.unit)}, {numbers} ({clean(gap.why)})", ALERT
    if len(evidence.lost) > _RANGES:
        yield f"lost: {plural(len(evidence.lost) - _RANGES, 'range')} more", ALERT
