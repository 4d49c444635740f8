"""Lines over themselves on a terminal, and below each other elsewhere."""

import io

import pytest

from runner.adapters.terminal.repainter import Repainter
from runner.core.report.text import Line, Span

XTERM = {"TERM": "xterm-256color"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(*texts: str) -> list[Line]:
    return [(Span(text),) for text in texts]


def test_on_a_terminal_lines_take_the_place_of_those_before() -> None:
    stream = Terminal()
    repainter = Repainter(stream, XTERM)
    repainter.show(lines("one", "two"))
    assert stream.getvalue() == "one\ntwo\n"
    repainter.show(lines("one", "2", "three"))
    assert stream.getvalue() == "one\ntwo\n\x1b[2A\x1b[Jone\n2\nthree\n"
    repainter.show(lines("1"))
    assert stream.getvalue().endswith("\x1b[3A\x1b[J1\n")


@pytest.mark.parametrize(
    ("stream", "environ"), [(io.StringIO(), XTERM), (Terminal(), {"TERM": "dumb"}), (Terminal(), {})]
)
def test_elsewhere_they_stand_below_each_other_without_any_signs(stream: io.StringIO, environ: dict[str, str]) -> None:
    repainter = Repainter(stream, environ)
    repainter.show(lines("one", "two"))
    repainter.show(lines("three"))
    assert stream.getvalue() == "one\ntwo\nthree\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_the_same_lines_are_shown_once(stream: io.StringIO) -> None:
    repainter = Repainter(stream, XTERM)
    for _ in range(3):
        repainter.show(lines("one"))
    assert stream.getvalue() == "one\n"


def test_its_width_is_what_the_output_has() -> None:
    assert Repainter(io.StringIO(), {"COLUMNS": "60"}).width == 60
