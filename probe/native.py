"""Threads, locks, reads and writes of the operating system, whatever a library has put in their place.

gevent and eventlet replace what `_thread`, `threading`, `select` and `os` offer by greenlets' ways, freezegun replaces
clocks, and each whenever the program tells it to; a thread that sits in a poll must not become a greenlet. Belongs
here: taking the interpreter's own, and what is made of it. Must not know what runs in a thread.
"""

import _thread
import os
import select
import sys
from posix import read, write
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _thread import RLock, allocate_lock, get_native_id, start_new_thread


def untouched(module: ModuleType) -> Any:
    """A copy of a module of the interpreter's own that no other module has. Libraries replace functions of the one in
    `sys.modules`, and every name that leads to them, whether we were imported before or afterwards; and they convert
    what is of its types."""
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    own = spec.loader.create_module(spec)
    assert own is not None
    spec.loader.exec_module(own)
    return own


_select = untouched(select)


def rest(ms: int) -> None:
    """Block this thread for so long. A lock that is waited for, or a sleep, ends by the clock of the process, which a
    preloaded library may have set: then it is for ever."""
    _select.poll().poll(ms)


if not TYPE_CHECKING:
    _own = untouched(_thread)
    RLock, allocate_lock = _own.RLock, _own.allocate_lock
    get_native_id, start_new_thread = _own.get_native_id, _own.start_new_thread


def may_be_main_thread() -> bool:
    """Whether this may be the thread in which signals are handled; for sure where the system tells (Linux)."""
    return sys.platform != "linux" or get_native_id() == os.getpid()


class Latch:
    """Closed until it is opened, once and for all. A caller that waits for it blocks its whole thread."""

    def __init__(self) -> None:
        self._opened = allocate_lock()
        """Taken by the first call that opens."""
        self._shut = allocate_lock()
        self._shut.acquire()

    @property
    def is_open(self) -> bool:
        return self._opened.locked()

    def open(self) -> None:
        """From any thread, and as often as you like."""
        if self._opened.acquire(blocking=False):
            self._shut.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until it is open, or for so long. Whether it is open."""
        left_s = -1 if timeout_s is None else min(max(0.0, timeout_s), _thread.TIMEOUT_MAX)
        if not self._shut.acquire(timeout=left_s):
            return False
        self._shut.release()
        return True


__all__ = [
    "Latch",
    "RLock",
    "allocate_lock",
    "may_be_main_thread",
    "read",
    "rest",
    "start_new_thread",
    "untouched",
    "write",
]
