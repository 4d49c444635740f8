"""The live view on a terminal: only lines that changed are written, at the end of what is already there.

Belongs here: which characters bring one frame to the next, and what the keys do to the view. The view itself is
made by `rows`, the terminal is borrowed by `terminal`. No alternate screen: what units print stays above the view
and can be scrolled back to.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from rich.cells import cell_len

from runner.adapters.terminal.action import Action
from runner.adapters.terminal.narrate import output_line
from runner.adapters.terminal.output_stream import OutputStream
from runner.adapters.terminal.rows import Page, rows
from runner.adapters.terminal.snapshot import Snapshot
from runner.adapters.terminal.terminal import Terminal
from runner.core.report.text import DIM, Line, Span, paint, plain

_KEYS: Final = {"p": Action.PAUSE, "f": Action.FINDINGS, "?": Action.HELP, "h": Action.HELP, "q": Action.QUIT}
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)")
_HELD_LINES: Final = 10_000
# Terminals that know mode 2026 show the frame at once. Without automatic wrap, a character that is wider than we think
# cannot break the view.
_BEGIN: Final = "\x1b[?2026h\x1b[?7l"
_END: Final = "\x1b[?7h\x1b[?2026l"


class Drawn(NamedTuple):
    """A line on the screen: its characters with all codes, and how many cells it takes."""

    text: str
    cells: int


class LiveScreen:
    """A view that moves, with keys: p, f, ?, q."""

    def __init__(self, output: OutputStream, keyboard: int | None) -> None:
        self._output = output
        self._terminal = Terminal(output.stream.fileno(), keyboard)
        self._keyboard = keyboard
        self._page = Page.SNAPSHOT
        self._latest: Snapshot | None = None
        self._paused: Snapshot | None = None
        self._drawn: list[Drawn] = []
        self._size = (0, 0)
        self._epoch = 0
        self._above: deque[Line] = deque(maxlen=_HELD_LINES)
        self._dropped = 0
        self._finished = False

    def __enter__(self) -> Self:
        self._output.stream.flush()
        self._terminal.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def fileno(self) -> int | None:
        return self._keyboard

    def keys(self) -> list[Action]:
        typed = _ESCAPES.sub("", self._terminal.read().decode("ascii", "ignore")).lower()
        actions = [_KEYS[key] for key in typed if key in _KEYS]
        for action in actions:
            if action is Action.PAUSE:
                self._paused = self._latest if self._paused is None else None
            elif action is Action.FINDINGS:
                self._turn(Page.FINDINGS)
            elif action is Action.HELP:
                self._turn(Page.HELP)
        if actions:
            self._draw()
        return actions

    def show(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        self._draw()

    def unit_output(self, unit: str, line: str) -> None:
        self._hold(output_line(unit, line))

    def finish(self) -> None:
        """No more snapshots: the view goes away, the terminal is as it was. May be called again."""
        if self._finished:
            return
        self._finished = True
        self._paused = None
        if self._terminal.hold():
            self._write([])
        self._terminal.close()
        self._output.write(self._above)  # only in the background is there still something
        self._above.clear()

    def _turn(self, page: Page) -> None:
        self._page = Page.SNAPSHOT if self._page is page else page

    def _hold(self, line: Line) -> None:
        """Keeps a line until the next frame, or until the view is no longer paused; the oldest give way."""
        self._dropped += len(self._above) == _HELD_LINES
        self._above.append(line)

    def _draw(self) -> None:
        snapshot = self._paused or self._latest
        if snapshot is None or self._latest is None or self._finished or not self._terminal.hold():
            return
        columns, height = self._terminal.size()
        behind = None if self._paused is None else self._latest.elapsed_s - self._paused.elapsed_s
        lines = rows(
            snapshot, columns - 1, height - 1, page=self._page, behind_s=behind, keys=self._keyboard is not None
        )
        self._write(lines)

    def _write(self, lines: Iterable[Line]) -> None:
        epoch, size = self._terminal.epoch, self._terminal.size()
        new = [Drawn(self._paint(line), cell_len(plain(line))) for line in lines]
        old = self._drawn if epoch == self._epoch else []
        above = "" if self._paused else self._take_above()
        frame = transition(old, new, above, resized=size[0] if size != self._size else None)
        if frame:
            self._terminal.write((_BEGIN + frame + _END).encode("utf-8", "replace"))
        # If we were suspended while writing, the terminal's epoch is a later one and the next frame starts anew.
        self._drawn, self._size, self._epoch = new, size, epoch

    def _take_above(self) -> str:
        lines = [self._paint(line) for line in self._above]
        if self._dropped:
            lines.insert(0, self._paint((Span(f"… {self._dropped:,} lines of output are not shown", DIM),)))
        self._above.clear()
        self._dropped = 0
        return "".join(line + "\r\n" for line in lines)

    def _paint(self, line: Line) -> str:
        return paint(line, colours=self._output.colours)


def transition(old: Sequence[Drawn], new: Sequence[Drawn], above: str = "", *, resized: int | None = None) -> str:
    """The characters that turn the view `old` into `new`, with `above` (whole lines) put before it; "" if nothing
    changes. The cursor rests on the view's last line, before and after. `resized`: the columns that the terminal has
    now, if its size has changed: it has wrapped lines that are longer.
    """
    if above or resized is not None or not old or not new:
        if not (old or new or above):
            return ""
        taken = sum(max(-(-line.cells // resized), 1) if resized else 1 for line in old)
        return _erase(taken) + above.replace("\r\n", "\x1b[K\r\n") + "\r\n".join(line.text for line in new)
    if list(old) == list(new):
        return ""
    shrinks = len(new) < len(old)
    parts = [_up(len(old))]
    for index, line in enumerate(new):
        last = index + 1 == len(new)
        if index >= len(old) or line != old[index] or (last and shrinks):
            parts.append(line.text + ("\x1b[J" if last and shrinks else "\x1b[K"))
        if not last:
            parts.append("\r\n")
    return "".join(parts)


def _erase(lines: int) -> str:
    """Not everything at once: some terminals keep a copy of a screen that is cleared from its first cell."""
    return _up(lines) + "\x1b[K" + ("\r\n\x1b[J\x1b[A" if lines > 1 else "")


def _up(lines: int) -> str:
    """To the first cell of a frame of so many lines."""
    return "\r" + (f"\x1b[{lines - 1}A" if lines > 1 else "")
