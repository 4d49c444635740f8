"""The header of a journal's segment: one page, and behind it records back to back.

    0  u64  head: offset behind the last whole record; storing it is what commits a record
    8  u64  lost: events dropped after the last record of this segment (their sequence numbers are used up)
   16  u64  first: sequence number of the first record; 0 while the segment is a spare
   24       magic, version, pid, incarnation
   48  u64  checked: CRC-32 of the records up to an offset (upper half), and that offset (lower half); 0: of none
   56  u64  lost, every bit inverted
   64  u64  first, every bit inverted
   72  u32  CRC-32 of magic to incarnation and of the names; and u32 0
   80       run, unit and boot id, each closed by a NUL

Version 1 had no checks, and its names at 48. Belongs here: where things stand, and whose segment it is. Must not know
files or records.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from probe.errors import JournalError

VERSION: Final = 2
UNCHECKED: Final = 1
"""The version without checks."""
HEADER_BYTES: Final = 4096
MAX_SEQ: Final = 2**63 - 1
"""Largest sequence number there can be."""
WORDS_BYTES: Final = 72
"""Up to here the header is words of 8 bytes."""
HEAD, LOST, FIRST, CHECKED, NOT_LOST, NOT_FIRST = 0, 1, 2, 6, 7, 8
"""The places of those words."""
ONES: Final = 2**64 - 1
WIPING: Final = 0x0F1E2D3C4B5A6978
"""Stands for `first`, inverted, while a segment becomes a spare again."""
LOWER: Final = 2**32 - 1

_OWNER: Final = 24
_FIXED: Final = struct.Struct("=8sIIQ")
_CHECKS: Final = struct.Struct("=QQQII")
_OLD_NAMES: Final = _OWNER + _FIXED.size
_NAMES: Final = _OLD_NAMES + _CHECKS.size
_MAGIC: Final = b"CIRCUITJ"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose events a journal holds. `boot` is the boot id of the host, `pid` the process."""

    run: str
    unit: str
    incarnation: int
    pid: int
    boot: str

    def header(self) -> bytes:
        """The header of a spare of this owner, the head excepted. Raises JournalError."""
        names = b"".join(text.encode("utf-8", "replace") + b"\0" for text in (self.run, self.unit, self.boot))
        fixed = _FIXED.pack(_MAGIC, VERSION, self.pid, self.incarnation)
        checks = _CHECKS.pack(0, ONES, ONES, crc32(fixed + names), 0)
        if _NAMES + len(names) > HEADER_BYTES:
            raise JournalError(f"the names of run and unit are too long for a journal: {len(names)} bytes")
        return bytes(_OWNER) + fixed + checks + names


def read_owner(header: bytes, path: Path) -> tuple[Owner, int]:
    """Whose segment it is, and its version. Raises JournalError, in which `path` names it."""
    fixed = header[_OWNER:_OLD_NAMES]
    magic, version, pid, incarnation = _FIXED.unpack(fixed)
    if magic != _MAGIC or version not in (UNCHECKED, VERSION):
        raise JournalError(f"{path} is not a journal of version {VERSION}; delete it, or use the version it is from")
    names = header[_OLD_NAMES if version == UNCHECKED else _NAMES :].split(b"\0", 3)[:3]
    if version != UNCHECKED:
        *_, check, rest = _CHECKS.unpack_from(header, _OLD_NAMES)
        if (check, rest) != (crc32(fixed + b"".join(name + b"\0" for name in names)), 0):
            raise JournalError(f"{path} is damaged: its checksum does not agree with whose journal it is; delete it")
    run, unit, boot, *_ = [*(name.decode("utf-8", "replace") for name in names), "", "", ""]
    return Owner(run, unit, incarnation, pid, boot), version


def is_begun(header: bytes) -> bool:
    """Whether a segment that begins with these bytes was ever used. It is not while it is a spare, nor if its process
    was killed while it made it or made a spare of it."""
    if len(header) < WORDS_BYTES:
        return len(header) > FIRST * 8 and any(header[FIRST * 8 : FIRST * 8 + 8])
    words = memoryview(header[:WORDS_BYTES]).cast("Q")
    if _FIXED.unpack_from(header, _OWNER)[1] == UNCHECKED:
        return words[FIRST] > 0
    if words[NOT_FIRST] == WIPING:
        return False
    return words[FIRST] > 0 or (words[NOT_FIRST] != ONES and words[HEAD] > HEADER_BYTES)
