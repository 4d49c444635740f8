"""The end of a run in words: what a person reads first, and often all that is read.

Belongs here: which facts of a result are shown, in which order and how many of them. Must not know streams. The
order is fixed: the verdict with its reason, what is wrong and why, how fast it was, what the verdict is based on, where
it is kept.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from rich.cells import cell_len

from runner.core.report import facts
from runner.core.report.budgets import budget_uses
from runner.core.report.quantity import plural
from runner.core.report.reason import INSTANCES, reasons
from runner.core.report.text import ALARM, ALERT, DIM, GOOD, PLAIN, STRONG, Line, Span, clean, fit, wrap
from runner.core.report.words import beside_its_class, glyph, hop_names, measured
from runner.model.duration import duration
from runner.model.result.ranking import by_cause
from runner.model.result.result import CircuitResult, Finding, FindingClass, Latency, Result, Verdict
from runner.model.scenario.model import Budget, Circuit, Scenario

_FULL: Final = 4
"""So many groups of findings are shown in full."""
_BRIEF: Final = 6
"""So many more are shown without their explanation."""
_DETAILS: Final = (12, 5)
"""Lines of explanation for the first finding and for each other."""
_LAST_WORDS: Final = 4
"""Lines of a unit's output where other findings follow, so that those are seen at a glance too."""
_ENDS: Final = (FindingClass.UNIT_FAILED, FindingClass.NOT_READY, FindingClass.CHECK)
"""What is explained by the output of a process: its end is the most telling part."""
_SENT: Final = re.compile(r'[^\s"]*/circuit-run/[^\s"/]+@[^\s"/]+/scenario/')
"""Where a scenario's folder is on another host, while the run lives."""
_CIRCUITS: Final = 12
_LABEL: Final = 20


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known beside the result itself. `folder`: where the run is kept; `show`: the command that shows it."""

    scenario: Scenario | None = None
    folder: str = ""
    show: str = "circuit-run show latest"
    everything: bool = False
    """Whether every finding is shown, however many there are."""
    shorter: tuple[tuple[str, str], ...] = ()
    """(how a path begins, what is shown instead), for paths in details."""

    @property
    def explains(self) -> bool:
        """Whether findings are shown with their details; a legacy folder may not want that (`diagnostics`)."""
        return self.scenario is None or self.scenario.legacy is None or self.scenario.legacy.diagnostics

    @property
    def times(self) -> bool:
        """Whether latencies are shown; a legacy folder may not want that (`gen-metrics`)."""
        return self.scenario is None or self.scenario.legacy is None or self.scenario.legacy.gen_metrics


def summary(result: Result, about: Summary, width: int) -> list[Line]:
    """The end of a run in lines of at most `width` cells."""
    result = replace(result, findings=_without_repeats(result))
    lines = [_verdict(result, width)]
    if result.findings:
        lines += [(), *_findings(result, about, width), ()]
    lines += _facts(result, about, width)
    return lines


# --- verdict --------------------------------------------------------------------------------------------------------


def _verdict(result: Result, width: int) -> Line:
    tone = GOOD if result.verdict is Verdict.PASSED else ALARM
    head = [
        Span(clean(result.scenario), STRONG),
        Span("   "),
        Span(result.verdict.value.upper(), tone),
        Span(f"   in {duration(result.duration_s * 1e9)}"),
    ]
    room = width - sum(cell_len(span.text) for span in head) - 4
    found = reasons(result)
    reason = next((text for text in found if cell_len(text) <= room), found[-1] if found else "")
    if reason and room >= 12:
        head.append(Span("    " + fit(reason, room, middle=False).rstrip()))
    return tuple(head)


# --- findings -------------------------------------------------------------------------------------------------------


def _findings(result: Result, about: Summary, width: int) -> list[Line]:
    """Findings that are alike are shown once, in full, and counted; an indented line is a quotation, and is not quoted
    again."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in by_cause(result.findings):
        alike = (finding.cls, finding.circuit, finding.unit, finding.step, finding.inconclusive)
        groups.setdefault(alike, []).append(finding)
    alike_findings = _at_a_glance(list(groups.values()))
    most = len(alike_findings) if about.everything else _FULL + _BRIEF
    indent = 2 + 2 + max(len(group[0].cls.value) for group in alike_findings[:most]) + 3
    if indent > width // 2:
        indent = 6
    blocks: list[list[Line]] = []
    quoted: set[str] = set()
    for number, group in enumerate(alike_findings[:most]):
        block = _finding(group[0], alike_findings[0][0], about, indent, width)
        if (number < _FULL or about.everything) and about.explains:
            details = [text for text in group[0].details if not (text.startswith(" ") and text.strip() in quoted)]
            quoted.update(text.strip() for text in details)
            brief = group[0].cls in _ENDS and len(alike_findings) > 1
            block += _explained(group[0], details, about, indent, width, _LAST_WORDS if brief else _DETAILS[number > 0])
        if about.everything:
            block += [line for more in group[1:] for line in _finding(more, alike_findings[0][0], about, indent, width)]
        elif len(group) > 1:
            block += _hanging(indent, f"and {len(group) - 1:,} more like this: {about.show}", width, DIM)
        blocks.append(block)
    rest = sum(len(group) for group in alike_findings[most:])
    if rest:
        blocks.append(_hanging(indent, f"and {plural(rest, 'finding')} more: {about.show}", width, DIM))
    lines: list[Line] = []
    for before, block in pairwise([[], *blocks]):
        if len(before) > 1 or (before and len(block) > 1):
            lines.append(())
        lines += block
    return lines


def _at_a_glance(groups: list[list[Finding]]) -> list[list[Finding]]:
    """What did not arrive comes second at the latest, whatever else can be its cause."""
    missing = next((n for n, (first, *_) in enumerate(groups) if first.cls is FindingClass.MISSING), 0)
    if missing < 2 or groups[missing][0].inconclusive:
        return groups
    return [groups[0], groups[missing], *groups[1:missing], *groups[missing + 1 :]]


def _without_repeats(result: Result) -> tuple[Finding, ...]:
    """The findings without the exceptions that were the end of their unit: what it wrote last shows them as well."""
    codes = {unit.name: unit.exit_code for unit in result.units}
    words = {finding.unit: finding.details for finding in result.findings if finding.cls in _ENDS}

    def ended_it(finding: Finding) -> bool:
        if finding.cls is not FindingClass.EXCEPTION or finding.key is not None or codes.get(finding.unit or "") != 1:
            return False
        for line in words.get(finding.unit, ()):
            name, _, message = line.partition(": ")
            if name.rpartition(".")[2] == finding.step and " ".join(message.split())[:100] in finding.message:
                return True
        return False

    return tuple(finding for finding in result.findings if not ended_it(finding))


def _finding(finding: Finding, first: Finding, about: Summary, indent: int, width: int) -> list[Line]:
    head = fit(f"  {glyph(finding)} {finding.cls.value}", indent - 1) + " "
    text = _detail(beside_its_class(finding), about)
    if finding.key and finding.circuit and finding.cls in INSTANCES and finding.circuit != first.circuit:
        text = f"{clean(finding.circuit)}: {text}"  # the line of the verdict names that of the first
    start, *more = wrap(text, width - indent)
    return [(Span(head, ALERT), Span(start)), *((Span(" " * indent + part),) for part in more)]


def _explained(
    finding: Finding, details: Sequence[str], about: Summary, indent: int, width: int, most: int
) -> list[Line]:
    lines: list[Line] = []
    head, tail = _shortened(details, most, from_end=finding.cls in _ENDS)
    hidden = len(details) - len(head) - len(tail)
    for detail in head:
        lines += _hanging(indent, _detail(detail, about), width)
    if hidden and not any(detail.startswith("whole output") for detail in tail):
        lines += _hanging(indent, f"… {plural(hidden, 'line')} more", width, DIM)
    for detail in tail:
        text = _detail(detail, about)
        quoted = text.startswith(" ")  # of a traceback; cut, so that it stays a line
        lines += _hanging(indent, fit(text, width - indent).rstrip() if quoted else text, width)
    key = None if any("circuit-run" in detail for detail in finding.details) else _quoted(finding.key)
    if key is not None:  # never broken: a command is there to be copied
        lines.append((Span(" " * indent + f"show it:  {about.show} --key {key}", DIM),))
    return lines


def _detail(text: str, about: Summary) -> str:
    for path, short in about.shorter:
        text = text.replace(path, short)
    return clean(_SENT.sub("", text))


def _shortened(details: Sequence[str], most: int, *, from_end: bool) -> tuple[Sequence[str], Sequence[str]]:
    """What of `details` comes before and after the lines that are left out. Of a traceback the innermost frame and the
    exception stay."""
    if len(details) <= most:
        return details, ()
    frames = [n for n, text in enumerate(details) if text.lstrip().startswith('File "')]
    start = frames[-1] if frames else len(details) - most if from_end else len(details)
    tail = [text for text in details[start:] if set(text) - set(" ~^")]
    if len(tail) > most:
        tail = [*tail[:3], *tail[3 - most :]]
    return details[: max(min(start, most - len(tail)), 0)], tail


def _quoted(key: str | None) -> str | None:
    """A key as a shell takes it; None if there is none or no shell can say it."""
    if key is None or "\0" in key:
        return None
    if clean(key) == key:
        return shlex.quote(key)
    try:
        return "$'" + "".join(map(_escaped, key)) + "'"
    except UnicodeEncodeError:
        return None


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if clean(character) == character:
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _hanging(indent: int, text: str, width: int, tone: str = PLAIN) -> list[Line]:
    return [(Span(" " * indent + part, tone),) for part in wrap(text, width - indent, hang=2, split=False)]


# --- facts ----------------------------------------------------------------------------------------------------------


def _facts(result: Result, about: Summary, width: int) -> list[Line]:
    """Circuits with their latencies, pairs, evidence, notes and where the run is kept, under labels."""
    circuits = sorted(result.circuits, key=lambda circuit: circuit.verdict is Verdict.PASSED)
    circuits = circuits if about.everything else circuits[:_CIRCUITS]
    declared = {circuit.name: circuit for circuit in about.scenario.circuits} if about.scenario else {}
    label = min(max((cell_len(circuit.name) for circuit in circuits), default=0), _LABEL)
    label = max(label, len("incidents" if result.evidence.incidents else "evidence"))
    rows = [row for circuit in circuits for row in _circuit(circuit, declared.get(circuit.name))] if about.times else []
    lines = _table(rows, label, width)
    if len(result.circuits) > len(circuits):
        rest = len(result.circuits) - len(circuits)
        lines += _labelled("", f"and {plural(rest, 'circuit')} more: {about.show}", label, width)
    for number, text in enumerate(facts.about_pairs(result.pairs, times=about.times and not result.circuits)):
        lines += _labelled("" if number else "pairs", text, label, width)
    for number, barrier in enumerate(result.barriers):
        what, skew = facts.about_barrier(barrier)
        beside = cell_len(f"{what}, {skew}") <= width - label - 5
        lines += _labelled("" if number else "barriers", f"{what}, {skew}" if beside else what, label, width)
        lines += [] if beside else [(Span(" " * (label + 5) + part),) for part in _figures(skew, width - label - 5)]
    if result.hosts:
        lines += _labelled("hosts", ", ".join(map(facts.about_host, result.hosts)), label, width)
    for number, (text, tone) in enumerate(facts.about_evidence(result)):
        lines += _labelled("" if number else "evidence", text, label, width, tone)
    for number, text in enumerate(facts.about_incidents(result.evidence.incidents)):
        lines += _labelled("" if number else "incidents", text, label, width)
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
    names = max((cell_len(row.text) for row in rows if row.right and not row.label), default=0)
    aligned = 0 < names <= room
    indent = label + 5 + (names + 3 if aligned else 0)  # all numbers begin in one column
    lines: list[Line] = []
    for row in rows:
        head = Span("  " + fit(clean(row.label), label) + "   ", STRONG)
        if room >= max(20, counts):  # a name may be cut, a number not
            lines.append((head, Span(f"{fit(row.text, middle)}   {row.right}", row.tone)))
        else:
            own = f"{fit(row.text, names) if aligned else row.text}   {row.right}".rstrip()
            fits = cell_len(own) <= width - label - 5
            beside = fits and not row.label and (aligned or not row.text.startswith("→"))
            lines.append((head, Span(own if beside else fit(row.text, width - label - 5), row.tone)))
            if row.right and not beside:
                lines += [(Span(" " * indent + part, row.tone),) for part in _figures(row.right, width - indent)]
    return lines


def _figures(text: str, width: int) -> list[str]:
    """A row of quantiles in lines of at most `width` cells; a number is not parted from its unit."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for part in re.split(r" {2,}(?=p\d|max)", text):
        if lines[-1] and cell_len(lines[-1]) + 2 + cell_len(part) > width:
            lines.append("")
        lines[-1] += f"  {part}" if lines[-1] else part
    return [short for line in lines for short in wrap(line.rstrip(), width, hang=2)]


def _labelled(label: str, text: str, room: int, width: int, tone: str = PLAIN) -> list[Line]:
    first, *more = wrap(text, width - room - 5)
    head = Span("  " + fit(label, room) + "   ", STRONG)
    return [(head, Span(first, tone)), *((Span(" " * (room + 5) + part, tone),) for part in more)]


def _circuit(circuit: CircuitResult, declared: Circuit | None) -> Iterable[_Row]:
    now, latency = circuit.instances, measured(circuit)
    if not (now.started or latency.count or any(hop.latency.count for hop in circuit.hops)):
        yield _Row(circuit.name, "never started")
        return
    yield _Row(circuit.name, f"{now.complete:,} of {now.started:,} complete", facts.about_times(latency))
    for number, word in ((now.open, "open"), (now.inconclusive, "undecided")):
        if number:
            yield _Row("", f"{number:,} {word}")
    if declared is not None:
        yield from _budget(declared.budget, latency)
    for name, hop in zip(hop_names(circuit.hops), circuit.hops, strict=True):
        yield _Row("", f"→ {name}", facts.about_times(hop.latency))
        if declared is not None and hop.target in declared.hop_budgets:
            yield from _budget(declared.hop_budgets[hop.target], hop.latency, "  ")


def _budget(budget: Budget, latency: Latency, indent: str = "") -> Iterable[_Row]:
    for use in budget_uses(budget, latency):
        tone = ALERT if use.broken or use.undecided else PLAIN
        yield _Row("", f"{indent}budget {use}", use.used, tone)
