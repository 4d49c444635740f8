"""A log that is judged again: the moments at which things were decided are those of the run."""

from typing import Any

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.model.orders import SUPERVISOR
from runner.model.result.result import FindingClass
from runner.model.result.unit_status import State
from runner.model.scenario.model import Host, Scenario, Unit
from runner.session.replay import Replay

SECOND = 1_000_000_000


def said(unit: str, stamp_ns: int, *records: tuple[str, Kind, str | None]) -> Entry:
    packed = [
        wire.record_packer()([number, stamp_ns, step, int(kind), key, {"pid": 1}])
        for number, (step, kind, key) in enumerate(records, 1)
    ]
    return Entry(unit, 1, m.Events(1, len(packed), stamp_ns), b"".join(packed), 0)


def test_no_unit_is_late_by_the_time_before_the_runner_was_heard() -> None:
    unit = Unit("api", entrypoint="app:api", ready="up", ready_timeout_ns=3 * SECOND)
    replay = Replay(Scenario("s", "/s", "circuit.toml", (unit,)), 0)
    replay.take(said(SUPERVISOR, 1, ("serving", Kind.STATE, None), ("spawned", Kind.STATE, "api")))
    replay.take(said("other", 2))  # the broker stood still while the runner came up
    replay.take(Entry("@runner", 0, m.Command((SUPERVISOR,), 5 * SECOND), wire.encode_order(m.Sync()), 0))
    replay.take(said("api", 6 * SECOND, ("up", Kind.READY, None)))
    (status,) = replay.dispatcher.lifecycle.units.statuses()
    assert (status.state, replay.dispatcher.lifecycle.units.findings()) == (State.RUNNING, ())


def ordered(at_ns: int, order: Any, to: str = "@lab") -> Entry:
    return Entry("@runner", 0, m.Command((to,), at_ns), wire.encode_order(order), 0)


def run_of_one(*orders: Any) -> Replay:
    """A run of a unit that is ready, and of what the runner ordered then."""
    replay = Replay(Scenario("s", "/s", "circuit.toml", (Unit("api", command=("x",)),)), 0)
    replay.take(said(SUPERVISOR, 1, ("serving", Kind.STATE, None)))
    replay.take(ordered(2, m.Begin("desk"), SUPERVISOR))
    replay.take(said(SUPERVISOR, 3, ("spawned", Kind.STATE, "api")))
    for moment, order in enumerate(orders, 4):
        replay.take(ordered(moment, order, SUPERVISOR))
    return replay


def test_the_log_says_that_a_person_interrupted_the_run() -> None:
    replay = run_of_one(m.Interrupted(), m.Stop("api", 1000))
    (status,) = replay.dispatcher.lifecycle.units.statuses()
    assert (replay.interrupted, replay.dispatcher.lifecycle.interrupted) == (True, True)
    assert status.why == "was stopped: the run was interrupted"


def test_of_a_run_that_was_interrupted_before_it_began_no_unit_is_awaited() -> None:
    replay = Replay(Scenario("s", "/s", "circuit.toml", (Unit("api", command=("x",)),)), 0)
    replay.take(said(SUPERVISOR, 1, ("serving", Kind.STATE, None)))
    for moment, order in enumerate((m.Begin("desk"), m.Interrupted(), m.Finish(0)), 2):
        replay.take(ordered(moment, order, SUPERVISOR))
    (status,) = replay.dispatcher.lifecycle.units.statuses()
    assert (status.state, status.why) == (State.STOPPED, "was not started: the run was interrupted")
    assert replay.dispatcher.lifecycle.units.over


def test_a_log_that_does_not_say_why_a_unit_was_stopped_fails_no_unit() -> None:
    """As runners wrote it once."""
    replay = run_of_one(m.Stop("api", 1000))
    assert replay.dispatcher.lifecycle.interrupted
    assert not replay.interrupted


def test_what_a_host_said_when_it_was_back_counts_though_the_log_says_only_then_that_it_was() -> None:
    unit = Unit("worker", command=("x",), host="lab")
    replay = Replay(Scenario("s", "/s", "circuit.toml", (unit,), hosts=(Host("lab", ssh="lab"),)), 0)
    start = m.Start("worker", ("x",), "", {}, "o", "e")
    for entry in (
        said(SUPERVISOR, 1, ("serving", Kind.STATE, None)),
        ordered(2, m.Begin("desk"), SUPERVISOR),
        said("@lab", 3, ("serving", Kind.STATE, None)),
        ordered(4, start),
        said("@lab", 5, ("spawned", Kind.STATE, "worker")),
        ordered(5 * SECOND, m.Away("lab", "has not been heard for 2.5 s")),
        said("@lab", 9 * SECOND, ("exited", Kind.STATE, "worker")),
        ordered(9 * SECOND, m.Back("lab")),
    ):
        replay.take(entry)
    lifecycle = replay.dispatcher.lifecycle
    assert (lifecycle.units.over, lifecycle.silent) == (True, ())
    (finding,) = lifecycle.units.findings()  # it has no code here, which is no good one
    assert (finding.cls, finding.unit) == (FindingClass.UNIT_FAILED, "worker")
    assert "lost" not in finding.message
    (host, lab) = replay.dispatcher.host_results.results(replay.dispatcher.timeline, 10 * SECOND)
    assert (host.state, lab.state, lab.away_s) == ("here", "here", 4.0)
