"""The search: nothing is tried twice, the simplest comes first, and what there is to find is found soon."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from math import factorial
from random import Random
from statistics import quantiles
from typing import Any

import pytest

from runner.core.exploration import sampling
from runner.core.exploration.equivalence import class_of, switches
from runner.core.exploration.profile import Order, Profile, Step
from runner.core.exploration.search import Search, audit

READ, WRITE, NOTHING = Step("read", {"x": False}), Step("write", {"x": True}), Step("done")
LOST_UPDATE = Profile(((READ, WRITE, NOTHING), (READ, WRITE, NOTHING)))


def loses(order: Order) -> bool:
    """Whether both have read before either wrote."""
    steps = [(actor, order[:i].count(actor)) for i, actor in enumerate(order)]
    writes = [i for i, (_, step) in enumerate(steps) if step == 1]
    reads = [i for i, (_, step) in enumerate(steps) if step == 0]
    return max(reads) < min(writes)


def until_found(search: Search) -> int:
    return next(number for number, order in enumerate(search, 1) if loses(order))


def test_a_lost_update_is_found_within_three_orders_whatever_chance_says() -> None:
    found = [until_found(Search(LOST_UPDATE, Random(seed), 100)) for seed in range(200)]
    assert max(found) <= 4
    assert quantiles(found, n=100)[49] <= 3


def torn_snapshot() -> tuple[Profile, list[list[Callable[[dict[str, Any]], None]]]]:
    """Three actors of six steps; only an order with two preemptions in the right places tears the snapshot. Everything
    shared is declared as one resource. The second value is what the steps do."""

    def read(name: str, into: str) -> Callable[[dict[str, Any]], None]:
        return lambda state: state.__setitem__(into, state.get(name, 0))

    def write(name: str, value: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
        return lambda state: state.__setitem__(name, value(state))

    def rest(_state: dict[str, Any]) -> None:
        """Nothing that is shared."""

    a = [rest, read("v", "la"), rest, read("snap", "ls"), read("w", "lw"), rest]
    b = [rest, read("v", "lb"), write("v", lambda _: 1), rest, write("w", lambda _: 1), rest]
    c = [rest, read("v", "cv"), read("w", "cw"), write("snap", lambda s: (s["cv"], s["cw"])), rest, rest]
    shared = ("-r-rr-", "-rw-w-", "-rrw--")
    kinds = {"-": NOTHING, "r": Step("r", {"db": False}), "w": Step("w", {"db": True})}
    return Profile(tuple(tuple(kinds[kind] for kind in actor) for actor in shared)), [a, b, c]


def test_a_bug_of_depth_three_among_seventeen_million_orders_is_found_within_a_hundred() -> None:
    profile, effects = torn_snapshot()

    def tears(order: Order) -> bool:
        state: dict[str, Any] = {}
        for i, actor in enumerate(order):
            effects[actor][order[:i].count(actor)](state)
        return (state["la"], state["ls"], state["lw"]) == (0, (1, 0), 0)

    search = Search(profile, Random(0), 1_000)
    tried = list(search)
    assert (len(tried), search.exhausted) == (220, True)
    failing = [order for order in tried if tears(order)]
    assert failing
    first = switches(failing[0])
    before = [order for order in tried if switches(order) < first]
    beside = [order for order in tried if switches(order) == first]
    assert len(before) + len(beside) <= 100


def test_a_search_of_all_classes_tries_each_once_and_the_one_with_the_fewest_switches_first() -> None:
    search = Search(LOST_UPDATE, Random(1), 100)
    assert not search.exhausted
    tried = list(search)
    assert [switches(order) for order in tried] == sorted(map(switches, tried))
    assert (len(tried), search.total, search.exhausted) == (4, 4, True)


def many() -> Profile:
    return Profile(tuple(tuple(Step(f"s{n}", {"db": True}) for n in range(6)) for _ in range(3)))


@pytest.mark.parametrize("declared", [True, False])
def test_where_there_are_too_many_classes_so_many_are_tried_as_were_asked_for_and_none_twice(declared: bool) -> None:
    search = Search(many(), Random(2), 500, declared=declared)
    tried = list(search)
    assert len({class_of(many(), order) for order in tried}) == len(tried) == 500
    assert all(many().is_order(order) for order in tried)
    assert (search.total, search.exhausted) == (None, False)


def test_a_search_by_chance_ends_when_there_is_hardly_anything_new() -> None:
    profile = Profile(((WRITE,) * 3, (WRITE,) * 3))
    search = Search(profile, Random(3), 19)
    tried = list(search)
    assert search.total is None
    assert len(tried) == 19
    assert search.pruned > 0


def test_orders_without_preemption_come_first() -> None:
    orders = list(sampling.by_preemptions(Profile(((NOTHING,) * 2, (NOTHING,) * 2)), Random(4)))
    assert set(orders[:2]) == {(0, 0, 1, 1), (1, 1, 0, 0)}
    assert len(orders) == len(set(orders)) == factorial(4) // 4


def test_every_order_is_as_likely_as_every_other() -> None:
    chance = Random(5)
    drawn = Counter(sampling.uniform(LOST_UPDATE, chance) for _ in range(20_000))
    assert len(drawn) == 20
    assert 850 < min(drawn.values()) <= max(drawn.values()) < 1150


@pytest.mark.parametrize("draw", [sampling.by_priorities, sampling.by_partial_order])
def test_what_is_drawn_has_every_step_and_is_not_always_the_same(draw: sampling.Draw) -> None:
    chance = Random(6)
    drawn = {draw(LOST_UPDATE, chance) for _ in range(200)}
    assert all(LOST_UPDATE.is_order(order) for order in drawn)
    assert len(drawn) > 10


def test_an_audit_goes_on_for_as_long_as_it_is_asked_and_repeats_classes() -> None:
    drawn = [class_of(LOST_UPDATE, order) for order in islice(audit(LOST_UPDATE, Random(7)), 50)]
    assert len(drawn) == 50
    assert len(set(drawn)) <= 4


def test_a_profile_without_steps_has_nothing_to_try() -> None:
    search = Search(Profile(()), Random(8), 10)
    assert list(search) == []
    assert search.exhausted
