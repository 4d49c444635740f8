"""Old runs are removed: a broker that goes on for months would fill its disk.

A run is what the broker itself has made: a folder whose name can be the id of a run, with `events.log` in it and
nothing else. Whatever else is there belongs to somebody, and the run stays, and so does one whose log another process
holds. Age and size are those of the log file; its last entry is as old as the file's last change.

Belongs here: which runs have to go, and their going. Must not know sockets or peers.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker import access, log
from broker.errors import complain
from broker.runs import Runs
from probe.clock import monotonic

SWEEP_S: Final = 60.0
"""How often is looked."""
_DOOMED: Final = ".expired-"
"""How the name of a log begins that is being removed. No run is called so."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One run on the disk."""

    name: str
    size: int
    """Bytes of its log."""
    last_s: float
    """When its last entry was written, as `time.time`."""


class Expiry:
    """The limits of one broker: `keep_for_s` since the last entry, `keep_bytes` of all logs together (None: none)."""

    def __init__(self, folder: Path, keep_for_s: float | None = None, keep_bytes: int | None = None) -> None:
        self._folder = folder
        self._keep_for_s = keep_for_s
        self._keep_bytes = keep_bytes
        self._next_s = 0.0

    def sweep(self, runs: Runs, report: Callable[[str], None] | None = None) -> None:
        """Remove what is too old or too much, if it is time to look; each removal is told to `report` in a sentence
        (default: standard error). Files are only renamed here; a thread removes them, which takes a while for large
        ones."""
        if (self._keep_for_s is None and self._keep_bytes is None) or monotonic() < self._next_s:
            return
        self._next_s = monotonic() + SWEEP_S
        doomed: list[tuple[Path, int | None]] = [(path, None) for path in self._folder.glob(f"{_DOOMED}*")]
        found = sorted(_kept(self._folder), key=lambda kept: kept.last_s)
        total = sum(kept.size for kept in found)
        for kept in found:
            why = self.why_not_kept(kept, total, time.time())
            if why is None or runs.in_use(kept.name):
                continue
            taken = self._take(kept.name, runs)
            if taken is not None:
                total -= kept.size
                doomed.append(taken)
                (report or _say)(f"removed the run {kept.name}: {why}")
        if doomed:
            threading.Thread(target=_remove, args=(doomed,), name="expiry").start()

    def why_not_kept(self, kept: Kept, total: int, now_s: float) -> str | None:
        """Why this run has to go, given that all logs have `total` bytes and no older run is left; None: it stays."""
        age_s = now_s - kept.last_s
        if self._keep_for_s is not None and age_s > self._keep_for_s:
            return f"its last entry is {_time(age_s)} old, {_time(self._keep_for_s)} are kept"
        if self._keep_bytes is not None and total > self._keep_bytes:
            return f"it is the oldest of {_size(total)}, {_size(self._keep_bytes)} are kept"
        return None

    def _take(self, name: str, runs: Runs) -> tuple[Path, int] | None:
        """Put the log of a run out of everybody's way; gives where it is now and a file descriptor that holds it. None:
        somebody else holds it, or it cannot be."""
        runs.forget(name)
        path = self._folder / name / log.FILE_NAME
        away = self._folder / f"{_DOOMED}{name}-{os.urandom(4).hex()}"
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(away)
            except OSError:
                os.close(fd)
                return None
            with suppress(OSError):  # somebody has put something into it just now
                path.parent.rmdir()
            return away, fd
        return None


def _kept(folder: Path) -> Iterator[Kept]:
    for path in folder.iterdir():
        with suppress(OSError):
            if not access.is_run_id(path.name) or path.is_symlink() or os.listdir(path) != [log.FILE_NAME]:
                continue
            found = (path / log.FILE_NAME).stat(follow_symlinks=False)
            yield Kept(path.name, found.st_size, found.st_mtime)


def _remove(doomed: list[tuple[Path, int | None]]) -> None:
    for path, fd in doomed:
        with suppress(OSError):
            path.unlink()
        if fd is not None:
            os.close(fd)


def _time(seconds: float) -> str:
    for unit, length_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.4g} {unit}"
    return f"{seconds:.3g} seconds"


def _size(count: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.4g} {unit}"
    return f"{count} bytes"


def _say(text: str) -> None:
    complain(f"broker: {text}")
