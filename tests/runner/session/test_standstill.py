"""A runner that stood still blames no unit for what it could not hear."""

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Kind
from probe.message import Away, Gone
from runner.core.clocks import Timeline
from runner.core.lifecycle.roster import SILENT_NS, Roster
from runner.model.orders import SUPERVISOR
from runner.model.result.unit_status import State
from runner.model.scenario.model import Host, Scenario, Unit
from runner.session.clock import RESUME_NS, Clock
from runner.session.host_results import HostResults
from runner.session.replay import Replay

SECOND = 1_000_000_000
LAB = Host("lab", ssh="lab")
SCENARIO = Scenario("s", "/s", "circuit.toml", (Unit("camera", command=("camera",), host="lab"),), hosts=(LAB,))


def test_time_stands_still_for_a_runner_that_did() -> None:
    clock = Clock(0)
    clock.tell(1 * SECOND, heard=True, connection=1)
    assert clock.tell(21 * SECOND, heard=True, connection=1), "what it had ordered may have been lost meanwhile"
    assert clock.now_ns == 1 * SECOND
    for moment in range(1, 4):
        clock.tell(21 * SECOND + moment * RESUME_NS // 3, heard=True, connection=1)
    assert clock.now_ns == 21 * SECOND + RESUME_NS


def test_a_host_is_not_away_because_the_runner_did_not_listen() -> None:
    roster = Roster([LAB], 0)
    roster.heard("lab", 1)
    assert roster.tick(2, current=True) == []
    roster.stood_still(20 * SECOND, 20 * SECOND)
    assert roster.tick(20 * SECOND, current=True) == []
    assert roster.tick(20 * SECOND + SILENT_NS // 2, current=True) == []


def test_a_host_that_stays_silent_is_away_and_then_gone() -> None:
    roster = Roster([LAB], 0)
    roster.heard("lab", 1)
    changes = [change for half in range(50) for change in roster.tick(half * SECOND // 2, current=True)]
    assert [type(change) for change in changes] == [Away, Gone]


def said(unit: str, end: int, *records: tuple[str, str | None]) -> Entry:
    packed = [
        wire.record_packer()([number, end, step, int(Kind.STATE), key, {"pid": 1, "deserted": step == "stopping"}])
        for number, (step, key) in enumerate(records, 1)
    ]
    return Entry(unit, 1, m.Events(1, len(packed), end), b"".join(packed), end)


def judged(*, outlived: bool, stops: str) -> Replay:
    """A run whose other host says that it ends the unit `stops`; `outlived`: the runner ordered something later."""
    replay = Replay(SCENARIO, 0, lambda _entry: outlived)
    replay.take(Entry("@runner", 0, m.Command((SUPERVISOR,), 1), wire.encode_order(m.Begin("desk")), 1))
    replay.take(said(SUPERVISOR, 2, ("serving", None)))
    replay.take(said("@lab", 3, ("serving", None), ("spawned", "camera")))
    replay.take(said("@lab", 4, ("stopping", stops)))
    return replay


def test_a_lease_that_ended_under_a_living_runner_is_a_failure_when_it_is_judged_again() -> None:
    replay = judged(outlived=True, stops="camera")
    (status,) = replay.dispatcher.lifecycle.units.statuses()
    assert (replay.runner_gone, status.state) == (False, State.FAILED)
    assert replay.dispatcher.lifecycle.units.findings()[0].stamp_ns == 4


def test_a_lease_that_ended_because_the_runner_was_gone_fails_no_unit() -> None:
    replay = judged(outlived=False, stops="camera")
    assert replay.runner_gone
    assert replay.dispatcher.lifecycle.units.findings() == ()


def test_a_supervisor_that_ends_what_it_does_not_have_ends_nothing() -> None:
    assert not judged(outlived=False, stops="stranger").runner_gone


def test_units_of_a_supervisor_whose_last_word_was_published_for_it_were_killed_with_it() -> None:
    replay = Replay(SCENARIO, 0)
    replay.take(Entry("@runner", 0, m.Command((SUPERVISOR,), 1), wire.encode_order(m.Begin("desk")), 1))
    replay.take(said(SUPERVISOR, 2, ("serving", None)))
    replay.take(said("@lab", 3, ("serving", None)))
    replay.take(said("@lab", 4, ("spawned", "camera")))
    replay.take(Entry("@lab", 1, m.Final(2), b"", 5))
    (status,) = replay.dispatcher.lifecycle.units.statuses()
    assert (status.state, status.exit_code) == (State.FAILED, -9)
    assert "@lab" in replay.dispatcher.closed
    replay.take(Entry("@lab", 2, m.Hello(m.VERSION, "agent", "run", "@lab", 2, "boot", 1), b"", 6))
    assert "@lab" not in replay.dispatcher.closed, "there is another one now, which has yet to say its last word"


def test_clocks_are_reported_as_they_were_known_last_whenever_that_is_asked() -> None:
    timeline = Timeline("desk")
    timeline.join("@lab", 1, "there")
    for at in range(1, 9):
        moment, offset = at * SECOND, at * 1000
        timeline.report(
            "@lab", 1, moment, {"low": [[moment, offset - 5]], "high": [[moment, offset + 5]], "rtt_ns": 10}
        )
    results = [HostResults([LAB]).results(timeline, asked_s * SECOND) for asked_s in (8, 20, 3600)]
    assert results[0] == results[1] == results[2]
    assert abs(-results[0][1].offset_ns - 8000) <= 5


def test_a_host_that_is_away_is_given_up_when_a_person_wants_the_end_at_once() -> None:
    roster = Roster([LAB], 0)
    roster.heard("lab", 1)
    assert [type(change) for change in roster.tick(3 * SECOND, current=True)] == [Away]
    assert roster.tick(4 * SECOND, current=True) == []
    roster.hurry()
    (gone,) = roster.tick(4 * SECOND, current=True)
    assert isinstance(gone, Gone)
    assert "lease" not in gone.why
