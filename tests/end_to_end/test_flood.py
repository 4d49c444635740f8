"""A unit that asks without end: the run obeys a person, memory is bounded, and the unit is named."""

import signal
from pathlib import Path

import pytest

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.core.lockstep import quota
from runner.core.verifier.run_result import result_of
from runner.model.scenario.model import Scenario, Unit
from runner.session.dispatcher import Dispatcher
from tests.support.scenarios import place_in

FLOOD = """
    import signal
    import probe
    from probe.units import default
    from probe.event import Kind

    def flood():
        probe.emit("begun")
        for number in range(MANY):
            if KIND is Kind.WAIT:
                default.record(KIND, "wait", None, {"ask": f"wait/{number}", "unit": "b", "step": "never"})
            else:
                default.record(KIND, f"go-{number}", None, {"ask": f"barrier/go-{number}/1", "round": 1})
        while True:
            signal.pause()

    def b():
        while True:
            signal.pause()
"""


@pytest.mark.parametrize("kind", [Kind.WAIT, Kind.ARRIVE], ids=["waits", "arrivals"])
def test_a_flood_of_asks_is_reported_by_name_and_the_run_obeys_all_the_same(tmp_path: Path, kind: Kind) -> None:
    with place_in(tmp_path) as place:
        code = FLOOD.replace("MANY", "25_000").replace("KIND", f"Kind.{kind.name}")
        place.write('[units.flood]\nentrypoint = "units:flood"\n[units.b]\nentrypoint = "units:b"\n', code)
        with place.start(".", "--plain") as living:
            living.until("incident: flood: has more than 16,384 waits and arrivals that are not answered")
            living.signal(signal.SIGINT)
            run = living.end()
    assert run.code == 2, run.out
    ((what, times),) = (
        (w, n) for w, n in run.result["evidence"]["incidents"].items() if w.startswith("flood: has more")
    )
    assert what == "flood: has more than 16,384 waits and arrivals that are not answered"
    assert times > 0
    assert {unit["state"] for unit in run.result["units"]} == {"stopped"}


SCENARIO = Scenario("s", "/s", "circuit.toml", (Unit("a", launcher="external"), Unit("b", launcher="external")))
pack = wire.record_packer()


def said(first: int, *records: tuple[str, int, dict[str, object] | None]) -> Entry:
    body = b"".join(pack([n, n, step, kind, None, data]) for n, (step, kind, data) in enumerate(records, first))
    return Entry("a", 1, m.Events(first, len(records), 100), body, 0)


def waits(count: int) -> list[tuple[str, int, dict[str, object] | None]]:
    return [("wait", int(Kind.WAIT), {"ask": f"wait/1.{n}", "unit": "b", "step": "done"}) for n in range(count)]


@pytest.fixture
def dispatcher() -> Dispatcher:
    dispatcher = Dispatcher(SCENARIO, Lifecycle(SCENARIO, lambda _unit: m.Start("a", (), "", {}, "", ""), 0))
    dispatcher.take(Entry("a", 1, m.Hello(m.VERSION, "unit", "run", "a", 1), b"", 0), 0)
    return dispatcher


def test_who_asks_too_much_learns_so_a_thousand_times_and_then_only_counted(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MOST_ASKS", 5)
    orders = dispatcher.take(said(1, *waits(2000)), 0)
    assert len(orders) == quota.MOST_ANSWERS
    assert all(isinstance(directed.order, m.Break) for directed in orders)
    assert dispatcher.incidents == {"a: has more than 16,384 waits and arrivals that are not answered": 1995}


def test_who_is_in_a_hurry_looks_into_nothing_more_and_says_exactly_what_that_was(dispatcher: Dispatcher) -> None:
    dispatcher.take(said(1, ("begun", 0, None)), 0)
    dispatcher.hurry()
    assert dispatcher.take(said(2, ("more", 0, None), *waits(1)), 0) == []
    dispatcher.close()
    result = result_of(dispatcher.verifier, run="r", duration_s=1.0, statuses=dispatcher.lifecycle.units.statuses())
    ((unit, first, last),) = ((gap.unit, gap.first, gap.last) for gap in result.evidence.lost)
    assert (unit, first, last) == ("a", 2, 3)
    assert "not looked into because the run was interrupted" in result.evidence.lost[0].why
    assert dispatcher.verifier.activity()["a"].events == 1
