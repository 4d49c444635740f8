"""Journals: the memory-mapped files in which a unit keeps what it emitted until the broker has it.

A journal is a folder of segments, `<folder>/<unit>-<incarnation>/`, and the process that holds the lock (flock) on that
folder owns it: its unit while that lives, a supervisor afterwards. Belongs here: growing, freeing, finding and locking.
Must not know what is in a segment (`segment` does), sockets or threads; the unit's lock guards every journal.
"""

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from probe import handlers, marks, private, process
from probe.descriptor import Descriptor
from probe.environment import JOURNAL_BYTES, Environment
from probe.errors import FolderError, JournalError, warn
from probe.segment import HEADER_BYTES, MAX_SEGMENT_BYTES, Owner, Segment, is_begun

FIRST_SEGMENT_BYTES: Final = 256 * 1024
"""Size of the first segment: most units never need more, and a pool of forked workers should not fill the disk."""
SEGMENT_BYTES: Final = MAX_SEGMENT_BYTES
"""Each segment is twice as large as the one before, up to this."""
DEFAULT_BOUND: Final = 256 * 1024 * 1024
SMALLEST_BOUND: Final = 4 * FIRST_SEGMENT_BYTES

_left_mapped: Final[list[Segment]] = []
"""Segments of a program that has closed all descriptors. A mapping has one, too, which it closes at its own end: that
may be the number of a file of the program by now."""


class Journal:
    """The journal of one incarnation, as its unit uses it. `segments` are in order; the last one is written to."""

    def __init__(
        self, owner: Owner, place: "Folder | None", bound: int = DEFAULT_BOUND, mark: marks.LeftMark | None = None
    ) -> None:
        """A journal with one empty segment, of at most `bound` bytes altogether. From here on others find its folder,
        and in it whose journal it is. Without a place it is in memory: it outlives the broker, not its process, and
        `mark` says so afterwards.

        Raises OSError or JournalError when that segment cannot be made; the place is removed then.
        """
        self.owner = owner
        self.place = place
        self.mark = mark
        self.supervised = False
        """Whether a supervisor recovers it when its process is gone."""
        self.bound = bound
        self.why_full = ""
        """Why there is no room for another segment; "" while there is."""
        self._largest = max(FIRST_SEGMENT_BYTES, min(SEGMENT_BYTES, bound // 4 // HEADER_BYTES * HEADER_BYTES))
        self._numbers = itertools.count(1)
        self._spare: Segment | None = None
        try:
            first = self._create(FIRST_SEGMENT_BYTES)
            first.begin(1)
            if place is not None and first.path is not None:
                place.show()
                first.path = place.path / first.path.name
        except BaseException:
            if place is not None:
                place.remove()
            raise
        self.segments = [first]

    def _create(self, size: int) -> Segment:
        path = None if self.place is None else self.place.path / f"{next(self._numbers):06d}.segment"
        return Segment.create(path, size, self.owner)

    @property
    def bytes(self) -> int:
        """What all segments take, used or not."""
        spare = self._spare
        return sum(len(segment.map) for segment in self.segments) + (len(spare.map) if spare else 0)

    def roll(self, first: int) -> Segment | None:
        """Begins a new segment for the record `first`; None while the bound is reached or the disk refuses."""
        if self._spare is self.segments[-1]:  # a signal handler raised an exception when it had just begun
            self._spare = None
        if (
            self._spare is None and not self.why_full
        ):  # else only `keep` and `free` help, not another try in the hot path
            self._spare = self.make_spare(touched=False)
        spare = self._spare
        if spare is None:
            return None
        current = self.segments[-1]
        current.last = first - 1 - current.lost
        spare.begin(first)
        self.segments.append(spare)
        self._spare = None
        return spare

    def wants_spare(self) -> bool:
        """Whether there is no other segment and one will be needed soon: the first is more than half full, or left."""
        current = self.segments[-1]
        used = current.first > 1 or current.head * 2 > len(current.map)
        return self._spare is None and (used or bool(self.why_full))

    def make_spare(self, *, touched: bool = True) -> Segment | None:
        """A new segment, or None and the reason in `why_full`. Takes a while, above all when it is to be `touched`: the
        sender does it without the lock."""
        for size in (
            min(2 * len(self.segments[-1].map), self._largest),
            FIRST_SEGMENT_BYTES,
        ):  # a small one may fit yet
            if self.bytes + size > self.bound:
                self.why_full = f"{self.bytes >> 10} KiB are not acknowledged, and {JOURNAL_BYTES} allows no more"
                continue
            try:
                spare = self._create(size)
                if touched:
                    spare.touch()
            except OSError as error:
                if handlers.raised(error):
                    raise
                self.why_full = error.strerror or str(error)
                continue
            self.why_full = ""
            return spare
        return None

    @property
    def is_kept(self) -> bool:
        """Whether it outlives its process, where others find it."""
        return self.place is not None

    @property
    def fate(self) -> str:
        """Where its events are, while the broker does not have them; completes "its events are ..."."""
        return "kept in its journal" if self.is_kept else "in memory only, and lost when its process ends"

    def check(self) -> None:
        """Sum up what was recorded since the last time (see `Segment.check`). For the sender's thread."""
        for segment in list(self.segments):
            segment.check()

    def keep(self, spare: Segment) -> None:
        """Use `spare` when the time comes."""
        self._spare = spare

    def free(self, below: int) -> list[Segment]:
        """Everything below this sequence number is kept elsewhere: its segments become the spare, or are not needed.
        Gives those, to be removed: that takes a while, so do it without the lock."""
        gone = []
        smallest = FIRST_SEGMENT_BYTES if self.why_full else self._largest
        while len(self.segments) > 1 and self.segments[1].first <= below:
            segment = self.segments.pop(0)
            if self._spare is None and len(segment.map) >= smallest:
                segment.wipe()
                self._spare = segment
            else:
                gone.append(segment)
            self.why_full = ""
        return gone

    def close(self) -> None:
        """Unmaps everything and leaves the folder to recovery. The files stay."""
        segments = (*self.segments, *([self._spare] if self._spare else []))
        if self.place is None or self.place.is_ours:
            for segment in segments:
                segment.close()
        else:
            _left_mapped.extend(segments)
        self.segments, self._spare = [], None
        if self.place is not None:
            self.place.close()
        if self.mark is not None:
            self.mark.let_go()

    def remove(self) -> None:
        """Deletes the journal: nothing in it is needed any more."""
        place, self.place = self.place, None
        mark, self.mark = self.mark, None
        self.close()
        if place is not None:
            place.remove()
        if mark is not None:
            mark.clear()


def begin(settings: Environment, owner: Owner) -> Journal:
    """The journal of a new incarnation, where its environment says. If none can be kept there it is in memory, and that
    is marked. Raises OSError or JournalError when there is no memory for it either; that is marked, too."""
    try:
        folder = Folder.create(home(settings.journal, supervised=bool(settings.marks)), owner)
        journal = Journal(owner, folder, bound(settings.journal_bytes))
        journal.supervised = bool(settings.marks)
        return journal
    except (OSError, JournalError) as error:
        if handlers.raised(error):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        left = mark(settings, owner, f"it could keep no journal ({why})")
        warn(
            f"unit {owner.unit!r} cannot keep a journal ({error}); its events are in memory only, and lost if the "
            "process is killed. Set CIRCUIT_JOURNAL to a folder that can be written to"
        )
        return Journal(owner, None, bound(settings.journal_bytes), left)


def mark(settings: Environment, owner: Owner, why: str) -> marks.LeftMark | None:
    """Leave a mark that what this incarnation emits is unknown, and `why`, should it die; None: that cannot be
    done either."""
    folder = None
    with handlers.suppressed(OSError, JournalError):
        folder = home(settings.journal, supervised=bool(settings.marks))
    unkept = marks.Unkept(owner.run, owner.unit, owner.incarnation, owner.pid, owner.boot, why)
    return marks.leave(settings.marks, folder, unkept)


class Folder:
    """A journal's folder, locked: no other process reads, publishes or deletes it while this object holds it."""

    def __init__(self, path: Path) -> None:
        """Locks an existing folder. Raises BlockingIOError while its owner lives, OSError when it cannot be locked."""
        self.path = path
        self._lock = Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            fcntl.flock(self._lock.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def create(cls, parent: Path, owner: Owner) -> "Folder":
        """The folder of a new incarnation. It is not found before `show`: one that is not locked is taken for that
        of a dead unit, and removed (see `clear`). Raises OSError."""
        safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in owner.unit)[:80]
        fresh = parent / f"{safe}-{owner.incarnation}.{owner.pid}"
        private.make(fresh)
        try:
            return cls(fresh)
        except BaseException:
            fresh.rmdir()
            raise

    def show(self) -> None:
        """Let others find it. Raises OSError."""
        path = self.path.with_suffix("")
        self.path.rename(path)
        self.path = path

    def segments(self) -> tuple[list[Segment], Owner | None]:
        """All segments that hold anything, in order, and whose they are.

        Raises JournalError when one of them is none, or when they cannot be of one journal, which is this folder's.
        """
        found: list[tuple[Segment, Owner]] = []
        try:
            broken = self._open_all(found)
            found.sort(key=lambda each: each[0].first)
            if broken is not None:
                if not found:
                    raise broken
                found[-1][0].is_damaged = True  # what is in the broken one is behind a record of which one knows
            for segment, owner in found:
                if owner != found[0][1] or not self.path.name.endswith(f"-{owner.incarnation}"):
                    raise JournalError(f"{segment.path} is of another journal than its folder; delete it")
            for (before, _), (after, _) in itertools.pairwise(found):
                before.end_before(after.first)
                if (before.last or 0) + before.lost >= after.first:
                    raise JournalError(f"{before.path} and {after.path} have the same events; delete the wrong one")
        except BaseException:
            for segment, _ in found:
                segment.close()
            raise
        return [segment for segment, _ in found], found[0][1] if found else None

    @property
    def is_ours(self) -> bool:
        """Whether it is locked; not where the program has closed all descriptors."""
        return self._lock.is_ours

    def _open_all(self, found: list[tuple[Segment, Owner]]) -> JournalError | None:
        """Adds to `found` every segment that holds anything and can be read; why one of the others cannot."""
        broken = None
        for path in sorted(self.path.glob("*.segment")):
            try:
                if is_begun(path):
                    found.append(Segment.open(path))
            except JournalError as error:
                broken = broken or error
        return broken

    def close(self) -> None:
        """Gives up the lock. Twice is harmless."""
        self._lock.close()

    def remove(self) -> None:
        """Deletes the segments, and the folder if nothing else is in it. Raises OSError."""
        for path in self.path.glob("*.segment"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
        self.close()


def is_journal(name: str) -> bool:
    """Whether a folder of this name is a journal that can be found."""
    return name.rpartition("-")[2].isdecimal()


def is_readable(path: Path) -> bool:
    """Whether recovery could publish, or clear away, what is in the folder `path`, were its process dead: it is no
    journal, or none that can be read, otherwise."""
    name = path.stem if path.suffix[1:].isdecimal() else path.name  # see Folder.create
    if not (is_journal(name) and path.is_dir()):
        return False
    broken = False
    for segment in path.glob("*.segment"):
        try:
            if is_begun(segment):
                Segment.owner_of(segment)
                return True
        except (OSError, JournalError):
            broken = True
    return not broken


def owner_of(path: Path) -> Owner | None:
    """Whose journal is in the folder `path`; None: it is being deleted, or is none."""
    for segment in sorted(path.glob("*.segment")):
        with suppress(OSError, JournalError):
            if is_begun(segment):
                return Segment.owner_of(segment)
    return None


def home(configured: str, *, supervised: bool = False) -> Path:
    """The folder that journals go to: the configured one, else a private one of this user. Made when missing.

    A `supervised` process finds the folder that it is in, or it is in another tree (chroot), where it would not be
    found. Raises OSError when it cannot be made, JournalError when another user could read or replace it.
    """
    if configured:
        path = Path(configured)
        if supervised and not path.is_dir():
            private.make(path)
        else:
            private.ensure(path)
        return path
    try:
        path = private.base() / f"circuit-{os.getuid()}"
    except FolderError as error:
        raise JournalError(f"{error}, or CIRCUIT_JOURNAL to a folder for journals") from None
    with suppress(FileExistsError):
        private.make(path)
    if why := private.why_not(path):
        raise JournalError(f"{why}; delete it or set CIRCUIT_JOURNAL to another folder")
    return path


@cache
def bound(configured: str) -> int:
    """What CIRCUIT_JOURNAL_BYTES says, in bytes. A wrong value gives a warning, once, and the default."""
    if not configured:
        return DEFAULT_BOUND
    if configured.isdecimal() and int(configured) >= SMALLEST_BOUND:
        return int(configured)
    warn(
        f"{JOURNAL_BYTES}={configured}: expected a number of bytes, at least {SMALLEST_BOUND}; "
        f"journals may grow to the default, {DEFAULT_BOUND}"
    )
    return DEFAULT_BOUND


def folders(parent: Path) -> Iterator[Path]:
    """Every journal folder in `parent`, the one that was begun or grew last at the end; nothing when there is no such
    folder."""
    changed_ns = {}
    with suppress(FileNotFoundError):
        for path in parent.iterdir():
            if is_journal(path.name):
                with suppress(OSError):  # it is being deleted
                    changed_ns[path] = path.stat().st_mtime_ns
    yield from sorted(changed_ns, key=lambda path: (changed_ns[path], path.name))


def left(parent: Path) -> list[str]:
    """The names of what is in `parent` and was not published: journals, and the file of marks if there are any."""
    with suppress(OSError):
        names = sorted(path.name for path in parent.iterdir())
        return [name for name in names if name != marks.FILE or marks.any_in(parent)]
    return []


def clear(parent: Path) -> None:
    """Removes what is left in `parent` of processes that died before their journal could be found."""
    for path in parent.glob("*-*.*"):
        incarnation, _, pid = path.name.rpartition("-")[2].partition(".")
        if incarnation.isdecimal() and pid.isdecimal() and not process.lives(int(pid)):
            with suppress(OSError):
                Folder(path).remove()
