"""Which clocks cannot have been right, by nothing but the stamps that they gave.

Belongs here: stamps that no running clock can give. Must not know circuits or sentences, nor decide anything: order and
time are judged by the stamps as they are, this only says what a stamp is worth.

A clock in nanoseconds that runs does not show the same time three times. So an incarnation of which all events bear one
stamp was stamped by a clock that is stopped. One that stamps an event before a watermark that it has sent has a clock
that went back; up to a second of that may come from threads that were held up between stamp and message.
"""

from collections.abc import Sequence
from typing import Any, Final

STILL: Final = 3
"""So many events with one stamp, and no other."""
SURE_NS: Final = 1_000_000_000
"""What goes back by no more may have been held up."""


class _Piece:
    """The clock of one incarnation: the one stamp of all its events (None: there are more) and how many they are."""

    __slots__ = ("number", "said_ns", "stamp_ns")

    def __init__(self, stamp_ns: int, said_ns: int) -> None:
        self.stamp_ns: int | None = stamp_ns
        self.number = 0
        self.said_ns = said_ns


class Timepieces:
    """The clocks of all incarnations, one batch after the other."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, int], _Piece] = {}
        self._back: dict[str, int] = {}

    def stamped(self, unit: str, incarnation: int, records: Sequence[Any], watermark_ns: int) -> None:
        """A batch of an incarnation, in its order. What is no record says nothing."""
        try:
            first_ns, last_ns = records[0][1], records[-1][1]
            piece = self._pieces.get((unit, incarnation))
            if piece is None:
                piece = self._pieces[unit, incarnation] = _Piece(first_ns, watermark_ns)
            elif (gap_ns := piece.said_ns - min(first_ns, last_ns)) > SURE_NS:
                self._back[unit] = max(self._back.get(unit, 0), gap_ns)
            piece.said_ns = max(piece.said_ns, watermark_ns)
            if piece.stamp_ns is not None:
                stamp_ns = piece.stamp_ns
                if first_ns == last_ns == stamp_ns and all(record[1] == stamp_ns for record in records):
                    piece.number += len(records)
                else:
                    piece.stamp_ns = None
        except (TypeError, LookupError):
            return

    def still(self) -> dict[tuple[str, int], int]:
        """(unit, stamp) -> how many events one incarnation has, all of them with that stamp; where the clock is
        stopped."""
        found: dict[tuple[str, int], int] = {}
        for (unit, _), piece in self._pieces.items():
            if piece.stamp_ns is not None and piece.number >= STILL:
                found[unit, piece.stamp_ns] = max(piece.number, found.get((unit, piece.stamp_ns), 0))
        return found

    def back_ns(self, unit: str) -> int:
        """By how much the unit's clock went back at most; 0: it did not."""
        return self._back.get(unit, 0)
