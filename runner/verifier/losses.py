"""Which records are known to be lost: those that were said to be, and those that nobody accounts for.

Belongs here: sequence numbers of incarnations. Must not know what is in the records. The broker refuses a batch that
comes too early, so a hole that nobody has explained is a body that did not parse or a log that was cut; no verdict
may rest on it.
"""

from dataclasses import replace
from typing import Final

from runner.verifier.verdict import Lost

UNACCOUNTED: Final = "they never arrived, and nobody said why"
LISTED: Final = 10_000
"""Ranges that are listed; those beyond are counted."""


class Losses:
    """The books of all incarnations. `count` is how many records are lost, `units` who lost them."""

    def __init__(self) -> None:
        self.ranges: list[Lost] = []
        self.count = 0
        self.units: set[str] = set()
        self._newest: dict[tuple[str, int], int] = {}
        """Incarnation -> where its latest range stands in `ranges`."""
        self._next_seq: dict[tuple[str, int], int] = {}

    def lose(self, unit: str, incarnation: int, first: int, last: int, why: str) -> None:
        """Records `first`..`last` will never come. A range that goes on where the one before ended is one with it."""
        self._advance(unit, incarnation, last + 1)
        self.units.add(unit)
        self.count += last - first + 1
        place = self._newest.get((unit, incarnation))
        if place is not None and (before := self.ranges[place]).last + 1 == first and before.why == why:
            self.ranges[place] = replace(before, last=last)
        elif len(self.ranges) < LISTED:
            self._newest[unit, incarnation] = len(self.ranges)
            self.ranges.append(Lost(unit, incarnation, first, last, why))

    def receive(self, unit: str, incarnation: int, first: int, last: int) -> None:
        """Records `first`..`last` have come; what is missing before them is lost."""
        expected = self._advance(unit, incarnation, last + 1)
        if first > expected:
            self.lose(unit, incarnation, expected, first - 1, UNACCOUNTED)

    def _advance(self, unit: str, incarnation: int, seq: int) -> int:
        """The number that was expected next; from now on it is `seq`, if that is larger."""
        expected = self._next_seq.get((unit, incarnation), 1)
        self._next_seq[unit, incarnation] = max(expected, seq)
        return expected
