"""Barriers: which units are released, what breaks one, and which units are named as the reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.event import Event, Kind
from probe.message import Break, Release
from runner.core.lockstep import quota
from runner.core.lockstep.barriers import Barriers
from runner.model.orders import Directed
from runner.model.scenario.model import Barrier


def arrival(unit: str, name: str = "go", number: int = 1, **data: Any) -> Event:
    ask = f"barrier/{name}/{number}"
    return Event(unit, 1, 1, 0, name, Kind.ARRIVE, None, {"ask": ask, "round": number, **data})


def test_the_last_arrival_releases_all_units_that_wait_there() -> None:
    barriers = Barriers((), ("a", "b", "c"))
    assert barriers.arrive(arrival("a"), 0) == []
    assert barriers.arrive(arrival("b"), 0) == []
    assert barriers.arrive(arrival("c"), 0) == [Directed(Release("barrier/go/1"), ("a", "b", "c"))]
    assert barriers.blocked() == {}


def test_a_party_that_dies_breaks_the_barrier_at_once_by_name() -> None:
    barriers = Barriers((), ("a", "b"))
    barriers.arrive(arrival("a"), 0)
    broken = Break("barrier/go/1", ("b",), "exited with code 1")
    assert barriers.ended("b", "exited with code 1") == [Directed(broken, ("a",))]


def test_a_party_that_died_before_any_arrival_breaks_the_barrier_on_arrival() -> None:
    barriers = Barriers((), ("a", "b"))
    assert barriers.ended("b", "exited with code 1") == []
    assert barriers.arrive(arrival("a"), 0)[0].order == Break("barrier/go/1", ("b",), "exited with code 1")


def test_a_party_that_arrived_and_then_died_still_breaks_it() -> None:
    barriers = Barriers((), ("a", "b", "c"))
    barriers.arrive(arrival("a"), 0)
    barriers.arrive(arrival("b"), 0)
    (directed,) = barriers.ended("b", "was killed by SIGKILL")
    assert directed == Directed(Break("barrier/go/1", ("b",), "was killed by SIGKILL"), ("a", "b"))


def test_a_unit_that_is_no_party_does_not_matter_to_the_barrier() -> None:
    barriers = Barriers((Barrier("go", parties=("worker-*",)),), ("api", "worker-1", "worker-2"))
    barriers.arrive(arrival("worker-1"), 0)
    assert barriers.ended("api", "exited with code 1") == []
    assert isinstance(barriers.arrive(arrival("worker-2"), 0)[0].order, Release)


def test_rounds_are_apart() -> None:
    barriers = Barriers((), ("a", "b"))
    barriers.arrive(arrival("a"), 0)
    barriers.arrive(arrival("b"), 0)
    assert barriers.arrive(arrival("a", number=2), 0) == []
    assert barriers.arrive(arrival("b", number=2), 0)[0].order == Release("barrier/go/2")


def test_a_restarted_unit_is_let_through_the_rounds_that_are_open() -> None:
    barriers = Barriers((), ("a", "b"))
    barriers.arrive(arrival("a"), 0)
    barriers.arrive(arrival("b"), 0)
    barriers.ended("b", "exited with code 1")
    barriers.restarted("b")
    assert barriers.arrive(arrival("b"), 0) == [Directed(Release("barrier/go/1"), ("b",))]


def test_time_that_runs_out_names_who_is_missing() -> None:
    barriers = Barriers((), ("a", "b", "c"))
    barriers.arrive(arrival("a", timeout_s=0.5), 1_000)
    assert barriers.next_deadline_ns == 500_001_000
    assert barriers.tick(500_000_999) == []
    (directed,) = barriers.tick(500_001_000)
    assert directed == Directed(Break("barrier/go/1", ("b", "c"), "did not arrive within 0.5 s", True), ("a",))
    assert barriers.next_deadline_ns is None


def test_a_declared_timeout_holds_where_the_call_names_none() -> None:
    barriers = Barriers((Barrier("go", timeout_ns=2_000_000_000),), ("a", "b"))
    barriers.arrive(arrival("a"), 0)
    assert barriers.next_deadline_ns == 2_000_000_000


def test_units_that_disagree_on_the_parties_break_the_barrier_by_name() -> None:
    barriers = Barriers((), ("a", "b", "c"))
    barriers.arrive(arrival("a", parties=["a", "b"]), 0)
    (directed,) = barriers.arrive(arrival("b", parties=["b", "c"]), 0)
    assert directed == Directed(Break("barrier/go/1", ("b",), "names other parties than a"), ("a", "b"))


def test_an_answer_that_was_lost_is_given_again() -> None:
    barriers = Barriers((), ("a", "b"))
    barriers.arrive(arrival("a"), 0)
    barriers.arrive(arrival("b"), 0)
    assert barriers.again("a", ("barrier/go/1", "barrier/go/2")) == [Directed(Release("barrier/go/1"), ("a",))]


def test_a_barrier_with_a_moment_names_it_from_the_last_arrival_on_and_names_it_again() -> None:
    barriers = Barriers((Barrier("go", at_ns=500),), ("a", "b"))
    assert barriers.arrive(arrival("a"), 1_000) == []
    release = Release("barrier/go/1", at_ns=2_500)
    assert barriers.arrive(arrival("b"), 2_000) == [Directed(release, ("a", "b"))]
    assert barriers.again("a", ("barrier/go/1",)) == [Directed(release, ("a",))]
    assert barriers.arrive(arrival("a", number=2), 3_000) == []
    assert barriers.arrive(arrival("b", number=2), 4_000)[0].order == Release("barrier/go/2", at_ns=4_500)


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4), st.sampled_from(["a", "b", "c", "d"]))
def test_whatever_the_order_every_unit_gets_exactly_one_answer(order: list[str], died_after: int, dead: str) -> None:
    barriers = Barriers((), ("a", "b", "c", "d"))
    answers: dict[str, list[object]] = {unit: [] for unit in order}
    for position, unit in enumerate(order):
        directed = barriers.ended(dead, "died") if position == died_after else []
        directed += barriers.arrive(arrival(unit), 0)
        for item in directed:
            for target in item.to:
                answers[target].append(item.order)
    assert all(len(given) == 1 for given in answers.values())
    assert len({type(given[0]) for given in answers.values()}) == 1
    assert isinstance(answers["a"][0], Break) == (died_after < 4)


def test_a_unit_that_arrives_again_changes_nothing_and_is_answered_again() -> None:
    barriers = Barriers((), ("a", "b"))
    assert barriers.arrive(arrival("a"), 0) == []
    assert barriers.arrive(arrival("a"), 0) == []
    assert barriers.arrive(arrival("b"), 0) == [Directed(Release("barrier/go/1"), ("a", "b"))]
    assert barriers.arrive(arrival("a"), 0) == [Directed(Release("barrier/go/1"), ("a",))]


def test_a_flood_of_arrivals_is_broken_at_its_bound_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST_ASKS", 2)
    limits = quota.Quota()
    barriers = Barriers((), ("a", "b"), limits)
    asked = [barriers.arrive(arrival("a", name), 0) for name in ("x", "y", "z")]
    why = "has 2 waits and arrivals already that are not answered"
    assert asked == [[], [], [Directed(Break("barrier/z/1", ("a",), why), ("a",))]]
    assert limits.refused == {"a": 1}
    assert len(barriers.ended("b", "exited")) == 2
    assert barriers.arrive(arrival("a", "w", parties=["a", "c"]), 0) == [], "there is room again"


def test_who_names_thousands_of_parties_uses_up_its_room_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST_ASKS", 10)
    limits = quota.Quota()
    barriers = Barriers((), ("a", "b"), limits)
    parties = ["a", *(f"{'p' * 100}-{n}" for n in range(100))]
    assert isinstance(barriers.arrive(arrival("a", parties=parties), 0)[0].order, Break)
    assert limits.refused == {"a": 1}


def test_a_party_that_is_named_twice_comes_once() -> None:
    barriers = Barriers((), ("a", "b"))
    barriers.arrive(arrival("a", parties=["a", "x", "x"]), 0)
    (directed,) = barriers.arrive(arrival("x", parties=["a", "x", "x"]), 0)
    assert directed == Directed(Release("barrier/go/1"), ("a", "x"))
