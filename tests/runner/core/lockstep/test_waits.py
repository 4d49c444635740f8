"""Waits: answered by the past, by the future, or by the end of the awaited unit."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.event import Event, Kind
from probe.message import Break, Release
from runner.core.lockstep import quota
from runner.core.lockstep.waits import Waits
from runner.model.orders import Directed


def wait(asker: str, unit: str, step: str, key: str | None = None, seq: int = 1, **data: Any) -> Event:
    return Event(asker, 1, seq, 0, "wait", Kind.WAIT, key, {"ask": f"wait/{seq}", "unit": unit, "step": step, **data})


def never(_unit: str, _step: str, _key: str | None) -> Event | None:
    return None


def test_a_probe_that_fired_already_answers_at_once() -> None:
    fired = Event("b", 1, 7, 99, "done", Kind.DEFAULT, "k", {"n": 1})
    waits = Waits(("a", "b"), lambda *_: fired)
    release = Release("wait/1", unit="b", step="done", key="k", stamp_ns=99, data={"n": 1})
    assert waits.asked(wait("a", "b", "done", "k"), 0) == [Directed(release, ("a",))]
    assert not waits.waiting


def test_a_probe_that_fires_later_answers_when_it_does() -> None:
    waits = Waits(("a", "b"), never)
    assert waits.asked(wait("a", "b", "done"), 0) == []
    assert waits.blocked() == {"a": "b: done"}
    assert waits.saw("b", [[1, 5, "other", 0, None, None]]) == []
    (directed,) = waits.saw("b", [[2, 6, "done", 1, "k", {"x": 1}], [3, 7, "done", 1, "k", None]])
    assert directed == Directed(Release("wait/1", "b", "done", "k", 6, data={"x": 1}), ("a",))
    assert not waits.waiting


def test_the_key_the_unit_and_the_kind_must_fit() -> None:
    waits = Waits(("a", "b", "c"), never)
    waits.asked(wait("a", "b", "done", "k"), 0)
    assert waits.saw("b", [[1, 5, "done", 0, "other", None], [2, 5, "done", int(Kind.STATE), "k", None]]) == []
    assert waits.saw("c", [[1, 5, "done", 0, "k", None]]) == []
    assert len(waits.saw("b", [[3, 6, "done", 0, "k", None]])) == 1


def test_a_pattern_is_met_by_any_unit_it_means() -> None:
    waits = Waits(("a", "w-1", "w-2"), never)
    waits.asked(wait("a", "w-*", "done"), 0)
    assert waits.saw("w-2", [[1, 5, "done", 0, None, None]])[0].to == ("a",)


def test_the_end_of_the_awaited_unit_ends_the_wait_at_once() -> None:
    waits = Waits(("a", "b"), never)
    waits.asked(wait("a", "b", "done"), 0)
    (directed,) = waits.ended("b", "exited with code 3")
    assert directed.order == Break("wait/1", ("b",), "exited with code 3 and never emitted 'done'")
    assert waits.asked(wait("a", "b", "done", seq=2), 0)[0].order == Break(
        "wait/2", ("b",), "exited with code 3 and never emitted 'done'"
    )


def test_a_pattern_waits_on_while_one_of_its_units_lives() -> None:
    waits = Waits(("a", "w-1", "w-2"), never)
    waits.asked(wait("a", "w-*", "done"), 0)
    assert waits.ended("w-1", "exited with code 0") == []
    assert len(waits.ended("w-2", "exited with code 0")) == 1


def test_time_that_runs_out_says_what_did_not_happen() -> None:
    waits = Waits(("a", "b"), never)
    waits.asked(wait("a", "b", "done", timeout_s=2), 0)
    assert waits.next_deadline_ns == 2_000_000_000
    (directed,) = waits.tick(2_000_000_000)
    assert directed.order == Break("wait/1", ("b",), "did not emit 'done' within 2 s", True)


def test_two_units_may_wait_for_the_same_probe_and_lost_answers_are_repeated() -> None:
    log: list[Event] = []
    waits = Waits(("a", "b", "c"), lambda *_: log[0] if log else None)
    waits.asked(wait("a", "b", "done"), 0)
    waits.asked(wait("c", "b", "done"), 0)
    answers = waits.saw("b", [[1, 5, "done", 0, None, None]])
    assert [order.to for order in answers] == [("a",), ("c",)]
    log.append(Event("b", 1, 1, 5, "done", Kind.DEFAULT, None, {}))
    (again,) = waits.again("a", ("wait/1", "wait/2"))
    assert again == Directed(Release("wait/1", "b", "done", None, 5, data={}), ("a",))


def test_asking_again_is_answered_again_and_never_twice_later() -> None:
    waits = Waits(("a", "b"), never)
    waits.asked(wait("a", "b", "done"), 0)
    assert waits.asked(wait("a", "b", "done"), 0) == []
    assert len(waits.saw("b", [[1, 5, "done", 0, None, None]])) == 1
    waits.asked(wait("a", "b", "more", seq=2), 0)
    (broken,) = waits.ended("b", "exited with code 3")
    assert waits.asked(wait("a", "b", "more", seq=2), 0) == [broken]


def test_a_flood_of_waits_is_broken_at_its_bound_by_name_and_costs_no_other_unit_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota, "MOST_ASKS", 2)
    limits = quota.Quota()
    waits = Waits(("a", "b", "c"), never, limits)
    asked = [waits.asked(wait("a", "b", "done", seq=seq), 0) for seq in (1, 2, 3)]
    why = "has 2 waits and arrivals already that are not answered"
    assert asked == [[], [], [Directed(Break("wait/3", ("a",), why), ("a",))]]
    assert waits.asked(wait("c", "b", "done"), 0) == []
    assert limits.refused == {"a": 1}
    assert len(waits.saw("b", [[1, 5, "done", 0, None, None]])) == 3
    assert waits.asked(wait("a", "b", "done", seq=4), 0) == [], "there is room again"


UNITS = ("a", "b", "w-1", "w-2")


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("ask"),
                st.sampled_from(["b", "w-*", "w-1", "zz"]),
                st.sampled_from(["x", "y"]),
                st.sampled_from([None, "k"]),
                st.sampled_from([None, 2, 5]),
            ),
            st.tuples(
                st.just("fire"), st.sampled_from(UNITS), st.sampled_from(["x", "y"]), st.sampled_from([None, "k"])
            ),
            st.tuples(st.just("end"), st.sampled_from(UNITS)),
            st.tuples(st.just("tick")),
        ),
        max_size=30,
    )
)
def test_every_wait_is_answered_once_by_the_first_thing_that_answers_it(steps: list[tuple[Any, ...]]) -> None:
    """Against a model that looks at every wait every time."""
    waits, waiting, ended, now_s = Waits(UNITS, never), dict[str, tuple[Any, ...]](), set[str](), 0
    for number, step in enumerate(steps):
        expected = set()
        match step:
            case "ask", unit, probe, key, timeout_s:
                ask = f"wait/{number}"
                data = {} if timeout_s is None else {"timeout_s": timeout_s}
                orders = waits.asked(wait("a", unit, probe, key, number, **data), now_s * 10**9)
                waiting[ask] = unit, probe, key, None if timeout_s is None else now_s + timeout_s
                expected = {ask} if is_over(unit, ended) else set()
            case "fire", unit, probe, key:
                orders = waits.saw(unit, [[1, 1, probe, 0, key, None]]) if waits.waiting else []
                expected = {
                    ask
                    for ask, (awaited, what, which, _) in waiting.items()
                    if fnmatchcase(unit, awaited) and what == probe and which in (None, key)
                }
            case "end", unit:
                ended.add(unit)
                orders = waits.ended(unit, "has ended")
                expected = {ask for ask, (awaited, *_) in waiting.items() if is_over(awaited, ended)}
            case _:
                now_s += 1
                orders = waits.tick(now_s * 10**9)
                expected = {ask for ask, (*_, due) in waiting.items() if due is not None and due <= now_s}
        answered = [directed.order.ask for directed in orders if isinstance(directed.order, Release | Break)]
        assert sorted(answered) == sorted(expected)
        for ask in answered:
            del waiting[ask]
        assert waits.waiting == bool(waiting)
        due = [due for *_, due in waiting.values() if due is not None]
        assert waits.next_deadline_ns == (min(due) * 10**9 if due else None)


def is_over(awaited: str, ended: set[str]) -> bool:
    """Whether that name or pattern means units, and all of them have ended."""
    units = {unit for unit in UNITS if fnmatchcase(unit, awaited)}
    return bool(units) and units <= ended
