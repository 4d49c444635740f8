"""Standard output and standard error that are not read any more, once a person wants the command to end.

A write into a full pipe waits until the pipe is read, and a pager that has not been scrolled reads
nothing. Belongs here: noticing that, and letting the writer go on. Must not know what is written, nor what a command
does when it is interrupted.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from probe.clock import monotonic
from probe.native import start_new_thread

STUCK_S: Final = 0.7
"""An output that takes nothing for so long is not read any more."""
LOOK_S: Final = 0.1
NUDGE: Final = signal.SIGURG
"""Interrupts a write. No program sends it to us, and by default it does nothing."""
_OUTPUTS: Final = (1, 2)
_LOST: Final = b"circuit-run: standard output is full and is not read; the rest of it is not shown\n"


_ours = False


def are_ours() -> None:
    """The outputs of this process belong to a command, and to no program that calls us."""
    global _ours
    _ours = True


def nudged(_number: int, _frame: FrameType | None) -> None:
    """The handler of NUDGE. A write that it has interrupted begins anew, with what the descriptor is then."""


def free(until: Callable[[], bool]) -> None:
    """From now on, until `until` says so, an output that takes nothing leads nowhere, and the main thread does not wait
    for it. To be called where NUDGE has its handler."""
    if not _ours:
        return
    with contextlib.suppress(RuntimeError, MemoryError):  # without a thread all is as it was
        start_new_thread(_watch, (until,))


def _watch(until: Callable[[], bool]) -> None:
    freed: set[int] = set()
    while not until():
        stuck = _stuck({fd for fd in _OUTPUTS if fd not in freed})
        for fd in stuck:
            _lead_nowhere(fd)
        freed |= stuck
        if stuck and not until():
            signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)
        if stuck == {1} and 2 not in freed:
            with contextlib.suppress(OSError):
                os.write(2, _LOST)
        time.sleep(LOOK_S)


def _stuck(outputs: set[int]) -> set[int]:
    """Those of `outputs` that take nothing for the whole of STUCK_S."""
    end_s = monotonic() + STUCK_S
    while outputs and (left_s := end_s - monotonic()) > 0:
        poll = select.poll()
        for fd in outputs:
            poll.register(fd, select.POLLOUT)
        outputs = outputs - {fd for fd, _ in poll.poll(left_s * 1000)}
    return outputs


def _lead_nowhere(fd: int) -> None:
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, fd)
        os.close(nowhere)
