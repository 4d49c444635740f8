"""Rows of cells at fixed places.

Belongs here: columns, which of them fit, and one row laid out. Must not know what the columns mean.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from runner.core.report.text import DIM, PLAIN, Line, Span, fit


class Column(NamedTuple):
    """A place in every row of a table. Where there is no room, the columns of the highest rank go first."""

    title: str
    width: int
    rank: int
    gap: int = 2
    """Blanks before it."""
    right: bool = False
    """Aligned to the right, as numbers are."""
    middle: bool = True
    """Cut in its middle, as names are; else at its end."""


class Cell(NamedTuple):
    """What stands in one column of one row."""

    text: str
    tone: str = PLAIN


_BLANK: Final = Cell("")

T = TypeVar("T")


def breadth(table: Iterable[Column]) -> int:
    """Cells from the left edge of the first column to the right edge of the last."""
    return sum(column.gap + column.width for column in table)


def choose(table: Sequence[Column], width: int) -> tuple[Column, ...]:
    """The columns that fit in `width`; the last one left is cut."""
    chosen = list(table)
    while len(chosen) > 1 and breadth(chosen) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    if (over := breadth(chosen) - width) > 0:
        chosen[0] = chosen[0]._replace(width=max(chosen[0].width - over, 0))
    return tuple(chosen)


def titles(table: Sequence[Column]) -> Line:
    """The line above the rows."""
    return tuple(Span(" " * c.gap + fit(c.title, c.width, right=c.right), DIM) for c in table)


def row(table: Sequence[Column], cells: Mapping[str, Cell]) -> Line:
    """One row: cells by the title of their column; a column without a cell stays blank. The texts must be clean."""
    spans = []
    for title, width, _, gap, right, middle in table:
        text, tone = cells.get(title, _BLANK)
        spans.append(Span(" " * gap + fit(text, width, right=right, middle=middle), tone))
    return tuple(spans)


def most_telling(items: Sequence[T], room: int, rank: Callable[[T], int]) -> tuple[Sequence[T], Sequence[T]]:
    """What is shown in `room` lines and what is not: everything as it was declared, or else those of the lowest rank,
    with a line left for the rest. Among equals the order is that of `items`, so that no row jumps."""
    if len(items) <= room:
        return items, ()
    ordered = sorted(items, key=rank)
    return ordered[: max(room - 1, 0)], ordered[max(room - 1, 0) :]
