"""What comes from other machines may be anything: it is taken for what it can be, and harms no other."""

import random
from pathlib import Path
from typing import Any

import msgpack
import pytest

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Event, Kind
from runner.core.clocks import Timeline
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.core.lockstep.barriers import Barriers
from runner.core.verifier.run_result import result_of
from runner.model.orders import Directed
from runner.model.result.result import FindingClass
from runner.model.scenario.model import Barrier, Host, Scenario, Unit
from runner.session.remote_output import RemoteOutput
from runner.session.replay import Replay

SECOND = 1_000_000_000
LARGEST = (1 << 64) - 1
JUNK: list[Any] = [
    *(None, True, 0, 1, -9, LARGEST, -(1 << 63), 1.5, float("nan"), float("inf"), 1e300),
    *("", "api", "db", "9" * 6000, "../x", b"", [], [1], [[1, 2]], [[1 << 62, 5]], {}, {"a": 1}, ["api", "db"]),
    *([["api", 2], ["api", "db"], ["@lab-1", -1]], [[]], [["nobody", LARGEST]]),
]
STEPS = [
    "serving",
    "spawned",
    "not-started",
    "stopping",
    "silent-end",
    "exited",
    "output",
    "clock",
    "journals",
    "passed",
    "up",
    "go",
]
FIELDS = ["pid", "why", "waited_ms", "code", "tail", "leftover", "lease_s", "low", "high", "rtt_ns", "went_ns", "ask"]
FIELDS += ["at_ns", "lives"]
WAITING = ["round", "parties", "timeout_s", "unit", "step"]
PEERS = ["@lab-1", "@lab-2", "@local", "@nobody", "api", "db", "web", "stranger"]
SCENARIO = Scenario(
    "s",
    "/s",
    "circuit.toml",
    (Unit("api", entrypoint="a:b", ready="up", host="lab-1"), Unit("db", command=("db",), host="lab-2"), Unit("web")),
    barriers=(Barrier("go", parties=("api", "db"), at_ns=SECOND),),
    hosts=(Host("lab-1", ssh="lab-1"), Host("lab-2", ssh="lab-2")),
)


def said(unit: str, *records: list[Any], watermark_ns: int = 1, recovered: bool = False) -> Entry:
    body = b"".join(msgpack.packb(record) for record in records)
    first = records[0][0] if type(records[0]) is list and type(records[0][0]) is int else 1
    return Entry(unit, 1, m.Events(first, len(records), watermark_ns, recovered), body, 0)


def hello(unit: str, boot: str) -> Entry:
    return Entry(unit, 1, m.Hello(m.VERSION, "unit", "run", unit, 1, boot), b"", 0)


def ordered(order: m.Order, at_ns: int = 1) -> Entry:
    return Entry("@runner", 0, m.Command((), at_ns), wire.encode_order(order), 0)


def begun() -> Replay:
    """A run over two hosts of which all serve."""
    replay = Replay(SCENARIO, 0)
    replay.take(ordered(m.Begin("desk")))
    boots = {"@lab-1": "one", "api": "one", "@lab-2": "two", "db": "two", "@local": "desk", "web": "desk"}
    for unit in PEERS:
        replay.take(hello(unit, boots.get(unit, "elsewhere")))
    for unit in ("@local", "@lab-1", "@lab-2"):
        replay.take(said(unit, [1, 1, "serving", Kind.STATE, None, None]))
    return replay


def nonsense(chance: random.Random, number: int) -> list[Any]:
    """A record, of which some of it is not what it should be."""
    data = {chance.choice(FIELDS + WAITING): chance.choice(JUNK) for _ in range(5)}
    kind = chance.choice([Kind.STATE, Kind.STATE, Kind.STATE, Kind.ARRIVE, Kind.WAIT, Kind.RECEIVE, Kind.DEFAULT])
    stamp = chance.choice([number * SECOND, 0, LARGEST, -5, 1])
    record = [number, stamp, chance.choice(STEPS), int(kind), chance.choice(["api", "db", "web", None, "go"]), data]
    if chance.random() < 0.2:
        record[chance.randrange(6)] = chance.choice(JUNK)
    return record


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_is_taken_without_a_crash_or_a_hang(seed: int) -> None:
    chance, replay = random.Random(seed), begun()
    for number in range(2, 80):
        watermark_ns = chance.choice([number * SECOND, 0, LARGEST])
        recovered = chance.random() < 0.2
        entry = said(chance.choice(PEERS), nonsense(chance, number), watermark_ns=watermark_ns, recovered=recovered)
        replay.take(entry)
        replay.dispatcher.barriers.tick(number * SECOND)
        replay.dispatcher.waits.tick(number * SECOND)
    replay.dispatcher.close()
    replay.dispatcher.lifecycle.units.findings()


def test_a_stamp_beyond_all_time_does_not_keep_the_end_waiting() -> None:
    replay = begun()
    replay.take(said("api", [1, LARGEST, "up", Kind.READY, None, None], watermark_ns=LARGEST))
    replay.dispatcher.close()


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), 1e300, "soon", True])
def test_a_time_that_cannot_be_is_none(timeout: object) -> None:
    barriers = Barriers([], ["api", "db"])
    data = {"ask": "barrier/go/1", "round": 1, "timeout_s": timeout}
    assert barriers.arrive(Event("api", 1, 1, 1, "go", Kind.ARRIVE, None, data), 1) == []
    assert barriers.next_deadline_ns is None


def test_no_unit_opens_a_barrier_under_the_name_of_another() -> None:
    barriers = Barriers([], ["api", "db"])
    data = {"ask": "barrier/go/1", "round": 1, "parties": ["api"]}
    barriers.arrive(Event("api", 1, 1, 1, "mine", Kind.ARRIVE, None, data), 1)
    data = {"ask": "barrier/go/2", "round": 1}
    assert barriers.arrive(Event("db", 1, 1, 1, "go", Kind.ARRIVE, None, data), 1) == []


def test_what_is_no_event_answers_no_wait() -> None:
    replay = begun()
    replay.take(said("db", [1, 1, "wait", Kind.WAIT, None, {"ask": "wait/1.1", "unit": "api", "step": "go"}]))
    waits = replay.dispatcher.waits
    for record in ([1, "soon", "go", 0, None, None], [1, 1, "go", [], None, None], [1, 1, "go", 0, {}, None]):
        assert waits.saw("api", [record]) == []
    (answer,) = waits.saw("api", [[1, 1, "go", 0, None, None]])
    assert isinstance(answer, Directed)


def test_a_supervisor_changes_nothing_for_units_of_another_host() -> None:
    lifecycle = Lifecycle(SCENARIO, lambda unit: m.Start(unit.name, (), "", {}, "", ""), 0)
    for host in ("@local", "@lab-1", "@lab-2"):
        lifecycle.event(Event(host, 1, 1, 1, "serving", Kind.STATE, None, {}))
    lifecycle.tick(1)
    before = lifecycle.units.statuses()
    for step in STEPS:
        lifecycle.event(Event("@lab-1", 1, 2, 2, step, Kind.STATE, "db", {"code": 1, "pid": 7, "why": "so"}))
        lifecycle.event(Event("api", 1, 2, 2, step, Kind.STATE, "db", {"code": 1, "pid": 7, "why": "so"}))
    assert lifecycle.units.statuses()[1:] == before[1:]


def judged(replay: Replay) -> list[str]:
    """The words of what may be lost, when all units have ended."""
    for supervisor, unit in (("@lab-1", "api"), ("@lab-2", "db"), ("@local", "web")):
        replay.take(Entry(unit, 1, m.Final(0), b"", 0))
        replay.take(said(supervisor, [2, 2, "exited", Kind.STATE, unit, {"code": 0, "pid": 1}]))
    replay.dispatcher.close()
    statuses = replay.dispatcher.lifecycle.units.statuses()
    findings = result_of(replay.dispatcher.verifier, run="r", duration_s=1.0, statuses=statuses).findings
    return [finding.message for finding in findings if finding.cls is FindingClass.LOST_EVIDENCE]


def test_who_is_no_supervisor_of_this_run_says_nothing_in_it() -> None:
    """The key of any host of the lab lets it come in."""
    replay = begun()
    before = replay.dispatcher.timeline.units_of("one")
    listing = {"lives": [["web", 7], ["api", 8]], "at_ns": 1}
    replay.take(hello("@lab-9", "one"))
    replay.take(said("@lab-9", [1, 1, "serving", Kind.STATE, None, listing]))
    assert replay.dispatcher.timeline.units_of("one") == before
    assert [words for words in judged(replay) if not words.startswith("stranger")] == []
    assert [note.partition(" took part")[0] for note in replay.dispatcher.notes()] == ["@lab-9", "@nobody"]


@pytest.mark.parametrize(("supervisor", "lost"), [("@lab-1", 1), ("@lab-2", 0)])
def test_a_supervisor_holds_back_no_unit_of_another_host(supervisor: str, lost: int) -> None:
    replay = begun()
    replay.take(said(supervisor, [1, 1, "journals", Kind.STATE, None, {"lives": [["api", 8]], "at_ns": 1}]))
    assert len([words for words in judged(replay) if words.startswith("api (incarnation 8)")]) == lost


def test_a_supervisor_writes_the_files_of_its_own_units_alone(tmp_path: Path) -> None:
    remote_output = RemoteOutput(tmp_path, {"api": "@lab-1", "db": "@lab-2"})
    piece = {"stream": "out", "at": 0, "bytes": b"words"}
    for unit in ("api", "db", "web", "../api", "stranger"):
        remote_output.take(Event("@lab-1", 1, 1, 1, "output", Kind.STATE, unit, piece))
    remote_output.take(Event("@lab-1", 1, 1, 1, "output", Kind.STATE, "api", {**piece, "at": 1 << 35}))
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"api.out": 5}


def test_a_report_of_thousands_of_bounds_costs_no_more_than_an_honest_one() -> None:
    timeline = Timeline("desk")
    timeline.join("@lab-1", 1, "one")
    many = [[at * SECOND, 0] for at in range(3000)]
    timeline.report("@lab-1", 1, 3000 * SECOND, {"low": many, "high": many})
    (estimate,) = timeline.estimates(0)
    assert estimate.offset_ns == 0
    for _ in range(3000):  # without end about one moment
        timeline.report("@lab-1", 1, 3000 * SECOND + 1, {"low": [[3000 * SECOND + 1, 0]] * 100, "high": []})
