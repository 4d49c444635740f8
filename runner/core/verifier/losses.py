"""Which records are lost: those that were reported lost, those that never came, and those that may have been lost.

Belongs here: sequence numbers of incarnations. Must not know what is in the records. The broker refuses a batch that
comes too early, so a hole that was not reported is a body that did not parse or a log that was cut; no verdict
may rest on it.
"""

from collections.abc import Iterable, Set
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from runner.model.result.result import Lost, UnknownLoss

UNACCOUNTED: Final = "they never arrived, and no reason is known"
LISTED: Final = 10_000
"""Ranges that are listed; those beyond are counted."""


class Losses:
    """What every incarnation has lost. `count` is how many records are lost."""

    def __init__(self) -> None:
        self.ranges: list[Lost] = []
        self.count = 0
        self._units: set[str] = set()
        self._newest: dict[tuple[str, int], int] = {}
        """Incarnation -> where its latest range stands in `ranges`."""
        self._next_seq: dict[tuple[str, int], int] = {}
        self._unknown: dict[tuple[str, int], str] = {}
        """Incarnation -> why it may have lost records, it is not known how many."""
        self._owing: dict[tuple[str, int], str] = {}
        """The same, of those that may say it yet."""
        self._awaited: dict[str, set[str]] = {}
        """Unit -> the units or patterns for which it waited in vain."""

    @property
    def units(self) -> Set[str]:
        """Units that lost records, or may have."""
        return self._units | {unit for unit, _ in self._owing} if self._owing else self._units

    @property
    def misled(self) -> frozenset[str]:
        """Units that waited in vain for one that lost records, or for one that was misled itself: what they waited for
        may have happened."""
        misled: set[str] = set()
        while self._awaited:
            silent = self.units | misled
            more = {
                asker
                for asker, awaited in self._awaited.items()
                if asker not in misled
                and any(name == one or fnmatchcase(one, name) for name in awaited for one in silent)
            }
            if not more:
                break
            misled |= more
        return frozenset(misled)

    @property
    def affected(self) -> Set[str]:
        """Units that might have emitted more than came: those that lost records, and those that were misled by that."""
        return self.units | self.misled if self._awaited else self.units

    @property
    def unknown(self) -> tuple[UnknownLoss, ...]:
        """The incarnations that may have lost more than is counted."""
        found = self._owing | self._unknown
        return tuple(UnknownLoss(unit, incarnation, why) for (unit, incarnation), why in found.items())

    def doubt(self, unit: str, incarnation: int, why: str) -> None:
        """The incarnation may have emitted what will never come; the first reason is kept."""
        self._unknown.setdefault((unit, incarnation), why)
        self._units.add(unit)

    def owes(self, unit: str, incarnation: int, why: str) -> None:
        """The same, unless it says its last word after all."""
        self._owing.setdefault((unit, incarnation), why)

    def has_said_all(self, unit: str, incarnation: int) -> None:
        """Nothing more comes of it, and nothing is missing."""
        self._owing.pop((unit, incarnation), None)

    def awaited_in_vain(self, asker: str, names: Iterable[str]) -> None:
        """`asker` got the answer that what it waited for will not come, because of these units or patterns."""
        self._awaited.setdefault(asker, set()).update(names)

    def lose(self, unit: str, incarnation: int, first: int, last: int, why: str) -> None:
        """Records `first`..`last` will never come. A range that goes on where the one before ended is one with it."""
        self._advance(unit, incarnation, last + 1)
        self._units.add(unit)
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
