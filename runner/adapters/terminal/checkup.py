"""What an examination of machines found, in lines.

Belongs here: a block for each machine, a line for each thing looked at, remedies below. Must not know how a machine is
asked, nor streams.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.cells import cell_len

from runner.core.report.quantity import plural
from runner.core.report.text import ALARM, ALERT, DIM, GOOD, STRONG, Line, Span, clean, fit, without_escapes, wrap
from runner.model.checkup import Checkup, Examined, Level

_SIGNS: Final = {
    Level.OK: Span("✓ ", DIM),
    Level.NOTE: Span("● ", STRONG),
    Level.PROBLEM: Span("✗ ", ALERT),
}
_GAP: Final = 2
_SAID: Final = "it said: "


def checkups(machines: Sequence[Examined], width: int) -> Iterator[Line]:
    """All of them, with a blank line between. Lines have `width` cells at most, but paths and what is to be typed stay
    whole."""
    names = max((cell_len(clean(machine.name)) for machine in machines), default=0)
    words = max((len(check.name) for machine in machines for check in machine.checks), default=0)
    for number, machine in enumerate(machines):
        if number:
            yield ()
        yield _title(machine, min(names, width // 2))
        for check in machine.checks:
            yield from _check(check, words, width)


def _title(machine: Examined, names: int) -> Line:
    notes = plural(machine.notes, "note")
    if not machine.looked:
        verdict = Span("not examined", STRONG)
    elif machine.problems:
        also = f", {notes}" if machine.notes else ""
        verdict = Span(f"not fit: {plural(machine.problems, 'problem')}{also}", ALARM)
    else:
        verdict = Span(f"fit, {notes}" if machine.notes else "fit", GOOD)
    return (Span(fit(clean(machine.name), names), STRONG), Span("   "), verdict)


def _check(check: Checkup, words: int, width: int) -> Iterator[Line]:
    indent = 2 + 2 + words + _GAP
    room = width - indent
    head = (Span("  "), _SIGNS[check.level], Span(check.name.ljust(words + _GAP)))
    first, *rest = wrap(clean(check.found), room, split=False)
    yield (*head, Span(first))
    yield from _indented(rest, indent)
    for number, line in enumerate(check.said):
        label = _SAID if number == 0 else " " * len(_SAID)
        yield from _indented(
            wrap(label + without_escapes(line).strip(), room, hang=len(_SAID) if number == 0 else 0), indent, DIM
        )
    yield from _indented(_advice(check, room), indent)


def _advice(check: Checkup, room: int) -> list[str]:
    """The remedy, and behind it what to type, below where there is no room."""
    lines = wrap(clean(check.remedy), room, split=False) if check.remedy else []
    if not check.command:
        return lines
    command = clean(check.command)
    if lines and cell_len(lines[-1]) + 2 + cell_len(command) <= room:
        return [*lines[:-1], f"{lines[-1]}  {command}"]
    return [*lines, f"  {command}"]


def _indented(lines: Iterable[str], indent: int, tone: str = "") -> Iterator[Line]:
    for line in lines:
        yield (Span(" " * indent), Span(line, tone))
