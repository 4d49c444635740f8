"""Sends and receives by key: what pairs, what is alone, and what a circuit answers for."""

from dataclasses import replace
from itertools import permutations

import pytest

from probe.event import Kind
from runner.core.verifier import Verifier, closed_keys, pairs
from runner.model.result.latency import Distribution
from runner.model.result.result import Finding, FindingClass, Latency, Pairs
from runner.model.scenario.model import Circuit, Probe, Scenario, Unit
from tests.support.clocks import Apart

SEND, RECEIVE = int(Kind.SEND), int(Kind.RECEIVE)
UNITS = ("api", "worker-1", "worker-2")


def judged(
    *events: tuple[str, str, int, str | None], circuits: tuple[Circuit, ...] = ()
) -> tuple[Pairs, tuple[Finding, ...]]:
    verifier = Verifier(Scenario("s", "/", "c", tuple(Unit(name) for name in UNITS), circuits))
    for n, (unit, step, kind, key) in enumerate(events):
        verifier.batch(unit, 1, [[1, n, step, kind, key, {}]], n)
    for unit in UNITS:
        verifier.end_unit(unit)
    verifier.close()
    return verifier.pairs(), verifier.findings({})


def times(*latencies: int) -> Latency:
    distribution = Distribution()
    for value in latencies:
        distribution.add(value)
    return distribution.summary()


def test_a_latency_is_from_the_earliest_send_to_the_earliest_receive_in_any_order_of_arrival() -> None:
    events = [("api", "out", SEND, 10), ("worker-1", "in", RECEIVE, 25), ("worker-2", "in", RECEIVE, 17)]
    for order in permutations(events):
        verifier = Verifier(Scenario("s", "/", "c", tuple(Unit(name) for name in UNITS)))
        for unit, step, kind, stamp_ns in order:
            verifier.batch(unit, 1, [[1, stamp_ns, step, kind, "k", {}]], stamp_ns)
        verifier.close()
        assert verifier.pairs() == Pairs(paired=1, latency=times(7))


def test_a_receive_before_its_send_is_a_finding_and_no_latency() -> None:
    found, findings = judged(("worker-1", "in", RECEIVE, "k"), ("api", "out", SEND, "k"))
    assert found == Pairs(paired=1, latency=times(-1))
    assert found.latency.count == 0
    (finding,) = findings
    assert finding.cls is FindingClass.ACAUSAL
    assert finding.message == "k was received by worker-1: in 1 ns before it was sent by api: out"
    assert finding.details[0].startswith("does api: out stand behind the call that sends?")


def test_a_receive_before_its_send_within_the_clock_error_is_no_finding() -> None:
    verifier = Verifier(Scenario("s", "/", "c", tuple(Unit(name) for name in UNITS)), Apart(lambda _: 5))
    verifier.batch("worker-1", 1, [[1, 0, "in", RECEIVE, "k", {}]], 0)
    verifier.batch("api", 1, [[1, 1, "out", SEND, "k", {}]], 1)
    verifier.close()
    assert verifier.findings({}) == ()


def test_a_unit_that_passes_on_what_came_from_outside_is_no_finding() -> None:
    found, findings = judged(
        ("api", "request", RECEIVE, "k"), ("api", "out", SEND, "k"), ("worker-1", "in", RECEIVE, "k")
    )
    assert (found, findings) == (Pairs(paired=1), ())


def test_a_send_and_its_receive_pair() -> None:
    found, findings = judged(("api", "out", SEND, "k"), ("worker-1", "in", RECEIVE, "k"))
    assert (found, findings) == (Pairs(paired=1, latency=times(1)), ())


def test_keys_without_their_other_half_are_listed_and_are_findings() -> None:
    found, findings = judged(("api", "out", SEND, "k"), ("worker-1", "in", RECEIVE, "l"))
    assert found == Pairs(orphan_sends=("k",), orphan_receives=("l",))
    assert [(f.cls, f.message) for f in findings] == [
        (FindingClass.ORPHAN, "k was sent by api: out and received by no unit"),
        (FindingClass.ORPHAN, "l was received by worker-1: in and sent by no unit"),
    ]


def test_fan_out_and_a_chain_with_one_key_are_no_duplicates() -> None:
    found, findings = judged(
        ("api", "out", SEND, "k"),
        ("worker-1", "in", RECEIVE, "k"),
        ("worker-2", "in", RECEIVE, "k"),
        ("worker-1", "out", SEND, "k"),
        ("api", "in", RECEIVE, "k"),
    )
    assert (found, findings) == (Pairs(paired=1, latency=times(1)), ())


def test_the_same_probe_twice_with_one_key_is_a_duplicate() -> None:
    found, findings = judged(
        ("api", "out", SEND, "k"), ("worker-1", "in", RECEIVE, "k"), ("worker-1", "in", RECEIVE, "k")
    )
    assert found == Pairs(paired=1, duplicate_keys=("k",), latency=times(1))
    assert [(f.cls, f.message) for f in findings] == [
        (FindingClass.DUPLICATE, "k fired worker-1: in more than once")  # and not the send, which was the first
    ]
    assert findings[0].details == ('a retry? a circuit may allow it: { probe = "worker-1: in", times = "1.." }',)


def test_events_without_a_key_pair_with_nothing() -> None:
    assert judged(("api", "out", SEND, None)) == (Pairs(), ())


def test_what_a_circuit_explains_is_listed_and_not_found_twice() -> None:
    circuit = Circuit("c", (Probe("api", "out"), Probe("worker-*", "in")))
    found, findings = judged(("api", "out", SEND, "k"), circuits=(circuit,))
    assert found == Pairs(orphan_sends=("k",))
    assert [f.cls for f in findings] == [FindingClass.MISSING]


def test_pairs_of_long_ago_are_counted_and_still_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "RECENT", 50)
    monkeypatch.setattr(closed_keys, "RECENT", 50)
    events = []
    for n in range(500):
        events.append(("api", "out", SEND, f"k{n}"))
        if n % 100:
            events.append(("worker-1", "in", RECEIVE, f"k{n}"))
    events.append(("worker-2", "in", RECEIVE, "k7"))  # fan-out, very late
    events.append(("worker-2", "in", RECEIVE, "k0"))
    found, _ = judged(*events)
    assert replace(found, latency=Latency()) == Pairs(paired=496, orphan_sends=("k100", "k200", "k300", "k400"))
    assert (found.latency.count, found.latency.p50_ns) == (496, 1)
