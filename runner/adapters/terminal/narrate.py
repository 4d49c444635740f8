"""The run in plain lines, for a log or a pipe: what changed since the snapshot before.

Belongs here: what is worth a line, and which lines it gets. Must not know streams or the time; its clock is
`Snapshot.elapsed_s`.
"""

from typing import Final

from rich.cells import cell_len

from runner.adapters.terminal.connection import connection
from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.quantity import compact, count, elapsed, plural
from runner.core.report.text import ALERT, DIM, Line, Span, clean, fit, unit_tone, without_escapes
from runner.core.report.words import beside_its_class, glyph, losses, measured, quantiles
from runner.model.duration import duration
from runner.model.result.interval import interval
from runner.model.result.result import CircuitResult, Finding, FindingClass
from runner.model.result.unit_status import State, UnitStatus

PROGRESS_S: Final = 5.0
"""Seconds of the run between two reports of progress."""

_MOST_FINDINGS: Final = 50
_MOST_INCIDENTS: Final = 50
_MOST_CIRCUITS: Final = 5
_LONGEST_OUTPUT: Final = 2_000


class Narrator:
    """Narrates a run snapshot by snapshot; says nothing twice."""

    def __init__(self) -> None:
        self._phase = ""
        self._states: dict[str, State] = {}
        self._complete: dict[str, int] = {}
        self._findings: set[object] = set()
        self._told_all_findings = False
        self._incidents: set[str] = set()
        self._trouble = ""
        self._away_since_s = 0.0
        self._next_progress_s = PROGRESS_S

    def tell(self, snapshot: Snapshot) -> list[Line]:
        """The lines for what is new on this snapshot; most snapshots have none."""
        names = [
            snapshot.scenario,
            *(unit.name for unit in snapshot.units),
            *(circuit.name for circuit in snapshot.circuits),
        ]
        width = min(max(cell_len(clean(name)) for name in names), 24)
        lines: list[Line] = []

        def say(name: str, text: str, tone: str = "") -> None:
            clock = f"{elapsed(snapshot.elapsed_s):>7}  "
            lines.append((Span(clock, DIM), Span(fit(clean(name), width) + "  "), Span(clean(text), tone)))

        several = len({unit.host for unit in snapshot.units}) > 1
        for unit in snapshot.units:
            if self._states.get(unit.name, State.CREATED) is not unit.state:
                where = f", on {unit.host}" if several and unit.name not in self._states else ""
                tone = ALERT if unit.state is State.FAILED else ""
                self._states[unit.name] = unit.state
                if unit.state is not State.RUNNING or where:  # the phase says it, once for all of them
                    say(unit.name, _became(unit, where), tone)
        if snapshot.phase != self._phase:
            self._phase = snapshot.phase
            say(snapshot.scenario, f"{snapshot.phase}, {plural(len(snapshot.units), 'unit')}")
        if text := self._link(snapshot):
            say(snapshot.scenario, text, ALERT if self._trouble else "")
        for circuit in snapshot.circuits:
            for text in self._milestones(circuit, snapshot.expected.get(circuit.name)):
                say(circuit.name, text)
        for finding in snapshot.findings:
            if text := self._text(finding):
                say(finding.circuit or finding.unit or snapshot.scenario, text, ALERT)
        for what, number in snapshot.incidents:
            if text := self._incident(what, number):
                say(snapshot.scenario, text, ALERT)
        if snapshot.elapsed_s >= self._next_progress_s:
            self._next_progress_s = snapshot.elapsed_s + PROGRESS_S
            for circuit in sorted(snapshot.circuits, key=_busy)[:_MOST_CIRCUITS]:
                say(circuit.name, _progress(circuit, snapshot.expected.get(circuit.name)))
            lost = losses(snapshot.lost, more=snapshot.more_lost)
            events = f"{plural(snapshot.events, 'event')}, {count(round(snapshot.events_per_s))} ev/s, {lost}"
            say(snapshot.scenario, events, ALERT if snapshot.lost or snapshot.more_lost else "")
        return lines

    def _link(self, snapshot: Snapshot) -> str:
        """That the broker is away, and that it is back."""
        trouble, before = connection(snapshot), self._trouble
        self._trouble = trouble
        if trouble and not before:
            self._away_since_s = snapshot.elapsed_s - (snapshot.silent_s if snapshot.connected else 0.0)
        if trouble:
            return f"the broker is away: {trouble}" if trouble != before else ""
        return f"the broker is back after {duration((snapshot.elapsed_s - self._away_since_s) * 1e9)}" if before else ""

    def _milestones(self, circuit: CircuitResult, asked: int | None) -> list[str]:
        complete, before = circuit.instances.complete, self._complete.get(circuit.name, 0)
        self._complete[circuit.name] = complete
        texts = []
        if complete and not before:
            latency = measured(circuit)
            took = f", in {interval(latency.p50_ns, latency.p50_error_ns)}" if latency.count else ""
            texts.append(f"first instance complete{took}")
        if asked is not None and before < asked <= complete:
            texts.append(f"{complete:,} of {asked:,} complete")
        return texts

    def _text(self, finding: Finding) -> str:
        # A loss grows while it is shown; the summary has the whole of it.
        news = (finding.cls, finding.unit) if finding.cls is FindingClass.LOST_EVIDENCE else finding
        if news in self._findings or self._told_all_findings:
            return ""
        if len(self._findings) == _MOST_FINDINGS:
            self._told_all_findings = True
            return "more findings than are shown here; the summary counts them"
        self._findings.add(news)
        return f"{glyph(finding)} {finding.cls.value}: {beside_its_class(finding)}"

    def _incident(self, what: str, number: int) -> str:
        if what in self._incidents or len(self._incidents) > _MOST_INCIDENTS:
            return ""
        self._incidents.add(what)
        if len(self._incidents) > _MOST_INCIDENTS:
            return "! incidents: more than is shown here; the summary counts them"
        return f"! incident: {what}{f' ×{compact(number)}' if number > 1 else ''}"


def output_line(unit: str, line: str) -> Line:
    """A line of a unit's output with the unit's name before it, always in the same colour."""
    if len(line) > _LONGEST_OUTPUT:
        line = f"{line[:_LONGEST_OUTPUT]}… ({len(line):,} characters)"
    return Span(f"{clean(unit)} │ ", unit_tone(unit)), Span(without_escapes(line))


def _became(unit: UnitStatus, where: str) -> str:
    if unit.state is State.READY and unit.ready_ns is not None and unit.started_ns is not None:
        return f"ready after {duration(unit.ready_ns - unit.started_ns)}{where}"
    if not unit.why:
        return f"{unit.state}{where}"
    return f"{unit.state}{where}: {unit.why.removeprefix(f'was {unit.state}: ').removeprefix(f'was {unit.state} ')}"


def _busy(circuit: CircuitResult) -> tuple[int, int]:
    return -circuit.instances.failed, -circuit.instances.open


def _progress(circuit: CircuitResult, asked: int | None) -> str:
    now, latency = circuit.instances, measured(circuit)
    done = f"{now.complete:,}" if asked is None else f"{now.complete:,} of {compact(asked)}"
    text = f"{done} complete, {now.open:,} open, {now.failed:,} failed"
    if latency.count:
        text += "   " + "  ".join(f"{name} {time}" for name, time in quantiles(latency))
    return text
