"""Every class of equivalent orders is found once, against brute force."""

from itertools import permutations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.exploration.classes import orders
from runner.core.exploration.equivalence import class_of, fewest_switches, switches
from runner.core.exploration.profile import Order, Profile, Step

R, W = False, True


@st.composite
def profiles(draw: st.DrawFn, most_steps: int = 8) -> Profile:
    actors = []
    left = most_steps
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(0, min(4, left)))
        left -= count
        touches = st.dictionaries(st.sampled_from("xyz"), st.booleans(), max_size=2)
        actors.append(tuple(Step(f"s{n}", draw(touches)) for n in range(count)))
    return Profile(tuple(actors))


def every_order(profile: Profile) -> set[Order]:
    return set(permutations([i for i, steps in enumerate(profile.actors) for _ in steps]))


def neighbours(profile: Profile, order: Order) -> set[Order]:
    """The orders that differ from `order` by one exchange of independent neighbours."""
    steps = profile.steps(order)
    return {
        (*order[:i], order[i + 1], order[i], *order[i + 2 :])
        for i in range(len(order) - 1)
        if order[i] != order[i + 1] and not steps[i].depends_on(steps[i + 1])
    }


@given(profiles(6))
@settings(max_examples=60, deadline=None)
def test_two_orders_have_the_same_class_if_exchanges_of_independent_neighbours_lead_from_one_to_the_other(
    profile: Profile,
) -> None:
    left = every_order(profile)
    names = set()
    while left:
        reached, todo = set(), [left.pop()]
        while todo:
            order = todo.pop()
            reached.add(order)
            todo += neighbours(profile, order) - reached
        left -= reached
        (name,) = {class_of(profile, order) for order in reached}
        assert name not in names
        names.add(name)


@given(profiles())
@settings(max_examples=100, deadline=None)
def test_every_class_is_found_and_none_twice(profile: Profile) -> None:
    found = [class_of(profile, order) for order in orders(profile)] if profile.length else []
    assert len(found) == len(set(found))
    if profile.length:
        assert set(found) == {class_of(profile, order) for order in every_order(profile)}


def one_resource() -> Profile:
    """Three actors of six steps, all on one resource."""
    r, w, n = Step("r", {"db": R}), Step("w", {"db": W}), Step("n")
    return Profile(((n, r, n, r, r, n), (n, r, w, n, w, n), (n, r, r, w, n, n)))


def test_the_classes_of_three_actors_of_six_steps_on_one_resource_are_220_of_seventeen_million_orders() -> None:
    found = {class_of(one_resource(), order) for order in orders(one_resource())}
    assert len(found) == 220


def test_actors_that_share_nothing_have_one_class_whatever_their_number() -> None:
    profile = Profile(tuple(tuple(Step(f"s{n}", {f"own-{actor}": W}) for n in range(20)) for actor in range(6)))
    assert len(list(orders(profile))) == 1


@given(profiles(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_simplest_order_of_a_class_is_of_that_class_and_no_other_of_it_has_fewer_switches(
    profile: Profile, random: Random
) -> None:
    order = [i for i, steps in enumerate(profile.actors) for _ in steps]
    random.shuffle(order)
    name = class_of(profile, tuple(order))
    simplest = fewest_switches(profile, tuple(order))
    assert class_of(profile, simplest) == name
    same = [other for other in every_order(profile) if class_of(profile, other) == name]
    assert switches(simplest) == min(map(switches, same), default=0)
