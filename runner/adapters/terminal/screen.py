"""The screen of a run: what the session needs of a view, and which view is the right one.

Belongs here: the protocol between session and view, and the choice. Must not know layout (`rows`, `narrate`).
"""

import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from runner.adapters.terminal.action import Action
from runner.adapters.terminal.live import LiveScreen
from runner.adapters.terminal.output_stream import OutputStream, shows_attributes
from runner.adapters.terminal.snapshot import Snapshot
from runner.adapters.terminal.still import PlainScreen, QuietScreen


class Screen(Protocol):
    """What the session needs of a view; use it as a context manager, so that a terminal is always given back."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def fileno(self) -> int | None:
        """A file descriptor to poll for keys, or None: there are none."""

    def keys(self) -> list[Action]:
        """What was asked for since the last call; never blocks."""

    def show(self, snapshot: Snapshot) -> None:
        """The run as it stands now, about ten times a second."""

    def unit_output(self, unit: str, line: str) -> None:
        """A line that a unit printed, without its line end."""


def choose(
    *,
    plain: bool = False,
    quiet: bool = False,
    stream: TextIO | None = None,
    keyboard: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> Screen:
    """The right screen for `stream` (default: standard output). `keyboard` (default: standard input) is read only if it
    is a terminal. `plain` and `quiet` are the user's wishes; `quiet` wins."""
    if quiet:
        return QuietScreen()
    stream, keyboard, environ = stream or sys.stdout, keyboard or sys.stdin, os.environ if environ is None else environ
    output = OutputStream(stream, environ)
    if plain or not animates(stream.isatty(), environ, stream.encoding):
        return PlainScreen(output)
    return LiveScreen(output, keyboard.fileno() if keyboard is not None and keyboard.isatty() else None)


def animates(terminal: bool, environ: Mapping[str, str], encoding: str | None) -> bool:
    """Whether a view that moves is wanted: only on a terminal that can do it, and never on a build machine.
    FORCE_COLOR alone does not make it so."""
    ci = environ.get("CI", "").lower() not in ("", "0", "false")
    unicode = (encoding or "").lower().replace("-", "") == "utf8"
    return terminal and unicode and not ci and shows_attributes(environ)
