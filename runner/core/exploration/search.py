"""Which order to run next, and what may be said of those that were.

Belongs here: the method. All classes are found in the head; where they are few enough to be run, each is, the one with
the fewest switches first, so that the first that fails is near the simplest. Where they are too many, several ways to
draw an order take turns, and an order is dropped if an equivalent one was tried. Must not run anything, or know time.
"""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

from runner.core.exploration import classes, sampling
from runner.core.exploration.equivalence import ClassName, class_of, fewest_switches, switches
from runner.core.exploration.profile import Chance, Order, Profile

MOST_CLASSES: Final = 20_000
"""More classes than these are not counted."""
GIVE_UP_AFTER: Final = 3_000
"""So many orders drawn in succession that are all known end a search by chance: there is hardly a new one left."""


class Search:
    """The orders of one profile to try, at most `most` of them. `declared`: its steps say what they touch; else every
    step is taken to depend on every other."""

    def __init__(self, profile: Profile, chance: Chance, most: int, *, declared: bool = True) -> None:
        self._profile = profile
        self._chance = chance
        self._seen: set[ClassName] = set()
        self.pruned = 0
        """Orders that were dropped because an equivalent one had been tried."""
        self.total: int | None = None
        """How many classes there are; None: more than are tried."""
        found = list(islice(classes.orders(profile), min(most, MOST_CLASSES) + 1)) if profile.length else []
        if len(found) <= min(most, MOST_CLASSES):
            self.total = len(found)
            self._source = self._fewest_switches_first(found)
        else:
            self._source = islice(self._taking_turns(declared=declared), most)

    def __iter__(self) -> Iterator[Order]:
        """The orders, each of a class of its own."""
        return self._source

    @property
    def exhausted(self) -> bool:
        """Whether every class was given out: no order is left that the system could tell from these, if `touches` are
        true."""
        return self.total is not None and len(self._seen) == self.total

    def _fewest_switches_first(self, found: list[Order]) -> Iterator[Order]:
        simplest = [fewest_switches(self._profile, order) for order in found]
        keyed = sorted((switches(order), self._chance.random(), order) for order in simplest)
        for _, _, order in keyed:
            self._seen.add(class_of(self._profile, order))
            yield order

    def _taking_turns(self, *, declared: bool) -> Iterator[Order]:
        draws = (
            (sampling.uniform, sampling.by_priorities, sampling.by_partial_order) if declared else (sampling.uniform,)
        )
        by_preemptions = sampling.by_preemptions(self._profile, self._chance)
        ways = [by_preemptions, *(self._endlessly(draw) for draw in draws)]
        known = 0
        for way in cycle(ways):
            order = next(way, None)
            name = class_of(self._profile, order) if order is not None else None
            if order is None or name is None or name in self._seen:
                self.pruned += order is not None
                known += 1
                if known > GIVE_UP_AFTER:
                    return
                continue
            known = 0
            self._seen.add(name)
            yield order

    def _endlessly(self, draw: sampling.Draw) -> Iterator[Order]:
        while True:
            yield draw(self._profile, self._chance)


def audit(profile: Profile, chance: Chance) -> Iterator[Order]:
    """Orders by chance, equivalent ones among them: if two of one class come to different verdicts, `touches` lie."""
    while True:
        yield sampling.uniform(profile, chance)
