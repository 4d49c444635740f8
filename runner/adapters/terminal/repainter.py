"""A few lines that are shown again and again: over themselves on a terminal, below each other elsewhere.

Belongs here: taking back what was written before. Must not know what the lines say.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from runner.adapters.terminal.output_stream import OutputStream, shows_attributes
from runner.core.report.text import Line


class Repainter:
    """On `stream` (default: standard output)."""

    def __init__(self, stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._output = OutputStream(stream or sys.stdout, environ)
        self._moves = self._output.stream.isatty() and shows_attributes(environ)
        self._shown: Sequence[Line] = ()

    @property
    def width(self) -> int:
        """Cells that a line may have."""
        return self._output.width

    def show(self, lines: Sequence[Line]) -> None:
        """These lines, in the place of those before if that is possible; nothing if they are the same."""
        if lines == self._shown:
            return
        if self._moves and self._shown:
            self._output.stream.write(f"\x1b[{len(self._shown)}A\x1b[J")
        self._output.write(lines)
        self._shown = lines
