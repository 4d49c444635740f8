"""One file of a journal: a header of one page and then records back to back.

    0  u64  head: offset behind the last whole record; storing it is what commits a record
    8  u64  lost: events dropped after the last record of this segment (their sequence numbers are used up)
   16  u64  first: sequence number of the first record; 0 while the segment is a spare
   24       magic, version, pid, incarnation; then run, unit and boot id, each closed by a NUL

Belongs here: this layout, making such a file, and reading what another process has left in one, whatever became of it.
Must not know records (beyond where they end), folders, sockets or threads.
"""

import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probe.errors import JournalError
from probe.wire import numbered_bounds

VERSION: Final = 1
HEADER_BYTES: Final = 4096
MAX_SEGMENT_BYTES: Final = 4 * 1024 * 1024
MAX_SEQ: Final = 2**63 - 1
"""Largest sequence number there can be."""

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
        run, unit, boot, *_ = [*header[_FIXED.size :].decode("utf-8", "replace").split("\0"), "", "", ""]
        return cls(run, unit, incarnation, pid, boot)


class Segment:
    """One mapped file. `last` is the sequence number of its last record, None while it is still written to."""

    __slots__ = ("_whole", "is_damaged", "last", "map", "path", "words")

    def __init__(self, mapped: mmap.mmap, path: Path | None) -> None:
        self.map = mapped
        self.path = path
        self.words = memoryview(mapped)[:_WORDS].cast("Q")
        self.last: int | None = None
        self.is_damaged = False
        """Whether records were committed behind the last one that can be read; nobody knows how many."""
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

    @staticmethod
    def owner_of(path: Path) -> Owner:
        """Whose segment it is. Raises OSError, or JournalError for what is none."""
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise JournalError(f"{path} is not a journal: it has {len(header)} bytes; delete it")
        return Owner.unpack(header[_WORDS:], path)

    @classmethod
    def open(cls, path: Path) -> tuple["Segment", Owner]:
        """A copy of a segment that another process wrote; reading a file through a mapping is fatal when it shrinks.

        Raises JournalError for what is no segment of a journal, or has numbers in its header that cannot be.
        """
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not HEADER_BYTES <= size <= MAX_SEGMENT_BYTES:
                    raise JournalError(f"{path} is not a journal: it has {size} bytes; delete it")
                segment = cls(mmap.mmap(-1, size), path)
                file.readinto(segment.map)
        except OSError as error:
            raise JournalError(f"{path} cannot be read: {error}") from None
        try:
            owner = Owner.unpack(segment.map[_WORDS:HEADER_BYTES], path)
            segment._settle()
        except BaseException:
            segment.close()
            raise
        return segment, owner

    def _settle(self) -> None:
        """Finds out what there is in a segment that nobody writes to any more. Raises JournalError."""
        head, lost, first = self.words
        if head < HEADER_BYTES or max(lost, first) > MAX_SEQ:
            raise JournalError(f"{self.path} is damaged: head {head}, first {first}, {lost} lost cannot be; delete it")
        ends = list(numbered_bounds(self.map[HEADER_BYTES:head], first))
        self.last = first - 1 + len(ends)
        self._whole = HEADER_BYTES + (ends[-1] if ends else 0)
        self.is_damaged = self._whole < head
        if self.last + self.lost > MAX_SEQ:
            raise JournalError(f"{self.path} is damaged: {lost} lost events behind {self.last} cannot be; delete it")

    @property
    def first(self) -> int:
        return self.words[_FIRST]

    @property
    def head(self) -> int:
        """Offset behind the last whole record."""
        return min(max(self.words[_HEAD], HEADER_BYTES), self._whole)

    @property
    def lost(self) -> int:
        """How many events are known to be lost behind the last record: where it is damaged, one is one too few."""
        return self.words[_LOST] + self.is_damaged

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
        with suppress(BufferError):  # in a forked child: the parent's courier looked at it at that very moment
            self.map.close()

    def remove(self) -> None:
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def is_begun(path: Path) -> bool:
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
