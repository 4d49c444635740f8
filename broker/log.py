"""`events.log`: the append-only file that is the truth about a run; writing it, mending it, reading it back.

    file   = header, entry, entry, ...
    header = "CIRCUIT" 0x0a, u32 version, u32 0                                  (16 bytes)
    entry  = u32 length of the payload, u32 crc32 of the payload, payload        (see wire.encode_entry)

Numbers are big-endian. Offsets are bytes from the start of the file; those of RECORDS and FETCH are the same ones.
Must not know sockets or who reads.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from broker.errors import LogDiskFull, LogError
from probe import disk, private, wire
from probe.errors import WireError
from probe.message import Message

FILE_NAME: Final = "events.log"
VERSION: Final = 1
HEADER: Final = b"CIRCUIT\n" + struct.pack(">II", VERSION, 0)
START: Final = len(HEADER)
"""Offset of the first entry."""
PREFIX: Final = struct.Struct(">II")
MAX_ENTRY_BYTES: Final = 3 * wire.MAX_FRAME_BYTES
"""Longest payload; anything longer is damage."""
READ_BYTES: Final = 1024 * 1024
FIRST_BYTES: Final = 4096
sync: Final = getattr(os, "fdatasync", os.fsync)
"""Wait until what was written to a file is on the disk (macOS has no `fdatasync`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One logged message: HELLO, EVENTS, GAP, FINAL or COMMAND, and who said it. Its bytes in the log go from
    `start` up to `end`."""

    unit: str
    incarnation: int
    message: Message
    body: bytes
    end: int
    start: int = 0


# --- reading ----------------------------------------------------------------------------------------------------------


def entries(chunk: bytes, offset: int = 0) -> Iterator[Entry]:
    """The entries in `chunk`, which holds whole ones and begins at byte `offset` of the log.

    Raises LogError for anything else.
    """
    end = 0
    for start, end in bounds(chunk, offset):
        payload = memoryview(chunk)[start + PREFIX.size : end]
        if crc32(payload) != PREFIX.unpack_from(chunk, start)[1]:
            raise LogError(f"the checksum of the entry at byte {offset + start} is wrong", offset=offset + start)
        yield _entry(payload, offset + start, offset + end)
    if end != len(chunk):
        raise LogError(f"the entry at byte {offset + end} is cut off", offset=offset + end, torn=True)


def scan(path: Path, offset: int = 0) -> Iterator[Entry]:
    """The entries of the file from byte `offset` on (0: all).

    Raises LogError: `torn` after the last whole entry if there is a rest, else for a file that is none of ours, cannot
    be read or is damaged.
    """
    try:
        for chunk, begin in chunks(path, offset):
            yield from entries(chunk, begin)
    except LogError as error:
        torn = error.torn or (error.offset >= START and _is_torn(path, error.offset))
        raise LogError(f"{path}: {error}", offset=error.offset, torn=torn) from None


def first(path: Path) -> Entry | None:
    """The first entry of the file, if it is a short one; None for whatever else there is."""
    try:
        with path.open("rb") as file:
            found = file.read(FIRST_BYTES)
        _check_header(found[:START])
        bound = next(bounds(found[START:], START), None)
        return next(entries(found[START : START + bound[1]], START)) if bound else None
    except (OSError, LogError):
        return None


def chunks(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """(whole entries in one piece, byte of the log where they begin), from byte `offset` on. Nothing but lengths has
    been read. Raises LogError."""
    try:
        with path.open("rb") as file:
            _check_header(file.read(START))
            offset = max(offset, START)
            file.seek(offset)
            rest = b""
            while read := file.read(READ_BYTES):
                chunk = rest + read
                end, wrong = _whole(chunk, offset)
                rest = chunk[end:]
                if end:
                    yield chunk[:end], offset
                if wrong is not None:
                    raise wrong
                offset += end
    except OSError as error:
        raise LogError(error.strerror or str(error)) from None
    if rest:
        raise LogError(f"the entry at byte {offset} is cut off", offset=offset, torn=True)


def bounds(chunk: bytes, offset: int = 0) -> Iterator[tuple[int, int]]:
    """(where it starts, where it ends) of each whole entry in `chunk`; ends where the next one is not whole.

    Raises LogError for a length that is none; `offset` is where the chunk begins in the log.
    """
    start = 0
    while start + PREFIX.size <= len(chunk):
        length = PREFIX.unpack_from(chunk, start)[0]
        if not 0 < length <= MAX_ENTRY_BYTES:
            raise LogError(f"no entry begins at byte {offset + start}", offset=offset + start)
        end = start + PREFIX.size + length
        if end > len(chunk):
            return
        yield start, end
        start = end


def _whole(chunk: bytes, offset: int) -> tuple[int, LogError | None]:
    """How many bytes at the start of `chunk` are whole entries, and what is wrong with what follows them."""
    end = 0
    try:
        for bound in bounds(chunk, offset):
            end = bound[1]
    except LogError as error:
        return end, error
    return end, None


def _entry(payload: memoryview, start: int, end: int) -> Entry:
    try:
        return Entry(*wire.decode_entry(payload), end, start)
    except WireError as error:
        raise LogError(f"the entry at byte {start}: {error}", offset=start) from None


def _check_header(found: bytes) -> None:
    if found == HEADER:
        return
    if HEADER.startswith(found):
        raise LogError("the header is cut off", torn=True)
    if found[:8] == HEADER[:8] and (version := int.from_bytes(found[8:12])) != VERSION:
        raise LogError(f"version {version} of the log, expected {VERSION}")
    raise LogError("not a log of circuit-run")


def _is_torn(path: Path, offset: int) -> bool:
    """Whether the wrong entry at `offset` is what a crash left of the last write: its bytes are not all there, or are
    zeros, and behind it is nothing, or only zeros (a file that had grown when the power went)."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            prefix = file.read(PREFIX.size)
            if any(prefix):
                length, checksum = PREFIX.unpack(prefix.ljust(PREFIX.size, b"\0"))
                if not 0 < length <= MAX_ENTRY_BYTES or crc32(file.read(length)) == checksum:
                    return False
            return all(block.count(0) == len(block) for block in iter(lambda: file.read(READ_BYTES), b""))
    except OSError:
        return False


# --- writing ----------------------------------------------------------------------------------------------------------


class Log:
    """The log as its one writer sees it."""

    def __init__(
        self, path: Path, remember: Callable[[Entry], None] = lambda _entry: None, *, durable: bool = False
    ) -> None:
        """Open or create the file at `path` (its folder too). `remember` gets what is in it already, oldest first; what
        a crash left of a last entry is cut off and counted in `cut`. A `durable` log is synced whenever it is written.

        Raises LogError if the file cannot be written, is held by another broker, is damaged or is none of ours.
        """
        self.path = path
        self.end = START
        self.cut = 0
        self._last_written = b""
        self._left_at: tuple[int, ...] = ()
        """How the file was when it was let go of."""
        self._durable = durable
        try:
            private.ensure(path.parent)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(path, error, "choose a folder that you may write to") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover(remember)
            if durable:
                self._sync_name()
        except BlockingIOError:
            self.close()
            raise LogError(f"{path}: another broker writes it; end that one, or choose another folder") from None
        except OSError as error:
            self.close()
            raise _refused(path, error, "choose a folder that you may write to") from None
        except BaseException:
            self.close()
            raise

    def _recover(self, remember: Callable[[Entry], None]) -> None:
        size = os.fstat(self._file).st_size
        try:
            for entry in scan(self.path) if size else ():
                remember(entry)
                self.end = entry.end
        except LogError as error:
            if not error.torn:
                raise
        if size < START:
            os.ftruncate(self._file, 0)
            self._write(HEADER, 0)
        elif size > self.end:
            self.cut = size - self.end
            os.ftruncate(self._file, self.end)
            self._sync()

    def append(self, group: Iterable[bytes]) -> None:
        """Write a group of payloads with one system call. When it returns they survive this process, and in a durable
        log also the machine.

        Raises LogError if the disk refuses; the file then ends behind the last group that was whole.
        """
        parts: list[bytes] = []
        for payload in group:
            parts += (PREFIX.pack(len(payload), crc32(payload)), payload)
        self._last_written = b"".join(parts)
        self._write(self._last_written, self.end)
        self.end += len(self._last_written)

    def read(self, offset: int, limit: int) -> bytes:
        """Whole entries from `offset` on, at most `limit` bytes of them but at least one entry; b"" at the end.

        Raises LogError if no entry begins at `offset`.
        """
        if offset >= self.end:
            return b""
        begin = self.end - len(self._last_written)
        if offset == begin and len(self._last_written) <= limit:
            return self._last_written  # a reader that keeps up gets what was just written, without asking the disk
        if offset >= begin:
            chunk = self._last_written[offset - begin : offset - begin + max(limit, PREFIX.size)]
        else:
            chunk = os.pread(self._file, max(limit, PREFIX.size), offset)
        end, wrong = _whole(chunk, offset)
        if end:
            return chunk if end == len(chunk) else chunk[:end]
        if wrong is not None or len(chunk) < PREFIX.size:
            raise wrong or LogError(f"no entry begins at byte {offset}", offset=offset)
        return os.pread(self._file, PREFIX.size + PREFIX.unpack_from(chunk)[0], offset)  # longer than the limit

    def rest(self) -> None:
        """Let go of the file until `resume`."""
        self._last_written = b""
        self._left_at = _state(self._file)
        self.close()

    def resume(self) -> bool:
        """Take the file again after `rest`. False: another process has it or has changed it, so it has to be opened
        anew."""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _state(self._file) == self._left_at:
                return True
        except OSError:
            pass
        self.close()
        return False

    def close(self) -> None:
        """Let go of the file. Harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, data: bytes, before: int) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            self._sync()
        except OSError as error:
            with suppress(OSError):  # then the next one that opens it cuts off what this write left
                os.ftruncate(self._file, before)
            raise _refused(self.path, error, f"nothing after byte {before} was acknowledged") from None

    def _sync(self) -> None:
        if self._durable:
            sync(self._file)

    def _sync_name(self) -> None:
        """What was written survives only if the way to it does: the file's entry, and those of folders just made."""
        for folder in list(self.path.resolve().parents)[:2]:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _refused(path: Path, error: OSError, what: str) -> LogError:
    kind = LogDiskFull if disk.is_full(error) else LogError
    return kind(f"{path}: {disk.why(error, path)}; {what}")


def _state(fd: int) -> tuple[int, ...]:
    """Changes whenever a file does, or is another one."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
