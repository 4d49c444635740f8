"""Records that are none (a foreign client, a broken peer): what they could have said is uncertain, and nothing else.

A run is made up as a log, judged, and judged again after one of its records was replaced by what is no record.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.core.verifier.run_result import result_of
from runner.model.result.result import Result, Verdict
from runner.model.scenario.model import Circuit, Probe, Scenario, Unit
from runner.session.replay import Replay
from runner.session.snapshotter import statuses_of
from tests.support.scenarios import Place, place_in

MS = 1_000_000
A, B = Probe("a", "sent"), Probe("b", "got", within_ns=50 * MS)
UNITS = (
    Unit("a", command=("a",), expect=("begun",), ready="begun"),
    Unit("b", command=("b",), ready="up"),
)
CIRCUITS = (
    Circuit("order", (A, B)),
    Circuit("served", (Probe("a", "asked"), Probe("b", "served", rekey="id"), Probe("a", "done"))),
    Circuit("twice", (Probe("a", "tried", at_least=1, at_most=2), Probe("b", "did", where={"ok": True}))),
)
SCENARIO = Scenario("s", "/s", "circuit.toml", UNITS, circuits=CIRCUITS)


@dataclass(frozen=True)
class Fired:
    """One event of a made-up run."""

    unit: str
    step: str
    kind: int = 0
    key: str | None = None
    data: dict[str, Any] | None = None
    at_ms: int = 0


def journey(key: str, flaw: str) -> list[Fired]:
    """What a run fires for one key; `flaw` names what is wrong with it."""
    events = [
        Fired("a", "sent", 1, key, None, 10),
        Fired("b", "got", 2, key, None, 100 if flaw == "late" else 5 if flaw == "acausal" else 20),
        Fired("a", "asked", 0, key, None, 30),
        Fired("b", "served", 0, key, {"id": f"{key}-new"}, 40),
        Fired("a", "done", 0, f"{key}-new", None, 50),
        Fired("a", "tried", 0, key, None, 60),
        Fired("b", "did", 0, key, {"ok": flaw != "where"}, 70),
    ]
    if flaw == "missing":
        del events[1]
    if flaw == "duplicate":
        events.append(replace(events[1], at_ms=25))
    return events


def records_of(unit: str, events: list[Fired]) -> list[list[Any]]:
    ready = {"a": "begun", "b": "up"}[unit]
    own = sorted((e for e in events if e.unit == unit), key=lambda e: e.at_ms)
    fired = [Fired(unit, ready, 4), *own]
    return [[n, (1000 + e.at_ms) * MS, e.step, e.kind, e.key, e.data] for n, e in enumerate(fired, 1)]


def said(unit: str, records: list[Any], first: int = 1, ns: int = 1, count: int | None = None) -> Entry:
    body = b"".join(record if type(record) is bytes else msgpack.packb(record) for record in records)
    return Entry(unit, 1, m.Events(first, len(records) if count is None else count, ns), body, 0)


def state(number: int, step: str, key: str | None = None, **data: Any) -> list[Any]:
    return [number, (999 if step == "spawned" else 2000) * MS, step, int(Kind.STATE), key, data]


def judged(by_unit: dict[str, list[Any]], cut: int = 3, final: bool = True) -> Result:
    """What becomes of a run in which the units said these records, in messages of `cut` records."""
    replay = Replay(SCENARIO, 900 * MS)
    take = replay.take

    def order(order: m.Order, *to: str) -> None:
        take(Entry("@runner", 0, m.Command(to, 950 * MS), wire.encode_order(order), 0))

    order(m.Begin("desk"))
    for unit in ("@local", "a", "b"):
        take(Entry(unit, 1, m.Hello(m.VERSION, "unit", "run", unit, 1, "desk", 7, journal=True), b"", 0))
    take(said("@local", [state(1, "serving", lives=[["a", 1], ["b", 1]], at_ns=990 * MS)]))
    for number, unit in enumerate("ab", 2):
        order(m.Start(unit, ("x",), "", {}, "", ""), "@local")
        take(said("@local", [state(number, "spawned", unit, pid=number)], number))
    for unit, records in by_unit.items():
        for start in range(0, len(records), cut):
            take(said(unit, records[start : start + cut], start + 1, 1500 * MS))
    take(said("@local", [state(4, "journals", lives=[], at_ns=2000 * MS)], 4, 2000 * MS))
    for number, unit in enumerate("ab", 5):
        if final:
            take(Entry(unit, 1, m.Final(len(by_unit[unit])), b"", 0))
        take(said("@local", [state(number, "exited", unit, pid=number, code=0)], number))
    order(m.Finish(1), "@local")
    take(Entry("@local", 1, m.Final(6), b"", 0))
    dispatcher = replay.dispatcher
    dispatcher.close()
    return result_of(
        dispatcher.verifier,
        run="run",
        duration_s=1.0,
        statuses=statuses_of(dispatcher),
        findings=dispatcher.lifecycle.units.findings(),
    )


FLAWS = ["", "", "late", "acausal", "missing", "duplicate", "where"]
WRONG: list[Any] = [
    None,
    True,
    -1,
    1.5,
    200,
    2**64 - 1,
    "text",
    b"bytes",
    [],
    [1],
    {},
    {"x": 1},
    msgpack.ExtType(5, b"x"),
]


def mistyped(record: list[Any], field: int, wrong: Any) -> Any:
    """`record` with another thing in one field (6: in its own place)."""
    return msgpack.packb(wrong) if field == 6 else [*record[:field], wrong, *record[field + 1 :]]


def is_none(record: Any, number: int) -> bool:
    if type(record) is not list or len(record) != 6:
        return True
    seq, stamp, step, kind, key, data = record
    right = type(seq) is int and seq == number and type(stamp) is int and stamp >= 0 and type(step) is str
    known = type(kind) is int and kind in range(9)
    return not (right and known and (key is None or type(key) is str) and (data is None or type(data) is dict))


def verdicts(result: Result) -> dict[str, Verdict]:
    return {circuit.name: circuit.verdict for circuit in result.circuits} | {"": result.verdict}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_record_that_becomes_none_never_makes_a_verdict_wrong(data: st.DataObject) -> None:
    flaws = data.draw(st.lists(st.sampled_from(FLAWS), min_size=1, max_size=3))
    events = [event for number, flaw in enumerate(flaws) for event in journey(f"k{number}", flaw)]
    by_unit: dict[str, list[Any]] = {unit: records_of(unit, events) for unit in "ab"}
    truth = verdicts(judged(by_unit))
    assert truth[""] is (Verdict.FAILED if any(flaws) else Verdict.PASSED)
    unit = data.draw(st.sampled_from("ab"))
    place = data.draw(st.integers(0, len(by_unit[unit]) - 1))
    wrong = mistyped(by_unit[unit][place], data.draw(st.integers(0, 6)), data.draw(st.sampled_from(WRONG)))
    if not is_none(wrong, place + 1):
        return
    by_unit[unit][place] = wrong
    result = judged(by_unit, cut=data.draw(st.sampled_from([1, 3, 100])))
    for name, verdict in verdicts(result).items():
        assert verdict is not Verdict.PASSED
        assert truth[name] is not Verdict.PASSED or verdict is Verdict.INCONCLUSIVE
    (lost,) = result.evidence.lost
    assert (lost.unit, lost.incarnation, lost.first, lost.last) == (unit, 1, place + 1, place + 1)
    assert result.evidence.malformed == 1
    assert result.evidence.emitted == sum(map(len, by_unit.values()))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_that_are_no_records_at_all_never_make_a_verdict_wrong(data: st.DataObject) -> None:
    by_unit: dict[str, list[Any]] = {unit: records_of(unit, journey("k", "")) for unit in "ab"}
    unit = data.draw(st.sampled_from("ab"))
    place = data.draw(st.integers(0, len(by_unit[unit]) - 1))
    by_unit[unit][place] = data.draw(st.binary(min_size=7, max_size=40).filter(lambda rubbish: rubbish[0] != 0x96))
    result = judged(by_unit, cut=data.draw(st.sampled_from([1, 3, 100])))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {loss.unit for loss in result.evidence.lost} == {unit}


def test_records_that_a_message_does_not_count_leave_it_open() -> None:
    by_unit: dict[str, list[Any]] = {unit: records_of(unit, journey("k", "")) for unit in "ab"}
    by_unit["b"][-1] = msgpack.packb(by_unit["b"][-1]) + msgpack.packb([99, 1, "more", 0, None, None])
    result = judged(by_unit)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [(loss.unit, loss.why) for loss in result.evidence.unknown] == [("b", "it sent more records than it said")]


@pytest.mark.parametrize("wrong", [[5, 1, "exited", 7, "a", [0]], [5, 1, "exited", 7, 5, None], "rubbish"])
def test_what_a_supervisor_says_in_no_record_leaves_open_what_became_of_its_units(wrong: Any) -> None:
    replay = Replay(SCENARIO, 900 * MS)
    replay.take(Entry("@local", 1, m.Hello(m.VERSION, "agent", "run", "@local", 1, "desk", 7), b"", 0))
    replay.take(said("@local", [wrong], 5))
    replay.dispatcher.close()
    (loss,) = replay.dispatcher.verifier.evidence().lost
    assert (loss.unit, loss.first, loss.last) == ("@local", 5, 5)


# --- through the real command line ------------------------------------------------------------------------------------

FOREIGN = """
    import os, sys
    import msgpack, zmq
    from probe import message as m, wire
    from time import monotonic_ns as now

    def main():
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.connect(os.environ["CIRCUIT_BROKER"])
        host = open("/proc/sys/kernel/random/boot_id").read().strip()
        hello = m.Hello(m.VERSION, "unit", os.environ["CIRCUIT_RUN"], "foreign", 1, host, os.getpid())
        socket.send_multipart(wire.encode(hello))
        socket.recv_multipart()
        said = [[1, now(), "up", 4, None, None], {wrong}, [3, now(), "over", 0, None, None]]
        body = b"".join(map(msgpack.packb, said))
        socket.send_multipart(wire.encode(m.Events(1, 3, now()), body))
        socket.send_multipart(wire.encode(m.Final(3)))
        while wire.decode(socket.recv_multipart())[0] != m.Ack(4):
            pass

    main()
"""
WAITING = """
    import probe

    def main():
        probe.wait("foreign: job", timeout=0.5)
        probe.emit("went-on")
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def play(place: Place, wrong: str, more: str = "") -> dict[str, Any]:
    """A run of a client in another language that says `wrong`; judged twice, with the same answer."""
    (place.folder / "foreign.py").write_text("")
    place.write(
        f"""
        [units.foreign]
        command = ["python", "units.py"]
        ready = "up"
        [circuits.jobs]
        path = ["foreign: job"]
        instances = 1
        {more}
        """,
        FOREIGN.replace("{wrong}", wrong),
    )
    (place.folder / "waiter.py").write_text("\n".join(line[4:] for line in WAITING.splitlines()))
    run = place.run(".", expect=6)
    assert "Traceback" not in run.out
    verified = json.loads(place.run("verify", "--json", "-", expect=6).out)
    for field in ("verdict", "findings", "evidence", "circuits"):
        assert verified[field] == run.result[field]
    return run.result


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("[2, 1.5, 'job', 0, 'k', None]", "a stamp is float"),
        ("[2, now(), 'job', 0, 7, None]", "a key is int"),
        ("[2, now(), 'job', 200, 'k', None]", "a kind is 200"),
        ("[9, now(), 'job', 0, 'k', None]", "a record has the number 9"),
        ("'not a record'", "a record is no array of six"),
    ],
)
def test_a_foreign_client_that_sends_no_record_learns_so_and_accused_of_nothing(
    place: Place, wrong: str, why: str
) -> None:
    result = play(place, wrong)
    assert [f["class"] for f in result["findings"]] == ["lost-evidence", "count"]
    assert f"foreign (incarnation 1) lost event 2: what came is no record: {why}" in result["findings"][0]["message"]
    assert result["evidence"]["lost"][0]["first"] == 2


def test_who_waited_for_what_came_as_no_record_is_not_accused_of_having_failed(place: Place) -> None:
    result = play(
        place,
        "[2, now(), 'job', 0, 7, None]",
        """
        [units.waiter]
        entrypoint = "waiter:main"
        expect = ["went-on"]
        [circuits.on]
        path = ["waiter: went-on"]
        """,
    )
    classes = {f["class"] for f in result["findings"]}
    assert {"lost-evidence", "unit-failed", "exception", "missing"} <= classes
    assert all(f["inconclusive"] for f in result["findings"])
