"""Which processes of this host emit, and which of them have ended: what a supervisor sees in the folder of a run.

A journal can be found before its process has emitted anything (see probe/journal), and so can the mark of one that can
keep none. So the folder names every process that has emitted something until then, even a child of a child that never
reached the broker.

Belongs here: looking. Must not know the bus, nor publish anything.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probe import journal
from probe.clock import monotonic_ns
from probe.marks import Marks

MOST: Final = 250
"""Lives that are named in one statement; it has to fit into an event."""

Life = tuple[str, int]
"""Unit and incarnation."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was seen. `at_ns`: every process that had emitted something by then was named, here or before; None: there
    are more to be named first."""

    at_ns: int | None
    lives: tuple[Life, ...]
    """Those that had not been named before."""

    @property
    def data(self) -> dict[str, object]:
        """As it stands in an event."""
        return {"lives": list(map(list, self.lives)), **({} if self.at_ns is None else {"at_ns": self.at_ns})}


class Journals:
    """Those in `folder`, and the `marks` of processes that keep none."""

    def __init__(self, folder: Path, marks: Marks | None = None) -> None:
        self.marks = marks
        self._folder = folder
        self._marked: set[Life] = set()
        """Processes whose mark is there, and was named."""
        self._pids: dict[str, int] = {}
        """Journal -> the process that keeps it; those that are there."""

    def look(self) -> Listing:
        """Which processes keep a journal now."""
        at_ns = monotonic_ns()
        lives = self._newly_marked()
        found = self._names()
        for name in self._pids.keys() - found:
            del self._pids[name]
        for name in sorted(found - self._pids.keys()):
            if len(lives) >= MOST:
                return Listing(None, tuple(lives))
            owner = journal.owner_of(self._folder / name)
            if owner is not None:  # else it is being deleted: all that was in it is in the log
                self._pids[name] = owner.pid
                if not owner.unit.startswith("@"):
                    lives.append((owner.unit, owner.incarnation))
        return Listing(at_ns, tuple(lives))

    def abandoned(self, living: Collection[int]) -> bool:
        """Whether a process is gone whose journal or mark is still there; `living` are some that surely are not. Not to
        be called while journals are published: each is locked for a moment, to see whether it can be."""
        for slot, _ in self.marks.left() if self.marks is not None else ():
            if self.marks is not None and self.marks.take(slot):
                self.marks.free(slot)
                return True
        for name, pid in self._pids.items():
            if pid not in living:
                with suppress(OSError):  # it is locked, or was deleted
                    journal.Folder(self._folder / name).close()
                    return True
        return False

    def _newly_marked(self) -> list[Life]:
        left = {(mark.unit, mark.incarnation) for _, mark in self.marks.left()} if self.marks is not None else set()
        new = left - self._marked
        self._marked = left
        return sorted(new)

    def _names(self) -> set[str]:
        with suppress(OSError):
            return {name for name in os.listdir(self._folder) if journal.is_journal(name)}
        return set()
