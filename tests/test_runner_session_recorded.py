"""A log that is judged again: the moments at which things were decided are those of the run."""

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.orders import SUPERVISOR
from runner.scenario.model import Scenario, Unit
from runner.scenario.state import State
from runner.session.recorded import Hindsight

SECOND = 1_000_000_000


def said(unit: str, stamp_ns: int, *records: tuple[str, Kind, str | None]) -> Entry:
    packed = [
        wire.record_packer()([number, stamp_ns, step, int(kind), key, {"pid": 1}])
        for number, (step, kind, key) in enumerate(records, 1)
    ]
    return Entry(unit, 1, m.Events(1, len(packed), stamp_ns), b"".join(packed), 0)


def test_no_unit_is_late_by_the_time_before_the_runner_was_heard() -> None:
    unit = Unit("api", entrypoint="app:api", ready="up", ready_timeout_ns=3 * SECOND)
    hindsight = Hindsight(Scenario("s", "/s", "circuit.toml", (unit,)), 0)
    hindsight.take(said(SUPERVISOR, 1, ("serving", Kind.STATE, None), ("spawned", Kind.STATE, "api")))
    hindsight.take(said("other", 2))  # the broker stood still while the runner came up
    hindsight.take(Entry("@runner", 0, m.Command((SUPERVISOR,), 5 * SECOND), wire.encode_order(m.Sync()), 0))
    hindsight.take(said("api", 6 * SECOND, ("up", Kind.READY, None)))
    (status,) = hindsight.intake.lifecycle.statuses()
    assert (status.state, hindsight.intake.lifecycle.findings()) == (State.RUNNING, ())
