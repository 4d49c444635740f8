"""Waits: answered by the past, by the future, or by the end of whoever was awaited."""

from typing import Any

from probe.event import Event, Kind
from probe.message import Break, Release
from runner.lockstep.waits import Waits
from runner.orders import Directed


def wait(asker: str, unit: str, step: str, key: str | None = None, seq: int = 1, **data: Any) -> Event:
    return Event(asker, 1, seq, 0, "wait", Kind.WAIT, key, {"ask": f"wait/{seq}", "unit": unit, "step": step, **data})


def never(_unit: str, _step: str, _key: str | None) -> Event | None:
    return None


def test_a_probe_that_fired_already_answers_at_once() -> None:
    fired = Event("b", 1, 7, 99, "done", Kind.DEFAULT, "k", {"n": 1})
    waits = Waits(("a", "b"), lambda *_: fired)
    release = Release("wait/1", unit="b", step="done", key="k", stamp_ns=99, data={"n": 1})
    assert waits.asked(wait("a", "b", "done", "k"), 0) == [Directed(release, ("a",))]
    assert not waits.standing


def test_a_probe_that_fires_later_answers_when_it_does() -> None:
    waits = Waits(("a", "b"), never)
    assert waits.asked(wait("a", "b", "done"), 0) == []
    assert waits.blocked() == {"a": "b: done"}
    assert waits.saw("b", [[1, 5, "other", 0, None, None]]) == []
    (directed,) = waits.saw("b", [[2, 6, "done", 1, "k", {"x": 1}], [3, 7, "done", 1, "k", None]])
    assert directed == Directed(Release("wait/1", "b", "done", "k", 6, data={"x": 1}), ("a",))
    assert not waits.standing


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
    waits = Waits(("a", "b", "c"), never)
    waits.asked(wait("a", "b", "done"), 0)
    waits.asked(wait("c", "b", "done"), 0)
    assert {order.to for order in waits.saw("b", [[1, 5, "done", 0, None, None]])} == {("a",), ("c",)}
    assert waits.again("a", ("wait/1",))[0].to == ("a",)
