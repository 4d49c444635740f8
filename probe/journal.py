"""Journals: the memory-mapped files in which a unit keeps what it emitted until the broker has it.

A journal is a folder of segments, `<folder>/<unit>-<incarnation>/`, and whoever holds the lock (flock) on that folder
owns it: its unit while that lives, a supervisor afterwards. Belongs here: the layout of a segment, growing, freeing,
reading back. Must not know records (beyond where they end), sockets or threads; the unit's lock guards every journal.

A segment is a header of one page and then records back to back:

    0  u64  head: offset behind the last whole record; storing it is what commits a record
    8  u64  lost: events dropped after the last record of this segment (their sequence numbers are used up)
   16  u64  first: sequence number of the first record; 0 while the segment is a spare
   24       magic, version, pid, incarnation; then run, unit and boot id, each closed by a NUL
"""

import contextlib
import fcntl
import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from probe.environment import JOURNAL_BYTES
from probe.errors import JournalError, warn
from probe.wire import record_bounds

VERSION: Final = 1
HEADER_BYTES: Final = 4096
FIRST_SEGMENT_BYTES: Final = 256 * 1024
"""Size of the first segment: most units never need more, and a pool of forked workers should not fill the disk."""
SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""Each segment is twice as large as the one before, up to this."""
DEFAULT_BOUND: Final = 256 * 1024 * 1024
SMALLEST_BOUND: Final = 4 * FIRST_SEGMENT_BYTES

_MAGIC: Final = b"CIRCUITJ"
_FIXED: Final = struct.Struct("=8sIIQ")
_WORDS: Final = 24
_HEAD, _LOST, _FIRST = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose events a journal holds. `boot` is the boot id of the host, `pid` the process."""

    run: str
    unit: str
    incarnation: int
    pid: int
    boot: str

    def pack(self) -> bytes:
        texts = b"".join(text.encode("utf-8", "replace") + b"\0" for text in (self.run, self.unit, self.boot))
        packed = _FIXED.pack(_MAGIC, VERSION, self.pid, self.incarnation) + texts
        if _WORDS + len(packed) > HEADER_BYTES:
            raise JournalError(f"the names of run and unit are too long for a journal: {len(packed)} bytes")
        return packed

    @classmethod
    def unpack(cls, header: bytes, path: Path) -> "Owner":
        magic, version, pid, incarnation = _FIXED.unpack_from(header)
        if magic != _MAGIC or version != VERSION:
            raise JournalError(
                f"{path} is not a journal of version {VERSION}; delete it, or use the version it is from"
            )
        run, unit, boot, *_ = header[_FIXED.size :].decode("utf-8", "replace").split("\0")
        return cls(run, unit, incarnation, pid, boot)


class Segment:
    """One mapped file. `last` is the sequence number of its last record, None while it is still written to."""

    __slots__ = ("_whole", "last", "map", "path", "words")

    def __init__(self, mapped: mmap.mmap, path: Path | None) -> None:
        self.map = mapped
        self.path = path
        self.words = memoryview(mapped)[:_WORDS].cast("Q")
        self.last: int | None = None
        self._whole = len(mapped)

    @classmethod
    def create(cls, path: Path | None, size: int, owner: Owner) -> "Segment":
        """A new, empty spare of `size` bytes; without a path, in memory. Raises OSError."""
        if path is None:
            segment = cls(mmap.mmap(-1, size), None)
        else:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _reserve(file, size)
                segment = cls(mmap.mmap(file, size), path)
            except BaseException:
                os.unlink(path)
                raise
            finally:
                os.close(file)
        header = owner.pack()
        segment.map[_WORDS : _WORDS + len(header)] = header
        segment.words[_HEAD] = HEADER_BYTES
        return segment

    @classmethod
    def open(cls, path: Path) -> tuple["Segment", Owner]:
        """A segment that another process wrote, for reading. Raises JournalError for anything else."""
        try:
            with path.open("rb") as file:
                segment = cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)
        except (OSError, ValueError, TypeError) as error:
            raise JournalError(f"{path} cannot be read: {error}") from None
        try:
            owner = Owner.unpack(segment.map[_WORDS:HEADER_BYTES], path)
        except (JournalError, ValueError, struct.error) as error:
            segment.close()
            raise JournalError(f"{path} is not a journal: {error}") from None
        bounds = list(record_bounds(segment.map[HEADER_BYTES : segment.head]))
        segment.last = segment.first - 1 + len(bounds)
        segment._whole = HEADER_BYTES + (bounds[-1] if bounds else 0)
        return segment, owner

    @property
    def first(self) -> int:
        return self.words[_FIRST]

    @property
    def head(self) -> int:
        """Offset behind the last whole record."""
        return min(max(self.words[_HEAD], HEADER_BYTES), self._whole)

    @property
    def lost(self) -> int:
        return self.words[_LOST]

    def lose(self) -> None:
        """One more event is dropped behind this segment's last record."""
        self.words[_LOST] += 1

    def begin(self, first: int) -> None:
        """From now on this is no spare any more: its first record will have the sequence number `first`."""
        self.words[_FIRST] = first

    def touch(self) -> None:
        """Has the system do now, while other threads run, what it would else do at the first store into each page: that
        can take milliseconds. Nothing may have been recorded yet. Removes the segment and raises OSError when a page
        cannot be had."""
        try:
            with open("/dev/zero", "rb", buffering=0) as zeros, memoryview(self.map) as pages:
                zeros.readinto(pages[HEADER_BYTES:])
        except OSError:
            self.remove()
            raise

    def wipe(self) -> None:
        """Makes it a spare again. A process killed in the middle of this leaves a spare or the whole old segment."""
        self.words[_FIRST] = 0
        self.words[_HEAD] = HEADER_BYTES
        self.words[_LOST] = 0
        self.last = None

    def close(self) -> None:
        self.words.release()
        with contextlib.suppress(
            BufferError
        ):  # in a forked child: the parent's courier looked at it at that very moment
            self.map.close()

    def remove(self) -> None:
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Journal:
    """The journal of one incarnation, as its unit uses it. `segments` are in order; the last one is written to."""

    def __init__(self, owner: Owner, place: "Folder | None", bound: int = DEFAULT_BOUND) -> None:
        """A journal with one empty segment, of at most `bound` bytes altogether. Without a place it is in memory: it
        outlives the broker, not its process.

        Raises OSError or JournalError when that segment cannot be made.
        """
        self.owner = owner
        self.place = place
        self.bound = bound
        self.why_full = ""
        """Why there is no room for another segment; "" while there is."""
        self._largest = max(FIRST_SEGMENT_BYTES, min(SEGMENT_BYTES, bound // 4 // HEADER_BYTES * HEADER_BYTES))
        self._numbers = itertools.count(1)
        self._spare: Segment | None = None
        first = self._create(FIRST_SEGMENT_BYTES)
        first.begin(1)
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
        spare, self._spare = self._spare, None
        if spare is None and not self.why_full:  # else only `keep` and `free` help, not another try in the hot path
            spare = self.make_spare(touched=False)
        if spare is None:
            return None
        current = self.segments[-1]
        current.last = first - 1 - current.lost
        spare.begin(first)
        self.segments.append(spare)
        return spare

    def wants_spare(self) -> bool:
        """Whether there is no other segment and one will be needed soon: the first is more than half full, or left."""
        current = self.segments[-1]
        used = current.first > 1 or current.head * 2 > len(current.map)
        return self._spare is None and (used or bool(self.why_full))

    def make_spare(self, *, touched: bool = True) -> Segment | None:
        """A new segment, or None and the reason in `why_full`. Takes a while, above all when it is to be `touched`: the
        courier does it without the lock."""
        size = min(2 * len(self.segments[-1].map), self._largest)
        if self.bytes + size > self.bound:
            self.why_full = f"{self.bytes >> 10} KiB are not acknowledged, and {JOURNAL_BYTES} allows no more"
            return None
        try:
            spare = self._create(size)
            if touched:
                spare.touch()
        except OSError as error:
            self.why_full = error.strerror or str(error)
            return None
        self.why_full = ""
        return spare

    def keep(self, spare: Segment) -> None:
        """Use `spare` when the time comes."""
        self._spare = spare

    def free(self, below: int) -> list[Segment]:
        """Everything below this sequence number is kept elsewhere: its segments become the spare, or are not needed.
        Gives those, to be removed: that takes a while, so do it without the lock."""
        gone = []
        while len(self.segments) > 1 and self.segments[1].first <= below:
            segment = self.segments.pop(0)
            if self._spare is None and len(segment.map) == self._largest:
                segment.wipe()
                self._spare = segment
            else:
                gone.append(segment)
            self.why_full = ""
        return gone

    def close(self) -> None:
        """Unmaps everything and gives the folder to whoever wants to recover it. The files stay."""
        for segment in (*self.segments, *([self._spare] if self._spare else [])):
            segment.close()
        self.segments, self._spare = [], None
        if self.place is not None:
            self.place.close()

    def remove(self) -> None:
        """Deletes the journal: nothing in it is needed any more."""
        place, self.place = self.place, None
        self.close()
        if place is not None:
            place.remove()


class Folder:
    """A journal's folder, locked: nobody else reads, publishes or deletes it while this object holds it."""

    def __init__(self, path: Path) -> None:
        """Locks an existing folder. Raises BlockingIOError while its owner lives, OSError when it cannot be locked."""
        self.path = path
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._lock)
            raise

    @classmethod
    def create(cls, parent: Path, owner: Owner) -> "Folder":
        """The folder of a new incarnation. It gets its name when it is locked: an empty one that nobody has locked
        is taken for that of a dead unit, and removed. Raises OSError."""
        safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in owner.unit)[:80]
        path = parent / f"{safe}-{owner.incarnation}"
        fresh = path.with_name(f"{path.name}.new")
        fresh.mkdir(mode=0o700)
        try:
            folder = cls(fresh)
            fresh.rename(path)
        except BaseException:
            fresh.rmdir()
            raise
        folder.path = path
        return folder

    def segments(self) -> tuple[list[Segment], Owner | None]:
        """All segments that hold anything, in order, and whose they are. Raises JournalError for a damaged one."""
        found, owner = [], None
        try:
            for path in sorted(self.path.glob("*.segment")):
                if _is_begun(path):
                    segment, owner = Segment.open(path)
                    found.append(segment)
        except BaseException:
            for segment in found:
                segment.close()
            raise
        return sorted(found, key=lambda segment: segment.first), owner

    def close(self) -> None:
        """Gives up the lock. Twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        """Deletes the folder and what is in it."""
        for path in self.path.glob("*.segment"):
            path.unlink(missing_ok=True)
        self.path.rmdir()
        self.close()


def home(configured: str) -> Path:
    """The folder that journals go to: the configured one, else a private one of this user. Made when missing.

    Raises OSError when it cannot be made, JournalError when somebody else could read or replace it.
    """
    if configured:
        path = Path(configured)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime or not os.path.isdir(runtime):
        import tempfile  # not cheap, and not needed where there is a runtime directory

        runtime = tempfile.gettempdir()
    path = Path(runtime) / f"circuit-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise JournalError(f"{path} is not private to this user; delete it or set CIRCUIT_JOURNAL to another folder")
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
    """Every journal folder in `parent`, oldest incarnation first; nothing when there is no such folder."""
    try:
        names = [path for path in parent.iterdir() if path.name.rpartition("-")[2].isdigit()]
    except FileNotFoundError:
        return
    yield from sorted(names, key=lambda path: int(path.name.rpartition("-")[2]))


def _is_begun(path: Path) -> bool:
    """Whether this segment was ever used; not a spare, nor one whose process was killed while it made it."""
    try:
        with path.open("rb") as file:
            words = file.read(_WORDS)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error}") from None
    return len(words) == _WORDS and any(words[_FIRST * 8 :])


def _reserve(file: int, size: int) -> None:
    """Takes the disk space now: on a full disk a store into a sparse mapping would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    zeros = bytes(64 * 1024)
    for start in range(0, size, len(zeros)):
        os.pwrite(file, zeros[: size - start], start)
