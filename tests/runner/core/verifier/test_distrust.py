"""Clocks that cannot be right: the words of a finding name the clock, and not an order that never was."""

from pathlib import Path
from typing import Any

import pytest

from probe.event import Kind
from runner.core.verifier import Verifier
from runner.model.result.clocks import ONE_CLOCK
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import UnitStatus
from runner.model.scenario.model import Circuit, Probe, Scenario, Unit
from tests.support.clocks import Apart
from tests.support.scenarios import place_in

S = 1_000_000_000
SENT, GOT = Probe("api", "sent"), Probe("worker", "got", within_ns=10 * S)
STARTED = {name: UnitStatus(name, pid=1, started_ns=99 * S) for name in ("api", "worker")}


def judged(*batches: tuple[str, list[tuple[str, str, float]], float], clocks: Any = ONE_CLOCK) -> tuple[Finding, ...]:
    """Batches of (unit, [(step, key, seconds)], watermark in seconds), one incarnation each."""
    units = tuple(map(Unit, STARTED))
    verifier = Verifier(Scenario("s", "/", "c", units, (Circuit("c", (SENT, GOT)),)), clocks)
    number = dict.fromkeys(STARTED, 0)
    for unit, events, watermark_s in batches:
        records: list[Any] = []
        for step, key, at_s in events:
            number[unit] += 1
            records.append([number[unit], int(at_s * S), step, 0, key, {}])
        verifier.batch(unit, 1, records, int(watermark_s * S))
    for unit in STARTED:
        verifier.end_unit(unit)
    verifier.close()
    return verifier.findings(STARTED)


def of(cls: FindingClass, findings: tuple[Finding, ...]) -> Finding:
    return next(finding for finding in findings if finding.cls is cls)


def moving(unit: str, step: str, *times_s: float) -> list[tuple[str, list[tuple[str, str, float]], float]]:
    return [(unit, [(step, f"k{n}", at_s)], at_s) for n, at_s in enumerate(times_s)]


@pytest.mark.parametrize("together", [True, False])
def test_the_finding_names_the_clock_of_a_receiver_that_stands_still(together: bool) -> None:
    frozen = [("got", f"k{n}", 100.5) for n in range(3)]
    batches = [("worker", frozen, 100.5)] if together else [("worker", [one], 100.5) for one in frozen]
    early = of(FindingClass.ACAUSAL, judged(*moving("api", "sent", 101, 102, 103), *batches))
    assert early.message == (
        "k0 fired worker: got 500 ms before api: sent by stamps that cannot be right: the clock of worker stood still"
    )
    assert early.details == (
        "all 3 events of worker have the same stamp",
        "an event is stamped with CLOCK_MONOTONIC of its host; which clock does worker stamp with?",
    )


def test_what_is_late_by_a_clock_that_stands_still_names_the_clock() -> None:
    frozen = ("api", [("sent", f"k{n}", 100) for n in range(3)], 100.0)
    late = of(FindingClass.LATE, judged(frozen, *moving("worker", "got", 101, 102, 131)))
    assert "all 3 events of api have the same stamp" in late.details


def test_a_clock_that_went_back_is_named() -> None:
    findings = judged(
        *moving("api", "sent", 110, 111, 112),
        ("worker", [("got", "k0", 110.1)], 110.2),
        ("worker", [("got", "k1", 105)], 105.0),
        ("worker", [("got", "k2", 112.1)], 112.1),
    )
    early = of(FindingClass.ACAUSAL, findings)
    assert early.message == (
        "k1 fired worker: got 6 s before api: sent by stamps that cannot be right: the clock of worker went back"
    )
    assert early.details[0] == (
        "worker stamped an event 5.2 s before the time up to which it had said that it had sent all"
    )


def test_a_stamp_from_before_its_process_was_started_is_named() -> None:
    findings = judged(*moving("api", "sent", 110, 111), *moving("worker", "got", 50, 51))
    early = of(FindingClass.ACAUSAL, findings)
    assert early.message.endswith("by stamps that cannot be right: the clock of worker is behind")
    assert early.details[0] == "worker was started 49 s after it had fired that, says its stamp"


def test_where_the_clocks_leave_that_open_it_is_an_order() -> None:
    findings = judged(
        *moving("api", "sent", 200, 201), *moving("worker", "got", 50, 51), clocks=Apart(lambda _: 60 * S)
    )
    assert of(FindingClass.ACAUSAL, findings).message.endswith("before api: sent, which comes before it")


def test_an_order_that_only_is_wrong_stays_an_order() -> None:
    """Threads are held up between a stamp and its message, and two events may have one stamp."""
    findings = judged(
        *moving("api", "sent", 110, 111, 112),
        ("worker", [("got", "k0", 109), ("got", "k1", 109)], 110.9),
        ("worker", [("got", "k2", 110)], 112.1),
    )
    assert all(f.message.endswith("before api: sent, which comes before it") for f in findings)


def test_a_pair_out_of_order_by_such_a_clock_names_it_without_a_circuit() -> None:
    units = ("api", "worker")
    verifier = Verifier(Scenario("s", "/", "c", tuple(map(Unit, units))))
    for n in range(3):
        verifier.batch("api", 1, [[n + 1, (110 + n) * S, "out", int(Kind.SEND), f"k{n}", {}]], (110 + n) * S)
        verifier.batch("worker", 1, [[n + 1, 100 * S, "in", int(Kind.RECEIVE), f"k{n}", {}]], 100 * S)
    verifier.close()
    first = verifier.findings({})[0]
    assert first.message == (
        "k0 fired worker: in 10 s before api: out by stamps that cannot be right: the clock of worker stood still"
    )
    assert first.details[0] == "all 3 events of worker have the same stamp"


def test_a_run_tells_of_a_unit_that_stamps_with_a_frozen_clock(tmp_path: Path) -> None:
    with place_in(tmp_path) as place:
        place.write(
            """
            [units.worker]
            command = ["python", "worker.py"]
            ready = "up"

            [units.api]
            entrypoint = "units:api"
            after = ["worker"]

            [circuits.order]
            path = ["api: sent", "worker: got"]
            """,
            """
            import probe

            def api():
                for number in range(3):
                    probe.send("sent", key=number)
            """,
        )
        (tmp_path / "worker.py").write_text(
            "import time, probe, probe.recorder\n"
            "frozen = time.monotonic_ns()\n"
            "probe.recorder.monotonic_ns = lambda: frozen\n"
            "probe.ready('up')\n"
            "for number in range(3):\n"
            "    probe.wait('api: sent', key=str(number))\n"
            "    probe.receive('got', key=number)\n"
        )
        text = place.run(".", "--plain", expect=1).text
        assert "by stamps that cannot be right: the clock of worker stood still" in " ".join(text.split())
        assert "does api: sent stand behind" not in text
