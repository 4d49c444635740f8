"""What of a journal is still to be said to the broker: pieces of records, and holes where events were dropped.

Used by the sender while the unit lives and by recovery afterwards. Belongs here: finding and cutting, and what is on
the way but not acknowledged. Values in, values out: must not know sockets, threads or clocks.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from probe import message as m
from probe.segment import HEADER_BYTES, Segment
from probe.wire import record_bounds

MAX_BODY_BYTES: Final = 256 * 1024
"""Largest body of one EVENTS message; a quarter of the largest frame."""

DROPPED: Final = "dropped: the journal was full, or the broker had refused the unit"


class JournalPosition(NamedTuple):
    """How far a journal, or one segment of it, goes at one moment."""

    seq: int
    """The last sequence number used."""
    end: int
    """Offset behind the last record of the last segment."""
    dropped: int
    """How many of the last sequence numbers have no record."""
    stamp_ns: int
    """Everything stamped up to this is in the journal; 0: unknown."""


NOTHING: Final = JournalPosition(0, HEADER_BYTES, 0, 0)
"""A journal without any record."""


class Backlog:
    """Walks over `segments` (which may grow meanwhile) and remembers what the broker has not acknowledged."""

    def __init__(self, segments: Sequence[Segment], *, recovered: bool = False) -> None:
        self._segments = segments
        self._recovered = recovered
        self._offset = HEADER_BYTES
        self._at: Segment | None = None
        """The segment that `next_seq` is in; None: to be found."""
        self._under_way: deque[tuple[int, int]] = deque()
        """(first sequence number behind it, bytes) of every piece that is not acknowledged."""
        self._watermark_ns = 0
        self.next_seq = 1
        """First sequence number that has not been taken."""
        self.acked = 1
        """Everything below it is the broker's."""
        self.bytes_under_way = 0

    @property
    def all_acked(self) -> bool:
        """Whether everything that was taken has been acknowledged."""
        return self.acked >= self.next_seq

    def rewind(self, next_seq: int) -> None:
        """Start again at this sequence number: what was under way before is not any more."""
        self.next_seq = self.acked = max(next_seq, 1)
        self._at = None
        self._under_way.clear()
        self.bytes_under_way = 0
        self._watermark_ns = 0

    def ack(self, below: int) -> None:
        """The broker has everything below this. An acknowledgement that brings nothing new, while something is under
        way, means that the broker dropped that: go back to what it wants."""
        if below <= self.acked < self.next_seq:
            self.rewind(below)
        while self._under_way and self._under_way[0][0] <= below:
            self.bytes_under_way -= self._under_way.popleft()[1]
        self.acked = max(self.acked, min(below, self.next_seq))

    def freed(self) -> None:
        """Segments have been freed, and may come back as other ones: do not stand on one that is gone."""
        if self._at not in self._segments:
            self._at = None

    def take(self, to: JournalPosition) -> tuple[m.Events | m.Gap, memoryview] | None:
        """The next thing to say of a journal that goes as far as `to`, or None when all has been said.

        The body of EVENTS is a view of the journal: send it, then release it.
        """
        while self.next_seq <= to.seq:
            at = self._at = self._at or self._find()
            if at is None or self.next_seq < at.first:
                return self._hole(to.seq if at is None else at.first - 1, "not in the journal any more")
            closed_at = at.last  # read once: the unit may close this segment at any moment
            now = to if closed_at is None else JournalPosition(closed_at + at.lost, at.head, at.lost, 0)
            if self.next_seq <= now.seq - now.dropped:
                return self._piece(at, now)
            if self.next_seq <= now.seq:
                why = "the journal is damaged" if at.is_damaged else DROPPED
                return self._hole(now.seq, why)
            self._at = None
        return None

    def watermark(self, to: JournalPosition) -> m.Events:
        """Says nothing but that everything up to now has been said; right when `take` gives None for that position."""
        self._watermark_ns = to.stamp_ns
        return m.Events(self.next_seq, 0, to.stamp_ns, self._recovered)

    def _find(self) -> Segment | None:
        """The segment with `next_seq` in it, or the next one after it; sets the offset."""
        for at in list(self._segments):
            if at.last is None or self.next_seq <= at.last + at.lost:
                self._offset = HEADER_BYTES
                if (skip := self.next_seq - at.first) > 0:
                    with memoryview(at.map)[HEADER_BYTES : at.head] as records:
                        self._offset += next(islice(record_bounds(records), skip - 1, None), len(records))
                return at
        return None

    def _piece(self, at: Segment, now: JournalPosition) -> tuple[m.Events, memoryview]:
        """Records from the segment `at`, which goes as far as `now`."""
        first, start, end = self.next_seq, self._offset, now.end
        if end - start <= MAX_BODY_BYTES:
            count = now.seq - now.dropped - first + 1
            if now.stamp_ns and not now.dropped:
                self._watermark_ns = now.stamp_ns
        else:
            with memoryview(at.map)[start : start + MAX_BODY_BYTES] as records:
                bounds = list(record_bounds(records))
            count, end = len(bounds), start + bounds[-1]
        self._offset = end
        self._took(first + count, end - start)
        events = m.Events(first, count, self._watermark_ns, self._recovered)
        return events, memoryview(at.map)[start:end]

    def _hole(self, last: int, why: str) -> tuple[m.Gap, memoryview]:
        gap = m.Gap(self.next_seq, last, why)
        self._took(last + 1, 0)
        return gap, memoryview(b"")

    def _took(self, next_seq: int, size: int) -> None:
        self.next_seq = next_seq
        self._under_way.append((next_seq, size))
        self.bytes_under_way += size
