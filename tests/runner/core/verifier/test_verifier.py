"""The front of the verifier: what is judged when, what the session asks, what hostile or endless input does."""

import gc
import tracemalloc
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from probe.event import Kind
from runner.core.verifier import Verifier
from runner.core.verifier.judge import judge
from runner.core.verifier.run_result import result_of
from runner.model.result.result import FindingClass, Verdict
from runner.model.result.unit_status import State, UnitStatus
from runner.model.scenario.model import (
    All,
    Budget,
    Circuit,
    Element,
    Instances,
    Optional,
    Probe,
    Quorum,
    Scenario,
    Unit,
)
from tests.support.clocks import Apart

MS = 1_000_000
PATH = (Probe("api", "sent"), Probe("worker-*", "received", within_ns=50 * MS), Probe("api", "answered"))


class Run:
    """A verifier, and one incarnation of each of three units that talk to it."""

    def __init__(self, *circuits: Circuit, units: tuple[Unit, ...] = (), **more: Any) -> None:
        units = units or (Unit("api"), Unit("worker-1"), Unit("worker-2"))
        self.verifier = Verifier(Scenario("s", "/", "circuit.toml", units, circuits), **more)
        self.names = [unit.name for unit in units]
        self.last: Counter[tuple[str, int]] = Counter()
        for name in self.names:
            self.verifier.join(name, 1)

    def fire(
        self,
        unit: str,
        step: str,
        key: str | None,
        at_ms: float,
        data: dict[str, Any] | None = None,
        *,
        kind: Kind = Kind.DEFAULT,
        incarnation: int = 1,
    ) -> None:
        self.last[unit, incarnation] += 1
        record = [self.last[unit, incarnation], int(at_ms * MS), step, int(kind), key, data or {}]
        self.verifier.batch(unit, incarnation, [record], int(at_ms * MS))

    def say(self, at_ms: float, *units: str) -> None:
        """Everything up to `at_ms` has been sent."""
        for unit in units or self.names:
            self.verifier.batch(unit, 1, [], int(at_ms * MS))
        self.verifier.settle()

    def end(self, *units: str) -> None:
        for unit in units or self.names:
            self.verifier.final(unit, 1, self.last[unit, 1])
            self.verifier.end_unit(unit)
        self.verifier.settle()

    def stop(self, unit: str, at_ms: float, *, cut_off: bool = False) -> None:
        """The unit is stopped, and ends."""
        self.verifier.final(unit, 1, self.last[unit, 1])
        self.verifier.end_unit(unit, int(at_ms * MS), cut_off=cut_off)
        self.verifier.settle()

    def counts(self) -> tuple[int, int, int, int, int]:
        """Started, complete, failed, open, inconclusive."""
        now = self.verifier.circuits()[0].instances
        return now.started, now.complete, now.failed, now.open, now.inconclusive

    def found(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return [(str(f.cls), f.key, f.unit, f.step) for f in self.verifier.findings({})]

    def result(self, **more: Any) -> Any:
        self.end()
        self.verifier.close()
        statuses = [UnitStatus(name, State.FINISHED, exit_code=0) for name in self.names]
        return result_of(self.verifier, run="r", duration_s=1.0, statuses=statuses, **more)


def order(*path: Element, **more: Any) -> Circuit:
    return Circuit("order", path or PATH, **more)


def complete(run: Run, key: str, at_ms: float = 1) -> None:
    run.fire("api", "sent", key, at_ms)
    run.fire("worker-1", "received", key, at_ms + 1)
    run.fire("api", "answered", key, at_ms + 2)


# --- what is known and what is not ---


def test_an_incarnation_that_has_not_said_its_last_word_when_its_unit_ends_leaves_open_what_it_could_have_said() -> (
    None
):
    run = Run(order())
    run.verifier.listed("@local", 0)
    run.fire("api", "sent", "k", 1)
    run.verifier.end_unit("worker-1")
    run.end("api", "worker-2")
    (missing, lost) = sorted(run.verifier.findings({}), key=lambda finding: str(finding.cls), reverse=True)
    assert (missing.cls, missing.inconclusive) == (FindingClass.MISSING, True)
    assert lost.message == (
        "worker-1 (incarnation 1) may have lost events, how many is not known: it has not said its last word"
    )
    run.verifier.final("worker-1", 1, 0)  # its journal was published after all
    (missing,) = run.verifier.findings({})
    assert not missing.inconclusive


def test_in_a_run_of_an_earlier_version_no_unit_owes_a_last_word() -> None:
    run = Run(order())
    complete(run, "k")
    for name in run.names:
        run.verifier.end_unit(name)
    run.verifier.close()
    assert run.found() == []


@pytest.mark.parametrize(("said_ms", "found"), [(9, []), (2, [("lost-evidence", None, "ext", None)])])
def test_of_an_external_unit_without_a_journal_only_what_it_vouches_for_is_known(
    said_ms: float, found: list[Any]
) -> None:
    run = Run(order(), units=(Unit("api"), Unit("worker-1"), Unit("worker-2"), Unit("ext", launcher="external")))
    run.verifier.listed("@local", 100 * MS)
    run.verifier.join("ext", 2, journal=False)
    complete(run, "k")
    run.say(9)
    run.verifier.batch("ext", 2, [], int(said_ms * MS))
    run.end("api", "worker-1", "worker-2")
    run.verifier.final("ext", 1, 0)
    run.verifier.close()
    assert run.found() == found


# --- when something is judged -----------------------------------------------------------------------------------------


def test_an_instance_is_complete_once_every_watermark_has_passed_its_last_event() -> None:
    run = Run(order())
    complete(run, "k")
    run.say(3, "api", "worker-1")
    assert run.counts() == (1, 0, 0, 1, 0)
    assert run.verifier.progress.next_deadline_ns == 3 * MS
    assert run.verifier.progress.laggards(3 * MS) == {"worker-2"}
    run.say(3, "worker-2")
    assert run.counts() == (1, 1, 0, 0, 0)
    assert run.verifier.progress.next_deadline_ns is None
    assert run.verifier.progress.satisfied()


def test_a_step_is_missing_once_the_watermarks_of_those_who_could_fire_it_have_passed_the_deadline() -> None:
    run = Run(order())
    run.fire("api", "sent", "k", 10)
    run.say(59, "worker-1", "worker-2")
    assert run.found() == []
    assert run.verifier.progress.next_deadline_ns == 60 * MS
    assert run.verifier.progress.laggards(60 * MS) == {"worker-1", "worker-2"}
    run.say(60, "worker-1")
    assert run.found() == []
    run.say(60, "worker-2")  # api, which cannot fire it, is far behind
    assert run.found() == [("missing", "k", "worker-*", "received")]
    assert run.counts() == (1, 0, 1, 0, 0)


def test_an_event_that_comes_after_all_turns_missing_into_late() -> None:
    run = Run(order())
    run.fire("api", "sent", "k", 10)
    run.say(70)
    assert run.found() == [("missing", "k", "worker-*", "received")]
    run.verifier.join("worker-2", 2)
    run.fire("worker-2", "received", "k", 72, incarnation=2)
    run.fire("api", "answered", "k", 80)
    run.verifier.final("worker-2", 2, 1)
    run.say(90)
    assert run.found() == [("late", "k", "worker-2", "received")]
    assert run.counts() == (1, 0, 1, 0, 0)


def test_a_deadline_that_begins_to_run_late_is_seen_too() -> None:
    """Nothing bounds the first hop, so no deadline runs until it is done."""
    run = Run(order(Probe("api", "sent"), Probe("worker-*", "received"), Probe("api", "answered", within_ns=5 * MS)))
    run.fire("api", "sent", "k", 1)
    run.say(500)
    assert run.verifier.progress.next_deadline_ns is None
    assert run.verifier.progress.open_instances(with_deadline=True) == 0
    assert run.verifier.progress.open_instances(with_deadline=False) == run.verifier.progress.open_instances() == 1
    run.fire("worker-1", "received", "k", 501)
    run.verifier.settle()
    assert run.verifier.progress.next_deadline_ns == 506 * MS
    assert run.verifier.progress.open_instances(with_deadline=True) == 1
    run.say(506)
    assert run.found() == [("missing", "k", "api", "answered")]


def test_a_unit_that_has_not_joined_holds_decisions_back_until_it_has_ended() -> None:
    scenario = Scenario("s", "/", "c", (Unit("api"), Unit("worker-1")), (order(),))
    verifier = Verifier(scenario)
    verifier.join("api", 1)
    verifier.batch("api", 1, [[1, MS, "sent", 0, "k", {}]], 900 * MS)
    verifier.settle()
    assert verifier.finding_count == 0
    assert verifier.progress.laggards(51 * MS) == {"worker-1"}
    verifier.end_unit("worker-1")
    verifier.settle()
    assert verifier.finding_count == 1


def test_without_a_deadline_a_step_is_missing_when_its_units_have_ended() -> None:
    run = Run(order(Probe("api", "sent"), Probe("worker-*", "received"), Probe("api", "answered")))
    run.fire("api", "sent", "k", 1)
    run.end("worker-1")
    assert run.found() == []
    run.end("worker-2")
    assert run.found() == [("missing", "k", "worker-*", "received")]


def test_an_orphan_is_one_when_the_first_unit_has_ended() -> None:
    run = Run(order(within_ns=5 * MS))
    run.fire("worker-1", "received", "k", 1)
    run.say(500)
    assert run.counts() == (0, 0, 0, 1, 0)
    run.end("api")
    assert run.found() == [("orphan", "k", "worker-1", "received")]
    assert run.counts() == (0, 0, 1, 0, 0)


def test_what_is_not_decided_when_the_run_ends_is_open_and_the_run_inconclusive() -> None:
    run = Run(order())
    run.fire("api", "sent", "k", 1)
    run.say(20)
    run.verifier.close()
    assert run.counts() == (1, 0, 0, 1, 0)
    result = result_of(run.verifier, run="r", duration_s=1.0, statuses=())
    assert (result.verdict, result.findings) == (Verdict.INCONCLUSIVE, ())
    assert result.notes == ("order: 1 instance was still in time when the run ended",)


def test_what_was_due_after_its_units_were_stopped_is_no_finding() -> None:
    run = Run(order())
    run.fire("api", "sent", "in-time", 1)
    run.fire("api", "sent", "too-late", 10)
    run.end("api", "worker-1")
    run.stop("worker-2", 55)
    run.verifier.close()
    assert run.found() == [("missing", "in-time", "worker-*", "received"), ("missing", "too-late", "api", "answered")]
    found = run.verifier.findings({})
    assert "answered" in found[1].message  # which api surely left out; whether worker-2 left out anything is not known


def test_an_instance_that_was_still_in_time_when_its_unit_was_stopped_is_open() -> None:
    run = Run(order(*PATH[:2]))
    run.fire("api", "sent", "k", 10)
    run.end("api", "worker-1")
    run.stop("worker-2", 55)
    run.verifier.close()
    assert (run.counts(), run.found()) == ((1, 0, 0, 1, 0), [])
    result = result_of(run.verifier, run="r", duration_s=1.0, statuses=())
    assert result.notes == ("order: 1 instance was still in time when the run ended",)


def test_without_a_deadline_what_a_stopped_unit_left_out_is_missing_unless_the_run_was_interrupted() -> None:
    for cut_off, found in ((False, [("missing", "k", "worker-*", "received")]), (True, [])):
        run = Run(order(Probe("api", "sent"), Probe("worker-*", "received")))
        run.fire("api", "sent", "k", 10)
        run.end("api", "worker-1")
        run.stop("worker-2", 55, cut_off=cut_off)
        run.verifier.close(cut_off=cut_off)
        assert run.found() == found


def test_what_was_missing_before_an_interruption_stays_so() -> None:
    run = Run(order(*PATH[:2]))
    run.fire("api", "sent", "k", 10)
    run.say(60)
    for unit in run.names:
        run.stop(unit, 70, cut_off=True)
    run.verifier.close(cut_off=True)
    assert run.found() == [("missing", "k", "worker-*", "received")]


def test_what_an_interrupted_run_had_not_reached_is_no_finding() -> None:
    units = (Unit("api", expect=("up",)), Unit("worker-1"), Unit("worker-2"))
    few = order(Probe("api", "sent"), instances=Instances(3, None))
    never = Circuit("never", (Probe("api", "pinged"),))
    for cut_off, classes in ((False, {"missing", "count", "orphan"}), (True, set())):
        run = Run(few, never, units=units)
        run.fire("api", "sent", "k", 1, kind=Kind.SEND)
        run.fire("worker-1", "took", "other", 2, kind=Kind.SEND)
        for unit in run.names:
            run.stop(unit, 10, cut_off=cut_off)
        run.verifier.close(cut_off=cut_off)
        assert {found[0] for found in run.found()} == classes
        verdicts = {circuit.name: circuit.verdict for circuit in run.verifier.circuits()}
        assert verdicts == dict.fromkeys(("order", "never"), Verdict.INCONCLUSIVE if cut_off else Verdict.FAILED)


@pytest.mark.parametrize("path", [PATH, (*PATH[:2], Optional(PATH[2]))], ids=["rigid", "not rigid"])
def test_of_a_run_that_was_cut_off_only_the_first_open_instances_are_looked_at(
    path: tuple[Element, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.core.verifier.verifier.JUDGED_CUT_OFF", 10)
    run = Run(Circuit("c", path))
    for number in range(30):
        run.fire("api", "sent", f"k{number}", number)
    run.verifier.close(cut_off=True)
    (circuit,) = run.verifier.circuits()
    assert (circuit.instances.started, circuit.instances.open) == (30, 30)


def test_after_close_nothing_changes() -> None:
    run = Run(order())
    complete(run, "k")
    run.end()
    run.verifier.close()
    before = run.verifier.circuits()
    complete(run, "l", 50)
    run.verifier.settle()
    run.verifier.close()
    assert run.verifier.circuits() == before


def test_a_recording_that_is_never_settled_is_judged_all_the_same() -> None:
    run = Run(order())
    for n in range(10):
        complete(run, f"k{n}", n)
    run.end()
    run.verifier.close()
    assert run.counts() == (10, 10, 0, 0, 0)


# --- events for instances that are over -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, (*PATH, Optional(Probe("worker-*", "noted")))])
def test_an_event_for_a_complete_instance_is_a_duplicate(path: tuple[Element, ...]) -> None:
    run = Run(order(*path))
    complete(run, "k")
    run.say(10)
    assert run.counts() == (1, 1, 0, 0, 0)
    run.fire("worker-2", "received", "k", 20)
    run.fire("worker-1", "received", "k", 25)
    run.say(30)
    assert run.found() == [("duplicate", "k", "worker-2", "received")]
    assert run.counts() == (1, 0, 1, 0, 0)
    (finding,) = run.verifier.findings({})
    assert finding.message == "k fired worker-*: received 3 times; once is the most"


def test_what_may_still_come_after_completion_is_no_duplicate() -> None:
    path = (*PATH[:1], Quorum(1, (Probe("worker-1", "got"), Probe("worker-2", "got-too"))), PATH[2])
    run = Run(order(*path))
    run.fire("api", "sent", "k", 1)
    run.fire("worker-1", "got", "k", 2)
    run.fire("api", "answered", "k", 3)
    run.say(10)
    assert run.counts() == (1, 1, 0, 0, 0)
    run.fire("worker-2", "got-too", "k", 11)
    run.say(20)
    assert run.counts() == (1, 1, 0, 0, 0)
    assert run.found() == []


@pytest.mark.parametrize(
    "element",
    [
        Probe("worker-*", "got", at_most=2, within_ns=5 * MS),
        Probe("worker-*", "got", at_most=None, within_ns=5 * MS),
        Probe("worker-*", "got", at_least=0, at_most=2, within_ns=5 * MS),
        Probe("worker-*", "got", each=True, at_most=2, within_ns=5 * MS),
        All((Probe("worker-1", "got", at_most=2), Probe("worker-2", "got", at_most=2)), 5 * MS),
        Quorum(1, (Probe("worker-1", "got", at_most=2), Probe("worker-2", "got")), 5 * MS),
        Quorum(2, (Probe("worker-1", "got", at_most=2), Probe("worker-2", "got")), 5 * MS),
        Optional(Probe("worker-1", "got", at_most=3), 5 * MS),
    ],
    ids=lambda element: type(element).__name__,
)
@pytest.mark.parametrize("settled", [False, True])
def test_a_redelivery_within_the_most_is_neither_late_nor_out_of_order(element: Element, settled: bool) -> None:
    run = Run(order(Probe("api", "sent"), element, Probe("api", "answered")))
    run.fire("api", "sent", "k", 1)
    if not (isinstance(element, Probe) and not element.each):
        run.fire("worker-2", "got", "k", 2)
    run.fire("worker-1", "got", "k", 3)
    run.fire("api", "answered", "k", 4)
    if settled:
        run.say(5)
        assert run.counts() == (1, 1, 0, 0, 0)
    run.fire("worker-1", "got", "k", 60)
    circuit = run.result().circuits[0]
    assert run.found() == []
    assert run.counts() == (1, 1, 0, 0, 0)
    assert circuit.latency.max_ns == sum(hop.latency.max_ns for hop in circuit.hops) == 3 * MS


def test_the_moment_of_an_element_is_its_last_needed_event_in_every_order_of_arrival() -> None:
    """Of two to four the second counts for time and order, and what follows it may not come before."""
    moments = {"worker-1": 4, "worker-2": 6, "worker-3": 9, "worker-4": 12}
    for last in moments:
        units = tuple(Unit(name) for name in ("api", *moments))
        element = Probe("worker-*", "got", at_least=2, at_most=4, within_ns=5 * MS)
        run = Run(order(Probe("api", "sent"), element, Probe("api", "answered")), units=units)
        run.fire("api", "sent", "k", 1)
        run.fire("api", "answered", "k", 5)
        for unit in [*(other for other in moments if other != last), last]:
            run.fire(unit, "got", "k", moments[unit])
        assert run.result().circuits[0].hops[0].latency.max_ns == 5 * MS
        assert run.found() == [("acausal", "k", "api", "answered")]


def test_one_more_than_the_most_is_a_duplicate_whenever_it_comes() -> None:
    run = Run(order(Probe("api", "sent"), Probe("worker-*", "got", at_most=2), Probe("api", "answered")))
    run.fire("api", "sent", "k", 1)
    run.fire("worker-1", "got", "k", 2)
    run.fire("api", "answered", "k", 3)
    run.say(5)
    run.fire("worker-2", "got", "k", 40)
    run.say(50)
    assert run.found() == []
    run.fire("worker-1", "got", "k", 60)
    run.say(70)
    assert run.found() == [("duplicate", "k", "worker-1", "got")]
    assert run.counts() == (1, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("first", "lacking"),
    [
        (Probe("worker-*", "got", each=True), "worker-2"),
        (All((Probe("worker-1", "got"), Probe("worker-2", "got"))), "worker-2"),
        (Quorum(2, (Probe("worker-1", "got"), Probe("worker-2", "got"))), "worker-2"),
        (Probe("worker-1", "got", at_least=2, at_most=2), "worker-1"),
        (Probe("worker-1", "got", at_least=2, at_most=3), "worker-1"),
    ],
    ids=("each", "all", "quorum", "times", "range"),
)
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_first_element_that_is_half_there_is_missing_and_no_orphan(
    first: Element, lacking: str, goes_on: bool
) -> None:
    run = Run(order(first, Probe("api", "answered")))
    run.fire("worker-1", "got", "k", 1)
    if goes_on:
        run.fire("api", "answered", "k", 2)
    run.fire("api", "answered", "l", 2)
    run.end()
    assert sorted(run.found()) == [("missing", "k", lacking, "got"), ("orphan", "l", "api", "answered")]
    assert run.counts() == (1, 0, 2, 0, 0)


def test_a_first_element_that_is_half_there_is_absent_once_the_time_of_the_circuit_is_over() -> None:
    run = Run(order(Probe("worker-*", "got", each=True), Probe("api", "answered"), within_ns=20 * MS))
    run.fire("worker-1", "got", "k", 1)
    run.say(20)
    assert run.found() == []
    run.say(21)
    assert run.found() == [("missing", "k", "worker-2", "got")]


def test_a_step_stands_in_a_path_more_than_once_where_a_field_tells_its_places_apart() -> None:
    ticks = tuple(Probe("api", "tick", where={"n": n}) for n in (1, 2, 3))
    run = Run(order(*ticks, hop_budgets={"api: tick { n = 3 }": Budget(max_ns=MS)}))
    for n, at_ms in ((1, 1), (2, 3), (3, 5)):
        run.fire("api", "tick", "k", at_ms, {"n": n})
    run.fire("api", "tick", "l", 6, {"n": 1})
    run.fire("api", "tick", "l", 8, {"n": 3})
    result = run.result()
    assert [(hop.source, hop.target) for hop in result.circuits[0].hops] == [
        ("api: tick { n = 1 }", "api: tick { n = 2 }"),
        ("api: tick { n = 2 }", "api: tick { n = 3 }"),
    ]
    assert [finding.message for finding in result.findings] == [
        "l went from api: tick { n = 1 } to api: tick { n = 3 } without api: tick { n = 2 }",
        "max of api: tick { n = 3 } is 2 ms; the budget is 1 ms",
    ]


def test_latencies_of_a_revised_instance_count_once() -> None:
    run = Run(order(Probe("api", "sent"), Optional(Probe("worker-*", "noted"))))
    run.fire("api", "sent", "k", 1)
    run.say(10)
    assert run.verifier.circuits()[0].latency.max_ns == 0
    run.fire("worker-1", "noted", "k", 12)
    run.say(20)
    latency = run.verifier.circuits()[0].latency
    assert (latency.count, latency.max_ns) == (1, 11 * MS)


def test_ending_a_unit_judges_each_open_instance_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though more of them fail than may still be revised."""
    monkeypatch.setattr("runner.core.verifier.fixed_tracker.REVISABLE", 10)
    judged: list[object] = []

    def counted(*args: Any) -> Any:
        judged.append(args)
        return judge(*args)

    run = Run(order(Probe("api", "sent"), Probe("worker-1", "received")))
    for n in range(100):
        run.fire("api", "sent", f"k{n}", n)
    run.verifier.settle()
    monkeypatch.setattr("runner.core.verifier.fixed_tracker.judge", counted)
    run.end("worker-1")
    assert len(judged) == 100
    assert run.counts() == (100, 0, 100, 0, 0)


def broken(count: int) -> Run:
    """So many instances of which one element will not come, another came too early, or both are in time and one too
    many."""
    run = Run(order(Probe("api", "sent"), Probe("worker-1", "received")))
    for n in range(count):
        run.fire("api", "sent", f"k{n}", 100 + n)
    for n in range(0, count, 2):
        run.fire("worker-1", "received", f"k{n}", 50)
    return run


def test_much_to_judge_is_judged_a_share_at_a_time() -> None:
    """So that the caller can serve its users in between."""
    at_once, share_by_share = broken(100), broken(100)
    at_once.end()
    for unit in share_by_share.names:
        share_by_share.verifier.end_unit(unit)
    found = [len(share_by_share.found())]
    while share_by_share.verifier.settle(10):
        found.append(len(share_by_share.found()))
    assert len(found) > 4
    assert max(after - before for before, after in pairwise(found)) <= 60  # half of them wait in one group
    assert sorted(share_by_share.found()) == sorted(at_once.found())
    assert share_by_share.counts() == at_once.counts()


def test_a_run_that_was_cut_off_ends_though_much_is_left_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.core.verifier.verifier.JUDGED_CUT_OFF", 10)
    run = broken(100)
    for unit in run.names:
        run.verifier.end_unit(unit)
    run.verifier.close(cut_off=True)
    started, _, failed, still_open, _ = run.counts()
    assert (started, failed + still_open) == (100, 100)
    assert still_open > 30


def test_a_verdict_that_is_revised_no_more_is_that_of_all_events_till_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.core.verifier.fixed_tracker.REVISABLE", 1)
    run = Run(order())
    run.fire("api", "sent", "k", 10)
    run.say(70)
    run.fire("api", "answered", "k", 71)
    run.fire("api", "sent", "l", 72)
    run.say(130)
    assert sorted(finding.message for finding in run.verifier.findings({})) == [
        "k went from api: sent to api: answered without worker-*: received",
        "l stopped after api: sent; worker-*: received did not fire within 50 ms",
    ]
    run.fire("worker-1", "received", "k", 131)
    run.say(140)
    assert run.counts() == (2, 0, 2, 0, 0)


def test_a_verdict_is_revised_though_many_others_failed_if_all_that_was_missing_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.core.verifier.fixed_tracker.REVISABLE", 1)
    run = Run(order())
    run.fire("api", "sent", "k", 10)
    run.say(70)
    run.fire("worker-1", "received", "k", 80)
    run.fire("api", "answered", "k", 73)
    run.fire("api", "sent", "l", 74)
    run.end("worker-1", "worker-2")
    assert run.found() == [("missing", "k", "worker-*", "received"), ("missing", "l", "worker-*", "received")]
    run.say(100, "api")
    assert sorted(run.found()) == [
        ("acausal", "k", "api", "answered"),
        ("late", "k", "worker-1", "received"),
        ("missing", "l", "worker-*", "received"),
    ]
    assert run.counts() == (2, 0, 2, 0, 0)


# --- at the end -------------------------------------------------------------------------------------------------------


def test_a_wrong_number_of_instances_is_one_finding() -> None:
    run = Run(order(instances=Instances(3, 3)))
    complete(run, "k")
    assert not run.verifier.progress.satisfied()
    result = run.result()
    assert [(f.cls, f.message) for f in result.findings] == [
        (FindingClass.COUNT, "order began once; the scenario asks for exactly 3")
    ]
    assert result.verdict is result.circuits[0].verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Instances(0, 1), "at most 1"),
        (Instances(0, 0), "exactly 0"),
        (Instances(3, None), "at least 3"),
        (Instances(3, 5), "3 to 5"),
    ],
)
def test_a_wrong_number_stands_beside_what_is_asked(asked: Instances, words: str) -> None:
    run = Run(order(instances=asked))
    complete(run, "k")
    complete(run, "l")
    assert [f.message for f in run.result().findings] == [f"order began twice; the scenario asks for {words}"]


def test_a_circuit_that_nothing_ever_matched_does_not_pass() -> None:
    result = Run(order()).result()
    assert [(f.cls, f.key, f.step) for f in result.findings] == [(FindingClass.MISSING, None, "sent")]
    assert Run(order(instances=Instances(0, None))).result().verdict is Verdict.PASSED


def test_a_broken_budget_is_a_finding_of_its_circuit_or_hop() -> None:
    circuit = order(budget=Budget(p99_ns=MS), hop_budgets={"api: answered": Budget(max_ns=MS // 2)})
    run = Run(circuit)
    complete(run, "k")
    messages = [f.message for f in run.result().findings]
    assert messages == [
        "p99 of order is 2 ms; the budget is 1 ms",
        "max of api: answered is 1 ms; the budget is 500 µs",
    ]


def test_an_expected_probe_that_never_fired_is_missing() -> None:
    units = (Unit("api", ready="up", expect=("started", "stopped")),)
    run = Run(units=units)
    run.fire("api", "started", None, 1)
    run.fire("api", "up", None, 1, kind=Kind.READY)
    assert not run.verifier.progress.satisfied()
    result = run.result()
    assert [(f.cls, f.unit, f.step, f.inconclusive) for f in result.findings] == [
        (FindingClass.MISSING, "api", "stopped", False)
    ]
    assert result.required.completed == (("api", "up"), ("api", "started"))
    assert result.required.missing == (("api", "stopped"),)


def test_a_forbidden_probe_and_an_exception_are_findings() -> None:
    run = Run(order(never=(Probe("worker-*", "dead-letter"),)))
    complete(run, "k")
    run.fire("worker-2", "dead-letter", "k", 5, {"why": "checksum", "attempt": 2})
    run.fire("worker-1", "ValueError", "k", 5, {"message": "no such order", "where": "shop.py:3"}, kind=Kind.EXCEPTION)
    result = run.result()
    assert [f.message for f in result.findings] == [
        "worker-1 reported ValueError for k: no such order (shop.py:3)",
        "worker-2: dead-letter (why='checksum', attempt=2) fired for k, which order forbids",
    ]
    assert result.circuits[0].verdict is Verdict.FAILED
    assert result.circuits[0].instances.complete == 1


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_lost_evidence_makes_findings_inconclusive_and_never_lets_a_run_pass() -> None:
    run = Run(order())
    complete(run, "k")
    run.fire("api", "sent", "l", 5)
    run.verifier.lose("worker-1", 1, 7, 9, "the journal was full")
    result = run.result()
    assert result.verdict is result.circuits[0].verdict is Verdict.INCONCLUSIVE
    assert run.counts() == (2, 1, 0, 0, 1)
    lost, missing = result.findings
    assert lost.message == "worker-1 (incarnation 1) lost events 7 to 9: the journal was full"
    assert (missing.cls, missing.inconclusive) == (FindingClass.MISSING, True)
    assert result.evidence.emitted == result.evidence.received + 3


def test_records_that_never_come_are_lost_evidence() -> None:
    run = Run(order())
    run.verifier.batch("api", 1, [[1, MS, "sent", 0, "k", {}]], MS)
    run.verifier.lose("api", 1, 2, 3, "the journal was full")
    run.verifier.batch("api", 1, [[6, MS, "sent", 0, "l", {}], [7, MS, "sent", 0, "m", {}]], MS)
    run.verifier.batch("api", 1, [[8, MS, "sent", 0, "n", {}]], MS)
    run.verifier.final("api", 1, 10)
    lost = run.verifier.evidence().lost
    assert [(one.first, one.last) for one in lost] == [(2, 3), (4, 5), (9, 10)]
    assert run.verifier.lost_count == 6


def test_losses_that_go_on_where_the_one_before_ended_are_one_range() -> None:
    run = Run(order())
    for unit, first, last, why in (
        ("api", 2, 3, "full"),
        ("worker-1", 4, 4, "full"),
        ("api", 4, 9, "full"),
        ("api", 10, 10, "torn"),
        ("api", 12, 13, "torn"),
    ):
        run.verifier.lose(unit, 1, first, last, why)
    lost = [(one.unit, one.first, one.last, one.why) for one in run.verifier.evidence().lost]
    assert lost == [("api", 2, 9, "full"), ("worker-1", 4, 4, "full"), ("api", 10, 10, "torn"), ("api", 12, 13, "torn")]
    assert run.verifier.lost_count == 12


def test_lost_evidence_excuses_no_duplicate() -> None:
    run = Run(order())
    complete(run, "k")
    run.fire("worker-2", "received", "k", 2.5)
    run.verifier.lose("worker-1", 1, 7, 9, "the journal was full")
    assert run.result().verdict is Verdict.FAILED
    assert run.counts() == (1, 0, 1, 0, 0)


def test_lost_evidence_of_a_unit_outside_the_circuit_leaves_its_findings_alone() -> None:
    run = Run(order(), units=(Unit("api"), Unit("worker-1"), Unit("clock")))
    run.fire("api", "sent", "l", 5)
    run.verifier.lose("clock", 1, 1, 1, "the network was away")
    result = run.result()
    assert result.verdict is Verdict.FAILED
    assert [f.inconclusive for f in result.findings] == [False, True]


def test_a_clock_error_makes_a_close_call_inconclusive_and_order_lenient() -> None:
    run = Run(order(), clocks=Apart(lambda _: 2 * MS))
    run.fire("api", "sent", "close", 10)
    run.fire("worker-1", "received", "close", 61)
    run.fire("api", "answered", "close", 60)
    run.fire("api", "sent", "late", 110)
    run.fire("worker-1", "received", "late", 163)
    run.fire("api", "answered", "late", 170)
    result = run.result()
    assert [(f.key, f.inconclusive) for f in result.findings] == [("late", False), ("close", True)]
    assert run.counts() == (2, 0, 1, 0, 1)
    hop = result.circuits[0].hops[1].latency
    assert (hop.count, hop.negative, hop.error_ns, hop.p50_ns) == (2, 0, 2 * MS, -MS)


def test_fabric_names_and_kinds_are_neither_matched_nor_counted() -> None:
    run = Run(order())
    run.verifier.batch("@local", 1, [[1, MS, "sent", 0, "k", {}]], MS)
    run.fire("api", "sent", "k", 1, kind=Kind.ARRIVE)
    run.fire("api", "up", None, 1, kind=Kind.READY)
    assert run.counts()[0] == 0
    assert run.verifier.activity()["api"].events == 1
    assert "@local" not in run.verifier.activity()
    assert not run.verifier.has_seen("api", "sent")
    assert run.verifier.has_seen("api", "up")


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        7,
        "sixsix",
        [],
        [1, 2, 3],
        [1, MS, "sent", 0, "k", {}, 7],
        ["1", MS, "sent", 0, "k", {}],
        [1, "now", "sent", 0, "k", {}],
        [1, 1.5, "sent", 0, "k", {}],
        [1, MS, ["sent"], 0, "k", {}],
        [1, MS, 5, 0, "k", {}],
        [1, MS, "sent", "0", "k", {}],
        [1, MS, "sent", [], "k", {}],
        [1, MS, "sent", 99, "k", {}],
        [1, MS, "sent", -1, "k", {}],
        [1, MS, "sent", 0, 5, {}],
        [1, MS, "sent", 0, ["k"], {}],
        [1, MS, "sent", 0, "k", []],
    ],
    ids=repr,
)
def test_a_record_that_is_none_is_counted_and_disturbs_nothing(rubbish: Any) -> None:
    run = Run(order())
    good = [[n, n * MS, step, 0, "k", None] for n, step in ((1, "sent"), (3, "answered"))]
    run.verifier.batch("api", 1, [good[0], rubbish, good[1]], 3 * MS)
    run.fire("worker-1", "received", "k", 2)
    result = run.result()
    assert result.evidence.malformed == 1
    assert result.evidence.received == 3
    assert result.circuits[0].instances.complete == 1
    assert any("rubbish" in line for line in result.notes)


def test_activity_tells_what_each_unit_did_last() -> None:
    run = Run(order())
    complete(run, "k")
    seen = run.verifier.activity()
    assert (seen["api"].events, seen["api"].last_step, seen["api"].last_stamp_ns) == (2, "answered", 3 * MS)
    assert seen["worker-2"].events == 0


# --- no verdict depends on arrival ------------------------------------------------------------------------------------


def test_an_instance_goes_on_under_its_new_key_though_that_came_first() -> None:
    path = (Probe("api", "asked", rekey="row"), Probe("worker-*", "stored"), Probe("api", "told"))
    run = Run(order(*path))
    run.fire("worker-1", "stored", "17", 2)
    run.fire("api", "told", "17", 3)
    run.fire("api", "asked", "k", 1, {"row": 17})
    run.say(10)
    assert run.counts() == (1, 1, 0, 0, 0)
    assert run.found() == []
    run.fire("worker-2", "stored", "17", 12)
    run.say(20)
    assert run.found() == [("duplicate", "k", "worker-2", "stored")]


def test_a_key_is_no_orphan_while_another_instance_may_still_lead_to_it() -> None:
    run = Run(order(Probe("api", "asked"), Probe("worker-1", "stored", rekey="row"), Probe("worker-2", "told")))
    run.fire("api", "asked", "k", 1)
    run.fire("worker-2", "told", "17", 5)
    run.fire("worker-2", "told", "18", 6)
    run.end("api", "worker-2")
    assert run.found() == []
    run.fire("worker-1", "stored", "k", 3, {"row": 17})
    run.say(10, "worker-1")
    run.end("worker-1")
    assert run.found() == [("orphan", "18", "worker-2", "told")]
    assert run.counts() == (1, 1, 1, 0, 0)


def test_an_orphan_is_found_at_its_earliest_event_though_another_came_first() -> None:
    run = Run(order(Probe("api", "sent"), Probe("worker-1", "received"), Probe("worker-2", "noted")))
    run.fire("worker-2", "noted", "k", 5)
    run.end("api")
    assert run.found() == []
    run.fire("worker-1", "received", "k", 3)
    run.end("worker-1")
    assert run.found() == [("orphan", "k", "worker-1", "received")]


def test_what_only_follows_from_an_element_that_may_still_come_is_no_finding() -> None:
    run = Run(order(Probe("api", "sent"), Probe("worker-1", "received"), Probe("api", "answered")))
    run.fire("api", "sent", "k", 1)
    run.end("api")
    assert run.found() == []
    assert run.verifier.progress.open_instances() == 1
    run.end("worker-1")
    assert run.found() == [("missing", "k", "worker-1", "received")]


def test_a_rekey_event_without_its_field_explains_why_the_instance_was_lost() -> None:
    path = (Probe("api", "asked", rekey="row"), Probe("worker-*", "stored"))
    run = Run(order(*path))
    run.fire("api", "asked", "k", 1)
    run.fire("worker-1", "stored", "17", 2)
    missing, orphan = run.result().findings
    assert (missing.key, missing.step, orphan.key, orphan.step) == ("k", "stored", "17", "stored")
    assert 'api: asked had no "row" in its data, so the key stayed the same' in missing.details


def test_events_without_a_key_share_one_instance() -> None:
    run = Run(order())
    run.fire("api", "sent", None, 1)
    run.fire("worker-1", "received", None, 2)
    run.fire("api", "answered", None, 3)
    run.say(10)
    assert run.counts() == (1, 1, 0, 0, 0)


# --- endless input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        (Probe("api", "sent", at_most=None), Probe("worker-*", "received", at_least=0, at_most=3), PATH[2]),
        (Probe("api", "sent", at_most=None), Probe("worker-*", "received", at_most=3), PATH[2]),
        (All((Probe("api", "sent"), Probe("worker-1", "received"))), PATH[2]),
    ],
)
def test_a_hot_key_costs_no_memory(path: tuple[Element, ...]) -> None:
    """A keyless circuit that is fired thirty thousand times is one instance of fixed size."""
    run = Run(order(*path))
    for batch in range(30):
        for unit, step in (("api", "sent"), ("worker-1", "received")):
            records = [[n, (batch * 1000 + n) * 1000, step, 0, None, {}] for n in range(1, 1001)]
            run.verifier.batch(unit, 1, records, batch * MS)
        run.verifier.settle()
        if batch == 10:
            gc.collect()
            tracemalloc.start()
    del records
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert run.counts()[0] == 1


def test_what_is_kept_of_failures_is_bounded_and_all_are_counted() -> None:
    run = Run(order(Probe("api", "sent"), Probe("worker-1", "received")))
    count = 12_000
    run.verifier.batch("api", 1, [[n, n, "sent", 0, f"k{n}", {}] for n in range(1, count + 1)], MS)
    result = run.result()
    assert run.verifier.finding_count == count
    assert len(result.findings) == 10_000
    assert result.circuits[0].instances.failed == count
    assert "of class missing, 2,000 more findings were counted but not kept" in result.notes
    assert len(run.verifier.findings({}, most=50)) == 50


def test_a_unit_that_invents_steps_without_end_is_not_followed() -> None:
    run = Run(order())
    for n in range(10_000):
        run.fire("api", f"step-{n}", None, 1)
    assert run.verifier.activity()["api"].events == 10_000
    assert sum(run.verifier.has_seen("api", f"step-{n}") for n in range(10_000)) < 5_000


def test_what_a_life_reported_before_it_was_started_again_is_forgiven() -> None:
    verifier = Verifier(Scenario("s", "/", "c", (Unit("a"),)))
    for incarnation in (1, 2):
        verifier.batch("a", incarnation, [[1, incarnation, "ValueError", int(Kind.EXCEPTION), None, {}]], incarnation)
    verifier.forgive([("a", 1), ("a", 7)])
    verifier.close()
    (finding,) = verifier.findings({})
    assert (finding.cls, finding.stamp_ns, verifier.finding_count) == (FindingClass.EXCEPTION, 2, 1)
