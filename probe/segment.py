"""One file of a journal: a header (see `layout`) and then records back to back.

Belongs here: making such a file, summing up what is in it, and reading what another process has left in one, whatever
became of it. Must not know records (beyond where they end), folders, sockets or threads.
"""

import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

from probe import disk, layout, remains
from probe.errors import JournalError
from probe.layout import CHECKED, FIRST, HEAD, LOST, MAX_SEQ, NOT_FIRST, NOT_LOST, ONES, WIPING, WORDS_BYTES
from probe.layout import HEADER_BYTES as HEADER_BYTES
from probe.layout import Owner as Owner

MAX_SEGMENT_BYTES: Final = 4 * 1024 * 1024


class Segment:
    """One mapped file. `last` is the sequence number of its last record, None while it is still written to."""

    __slots__ = ("_sum", "_sum_end", "_version", "is_damaged", "last", "map", "path", "words")

    def __init__(self, mapped: mmap.mmap, path: Path | None) -> None:
        self.map = mapped
        self.path = path
        self.words = memoryview(mapped)[:WORDS_BYTES].cast("Q")
        self.last: int | None = None
        self.is_damaged = False
        """Whether something is not as it was written, so that there may have been more; it is unknown how much."""
        self._sum, self._sum_end = 0, HEADER_BYTES
        self._version = layout.VERSION

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
        header = owner.header()
        segment.map[: len(header)] = header
        segment.words[HEAD] = HEADER_BYTES
        return segment

    @staticmethod
    def owner_of(path: Path) -> Owner:
        """Whose segment it is. Raises OSError, or JournalError for what is none."""
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise JournalError(f"{path} is not a journal: it has {len(header)} bytes; delete it")
        return layout.read_owner(header, path)[0]

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
            owner, version = layout.read_owner(segment.map[:HEADER_BYTES], path)
            segment._settle(version)
        except BaseException:
            segment.close()
            raise
        return segment, owner

    def _settle(self, version: int) -> None:
        """Finds out what there is in a segment that is not written to any more. Raises JournalError."""
        with memoryview(self.map) as content:
            found = remains.judge(content, version, str(self.path))
        if found.last + found.lost > MAX_SEQ:
            raise JournalError(
                f"{self.path} is damaged: {found.lost} lost events behind {found.last} cannot be; delete it"
            )
        self.last, self.is_damaged, self._version = found.last, found.damaged, version
        self.words[HEAD], self.words[LOST], self.words[FIRST] = found.end, found.lost, found.first

    @property
    def first(self) -> int:
        return self.words[FIRST]

    @property
    def head(self) -> int:
        """Offset behind the last whole record."""
        return self.words[HEAD]

    @property
    def lost(self) -> int:
        """How many events are known to be lost behind the last record."""
        return self.words[LOST]

    def lose(self) -> None:
        """One more event is dropped behind this segment's last record."""
        self.words[LOST] += 1
        self.words[NOT_LOST] = self.words[LOST] ^ ONES

    def begin(self, first: int) -> None:
        """From now on this is no spare any more: its first record will have the sequence number `first`."""
        self.words[NOT_FIRST] = first ^ ONES
        self.words[FIRST] = first

    def end_before(self, first: int) -> None:
        """A damaged segment, of which more is taken to be lost than was between it and the next, which begins there."""
        if self.is_damaged and self.last is not None and self.last < first:
            self.words[LOST] = min(self.lost, first - 1 - self.last)

    def check(self) -> None:
        """Sum up what was recorded since the last time, so that a reader knows whether it is as it was written.
        Any thread may record meanwhile."""
        head = self.words[HEAD]
        if head > self._sum_end:
            with memoryview(self.map) as content, content[self._sum_end : head] as records:
                self._sum, self._sum_end = crc32(records, self._sum), head
            self.words[CHECKED] = self._sum << 32 | head

    def seal(self) -> None:
        """Sum up in its file all of a segment that was opened. Raises OSError."""
        if self.path is None or self.is_damaged or self._version == layout.UNCHECKED:
            return
        self.check()
        with self.path.open("r+b") as file:
            os.pwrite(file.fileno(), struct.pack("=Q", self.words[CHECKED]), CHECKED * 8)

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
        self.words[NOT_FIRST] = WIPING
        self.words[FIRST] = 0
        self.words[HEAD] = HEADER_BYTES
        self.words[LOST], self.words[NOT_LOST] = 0, ONES
        self.words[CHECKED] = 0
        self.words[NOT_FIRST] = ONES
        self._sum, self._sum_end = 0, HEADER_BYTES
        self.last = None

    def close(self) -> None:
        self.words.release()
        with suppress(BufferError):  # in a forked child: the parent's sender read it at that very moment
            self.map.close()

    def remove(self) -> None:
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def is_begun(path: Path) -> bool:
    """Whether this segment was ever used; not a spare, nor one whose process was killed while it made it."""
    try:
        with path.open("rb") as file:
            header = file.read(WORDS_BYTES)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error}") from None
    return layout.is_begun(header)


def _reserve(file: int, size: int) -> None:
    """Takes the disk space now: on a full disk a store into a sparse mapping would kill the process."""
    disk.may_write(size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    zeros = bytes(64 * 1024)
    for start in range(0, size, len(zeros)):
        os.pwrite(file, zeros[: size - start], start)
