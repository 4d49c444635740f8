"""How well the clocks of a run's hosts are known, as lines.

Belongs here: the table that `circuit-run clocks` shows. Pure; must not know how clocks are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runner.adapters.terminal.table import Cell, Column, choose, row, titles
from runner.core.report.quantity import NONE, ago
from runner.core.report.text import ALERT, DIM, PLAIN, STRONG, Line, Span, clean, fit
from runner.model.duration import duration

_TABLE: Final = (
    Column("HOST", 14, rank=0, gap=0),
    Column("AHEAD BY", 16, rank=1, right=True),
    Column("", 8, rank=2, gap=1),
    Column("DRIFT", 17, rank=3, right=True),
    Column("BEST TRIP", 9, rank=5, right=True),
    Column("MEASURED", 10, rank=4, right=True),
    Column("REPORTED BY", 15, rank=6),
)
_STALE_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class ClockRow:
    """One host's clock against the run's timeline."""

    host: str
    offset_ns: int | None
    """By how much it is ahead; None: nothing is known."""
    error_ns: int
    drift_ppm: float | None
    """By how much it runs too fast; None: not watched for long enough."""
    drift_error_ppm: float
    rtt_ns: int | None
    age_ns: int | None
    """How old the newest measurement is."""
    reporter: str
    jumps: int = 0
    """How often it did what no clock may do."""


def clock_lines(rows: Sequence[ClockRow], reference: str, width: int) -> list[Line]:
    """The table; `reference` is whose clock the timeline is, in words."""
    head: Line = (Span(fit(f"the time of this run is the clock of {clean(reference)}", width, middle=False), DIM),)
    if not rows:
        alone = "no unit of this run lives by another clock, so no time has an error"
        return [head, (Span(fit(alone, width, middle=False)),)]
    table = choose(_TABLE, width)
    return [head, titles(table), *(row(table, _cells(each)) for each in rows)]


def _cells(each: ClockRow) -> dict[str, Cell]:
    known = each.offset_ns is not None
    stale = each.age_ns is None or each.age_ns > _STALE_NS
    tone = ALERT if stale else PLAIN
    return {
        "HOST": Cell(clean(each.host), STRONG if known else ALERT),
        "AHEAD BY": Cell(_offset(each.offset_ns) if each.offset_ns is not None else "not known", tone),
        "": Cell(f"±{duration(each.error_ns)}" if known else "", tone),
        "DRIFT": Cell(_drift(each), PLAIN),
        "BEST TRIP": Cell(duration(each.rtt_ns) if each.rtt_ns is not None else NONE, DIM),
        "MEASURED": Cell(
            f"{ago(each.age_ns)} ago".replace("now ago", "now") if each.age_ns is not None else NONE, tone
        ),
        "REPORTED BY": Cell(clean(each.reporter) + (f", jumped ×{each.jumps}" if each.jumps else ""), DIM),
    }


def _offset(ns: int) -> str:
    """With microseconds, as offsets are large and what matters of them is small: "+5.000 123 s"."""
    whole, micro = divmod(abs(ns) // 1000, 1_000_000)
    return f"{'-' if ns < 0 else '+'}{whole:,}.{micro // 1000:03} {micro % 1000:03} s"


def _drift(each: ClockRow) -> str:
    if each.drift_ppm is None:
        return NONE
    return f"{each.drift_ppm:+.1f} ppm ±{each.drift_error_ppm:.1f}"
