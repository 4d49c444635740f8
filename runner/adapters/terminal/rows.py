"""A snapshot becomes lines of styled text. Pure: the same snapshot at the same size gives the same lines.

Belongs here: what is shown where, what is left out when there is no room, and in which tone. Must not know terminals,
keys or time. Columns stand at fixed places, so that a changing number moves nothing; at 80 columns the view is the
one of the manual, wider ones only add to its right. Ten times a second beside the whole run: laid out by hand, because
a table of rich costs many times as much.
"""

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import Final

from rich.cells import cell_len

from runner.adapters.terminal.connection import connection
from runner.adapters.terminal.pages import findings_lines, findings_page, help_page, incident_lines
from runner.adapters.terminal.snapshot import Snapshot
from runner.adapters.terminal.table import Cell, Column, breadth, choose, most_telling, row, titles
from runner.core.report.quantity import NONE, ago, compact, count, elapsed, plural
from runner.core.report.text import ALERT, DIM, PLAIN, STRONG, Line, Span, clean, columns, fit
from runner.core.report.words import hop_names, losses, measured, quantiles
from runner.model.result.interval import at_most
from runner.model.result.result import UNKNOWN, CircuitResult, Hop, Latency
from runner.model.result.unit_status import State, UnitStatus
from runner.model.signals import signal_name

WIDE: Final = 119
"""From this many cells on there is room for hosts, clock errors and wide histograms. The frame gets no wider: the eye
should not have to travel; names and findings may."""

_ERRORS: Final = {"p50": " ", "p99": "  ", "max": "   "}
"""The titles of the columns behind those of times; they are blank, and no two are the same."""
_TIMES: Final = frozenset((*_ERRORS, *_ERRORS.values(), ""))

_OLD_NS: Final = 5_000_000_000
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_NOTHING: Final[Line] = ()


class Page(Enum):
    """What the view shows."""

    SNAPSHOT = "board"
    FINDINGS = "findings"
    HELP = "help"


def rows(
    snapshot: Snapshot,
    width: int,
    height: int,
    *,
    page: Page = Page.SNAPSHOT,
    behind_s: float | None = None,
    keys: bool = True,
) -> list[Line]:
    """The view in at most `height` lines of at most `width` cells.

    `behind_s`: the view is paused and that much older than the run; None: it is not. `keys`: whether keys are read,
    so that the last line may name them.
    """
    frame = min(width, WIDE)
    rule = Span("─" * frame, DIM)
    body = _PAGES[page](snapshot, width, max(height - 4, 0))
    footer = _footer(snapshot, frame, page, paused=behind_s is not None, keys=keys)
    return [_header(snapshot, frame, behind_s), (rule,), *body, (rule,), footer][:height]


def _header(snapshot: Snapshot, width: int, behind_s: float | None) -> Line:
    clock = f"{elapsed(snapshot.elapsed_s):>7}"
    paused = [] if behind_s is None else [Span(f"paused, {ago(int(behind_s * 1e9))} behind", ALERT), Span("   ")]
    trouble = connection(snapshot)
    state = Span(trouble, ALERT) if trouble else Span(fit(clean(snapshot.phase), 8, right=True))
    right = [*paused, state, Span(f"  {clock}", STRONG)]
    room = width - sum(cell_len(span.text) for span in right) - 1
    if room < 8:
        return (Span(fit(clean(snapshot.scenario), width), STRONG),)
    return columns([Span(fit(clean(snapshot.scenario), room).rstrip(), STRONG)], right, width)


def _footer(snapshot: Snapshot, width: int, page: Page, *, paused: bool, keys: bool) -> Line:
    rate = f"{count(round(snapshot.events_per_s)):>7} ev/s"
    lost = losses(snapshot.lost, more=snapshot.more_lost), ALERT if snapshot.lost or snapshot.more_lost else PLAIN
    left = [Span(f"{rate}   {plural(snapshot.events, 'event')}, "), Span(*lost)]
    room = width - sum(cell_len(span.text) for span in left) - 2
    if room < 0:
        return (Span(fit("".join(span.text for span in left).strip(), width), lost[1]),)
    pause = "p go on" if paused else "p pause"
    findings = "f board" if page is Page.FINDINGS else "f findings"
    for hint in (f"{pause}  {findings}  q stop  ?", "p  f  q  ?") if keys else ("Ctrl-C stops",):
        if len(hint) <= room:
            return columns(left, [Span(hint, DIM)], width)
    return tuple(left)


# --- the view -------------------------------------------------------------------------------------------------------


def _snapshot(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """Units, circuits, the first findings and incidents; each gets its room, the most telling part of it first."""
    circuits = len(snapshot.circuits) + sum(len(circuit.hops) for circuit in snapshot.circuits)
    circuits += 2 if circuits else 0
    units = len(snapshot.units) + 1 + len(snapshot.away)
    findings = min(len(snapshot.findings), 3) + (snapshot.finding_count > 3) + 1 if snapshot.findings else 0
    incidents = min(len(snapshot.incidents), 4) + 1 if snapshot.incidents else 0
    if units + circuits + findings + incidents > room:
        incidents = min(incidents, 2)
    room -= incidents
    if units + circuits + findings > room:
        findings = min(findings, max(room // 4, 2)) if findings else 0
        units = min(units, max(room - circuits - findings, room // 3))
        circuits = room - units - findings
    return [
        *_units(snapshot, width, units),
        *_spaced(_circuits(snapshot, width, circuits - 1)),
        *_spaced(findings_lines(snapshot, width, findings - 1)),
        *_spaced(incident_lines(snapshot, width, incidents - 1)),
    ]


def _spaced(lines: list[Line]) -> list[Line]:
    return [_NOTHING, *lines] if lines else []


# --- units ----------------------------------------------------------------------------------------------------------

_GLYPHS: Final = {
    State.CREATED: "○",
    State.STARTING: "○",
    State.READY: "●",
    State.RUNNING: "●",
    State.FINISHED: "✓",
    State.FAILED: "✗",
    State.STOPPED: "■",
}


def _units(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    away = [
        (Span(fit(f"✗ host {clean(text)}", width, middle=False), ALERT),) for text in snapshot.away[: max(room - 2, 0)]
    ]
    shown, hidden = most_telling(snapshot.units, room - 1 - len(away), _concern)
    if not shown:
        return []
    table = _unit_table(snapshot, width)
    lines = [titles(table), *(_unit(snapshot, table, unit) for unit in shown)]
    if hidden:
        states = Counter(unit.state for unit in hidden)
        counts = ", ".join(f"{number:,} {state}" for state, number in states.most_common())
        lines.append((Span(fit(f"… and {len(hidden):,} more: {counts}", width, middle=False), DIM),))
    return [*lines, *away]


def _unit_table(snapshot: Snapshot, width: int) -> tuple[Column, ...]:
    """Names and probes get more room where they need it and there is some: never because of what happens in a run,
    only because of what its scenario says."""
    base = choose(
        (
            Column("UNIT", 12, rank=0, gap=0),
            Column("STATE", 8, rank=1, gap=0),
            Column("EVENTS", 9, rank=2, gap=0, right=True),
            Column("LAST PROBE", 20, rank=4, gap=3),
            Column("AGO", 6, rank=3, gap=1, right=True),
        ),
        width,
    )
    spare = width - breadth(base)
    wide: list[Column] = []
    if width >= WIDE:
        hosts = max((len(unit.host) for unit in snapshot.units), default=0)
        wide = [Column("HOST", max(min(hosts, 20), 8), rank=6)]
        if snapshot.clock_errors:
            wide.append(Column("CLOCK", 8, rank=7, right=True))
        spare -= breadth(wide)
    grown = []
    wanted = {
        "UNIT": max((cell_len(unit.name) for unit in snapshot.units), default=0) + 3,
        "LAST PROBE": max(
            (cell_len(name) for circuit in snapshot.circuits for name in hop_names(circuit.hops)), default=0
        ),
    }
    for column in base:
        more = max(min(wanted.get(column.title, 0) - column.width, spare), 0)
        spare -= more
        grown.append(column._replace(width=column.width + more))
    note = [Column("", min(spare - 2, 40), rank=9, middle=False)] if spare >= 10 else []
    return (*grown, *wide, *note)


def _concern(unit: UnitStatus) -> int:
    """Failed units first, then those that are blocked, then those that live; ended ones last."""
    if unit.state is State.FAILED:
        return 0
    if unit.state.ended:
        return 4
    if unit.blocked_on:
        return 1
    return 3 if unit.state is State.CREATED else 2


def _unit(snapshot: Snapshot, table: Sequence[Column], unit: UnitStatus) -> Line:
    failed, blocked = unit.state is State.FAILED, bool(unit.blocked_on) and not unit.state.ended
    tone = ALERT if failed else DIM if unit.state.ended or unit.state is State.CREATED else PLAIN
    glyph = "◐" if blocked else _GLYPHS[unit.state]
    age = None if unit.last_stamp_ns is None else snapshot.now_ns - unit.last_stamp_ns
    seen = DIM if age is None or age >= _OLD_NS else tone
    cells = {
        "UNIT": Cell(f"{glyph} {clean(unit.name)}", tone),
        "STATE": Cell("waiting" if blocked else _state(unit), tone),
        "EVENTS": Cell(count(unit.events), tone),
        "LAST PROBE": Cell(clean(unit.last_step), seen),
        "AGO": Cell("" if age is None else ago(age), seen),
        "HOST": Cell(clean(unit.host), DIM),
        "CLOCK": Cell(_clock(snapshot.clock_errors.get(unit.host, 0)), DIM),
        "": Cell(_note(unit), ALERT if failed else DIM),
    }
    return row(table, cells)


def _clock(error_ns: int) -> str:
    if error_ns >= UNKNOWN:
        return "unknown"
    return f"±{at_most(error_ns)}" if error_ns else ""


def _note(unit: UnitStatus) -> str:
    """Why a unit failed or what it waits for; how the others ended is no news."""
    if unit.state in (State.FINISHED, State.STOPPED):
        return ""
    return clean(unit.blocked_on if unit.blocked_on and not unit.state.ended else unit.why)


def _state(unit: UnitStatus) -> str:
    if unit.state is State.FAILED and unit.exit_code:
        return f"exit {unit.exit_code}" if unit.exit_code > 0 else signal_name(-unit.exit_code)
    return unit.state.value


# --- circuits -------------------------------------------------------------------------------------------------------


def _circuits(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    shown, hidden = most_telling(snapshot.circuits, room - 1, _trouble)
    if hidden and shown:
        # The hops of the first one tell more than a few circuits that are well.
        shown, hidden = most_telling(snapshot.circuits, max(room - 1 - len(shown[0].hops), 4), _trouble)
    if not shown or room < 2:
        return []
    table = _circuit_table(snapshot, width)
    lines = [titles(table)]
    spare = room - 1 - len(shown) - bool(hidden)
    for circuit in shown:
        lines.append(_circuit(snapshot, table, circuit))
        if len(circuit.hops) <= spare:
            spare -= len(circuit.hops)
            lines += _hops(table, circuit)
    if hidden:
        failed = sum(circuit.instances.failed for circuit in hidden)
        text = f"… and {len(hidden):,} more, {f'{failed:,} instances' if failed else 'none'} failed"
        lines.append((Span(fit(text, width, middle=False), DIM),))
    return lines


def _trouble(circuit: CircuitResult) -> int:
    """Circuits with failures first, then those with open instances."""
    return 0 if circuit.instances.failed else 1 if circuit.instances.open else 2


def _circuit_table(snapshot: Snapshot, width: int) -> tuple[Column, ...]:
    asked = max((len(compact(number)) for number in snapshot.expected.values()), default=-1)
    done = 5 + asked
    name = 21 - done
    table = choose(
        (
            Column("CIRCUIT", name, rank=0, gap=0),
            Column("DONE", done, rank=1, gap=1, right=True),
            Column("OPEN", 5, rank=4, gap=1, right=True),
            Column("FAIL", 5, rank=3, gap=1, right=True),
            Column("p50", 7, rank=5, right=True),
            Column("p99", 7, rank=2, right=True),
            Column("max", 7, rank=6, right=True),
            Column("", 16, rank=7, middle=False),
        ),
        width,
    )
    if width >= WIDE and snapshot.clock_errors:
        table = tuple(column for time in table for column in (time, *_error_column(time)))
    spare = width - breadth(table)
    tail = min(spare, 30) if table[-1].title == "" else 0
    need = max((cell_len(circuit.name) for circuit in snapshot.circuits), default=0)
    hops = max((cell_len(name) + 4 for circuit in snapshot.circuits for name in hop_names(circuit.hops)), default=0)
    need = max(need, hops - sum(c.gap + c.width for c in table[1:] if c.title in ("DONE", "OPEN", "FAIL")))
    more = max(min(need - table[0].width, spare - tail), 0)
    table = (table[0]._replace(width=table[0].width + more), *table[1:])
    return (*table[:-1], table[-1]._replace(width=16 + tail)) if tail else table


def _error_column(column: Column) -> tuple[Column, ...]:
    """What stands behind a column of times: their errors."""
    return (Column(_ERRORS[column.title], 5, rank=8, gap=1),) if column.title in _ERRORS else ()


def _circuit(snapshot: Snapshot, table: Sequence[Column], circuit: CircuitResult) -> Line:
    instances, asked = circuit.instances, snapshot.expected.get(circuit.name)
    done = compact(instances.complete) + ("" if asked is None else f"/{compact(asked)}")
    over = circuit.name in snapshot.over_budget
    budget = clean(snapshot.budgets.get(circuit.name, ""))
    notes = [budget, f"{compact(instances.inconclusive)} unsure" if instances.inconclusive else ""]
    cells = {
        "CIRCUIT": Cell(clean(circuit.name), STRONG),
        "DONE": Cell(done),
        "OPEN": Cell(compact(instances.open), PLAIN if instances.open else DIM),
        "FAIL": Cell(compact(instances.failed), ALERT if instances.failed else DIM),
        "": Cell(", ".join(note for note in notes if note), ALERT if over else PLAIN),
    }
    return row(table, cells | _times(measured(circuit)))


def _times(latency: Latency) -> dict[str, Cell]:
    """The cells of the quantiles, and of their errors beside them."""
    if not latency.count:
        return {title: Cell(NONE, DIM) for title in _ERRORS}
    cells = {title: Cell(time.value) for title, time in quantiles(latency)}
    return cells | {_ERRORS[title]: Cell(time.error, DIM) for title, time in quantiles(latency)}


def _hops(table: Sequence[Column], circuit: CircuitResult) -> list[Line]:
    """One line a hop; its name may reach over the columns that only circuits fill."""
    times = [column for column in table if column.title in _TIMES]
    reach = breadth(table) - breadth(times)
    layout = (Column("CIRCUIT", reach, rank=0, gap=0), *times)
    slowest = _slowest(circuit.hops)
    tail = times[-1].width if times and times[-1].title == "" else 0
    lines = []
    for name, hop in zip(hop_names(circuit.hops), circuit.hops, strict=True):
        tone = STRONG if hop is slowest else PLAIN
        cells = {
            "CIRCUIT": Cell(f"  → {name}", tone),
            "": Cell(_tail(hop, tail, hop is slowest, error=len(times) <= len(_ERRORS) + 1), tone),
        }
        lines.append(row(layout, cells | _times(hop.latency)))
    return lines


def _slowest(hops: Sequence[Hop]) -> Hop | None:
    """The hop whose median is the longest: a median does not jump about."""
    timed = [hop for hop in hops if hop.latency.count]
    return max(timed, key=lambda hop: hop.latency.p50_ns) if len(timed) > 1 else None


def _tail(hop: Hop, room: int, slowest: bool, *, error: bool) -> str:
    """Histogram, clock error (if it does not stand elsewhere) and mark of a hop, as far as there is room."""
    mark = " ◂ slowest"
    width = 6 if room < (32 if error else 16 + len(mark)) else 16
    error_ns = hop.latency.error_ns if error else 0
    text = histogram(hop.latency.bars, width) + (f" ±{at_most(error_ns):<7}" if error_ns else "")
    return text + mark if slowest and len(text) + len(mark) <= room else text


def histogram(bars: Sequence[int], width: int) -> str:
    """Counts as `width` blocks, the highest one full; a bucket that has something is never blank."""
    if len(bars) > width:
        edges = [index * len(bars) // width for index in range(width + 1)]
        bars = [sum(bars[start:end]) for start, end in pairwise(edges)]
    highest = max(bars, default=0)
    if highest <= 0:
        return " " * width
    return "".join(_BLOCKS[-(-bar * 8 // highest) - 1] if bar > 0 else " " for bar in bars).ljust(width)


_PAGES: Final = {Page.SNAPSHOT: _snapshot, Page.FINDINGS: findings_page, Page.HELP: help_page}
