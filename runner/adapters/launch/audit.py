"""The last act of a run: when broker and supervisor are gone, nothing of it may be left.

Belongs here: what is looked at, what of it should not be there, and seeing to that. `belonging` decides and is pure.
Must not know findings or verdicts.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probe import environment, marks, recovery
from probe.clock import monotonic
from runner.adapters import process_tree
from runner.adapters.process_tree import Process

ALONE_S: Final = 0.3
"""How long a process may take to go by itself: one that was killed is seen for a moment yet."""
END_S: Final = 2.0
"""How long the system may take to end what gets SIGKILL."""
STEP_S: Final = 0.005
"""How often is looked again, once something was found."""
SHOWN: Final = 5
"""How many journals are named."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that was left behind, as a sentence that also says what was done about it."""

    sentence: str
    evidence: bool = False
    """It is what a unit emitted and was not published; it is kept."""


class Audit:
    """The audit of one run. Made before anything of it is started, so that what was there before is not taken for its.

    Until `over`, orphans of the run become children of this process, also those that have left their session and
    cleared their environment.
    """

    def __init__(self, run: str, journals: Path, name: str) -> None:
        """`name` is what commands know the run by."""
        self._run = run
        self._name = name
        self._journals = journals
        self._mine = os.getpid()
        self._session = os.getsid(0)
        self._before = frozenset(process_tree.children(self._mine))
        self._must_go: list[Path] = []
        process_tree.adopt_orphans()

    def must_go(self, path: Path) -> None:
        """`path` (a file or a folder) has to be gone at the end."""
        self._must_go.append(path)

    def over(self) -> tuple[Leftover, ...]:
        """Look, end and remove what is there, and tell it. Everything that the run started should have ended by now."""
        try:
            return (*self._end_processes(), *self._remove(), *self._name_journals())
        finally:
            process_tree.adopt_orphans(False)

    def _end_processes(self) -> list[Leftover]:
        self._await_end(ALONE_S)
        titles: dict[int, str] = {}
        deadline_s = monotonic() + END_S
        while left := self._living():
            titles.update((pid, process_tree.title(pid)) for pid in left if pid not in titles)
            if monotonic() > deadline_s:
                break
            process_tree.signal_all(left, signal.SIGKILL)
            self._await_end(STEP_S)
        return [
            Leftover(f"{title} outlived the run and {'could not be' if pid in left else 'was'} ended")
            for pid, title in titles.items()
        ]

    def _await_end(self, patience_s: float) -> None:
        deadline_s = monotonic() + patience_s
        while self._living() and monotonic() < deadline_s:
            time.sleep(STEP_S)

    def _living(self) -> list[int]:
        process_tree.reap(set(process_tree.children(self._mine)) - self._before)
        found = process_tree.processes()
        return belonging(found, self._run, self._journals, self._mine, self._session, self._before)

    def _remove(self) -> list[Leftover]:
        left = []
        for path in filter(os.path.lexists, self._must_go):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            done = "could not be removed" if os.path.lexists(path) else "was removed"
            left.append(Leftover(f"{path} was left behind and {done}"))
        return left

    def _name_journals(self) -> tuple[Leftover, ...]:
        found = unpublished(self._journals, self._name)
        if not found:
            (self._journals / marks.FILE).unlink(missing_ok=True)  # its supervisor was killed
        return found


def unpublished(journals: Path, name: str) -> tuple[Leftover, ...]:
    """What is in the folder `journals` of a run, known as `name`, and was not published."""
    found = recovery.left(journals)
    left = []
    if found.published:
        where, advice = _named(found.published, journals), f"publish it with: circuit-run recover {name}"
        left.append(Leftover(f"what units wrote down last is not in the log ({where}); {advice}", evidence=True))
    if found.unreadable:
        where = _named(found.unreadable, journals)
        left.append(Leftover(f"what cannot be read is left of journals ({where}); delete it", evidence=True))
    return tuple(left)


def _named(names: Sequence[str], journals: Path) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} in {journals}"


def belonging(
    processes: Iterable[Process], run: str, journals: Path, runner: int, session: int, before: frozenset[int]
) -> list[int]:
    """Which of `processes` are of the run: those whose environment says so, and descendants of `runner`.

    Not its own are children that it had `before` (with theirs), and what is in its own `session`: whatever a run
    starts gets another, so it is of the shell that started the runner.
    """
    processes = list(processes)
    below = {runner}
    for _ in processes:  # as deep as there are processes, at most
        more = {p.pid for p in processes if p.parent in below and p.pid not in before} - below
        if not more:
            break
        below |= more
    variables = ((environment.RUN, run), (environment.JOURNAL, str(journals)))
    return [
        p.pid
        for p in processes
        if p.pid != runner
        and ((p.pid in below and p.session != session) or all(p.was_given(name, value) for name, value in variables))
    ]
