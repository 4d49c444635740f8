"""Styled text that fits: spans and lines, and cutting, padding and wrapping them by terminal cells.

Belongs here: what text may reach a terminal and how wide it is there. Must not know boards or results.
Every name that a user or a unit chose passes through `clean` before it is shown: control characters, escape sequences
and direction marks become visible and harmless. Nothing is ever read as markup.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from rich.style import Style

from probe.plain import clean as clean

PLAIN: Final = ""
DIM: Final = "dim"
"""What is old, or only helps to read the rest."""
STRONG: Final = "bold"
ALERT: Final = "red"
"""The one accent: what needs attention."""
ALARM: Final = "bold red"
"""A verdict that is not a pass."""
GOOD: Final = "bold green"
"""A final pass; used for nothing else."""

ELLIPSIS: Final = "…"
_UNIT_TONES: Final = ("cyan", "magenta", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


class Span(NamedTuple):
    """Text of one tone; a tone is the name of a rich style."""

    text: str
    tone: str = PLAIN


Line: TypeAlias = tuple[Span, ...]
"""One line of the screen, without a line end."""


def plain(line: Line) -> str:
    """The text alone, without blanks at its end."""
    return "".join(span.text for span in line).rstrip()


def paint(line: Line, *, colours: bool, attributes: bool = True) -> str:
    """The line as bytes for a terminal, in characters. Without `colours` it may still be bold or dim (that is what
    NO_COLOR asks for); without `attributes` too it is plain text."""
    if not attributes:
        return plain(line)
    painted: list[str] = []
    for text, tone in reversed(line):
        if not painted:
            text = text.rstrip()
        if text:
            start, end = _codes(tone, colours)
            painted.append(start + text + end)
    return "".join(reversed(painted))


@lru_cache(256)
def _codes(tone: str, colours: bool) -> tuple[str, str]:
    style = Style.parse(tone)
    marked = (style if colours else style.without_color).render("x", color_system=ColorSystem.STANDARD)
    start, _, end = marked.partition("x")
    return start, end


@lru_cache(1024)
def unit_tone(name: str) -> str:
    """The colour of a unit's output lines: always the same one for the same name."""
    return _UNIT_TONES[sum(name.encode("utf-8", "replace")) % len(_UNIT_TONES)]


def without_escapes(text: str) -> str:
    """A unit's output line as text: colours and cursor movements are dropped, what is left is made harmless."""
    return clean(_ESCAPES.sub("", text).expandtabs(8))


def fit(text: str, width: int, *, right: bool = False, middle: bool = True) -> str:
    """Clean text in exactly `width` cells: padded, or cut in the middle (`middle` False: at its end)."""
    if width <= 0:
        return ""
    size = cell_len(text)
    if size > width:
        text = _cut(text, width, middle)
        size = cell_len(text)
    blanks = " " * (width - size)
    return blanks + text if right else text + blanks


def _cut(text: str, width: int, middle: bool) -> str:
    tail = (width - 1) // 2 if middle else 0
    return _head(text, width - 1 - tail) + ELLIPSIS + _head(text[::-1], tail)[::-1]


def _head(text: str, width: int) -> str:
    """As much of the beginning as `width` cells hold."""
    used = 0
    for index, character in enumerate(text):
        used += get_character_cell_size(character)
        if used > width:
            return text[:index]
    return text


def wrap(text: str, width: int, *, hang: int = 0, split: bool = True) -> list[str]:
    """Clean text in lines of at most `width` cells, broken at blanks where there are any; all but the first are
    indented by `hang` more than the text itself is. `split` False: a word that is longer, such as a path, stays whole.
    """
    width = max(width, 4)
    if cell_len(text) <= width:
        return [text]
    indent = " " * min(len(text) - len(text.lstrip(" ")), width // 2)
    after = " " * min(len(indent) + hang, width // 2)
    lines, line = [], indent
    empty = True
    for word in text.split():
        if not empty and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line, empty = after, True
        line += word if empty else " " + word
        empty = False
        while split and cell_len(line) > width:
            head = _head(line, width)
            lines.append(head)
            line = after + line[len(head) :]
    lines.append(line)
    return lines


def columns(left: Iterable[Span], right: Iterable[Span], width: int) -> Line:
    """`left` at the left and `right` at the right edge, with at least one blank between them where both fit."""
    left, right = tuple(left), tuple(right)
    used = sum(cell_len(span.text) for span in (*left, *right))
    return (*left, Span(" " * max(width - used, 0)), *right)
