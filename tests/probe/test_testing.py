"""`capture`: unit tests of code with probes, without a broker."""

import threading

import pytest

import probe
from probe.environment import Environment
from probe.event import Kind
from probe.testing import capture
from probe.units import Unit, default


def place_order() -> None:
    """Code under test."""
    probe.send("order-sent", key=17, items=3)
    probe.barrier("go")
    assert probe.wait("api: order-confirmed") is None
    probe.receive("order-confirmed", key=17)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIRCUIT_BROKER", raising=False)
    monkeypatch.setenv("CIRCUIT_UNIT", "main")
    default.reset()


def test_events_are_collected_in_order() -> None:
    with capture() as events:
        place_order()
    assert events.steps() == ["order-sent", "order-confirmed"]
    first = events.find("order-sent", key="17")
    assert (first.unit, first.kind, first.key, first.data, first.seq) == ("main", Kind.SEND, "17", {"items": 3}, 1)


def test_every_unit_and_every_thread_is_seen() -> None:
    with capture() as events:
        thread = threading.Thread(target=probe.unit("other").emit, args=("a",))
        thread.start()
        thread.join()
        Unit("new").emit("b")
        probe.error(KeyError("c"))
        probe.ready()
    assert [(event.unit, event.step) for event in events] == [
        ("other", "a"),
        ("new", "b"),
        ("main", "KeyError"),
        ("main", "ready"),
    ]
    assert events.steps("other") == ["a"]


def test_probes_that_were_off_are_off_again() -> None:
    probe.emit("before")
    with capture() as events:
        probe.emit("inside")
    probe.emit("after")
    assert events.steps() == ["inside"]
    assert not default.enabled


def test_what_is_captured_does_not_reach_a_broker() -> None:
    unit = Unit("unit", environment=Environment("ipc:///nowhere", "run", "unit", "", "", disabled=False))
    with capture() as events:
        unit.emit("a")
    assert events.steps() == ["a"]
    assert unit.incarnation == 0


def test_the_inner_capture_gets_the_events() -> None:
    with capture() as outer:
        probe.emit("a")
        with capture() as inner:
            probe.emit("b")
        probe.emit("c")
    assert (outer.steps(), inner.steps()) == (["a", "c"], ["b"])


def test_captures_that_end_in_another_order_leave_nothing_diverted() -> None:
    one, other = capture(), capture()
    first = one.__enter__()
    second = other.__enter__()
    probe.emit("both")
    one.__exit__(None, None, None)
    probe.emit("other")
    other.__exit__(None, None, None)
    probe.emit("after")
    assert (first.steps(), second.steps()) == ([], ["both", "other"])
    assert not default.enabled


def test_a_missing_step_names_what_fired_instead() -> None:
    with capture() as events:
        probe.emit("a", key="1")
    with pytest.raises(AssertionError, match=r"'a' with key '2' did not fire; what fired: 'a' \('1'\)"):
        events.find("a", key="2")
    assert events.all("b") == []
