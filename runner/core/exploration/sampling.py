"""Orders by chance, and orders by how often they preempt: for profiles with more classes than can be run.

Belongs here: how one order is drawn, each way with its source. Must not know which way is good for what.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from runner.core.exploration.profile import Chance, Order, Profile

Draw: TypeAlias = Callable[[Profile, Chance], Order]
KEPT: Final = 4_096
"""Unfinished orders that are kept for each number of preemptions; what is beyond them is not tried."""


def uniform(profile: Profile, chance: Chance) -> Order:
    """Every order is as likely as every other: the next actor is drawn by how many steps it has left."""

    def pick(open_: Sequence[int], left: Sequence[int]) -> int:
        return chance.choices(open_, [left[actor] for actor in open_])[0]

    return _walk(profile, pick)


def by_priorities(profile: Profile, chance: Chance, depth: int = 3) -> Order:
    """PCT: the actor of highest priority goes on; `depth` - 1 times, at steps drawn beforehand, it falls behind all
    others. Finds a bug that needs `depth` ordered steps with a chance of at least
    1 / (actors * steps ** (depth - 1)) (Burckhardt et al.: "A randomized scheduler with probabilistic guarantees of
    finding bugs", 2010)."""
    ranks = chance.sample(range(depth, depth + len(profile.actors)), len(profile.actors))
    places = chance.sample(range(profile.length), min(depth - 1, profile.length))
    falls = {place: number for number, place in enumerate(places)}
    order: list[int] = []

    def pick(open_: Sequence[int], _left: Sequence[int]) -> int:
        first = max(open_, key=ranks.__getitem__)
        if len(order) in falls:
            ranks[first] = falls[len(order)] - depth
            first = max(open_, key=ranks.__getitem__)
        order.append(first)
        return first

    return _walk(profile, pick)


def by_partial_order(profile: Profile, chance: Chance) -> Order:
    """POS: each next step has a priority by chance, drawn again when a step that it depends on goes first (Yuan et al.:
    "Partial order aware concurrency sampling", 2018)."""
    at = [0] * len(profile.actors)
    ranks: dict[int, float] = {}

    def pick(open_: Sequence[int], _left: Sequence[int]) -> int:
        for actor in open_:
            if actor not in ranks:
                ranks[actor] = chance.random()
        first = max(open_, key=ranks.__getitem__)
        step = profile.actors[first][at[first]]
        at[first] += 1
        del ranks[first]
        for actor in list(ranks):
            if profile.actors[actor][at[actor]].depends_on(step):
                ranks[actor] = chance.random()
        return first

    return _walk(profile, pick)


def by_preemptions(profile: Profile, chance: Chance) -> Iterator[Order]:
    """Every order, those without preemption first, then with one, with two ... (an actor that has steps left and does
    not go on is preempted; Musuvathi and Qadeer: "Iterative context bounding", 2007). Within a number by chance."""
    now: list[tuple[int, ...]] = [()]
    while now:
        later: list[tuple[int, ...]] = []
        while now:
            prefix = now.pop(int(chance.random() * len(now)))
            left = [len(steps) - prefix.count(actor) for actor, steps in enumerate(profile.actors)]
            open_ = [actor for actor, steps in enumerate(left) if steps]
            if not open_:
                yield prefix
                continue
            goes_on = bool(prefix) and left[prefix[-1]] > 0
            for actor in open_:
                into = later if goes_on and actor != prefix[-1] else now
                if len(into) < KEPT:
                    into.append((*prefix, actor))
        now = later


def _walk(profile: Profile, pick: Callable[[Sequence[int], Sequence[int]], int]) -> Order:
    left = list(map(len, profile.actors))
    order = []
    while open_ := [actor for actor, steps in enumerate(left) if steps]:
        actor = pick(open_, left)
        left[actor] -= 1
        order.append(actor)
    return tuple(order)
