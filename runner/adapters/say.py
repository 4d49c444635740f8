"""What a command says beside its view: lines on standard output, and complaints on standard error.

Belongs here: the one way by which text gets there, so that nothing from outside reaches a terminal as it came (see
`probe.plain`). Screens and summaries are the business of `terminal`.
"""

import contextlib
import os
import sys
from typing import TextIO

from probe.plain import harmless


def say(text: str = "") -> None:
    """A line, or several, on standard output. A reader who has gone away (`| head`) is no error."""
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:  # what is left in the buffer goes to nowhere, or the interpreter complains when it exits
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(text: str) -> None:
    """The same on standard error. Where it cannot be written, nothing can be said any more."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    line = f"{harmless(text)}\n"
    try:
        stream.write(line)
    except UnicodeEncodeError:  # as in a C locale
        stream.write(line.encode("ascii", "backslashreplace").decode("ascii"))
    stream.flush()
