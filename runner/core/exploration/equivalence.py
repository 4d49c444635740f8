"""When two orders are the same to the system, and the simplest of those that are.

Two orders are equivalent if one becomes the other by exchanging neighbours that do not depend on each other
(Mazurkiewicz traces). Belongs here: the name of a class, and its order with the fewest switches from actor to actor.
Must not know how orders are found.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import TypeAlias

from runner.core.exploration.profile import Order, Profile

ClassName: TypeAlias = tuple[tuple[int, ...], ...]
"""The Foata normal form: for each step of each actor its level."""


def class_of(profile: Profile, order: Sequence[int]) -> ClassName:
    """The name of the class of `order`: equal for equivalent orders, and for no others.

    A step's level is one above the highest level of a step before it that it depends on (Foata normal form; Diekert and
    Rozenberg, "The Book of Traces", 1995).
    """
    levels: list[list[int]] = [[] for _ in profile.actors]
    written: dict[str, int] = {}
    touched: dict[str, int] = {}
    for actor, step in zip(order, profile.steps(order), strict=True):
        below = levels[actor][-1] if levels[actor] else 0
        for resource, writes in step.writes.items():
            below = max(below, (touched if writes else written).get(resource, 0))
        level = below + 1
        levels[actor].append(level)
        for resource, writes in step.writes.items():
            touched[resource] = max(touched.get(resource, 0), level)
            if writes:
                written[resource] = max(written.get(resource, 0), level)
    return tuple(map(tuple, levels))


def switches(order: Sequence[int]) -> int:
    """How often another actor goes on."""
    return sum(one != other for one, other in pairwise(order))


def fewest_switches(profile: Profile, order: Order) -> Order:
    """Of the orders equivalent to `order`, the one with the fewest switches: a shortest path (Dijkstra) over how far
    each actor is and who went last."""
    needs = _needs(profile, order)
    end = tuple(map(len, profile.actors))
    heap: list[tuple[int, int, tuple[int, ...], int, Order]] = [(0, 0, (0,) * len(end), -1, ())]
    seen: set[tuple[tuple[int, ...], int]] = set()
    serial = 0
    while heap:
        cost, _, at, last, path = heappop(heap)
        if at == end:
            return path
        if (at, last) in seen:
            continue
        seen.add((at, last))
        for actor, done in enumerate(at):
            if done < end[actor] and all(at[other] >= least for other, least in enumerate(needs[actor][done])):
                serial += 1
                here = (*at[:actor], done + 1, *at[actor + 1 :])
                more = last not in (-1, actor)
                heappush(heap, (cost + more, serial, here, actor, (*path, actor)))
    raise ValueError("the order lacks steps of the profile")


def _needs(profile: Profile, order: Order) -> list[list[list[int]]]:
    """For each step of each actor: how many steps of every actor must have been, so that the class stays the same."""
    steps = profile.steps(order)
    needs: list[list[list[int]]] = [[] for _ in profile.actors]
    at: list[int] = []
    count = [0] * len(profile.actors)
    for position, (actor, step) in enumerate(zip(order, steps, strict=True)):
        need = [0] * len(profile.actors)
        for earlier in range(position):
            if order[earlier] == actor or steps[earlier].depends_on(step):
                need[order[earlier]] = at[earlier] + 1
        needs[actor].append(need)
        at.append(count[actor])
        count[actor] += 1
    return needs
