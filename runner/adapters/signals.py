"""Signals that interrupt a run, as something a poller can wait for.

Belongs here: the process's signal handlers while a run lives. Must not know what an interruption means for the run.
"""

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

from runner.adapters import stuck_output

INTERRUPTING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered, SIGINT, SIGTERM and SIGHUP make `fileno()` readable instead of raising; from the first one on an
    output of a command that is not read does not delay that. Entered in another thread than the main one it changes
    nothing and hears nothing, for only that one can have handlers."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._heard = self._over = False

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in INTERRUPTING:
            self._before[number] = signal.signal(number, self._hear)
        self._before[stuck_output.NUDGE] = signal.signal(stuck_output.NUDGE, stuck_output.nudged)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader.fileno()

    def taken(self) -> int:
        """How many interrupting signals have come since the last call."""
        with contextlib.suppress(BlockingIOError):
            return sum(number in INTERRUPTING for number in self._reader.recv(4096))
        return 0

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        """The loop sees the wake-up byte; code that is writing does not."""
        if not self._heard:
            self._heard = True
            stuck_output.free(lambda: self._over)
