"""What of a segment that a dead process has left can be believed: bytes in, a judgement out.

Recording checks nothing: it would cost every probe. Its sender sums up what it cannot get rid of, and a process that
outlives it and cannot publish its journal sums up all of it (`checked`). What was not summed up is believed as
far as it is what a unit writes: whole records, of the right types, numbered without a hole, that end where the head is.
docs/reliability.md says what that amounts to. Must not know files, segments or what records mean.
"""

from typing import Final, NamedTuple
from zlib import crc32

from probe.errors import JournalError
from probe.layout import (
    CHECKED,
    FIRST,
    HEAD,
    HEADER_BYTES,
    LOST,
    LOWER,
    MAX_SEQ,
    NOT_FIRST,
    NOT_LOST,
    ONES,
    UNCHECKED,
    WORDS_BYTES,
)
from probe.sift import numbered_bounds

_TORN: Final = 1
"""So many records may stand behind the head: one, whose process was killed before it moved the head."""


class Remains(NamedTuple):
    """The records of a segment that can be believed end at the offset `end`; their numbers are `first` to `last`, and
    `lost` more are known to be lost behind them. `damaged`: something is not as it was written, so there may have been
    more, it is unknown how many."""

    first: int
    last: int
    end: int
    lost: int
    damaged: bool


class _Header(NamedTuple):
    head: int
    """0: it is not where it could be."""
    lost: int
    first: int
    sum_end: int
    sum_agrees: bool
    contradicts: bool
    """Two places say different things."""


def judge(content: memoryview, version: int, what: str) -> Remains:
    """What is left in the segment `content`; `what` names it. Raises JournalError if its header cannot be."""
    header = _header(content, version, what)
    ends = _ends(content, header.first)
    before = [end for end in ends if end <= header.head]
    reached = before[-1] if before else HEADER_BYTES
    if version == UNCHECKED:
        return _remains(header.first, before, header.lost, damaged=reached != header.head, short=reached != header.head)
    if not header.sum_agrees:
        broken = reached != header.head
        return Remains(header.first, header.first - 1, HEADER_BYTES, header.lost + len(before) + broken, True)
    if not header.head or len(ends) - len(before) > _TORN:
        return _remains(header.first, ends[:-_TORN] or ends, header.lost, damaged=True, short=False)
    if header.sum_end > header.head:
        return _remains(header.first, [end for end in ends if end <= header.sum_end], header.lost, True, short=False)
    short = reached != header.head
    return _remains(header.first, before, header.lost, damaged=short or header.contradicts, short=short)


def _remains(first: int, ends: list[int], lost: int, damaged: bool, short: bool) -> Remains:
    """`short`: the last record stands not where the last one should, so one at least is lost."""
    return Remains(first, first - 1 + len(ends), ends[-1] if ends else HEADER_BYTES, lost + short, damaged)


def _ends(content: memoryview, first: int) -> list[int]:
    with content[HEADER_BYTES:] as records:
        return [HEADER_BYTES + end for end in numbered_bounds(records, first)]


def _header(content: memoryview, version: int, what: str) -> _Header:
    with content[:WORDS_BYTES].cast("Q") as words:
        head, lost, first = words[HEAD], words[LOST], words[FIRST]
        checked, other_lost, other_first = words[CHECKED], words[NOT_LOST] ^ ONES, words[NOT_FIRST] ^ ONES
    contradicts, sum_end, agrees = False, 0, True
    if version != UNCHECKED:
        contradicts = lost != other_lost or first != other_first
        lost = min(lost, other_lost)
        if first != other_first:
            first = next((each for each in (first, other_first) if 0 < each <= MAX_SEQ and _ends(content, each)), 0)
        sum_end = checked & LOWER
        agrees = not checked or _agrees(content, sum_end, checked >> 32)
        head = head if head >= HEADER_BYTES else 0  # it may be behind the end of a file that was cut
    elif head < HEADER_BYTES:
        raise JournalError(f"{what} is damaged: head {head}, first {first}, {lost} lost cannot be; delete it")
    if not 0 < first <= MAX_SEQ or lost > MAX_SEQ:
        raise JournalError(f"{what} is damaged: head {head}, first {first}, {lost} lost cannot be; delete it")
    return _Header(head, lost, first, sum_end, agrees, contradicts)


def _agrees(content: memoryview, end: int, expected: int) -> bool:
    if not HEADER_BYTES <= end <= len(content):
        return False
    with content[HEADER_BYTES:end] as records:
        return crc32(records) == expected
