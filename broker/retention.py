"""Old runs are removed: a broker that goes on for months would fill its disk.

A run is what the broker itself has made: a folder whose name can be the id of a run, with `events.log` in it and
nothing else. Anything else there is not ours, and the run stays, and so does one whose log another process
holds. Age and size are those of the log file; its last entry is as old as the file's last change.

A run belongs to the key that has made it, which the first entry of its log says. Every key may keep as much as every
other one: when all have too much, the one that has most loses its oldest run, and none because another has much.

Belongs here: which runs have to go, and their going. Must not know sockets or peers.
"""

import fcntl
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker import access, log
from broker.errors import complain
from broker.runs import Runs
from probe.clock import monotonic
from probe.message import Names
from probe.native import Latch, start_new_thread

SWEEP_S: Final = 60.0
"""How often is checked."""
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
    key: str = ""
    """Name of the key that has made it; "": none."""


class Retention:
    """The limits of one broker: `keep_for_s` since the last entry, `keep_bytes` of all logs together (None: none)."""

    def __init__(self, folder: Path, keep_for_s: float | None = None, keep_bytes: int | None = None) -> None:
        self._folder = folder
        self._keep_for_s = keep_for_s
        self._keep_bytes = keep_bytes
        self._next_s = 0.0
        self._removals: list[Latch] = []
        """Each open when its thread has done its work."""
        self._makers: dict[str, str] = {}
        """Run -> name of the key that has made it, as far as was read."""

    def sweep(self, runs: Runs, report: Callable[[str], None] | None = None) -> None:
        """Remove what is too old or too much, if it is time; `report` gets a sentence for each removal
        (default: standard error). Files are only renamed here; a thread removes them, which takes a while for large
        ones."""
        if (self._keep_for_s is None and self._keep_bytes is None) or monotonic() < self._next_s:
            return
        self._next_s = monotonic() + SWEEP_S
        doomed: list[tuple[Path, int | None]] = [(path, None) for path in self._folder.glob(f"{_DOOMED}*")]
        found = sorted(self._kept(), key=lambda kept: kept.last_s)
        removable = {kept.name for kept in found if not runs.in_use(kept.name)}

        def remove(going: Sequence[tuple[Kept, str]]) -> bool:
            """Whether any could not be removed."""
            gone = {kept.name for kept, why in going if self._is_gone(kept, why, runs, doomed, report or _say)}
            removable.difference_update(kept.name for kept, _ in going)
            found[:] = [kept for kept in found if kept.name not in gone]
            return len(gone) < len(going)

        now_s = time.time()
        remove([(kept, why) for kept in found if kept.name in removable and (why := self._why_too_old(kept, now_s))])
        while self._keep_bytes is not None and remove(too_much(found, removable, self._keep_bytes)):
            pass
        if doomed:
            removed = Latch()
            self._removals = [each for each in self._removals if not each.is_open]
            self._removals.append(removed)
            try:
                start_new_thread(_remove, (doomed, removed))  # not of `threading`, which waits for ever if that fails
            except RuntimeError:  # there are no more threads to be had, and room is needed all the same
                _remove(doomed, removed)

    def close(self) -> None:
        """Wait until everything is removed."""
        for each in self._removals:
            each.wait()

    def _is_gone(
        self, kept: Kept, why: str, runs: Runs, doomed: list[tuple[Path, int | None]], report: Callable[[str], None]
    ) -> bool:
        taken = self._take(kept.name, runs)
        if taken is not None:
            doomed.append(taken)
            report(f"removed the run {kept.name}: {why}")
        return taken is not None

    def _why_too_old(self, kept: Kept, now_s: float) -> str:
        age_s = now_s - kept.last_s
        if self._keep_for_s is None or age_s <= self._keep_for_s:
            return ""
        return f"its last entry is {_time(age_s)} old, {_time(self._keep_for_s)} are kept"

    def _kept(self) -> Iterator[Kept]:
        """What is there, of what the broker has made."""
        makers = {}
        for path in self._folder.iterdir():
            with suppress(OSError):
                if not access.is_run_id(path.name) or path.is_symlink() or os.listdir(path) != [log.FILE_NAME]:
                    continue
                found = (path / log.FILE_NAME).stat(follow_symlinks=False)
                key = self._makers.get(path.name)
                makers[path.name] = _maker(path / log.FILE_NAME) if key is None else key
                yield Kept(path.name, found.st_size, found.st_mtime, makers[path.name])
        self._makers = makers

    def _take(self, name: str, runs: Runs) -> tuple[Path, int] | None:
        """Put the log of a run out of the way; gives where it is now and a file descriptor that holds it. None:
        another process holds it, or it cannot be."""
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
            with suppress(OSError):  # something was put into it just now
                path.parent.rmdir()
            return away, fd
        return None


def fair_level(sizes: Iterable[int], most: int) -> float:
    """How much each key may keep so that all together keep `most` bytes, when what one does not need is for the others:
    who has less keeps it all."""
    left, sizes = float(most), sorted(sizes)
    for number, size in enumerate(sizes):
        if size * (len(sizes) - number) >= left:
            return left / (len(sizes) - number)
        left -= size
    return math.inf


def too_much(found: Sequence[Kept], removable: Collection[str], most: int) -> list[tuple[Kept, str]]:
    """The runs that go so that no more than `most` bytes are kept, and why, one after another: the oldest of the key
    that has most, as long as it has more than is fair. `found` has the oldest first; of it those that are `removable`
    can go."""
    of_keys: Counter[str] = Counter()
    oldest: dict[str, deque[Kept]] = {}
    for kept in found:
        of_keys[kept.key] += kept.size
        if kept.name in removable:
            oldest.setdefault(kept.key, deque()).append(kept)
    total, level = sum(of_keys.values()), fair_level(of_keys.values(), most)
    going = []
    while total > most and (over := [key for key in oldest if oldest[key] and of_keys[key] > level]):
        key = max(over, key=of_keys.__getitem__)
        goes = oldest[key].popleft()
        whose = f" of the key {key!r}, which has {_size(of_keys[key])}" if key and of_keys[key] < total else ""
        going.append((goes, f"it is the oldest{whose} of {_size(total)}, {_size(most)} are kept"))
        of_keys[key] -= goes.size
        total -= goes.size
    return going


def _maker(path: Path) -> str:
    entry = log.first(path)
    return entry.message.key if entry is not None and isinstance(entry.message, Names) else ""


def _remove(doomed: list[tuple[Path, int | None]], removed: Latch) -> None:
    try:
        for path, fd in doomed:
            with suppress(OSError):
                path.unlink()
            if fd is not None:
                os.close(fd)
    finally:
        removed.open()


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
