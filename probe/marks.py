"""Marks of processes that keep no journal: which they are and why, so that it is known when one of them has died that
what it emitted is unknown.

All marks of a folder are in one small file, which a supervisor makes before the first unit is started. To leave one
takes no room on the disk, for every page is there already; and no right to the folder, nor a path to it, where the
supervisor's descriptor was inherited. A mark is taken (a lock on one of its bytes) as long as its process lives.

Belongs here: this file. Must be light, because units are started first. Must not know what becomes of a mark.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from probe import disk, handlers
from probe.descriptor import Descriptor

FILE: Final = "unkept"
SLOTS: Final = 64
SLOT_BYTES: Final = 1024
SIZE: Final = SLOTS * SLOT_BYTES

_HEAD: Final = struct.Struct("=8sQII")
"""Whether the slot is used, incarnation, pid, bytes of text; then run, unit, boot id and reason, divided by NULs."""
_ROOM: Final = SLOT_BYTES - _HEAD.size
_USED: Final = b"CIRCUITU"
_FREE: Final = bytes(8)


class Unkept(NamedTuple):
    """A process that keeps no journal. `why` completes "... keeps no journal: "."""

    run: str
    unit: str
    incarnation: int
    pid: int
    boot: str
    why: str


class Marks:
    """The file of one folder, open. Closing it frees every mark that this process has left in it."""

    def __init__(self, fd: int) -> None:
        """Takes over `fd`. Raises OSError or ValueError when that is no such file."""
        if fd < 0 or os.fstat(fd).st_size < SIZE:
            raise ValueError(f"descriptor {fd} is of no file of marks")
        self._descriptor = Descriptor(fd)
        self._map: mmap.mmap | None = None
        self._mine: tuple[int, dict[int, object]] = (0, {})
        """Our pid, and the slots that we have taken: the system does not keep a process from taking one twice."""

    @classmethod
    def make(cls, folder: Path) -> "Marks":
        """The file of `folder`, made if there is none. Raises OSError or ValueError."""
        return cls._open(folder, os.O_CREAT)

    @classmethod
    def of(cls, folder: Path) -> "Marks | None":
        """The file of `folder`, if there is one."""
        try:
            return cls._open(folder, 0)
        except (OSError, ValueError):
            return None

    @classmethod
    def _open(cls, folder: Path, flags: int) -> "Marks":
        fd = os.open(folder / FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        try:
            if flags & os.O_CREAT and os.fstat(fd).st_size < SIZE:
                _reserve(fd)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def of_fd(cls, fd: int) -> "Marks | None":
        """The file of which `fd` is a descriptor, if it is one."""
        try:
            return cls(fd)
        except (OSError, ValueError):
            return None

    @classmethod
    def inherited(cls, variable: str) -> "Marks | None":
        """The file whose descriptor this process has inherited. `variable` is descriptor, device and inode: that may
        have been closed meanwhile, and be something else."""
        try:
            fd, device, inode = map(int, variable.split(":"))
            found = os.fstat(fd)
            return cls(fd) if (found.st_dev, found.st_ino) == (device, inode) else None
        except (OSError, ValueError):
            return None

    @property
    def fd(self) -> int:
        return self._descriptor.fd

    @property
    def is_ours(self) -> bool:
        """Whether the file is open; not where the program has closed all descriptors."""
        return self._descriptor.is_ours

    def leave(self, mark: Unkept) -> int | None:
        """The slot in which `mark` stands from now on, until it is cleared or this process ends; None: all are used.
        Raises OSError."""
        for slot in range(SLOTS):
            if not self._is_used(slot) and self.take(slot):
                if self._is_used(slot):  # another process was quicker, and died
                    self.free(slot)
                    continue
                self._store(slot * SLOT_BYTES + 8, _pack(mark))
                self._store(slot * SLOT_BYTES, _USED)  # last: now it counts
                return slot
        return None

    def clear(self, slot: int) -> None:
        """The mark is not needed any more."""
        if self.is_ours:
            with suppress(OSError):
                self._store(slot * SLOT_BYTES, _FREE)
        self.free(slot)

    def left(self) -> Iterator[tuple[int, Unkept]]:
        """Every mark of another process, with its slot."""
        whole = os.pread(self.fd, SIZE, 0)
        for slot in range(SLOTS):
            packed = whole[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]
            if packed.startswith(_USED):
                with suppress(ValueError):
                    mark = _unpack(packed)
                    if mark.pid != os.getpid():
                        yield slot, mark

    def take(self, slot: int) -> bool:
        """Whether no process has this slot, and so the one that left a mark in it is gone. If so we have it now."""
        mine, token = self._taken(), object()
        if mine.setdefault(slot, token) is not token:  # in one step: other threads may be at it
            return False
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError as error:
            del mine[slot]
            if handlers.raised(error):
                raise
            return False
        return True

    def free(self, slot: int) -> None:
        """Let others have the slot again."""
        if slot in self._taken():
            if self.is_ours:
                with suppress(OSError):
                    fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, slot)
            self._taken().pop(slot, None)

    def close(self) -> None:
        """Let go of the file."""
        self._descriptor.close()

    def _is_used(self, slot: int) -> bool:
        return os.pread(self.fd, 8, slot * SLOT_BYTES) == _USED

    def _store(self, at: int, data: bytes) -> None:
        """Raises OSError if neither way is open: one is closed to who may write no files (RLIMIT_FSIZE), the other to
        who may have no more memory. A mapping stays: to end one would free our marks."""
        try:
            disk.may_write(at + len(data))
            os.pwrite(self.fd, data, at)
        except OSError as error:
            if handlers.raised(error):
                raise
            self._map = self._map or mmap.mmap(self.fd, SIZE)
            self._map[at : at + len(data)] = data

    def _taken(self) -> dict[int, object]:
        """The slots that this process has taken; what it had before a fork is its parent's."""
        if self._mine[0] != os.getpid():
            self._mine = os.getpid(), {}
        return self._mine[1]


def _pack(mark: Unkept) -> bytes:
    """What stands in a slot behind its first word. The reason is cut where it is too long."""
    names = b"".join(text.encode("utf-8", "replace") + b"\0" for text in (mark.run, mark.unit, mark.boot))
    text = (names + mark.why.encode("utf-8", "replace"))[:_ROOM]
    return _HEAD.pack(_FREE, mark.incarnation, mark.pid, len(text))[8:] + text


def _unpack(slot: bytes) -> Unkept:
    """Raises ValueError for what is no mark."""
    _, incarnation, pid, size = _HEAD.unpack_from(slot)
    if size > _ROOM:
        raise ValueError(f"a mark has no {size} bytes")
    run, unit, boot, why = slot[_HEAD.size : _HEAD.size + size].decode("utf-8", "replace").split("\0", 3)
    return Unkept(run, unit, incarnation, pid, boot, why)


def _reserve(fd: int) -> None:
    """Have all its pages, so that a store into the mapping cannot fail on a full disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, SIZE)
    elif os.fstat(fd).st_size < SIZE:
        os.pwrite(fd, bytes(SIZE), 0)


def any_in(folder: Path) -> bool:
    """Whether a mark was left in `folder` and has not been cleared."""
    if (found := Marks.of(folder)) is None:
        return False
    try:
        return any(found.left())
    finally:
        found.close()


_reached: Marks | None = None
"""The file that this process, or the one that it was forked from, has left a mark in. It stays open."""


def leave(inherited: str, folder: Path | None, mark: Unkept) -> "LeftMark | None":
    """Leave `mark` where a supervisor or `circuit-run recover` will find it: in `folder`, or in the file whose
    descriptor was `inherited` (see `Marks.inherited`); None: that is not possible."""
    global _reached
    reached = _reached if _reached is not None and _reached.is_ours else None
    ways: list[Callable[[], Marks | None]] = [lambda: reached, lambda: Marks.inherited(inherited)]
    if folder is not None:
        ways.append(lambda: Marks.make(folder))
    for reach in ways:
        with handlers.suppressed(OSError, ValueError):
            if (marks := reach()) and (slot := marks.leave(mark)) is not None:
                _reached = marks
                return LeftMark(marks, slot)
    return None


class LeftMark(NamedTuple):
    """A mark that this process has left."""

    marks: Marks
    slot: int

    def clear(self) -> None:
        """All that the process has emitted is in the log."""
        self.marks.clear(self.slot)

    def let_go(self) -> None:
        """The process lives on, and will not say any more what it has emitted."""
        self.marks.free(self.slot)
