"""The screens that do not move: plain lines, and nothing.

Belongs here: what a screen without a terminal does. Must not know what is worth a line (`narrate`).
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from runner.adapters.terminal.action import Action
from runner.adapters.terminal.narrate import Narrator, output_line
from runner.adapters.terminal.output_stream import OutputStream
from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.text import Line


class _Still:
    """A screen without keys and without anything to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def fileno(self) -> int | None:
        return None

    def keys(self) -> list[Action]:
        return []

    def finish(self) -> None:
        """Nothing to give back."""


class PlainScreen(_Still):
    """Plain lines, for a pipe, a log or a build machine: the same information, nothing that moves."""

    def __init__(self, output: OutputStream) -> None:
        self._output = output
        self._narrator = Narrator()
        self._said = False

    def show(self, snapshot: Snapshot) -> None:
        if lines := self._narrator.tell(snapshot):
            self._say(lines)

    def unit_output(self, unit: str, line: str) -> None:
        self._say([output_line(unit, line)])

    def _say(self, lines: Iterable[Line]) -> None:
        self._output.write(lines)
        self._said = True

    def finish(self) -> None:
        """An empty line, so that the summary stands by itself."""
        if self._said:
            self._output.write([()])
            self._said = False


class QuietScreen(_Still):
    """Nothing at all: for --quiet, or when standard output carries result.json."""

    def show(self, snapshot: Snapshot) -> None:
        """Not shown."""

    def unit_output(self, unit: str, line: str) -> None:
        """Not shown."""
