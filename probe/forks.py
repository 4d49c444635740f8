"""Forks: how it is noticed in a forked child that everything open is the parent's, and when.

The hooks of a fork run in the order in which they were registered, so those of the program may come before ours and
emit: in the child that would go into the journal of the parent. So while there is a fork each request for a recorder's
lock checks which process this is, and the first probe of a child begins anew, or our hook does. No lock is held
meanwhile: hooks of the program may wait for threads that emit. Belongs here: the hooks, and what no fork may come into.
Must not know what is forgotten in the child.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol

from probe.native import RLock

_PATIENCE_S: Final = 5.0
"""How long a fork waits for another thread that imports."""


class _Importing:
    """`lock` is held while something is imported that takes long: a fork in the middle of that would leave the child
    with half a module."""

    def __init__(self) -> None:
        self.lock = RLock()


importing: Final = _Importing()


class Forked(Protocol):
    """What records under a lock; `probe.units.Unit` is one."""

    lock: AbstractContextManager[object]


class Forks:
    """All forks of this process. `recorders` gives all that may be in the middle of a record, and `begin_anew` makes of
    them, in a child, those of a new process, with new locks."""

    def __init__(self, recorders: Callable[[], Iterable[Forked]], begin_anew: Callable[[], None]) -> None:
        self._recorders = recorders
        self._begin_anew = begin_anew
        self._gate = RLock()
        self._under_way = 0
        """How many threads are forking."""
        self._pid = 0
        """Whose forks these are; in a child that has not begun anew, that of its parent."""
        self._is_new = False
        """Whether this is a child in which a probe came before our hook."""
        self._wary: dict[type, type] = {}

    def watch(self) -> None:
        """Have the interpreter tell of forks; once for each process and its children."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def _before(self) -> None:
        with self._gate:
            self._under_way += 1
            self._pid = os.getpid()
            for each in self._recorders():
                self._beware(each)
        importing.lock.acquire(timeout=_PATIENCE_S)

    def _in_parent(self) -> None:
        with suppress(RuntimeError):  # it was not to be had in time
            importing.lock.release()
        with self._gate:
            self._under_way -= 1
            if self._under_way <= 0:
                self._calm()

    def _in_child(self) -> None:
        if not self._is_new:
            self._settle()
        self._is_new = False

    def _settle(self) -> None:
        self._gate, importing.lock = RLock(), RLock()
        self._calm()
        self._begin_anew()

    def _beware(self, recorder: Forked) -> None:
        """From now on it checks which process this is."""
        usual = type(recorder)
        if not hasattr(usual, "_usual"):
            if usual not in self._wary:
                self._wary[usual] = _wary_of(usual, self._check_process)
            recorder.__class__ = self._wary[usual]

    def _calm(self) -> None:
        self._under_way = 0
        for each in self._recorders():
            each.__class__ = getattr(type(each), "_usual", type(each))

    def _check_process(self) -> None:
        if os.getpid() != self._pid and not self._is_new:
            self._is_new = True
            self._settle()


def _wary_of(usual: type, check: Callable[[], None]) -> type:
    """That class of recorders, but a `check` comes before its lock is given."""

    def get(recorder: Forked) -> object:
        check()
        return vars(recorder)["lock"]

    def put(recorder: Forked, lock: object) -> None:
        vars(recorder)["lock"] = lock

    return type(usual.__name__, (usual,), {"lock": property(get, put), "_usual": usual})
