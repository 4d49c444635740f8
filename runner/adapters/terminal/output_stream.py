"""Where lines that stay are written: a stream, in its width, with the tones it can show.

Belongs here: what a stream can show, decided from the environment, and writing to it. Must not know snapshots or
results."""

import errno
import os
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

from runner.core.report.text import Line, paint

PIPED_WIDTH: Final = 100
"""Cells of a line where there is no terminal, unless COLUMNS says otherwise."""

WIDEST: Final = 120
"""Text is not set wider than this: a longer line is hard to read."""

_ASCII: Final = str.maketrans(
    {"…": "...", "→": "->", "✗": "x", "✓": "+", "●": "*", "◐": "o", "○": ".", "■": "#", "◂": "<", "≤": "<=", "≥": ">="}
    | {"±": "+-", "µ": "u", "–": "-", "─": "-", "⏎": "/"}
)


class OutputStream:
    """Writes lines to `stream`. A reader who has gone away (`| head`, a terminal that was closed) is no error: the rest
    is not written."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self.stream = stream
        self.colours = shows_colours(stream.isatty(), environ)
        self._attributes = self.colours or (stream.isatty() and shows_attributes(environ))
        self._environ = environ

    @property
    def width(self) -> int:
        """Cells that a line of text may have: those of the terminal, else COLUMNS, else 100; never more than 120."""
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns - 1
        except (OSError, ValueError):  # not a terminal, or not even a file
            columns = self._environ.get("COLUMNS", "")
            width = int(columns) if columns.isascii() and columns.isdigit() else PIPED_WIDTH
        return max(min(width, WIDEST), 20)

    def write(self, lines: Iterable[Line]) -> None:
        """Each line and a line end, at once."""
        text = "".join(paint(line, colours=self.colours, attributes=self._attributes) + "\n" for line in lines)
        try:
            self.stream.write(encodable(text, self.stream.encoding))
            self.stream.flush()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            # Whatever is still in the buffer goes to nowhere, or the interpreter complains when it exits.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def shows_colours(terminal: bool, environ: Mapping[str, str]) -> bool:
    """NO_COLOR forbids; a terminal that is not dumb has them; elsewhere FORCE_COLOR asks for them."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "") not in ("", "0", "false"):
        return True
    return terminal and shows_attributes(environ)


def shows_attributes(environ: Mapping[str, str]) -> bool:
    """Whether a terminal understands bold and dim."""
    return environ.get("TERM", "") not in ("", "dumb", "unknown")


def encodable(text: str, encoding: str | None) -> str:
    """`text` as a stream of this encoding can carry it: plain signs take the place of those that are unknown there."""
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return text
