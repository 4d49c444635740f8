"""The line of the verdict: what happened, in the fewest words that point at it."""

from dataclasses import replace

import pytest

from runner.core.report.reason import reasons
from runner.model.result.result import CircuitResult, Finding, FindingClass, InstanceCounts, Result
from tests.support.runner_view_samples import FAILED, order


def found(circuit: CircuitResult, *findings: tuple[FindingClass, str | None, str]) -> Result:
    listed = tuple(Finding(cls, message, circuit.name, key) for cls, key, message in findings)
    return replace(FAILED, circuits=(circuit,), findings=listed)


def instances(started: int, complete: int, failed: int = 0) -> CircuitResult:
    return replace(order(), instances=InstanceCounts(started, complete, failed))


def test_more_instances_than_are_allowed_are_not_too_few() -> None:
    count = "order began twice; the scenario asks for at most 1"
    assert reasons(found(instances(2, 2), (FindingClass.COUNT, None, count))) == [count, "order began twice"]


def test_a_key_that_no_circuit_answers_for_is_reported_in_its_finding_s_words() -> None:
    twice = "k fired api: sent more than once"
    twice_sent = Finding(FindingClass.DUPLICATE, twice, None, "k", "api", "sent")
    assert reasons(replace(FAILED, circuits=(), findings=(twice_sent,))) == [twice]
    both = replace(FAILED, circuits=(), findings=(twice_sent, replace(twice_sent, key="l")))
    assert reasons(both) == [f"{twice}, and 1 finding more", twice]


def test_a_setup_that_failed_is_the_reason_and_not_what_followed_from_it() -> None:
    never = (FindingClass.MISSING, None, "order never began; api: sent did not fire")
    setup = Finding(FindingClass.CHECK, "setup prepare:main raised OSError: no database", step="setup")
    result = found(instances(0, 0), never)
    check = replace(setup, message="check checks:look returned False", step="check")
    assert reasons(replace(result, findings=(*result.findings, setup)))[-1] == setup.message
    assert reasons(replace(result, findings=(*result.findings, check)))[-1] == "order never began"
    assert reasons(replace(result, findings=(check,))) == [check.message]


def test_how_a_unit_failed_is_reported_as_far_as_there_is_room() -> None:
    sentence = "slow did not end within 2 s of SIGTERM and had to be killed"
    failed = Finding(FindingClass.UNIT_FAILED, sentence, unit="slow")
    assert reasons(replace(FAILED, findings=(failed,))) == [sentence, "slow did not end within 2 s of SIGTERM"]


FORBIDDEN = (FindingClass.UNEXPECTED, "z", "a: ran fired for z, which order forbids")


def test_an_event_that_a_circuit_forbids_is_not_put_on_its_instances() -> None:
    assert reasons(found(instances(2, 2), FORBIDDEN)) == [FORBIDDEN[2], "order: 1 forbidden event"]


def test_forbidden_events_are_reported_beside_the_instances_that_failed() -> None:
    missing = (FindingClass.MISSING, "y", "y stopped after a: planned; a: done did not fire")
    orphan = (FindingClass.ORPHAN, "x", "x turned up at a: done without a: planned")
    both = found(instances(2, 1, 1), missing, FORBIDDEN)
    assert reasons(both) == ["order: 1 of 2 did not arrive, and 1 forbidden event", "order: 1 of 2 did not arrive"]
    three = found(instances(2, 1, 2), missing, orphan, FORBIDDEN)
    assert reasons(three)[0] == "order: 1 of 2 did not arrive, and 1 orphan, and 1 forbidden event"
    assert reasons(found(instances(1, 1, 1), orphan, FORBIDDEN)) == ["order: 1 orphan and 1 forbidden event"]


@pytest.mark.parametrize("started", [0, 3])
def test_a_circuit_that_failed_as_a_whole_is_reported_in_its_finding_s_words(started: int) -> None:
    message = "order never began; api: sent did not fire"
    short = reasons(found(instances(started, started), (FindingClass.MISSING, None, message)))
    assert short == [message, "order never began"]
