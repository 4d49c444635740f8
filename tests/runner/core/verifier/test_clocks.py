"""Units on several hosts: what is decided is decided by intervals, and what is said has its error."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from probe.event import Kind
from runner.core.verifier import Verifier
from runner.core.verifier.run_result import result_of
from runner.model.result.clocks import ONE_CLOCK
from runner.model.result.result import UNKNOWN, Finding, FindingClass, Result, Verdict
from runner.model.scenario.model import All, Budget, Circuit, Element, Probe, Scenario, Unit
from tests.support.clocks import Apart, Several

MS = 1_000_000
PATH = (Probe("api", "sent"), Probe("worker", "received", within_ns=50 * MS))
HOSTS = {"api": "desk", "worker": "lab-1", "auditor": "lab-1"}


def begun(*circuits: Circuit, clocks: Any) -> Verifier:
    """A verifier for units on several hosts."""
    return Verifier(Scenario("s", "/", "c", tuple(Unit(name) for name in HOSTS), circuits), clocks)


def judged(
    *events: tuple[str, str, str, float],
    clocks: Any,
    path: tuple[Element, ...] = PATH,
    settle: bool = True,
    **more: Any,
) -> tuple[Verifier, Result]:
    """A run in which these events (unit, step, key, milliseconds) were seen one by one; then all units ended."""
    verifier = begun(Circuit("order", path, **more), clocks=clocks)
    for unit in HOSTS:
        verifier.join(unit, 1)
    last: Counter[str] = Counter()
    for unit, step, key, at_ms in events:
        last[unit] += 1
        verifier.batch(unit, 1, [[last[unit], int(at_ms * MS), step, 0, key, {}]], int(at_ms * MS))
        if settle:
            verifier.settle()
    for unit in HOSTS:
        verifier.end_unit(unit)
    verifier.close()
    return verifier, result_of(verifier, run="r", duration_s=1.0, statuses=())


def only(result: Result, cls: FindingClass) -> Finding:
    (found,) = (finding for finding in result.findings if finding.cls is cls)
    return found


def sent_and_received(key: str, at_ms: float, took_ms: float) -> tuple[tuple[str, str, str, float], ...]:
    return ("api", "sent", key, at_ms), ("worker", "received", key, at_ms + took_ms)


def test_the_error_that_counts_is_that_of_the_two_events() -> None:
    """It is 0.1 ms at the beginning and 1 ms more after each second: the same 50.5 ms are late, and then undecided."""
    clocks = Several(HOSTS, {"lab-1": (MS // 10, 1_000)})
    early, late = sent_and_received("early", 0, 50.5), sent_and_received("late", 5_000, 50.5)
    verifier, result = judged(*early, *late, clocks=clocks)
    assert {f.key: f.inconclusive for f in result.findings} == {"early": False, "late": True}
    (circuit,) = result.circuits
    assert (circuit.instances.failed, circuit.instances.inconclusive) == (1, 1)
    assert circuit.latency.error_ns == MS // 10 + (5_050 * MS + MS // 2) // 1_000
    assert verifier.progress.next_deadline_ns is None


def test_a_late_one_says_its_interval_and_an_undecided_one_what_the_clocks_leave_open() -> None:
    _, result = judged(*sent_and_received("k", 0, 51.2), clocks=Apart(lambda _: 400_000))
    late = only(result, FindingClass.LATE)
    assert late.message == "k fired worker: received 51.2 ms ±0.4 after api: sent; 50 ms are allowed"
    assert late.details == ("late by 1.2 ms ±0.4", "the clocks of its hosts agree no better than that")
    _, result = judged(*sent_and_received("k", 0, 50.2), clocks=Apart(lambda _: 400_000))
    late = only(result, FindingClass.LATE)
    assert late.message == (
        "k fired worker: received 50.2 ms ±0.4 after api: sent; 50 ms are allowed, which the clocks cannot decide"
    )
    assert late.details == ("as far as the clocks can tell, it is between 49.8 ms and 50.6 ms",)


def test_an_effect_before_its_cause_is_acausal_beyond_the_error_only() -> None:
    _, result = judged(*sent_and_received("k", 10, -2.1), clocks=Apart(lambda _: 300_000))
    assert only(result, FindingClass.ACAUSAL).message == (
        "k fired worker: received 2.1 ms ±0.3 before api: sent, which comes before it"
    )
    assert (result.circuits[0].latency.count, result.circuits[0].latency.negative) == (0, 1)
    _, result = judged(*sent_and_received("k", 10, -2.1), clocks=Apart(lambda _: 2_100_000))
    assert result.verdict is Verdict.PASSED
    assert (result.circuits[0].latency.p50_ns, result.circuits[0].latency.between("p50")) == (
        -2_100_000,
        (-4_200_000, 0),
    )


def test_clocks_of_which_nothing_is_known_give_no_finding_and_leave_limits_open() -> None:
    for took_ms in (-1_000, 10, 1_000):
        _, result = judged(*sent_and_received("k", 2_000, took_ms), clocks=Apart(lambda _: UNKNOWN))
        late = only(result, FindingClass.LATE)
        assert late.inconclusive
        assert late.message == (
            "k fired worker: received an unknown time after api: sent; "
            "50 ms are allowed, which the clocks cannot decide"
        )
        assert "nothing is known of how the clocks of its hosts relate" in late.details
        assert (result.circuits[0].latency.count, result.circuits[0].latency.unknown) == (0, 1)
    _, result = judged(
        *sent_and_received("k", 2_000, -1_000),
        clocks=Apart(lambda _: UNKNOWN),
        path=(PATH[0], Probe("worker", "received")),
    )
    assert result.verdict is Verdict.PASSED


def test_an_instance_without_a_limit_is_complete_while_nothing_is_known_of_the_clocks() -> None:
    path = (Probe("api", "sent"), Probe("worker", "received"))
    verifier = begun(Circuit("c", path), clocks=Apart(lambda _: UNKNOWN))
    verifier.batch("api", 1, [[1, 1, "sent", 0, "k", {}]], 10)
    verifier.batch("worker", 1, [[1, 2, "received", 0, "k", {}]], 10)
    verifier.settle()
    assert verifier.circuits()[0].instances.complete == 1


def test_a_deadline_has_not_passed_while_nothing_is_known_of_the_clocks_and_no_unit_is_asked_in_vain() -> None:
    verifier = begun(Circuit("c", PATH), clocks=Apart(lambda _: UNKNOWN))
    verifier.batch("api", 1, [[1, 1, "sent", 0, "k", {}]], 1_000 * MS)
    verifier.batch("worker", 1, [], 1_000 * MS)
    verifier.settle()
    assert (verifier.circuits()[0].instances.failed, verifier.progress.open_instances()) == (0, 1)
    assert verifier.progress.laggards(2_000 * MS) == frozenset()
    verifier.end_unit("worker")
    verifier.settle()
    assert verifier.circuits()[0].instances.failed == 1


@pytest.mark.parametrize(
    ("took_ms", "verdict"), [(19.0, Verdict.PASSED), (19.9, Verdict.INCONCLUSIVE), (20.5, Verdict.FAILED)]
)
def test_a_budget_is_decided_by_the_interval_of_its_quantile(took_ms: float, verdict: Verdict) -> None:
    events = [event for n in range(10) for event in sent_and_received(f"k{n}", 100 * n, took_ms)]
    _, result = judged(*events, clocks=Apart(lambda _: 400_000), budget=Budget(p99_ns=20 * MS))
    assert result.verdict is verdict
    assert result.circuits[0].verdict is verdict
    messages = [finding.message for finding in result.findings]
    assert (
        messages
        == {
            Verdict.PASSED: [],
            Verdict.INCONCLUSIVE: ["p99 of order is 19.9 ms ±0.4; the budget is 20 ms, which the clocks cannot decide"],
            Verdict.FAILED: ["p99 of order is 20.5 ms ±0.4; the budget is 20 ms"],
        }[verdict]
    )


def test_a_budget_stays_decided_where_few_values_are_not_known() -> None:
    """One of fifty may be anything: the median is known all the same, and the maximum is over its limit anyway."""
    clocks = Apart(lambda stamp_ns: UNKNOWN if stamp_ns > 4_900 * MS else 0)
    events = [event for n in range(50) for event in sent_and_received(f"k{n}", 100 * n, 20 + n % 2 / 10)]
    path = (Probe("api", "sent"), Probe("worker", "received"))
    for budget, verdict in (
        (Budget(p50_ns=21 * MS), Verdict.PASSED),
        (Budget(p99_ns=21 * MS), Verdict.INCONCLUSIVE),
        (Budget(max_ns=19 * MS), Verdict.FAILED),
    ):
        _, result = judged(*events, clocks=clocks, path=path, budget=budget)
        assert result.verdict is verdict
    assert only(result, FindingClass.BUDGET).message == "max of order is more than 19 ms; the budget is 19 ms"


def test_a_hop_within_one_host_is_exact_in_a_run_on_several() -> None:
    clocks = Several(HOSTS, {"lab-1": (MS, UNKNOWN)})
    path = (*PATH, Probe("auditor", "noted"))
    events = [e for n in range(5) for e in (*sent_and_received(f"k{n}", n, 2), ("auditor", "noted", f"k{n}", n + 3))]
    for settle in (True, False):
        _, result = judged(*events, clocks=clocks, path=path, settle=settle)
        first, second = result.circuits[0].hops
        assert (first.latency.error_ns, first.latency.between("p50")) == (MS, (MS, 3 * MS))
        assert (second.latency.error_ns, second.latency.low) == (0, None)
        assert result.circuits[0].instances.complete == 5


def test_members_of_all_on_several_hosts_count_with_the_clock_of_the_last() -> None:
    clocks = Several({**HOSTS, "auditor": "desk"}, {"lab-1": (MS, UNKNOWN)})
    path = (Probe("api", "sent"), All((Probe("worker", "received"), Probe("auditor", "noted"))))
    _, result = judged(*sent_and_received("k", 0, 2), ("auditor", "noted", "k", 3), clocks=clocks, path=path)
    assert (result.circuits[0].latency.p50_ns, result.circuits[0].latency.error_ns) == (3 * MS, 0)
    _, result = judged(*sent_and_received("k", 0, 3), ("auditor", "noted", "k", 2), clocks=clocks, path=path)
    assert (result.circuits[0].latency.p50_ns, result.circuits[0].latency.error_ns) == (3 * MS, MS)


@dataclass
class Later:
    """One clock until another host joins."""

    one_clock: bool = True

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        return Apart(lambda ns: MS if ns >= 1_000 * MS else 0).error(unit, stamp_ns, other, other_stamp_ns)

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        return self.error(unit, first_ns, other, last_ns)


def test_a_run_may_begin_on_one_host_and_go_on_on_several() -> None:
    clocks = Later()
    verifier = begun(Circuit("c", PATH), clocks=clocks)
    for number, at_ms in enumerate((0, 2_000), 1):
        clocks.one_clock = at_ms == 0
        verifier.batch("api", 1, [[number, at_ms * MS, "sent", 0, f"k{number}", {}]], at_ms * MS + 9 * MS)
        verifier.batch(
            "worker", 1, [[number, at_ms * MS + 5 * MS, "received", 0, f"k{number}", {}]], at_ms * MS + 9 * MS
        )
        verifier.settle()
    latency = verifier.circuits()[0].latency
    assert (latency.count, latency.between("p50"), latency.between("max")) == (2, (4 * MS, 5 * MS), (5 * MS, 6 * MS))


def test_pairs_know_the_error_of_their_two_events() -> None:
    clocks = Several(HOSTS, {"lab-1": (MS, UNKNOWN)})

    def paired(*events: tuple[str, int, Kind]) -> Result:
        verifier = begun(clocks=clocks)
        for unit, at_ns, kind in events:
            verifier.batch(unit, 1, [[1, at_ns, "x", int(kind), "k", {}]], at_ns)
        verifier.close()
        return result_of(verifier, run="r", duration_s=1.0, statuses=())

    near = paired(("worker", 4 * MS, Kind.RECEIVE), ("api", 5 * MS, Kind.SEND))
    assert (near.findings, near.pairs.latency.p50_ns, near.pairs.latency.error_ns) == ((), -MS, MS)
    far = paired(("worker", 2 * MS, Kind.RECEIVE), ("api", 5 * MS, Kind.SEND))
    assert [finding.message for finding in far.findings] == [
        "k was received by worker: x 3 ms ±1 before it was sent by api: x"
    ]
    assert (far.pairs.latency.count, far.pairs.latency.negative) == (0, 1)
    same = paired(("worker", 4 * MS, Kind.RECEIVE), ("auditor", 5 * MS, Kind.SEND))
    assert [finding.message for finding in same.findings] == [
        "k was received by worker: x 1 ms before it was sent by auditor: x"
    ]


def test_a_missing_event_says_how_far_its_instance_came_no_more_exactly_than_is_known() -> None:
    path = (*PATH, Probe("api", "answered"))
    for took_ms, text in ((10, "10 ms ±0.3 after its first event"), (0.1, "within 400 µs of its first event")):
        _, result = judged(*sent_and_received("k", 0, took_ms), clocks=Apart(lambda _: 300_000), path=path)
        assert only(result, FindingClass.MISSING).details[0] == f"last reached: worker: received, {text}"


def test_on_one_host_nothing_has_an_error() -> None:
    assert ONE_CLOCK.one_clock
    assert ONE_CLOCK.error("a", 1, "b", 2) == ONE_CLOCK.worst("a", "b", 1, 2) == 0
    _, result = judged(*sent_and_received("k", 0, 10), clocks=ONE_CLOCK)
    assert result.circuits[0].latency.low is None
