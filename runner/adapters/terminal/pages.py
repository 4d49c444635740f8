"""The pages beside the view: findings in full, and help; and the lines that both the view and a page have.

Belongs here: how a finding or an incident is shown, and what the keys do. Must not know
terminals.
"""

from typing import Final

from rich.cells import cell_len

from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.quantity import compact, plural
from runner.core.report.text import ALERT, DIM, STRONG, Line, Span, clean, fit, wrap
from runner.core.report.words import glyph, subject
from runner.model.result.result import Finding

_INCIDENT: Final = f"! {'incident':<10}  "


def findings_lines(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """The most telling findings, one line each."""
    if room <= 0 or not snapshot.findings:
        return []
    shown = snapshot.findings[: room - (snapshot.finding_count > room)]
    lines = [finding_line(finding, width) for finding in shown]
    if snapshot.finding_count > len(shown):
        text = f"… and {plural(snapshot.finding_count - len(shown), 'more finding')}"
        lines.append((Span(fit(text, width, middle=False), DIM),))
    return lines


def finding_line(finding: Finding, width: int) -> Line:
    """One finding on one line."""
    head = fit(f"{glyph(finding)} {finding.cls.value:<10}  ", min(width, 14))
    return Span(head, ALERT), Span(fit(subject(finding), width - len(head), middle=False))


def incident_lines(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """What the broker has not let peers do, one line each, and how often."""
    if room <= 0 or not snapshot.incidents:
        return []
    shown = snapshot.incidents[: room - (len(snapshot.incidents) > room)]
    lines = [_incident_line(what, number, width) for what, number in shown]
    if rest := snapshot.incidents[len(shown) :]:
        times = plural(sum(number for _, number in rest), "time")
        text = f"… and {len(rest):,} more, {times}" if shown else f"{_INCIDENT}{times}; f shows whose"
        lines.append((Span(fit(text, width, middle=False), DIM if shown else ALERT),))
    return lines


def _incident_line(what: str, number: int, width: int) -> Line:
    head = fit(_INCIDENT, min(width, len(_INCIDENT)))
    times = f" ×{compact(number)}" if number > 1 else ""
    text = clean(what)
    room = max(width - len(head) - len(times), 0)
    return Span(head, ALERT), Span(fit(text, min(room, cell_len(text)), middle=False)), Span(times[: width - len(head)])


def findings_page(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """The most telling findings with their explanation, and incidents, as many as fit."""
    incidents = incident_lines(snapshot, width, min(len(snapshot.incidents), max(room // 3, 1)))
    found = _findings(snapshot, width, room - len(incidents) - bool(incidents))
    return [*found, (), *incidents][:room] if incidents else found


def _findings(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    if not snapshot.findings:
        nothing: Line = (Span(fit("No findings so far.", width), DIM),)
        return [nothing][:room]
    lines: list[Line] = []
    for shown, finding in enumerate(snapshot.findings):
        text = [Span(fit(f"{glyph(finding)} {finding.cls.value}", width).rstrip(), ALERT)]
        block: list[Line] = [tuple(text)]
        block += [(Span("  " + part),) for part in wrap(subject(finding), width - 2)]
        for detail in finding.details:
            block += [(Span("    " + part, DIM),) for part in wrap(clean(detail), width - 4, hang=2)]
        last = shown + 1 == snapshot.finding_count
        if shown and len(lines) + len(block) + (not last) > room:
            lines.append((Span(fit(f"… and {snapshot.finding_count - shown:,} more", width, middle=False), DIM),))
            break
        lines += block
    return lines[:room]


_HELP: Final = (
    ("p", "pause the picture, or go on; the run itself never pauses"),
    ("f", "findings with their explanation, or back"),
    ("q", "stop the run cleanly: what is known is judged and kept"),
    ("?", "this page, or back"),
    ("", ""),
    ("● ◐ ○", "a unit that runs; that waits for something; that has not started"),
    ("✓ ■ ✗", "a unit that finished; that was stopped; that failed"),
    ("DONE", "complete instances of a circuit, of those that the scenario asks for"),
    ("OPEN", "instances that are on their way and still in time"),
    ("p99", "99 of 100 were this fast or faster; the bars go from fast to slow"),
    ("incident", "what the broker refused; ×3: three times"),
    ("slowest", "the hop with the longest median"),
    ("unsure", "instances that lost evidence or clock error leaves undecided"),
)


def help_page(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """Keys, signs and words."""
    del snapshot
    head = min(9, width)
    lines: list[Line] = []
    for key, text in _HELP:
        lines.append((Span(fit(key, head), STRONG), Span(fit(text, width - head, middle=False))))
    return lines[:room]
