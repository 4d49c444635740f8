"""One order of every class of equivalent orders.

Source-DPOR with sleep sets (Abdulla, Aronis, Jonsson, Sagonas: "Optimal dynamic partial order reduction", 2014,
algorithm 1), for actors whose steps are known beforehand and never wait for each other. Belongs here: that. Must not
run anything; which class is tried first is decided elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.core.exploration.profile import Order, Profile, Step


@dataclass(slots=True)
class _Prefix:
    """A state of the walk: what was done before, and what is done from here. `after` has a bit for each earlier
    position that this step comes after."""

    open: list[int]
    """Actors that have steps left."""
    asleep: set[int]
    """Whose step from here would lead to nothing new."""
    wanted: set[int] = field(default_factory=set)
    actor: int = -1
    step: Step = field(default_factory=lambda: Step(""))
    after: int = 0


def orders(profile: Profile) -> Iterator[Order]:
    """One order of each class, none twice."""
    walk = _Walk(profile)
    yield from walk.complete()


class _Walk:
    def __init__(self, profile: Profile) -> None:
        self._actors = profile.actors
        self._length = profile.length
        self._at = [0] * len(profile.actors)
        self._path: list[_Prefix] = []

    def complete(self) -> Iterator[Order]:
        """Depth first over prefixes."""
        path = self._path
        self._enter(set())
        while path:
            here = path[-1]
            if here.actor >= 0:  # back from what followed
                self._at[here.actor] -= 1
                here.asleep.add(here.actor)
                here.actor = -1
            actor = min(here.wanted - here.asleep, default=-1)
            if actor < 0:
                path.pop()
                continue
            step = self._actors[actor][self._at[actor]]
            here.after = self._see_races(actor, step)
            here.actor, here.step = actor, step
            still = {other for other in here.asleep if not self._next(other).depends_on(step)}
            self._at[actor] += 1
            if len(path) == self._length:
                yield tuple(prefix.actor for prefix in path)
            else:
                self._enter(still)

    def _enter(self, asleep: set[int]) -> None:
        left = [actor for actor, steps in enumerate(self._actors) if self._at[actor] < len(steps)]
        prefix = _Prefix(left, asleep)
        awake = next((actor for actor in left if actor not in asleep), None)
        if awake is not None:
            prefix.wanted.add(awake)
        self._path.append(prefix)

    def _next(self, actor: int) -> Step:
        return self._actors[actor][self._at[actor]]

    def _see_races(self, actor: int, step: Step) -> int:
        """`actor` is about to do `step` at the end of the path. For each earlier step that it races with, another
        actor is tried before that one; returns what the step comes after, as bits."""
        path = self._path[:-1]
        own = next((i for i in range(len(path) - 1, -1, -1) if path[i].actor == actor), None)
        after = 0 if own is None else path[own].after | 1 << own
        for i in range(len(path) - 1, -1, -1):
            earlier = path[i]
            if after >> i & 1 or earlier.actor == actor or not earlier.step.depends_on(step):
                continue
            self._reverse(i, actor, step)  # nothing between them is after the one and before the other
            after |= earlier.after | 1 << i
        return after

    def _reverse(self, i: int, actor: int, step: Step) -> None:
        """See to it that an order is tried in which `step` comes before the step at position `i`."""
        path = self._path[:-1]
        free = [j for j in range(i + 1, len(path)) if not path[j].after >> i & 1]
        first: set[int] = set()
        known: set[int] = set()
        for position, j in enumerate(free):
            if path[j].actor not in known:
                known.add(path[j].actor)
                if not any(path[j].after >> k & 1 for k in free[:position]):
                    first.add(path[j].actor)
        if actor not in known and not any(path[j].step.depends_on(step) for j in free):
            first.add(actor)
        before = self._path[i]
        if not first & (before.wanted | before.asleep):
            before.wanted.add(min(first))
