"""Snapshots and results that the view's tests look at, and the comparison with kept screens.

Belongs here: samples and `assert_same_screen`. UPDATE_SNAPSHOTS=1 writes the screens anew; look at the difference
before you commit it.
"""

import difflib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.text import Line, plain
from runner.model.result.result import (
    UNKNOWN,
    BarrierResult,
    CircuitResult,
    Evidence,
    Finding,
    FindingClass,
    Hop,
    HostResult,
    InstanceCounts,
    Latency,
    Lost,
    Pairs,
    Quantiles,
    Result,
    UnitResult,
    Verdict,
)
from runner.model.result.unit_status import State, UnitStatus
from runner.model.scenario import model

SNAPSHOTS = Path(__file__).parent / "snapshots"
MS = 1_000_000
NOW = 1_000_000 * MS


def assert_same_screen(name: str, lines: Iterable[Line]) -> None:
    """Compares `lines` with the screen kept under `name`; fails with a diff."""
    path = SNAPSHOTS / f"{name}.txt"
    text = "".join(plain(line) + "\n" for line in lines)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm=""))
    assert text == kept, f"{path.name} differs (UPDATE_SNAPSHOTS=1 keeps the new one):\n{diff}"


def unit(
    name: str, state: State, events: int = 0, step: str = "", age_ms: float | None = None, **more: object
) -> UnitStatus:
    stamp = None if age_ms is None else NOW - int(age_ms * MS)
    return replace(UnitStatus(name, state, events=events, last_step=step, last_stamp_ns=stamp), **more)  # type: ignore[arg-type]


def latency(p50_ms: float, p99_ms: float, max_ms: float, bars: tuple[int, ...] = (), error_ns: int = 0) -> Latency:
    exact = Quantiles(int(p50_ms * MS), int(p99_ms * MS), int(p99_ms * MS), int(max_ms * MS))
    return within(Latency(900, exact.p50_ns, exact.p90_ns, exact.p99_ns, exact.max_ns, bars=bars), error_ns)


def within(latency: Latency, error_ns: int) -> Latency:
    """The same, had every value this error."""
    if not error_ns:
        return latency
    values = (latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns)
    low, high = (Quantiles(*(value + off for value in values)) for off in (-error_ns, error_ns))
    return replace(latency, error_ns=error_ns, low=low, high=high)


HOPS = (
    Hop("api: order-sent", "worker-*: order-received", latency(0.412, 1.2, 3, (2, 7, 3, 1))),
    Hop("worker-*: order-received", "worker-*: row-written", latency(2.2, 7.1, 30, (1, 3, 7, 5, 2, 1))),
    Hop("worker-*: row-written", "api: response-received", latency(0.5, 1.5, 8, (3, 7, 2, 1))),
)

MISSING = Finding(
    FindingClass.MISSING,
    "order-17 stopped after worker-1: order-received (10:15:07.231)",
    circuit="order",
    key="order-17",
    unit="worker-1",
    step="row-written",
    details=(
        "next expected: worker-*: row-written, within 50 ms",
        "worker-1 was running: it wrote 6 other rows in the 50 ms after",
        'near miss: worker-1 emitted row-written with key "order-71" 2 ms later, and order-71 has two: swapped digits?',
    ),
)


def order(complete: int = 988, failed: int = 1, open_: int = 11, hops: tuple[Hop, ...] = HOPS) -> CircuitResult:
    verdict = Verdict.FAILED if failed else Verdict.PASSED
    instances = InstanceCounts(complete + failed + open_, complete, failed, open_)
    return CircuitResult("order", verdict, instances, latency(3.1, 9.8, 41.2), hops)


RUNNING = Snapshot(
    scenario="order-flow",
    phase="running",
    elapsed_s=12.4,
    now_ns=NOW,
    units=(
        unit("api", State.RUNNING, 4012, "order-sent", 2),
        unit("worker-1", State.RUNNING, 1980, "row-written", 3),
        unit("worker-2", State.RUNNING, 1977, "after-read", 1200, blocked_on="gate after-read"),
        unit("auditor", State.FAILED, 3, "audit-started", 4100, exit_code=1, why="exited with code 1"),
    ),
    circuits=(order(),),
    expected={"order": 1000},
    budgets={"order": "p99 ≤ 20 ms ok"},
    findings=(MISSING,),
    finding_count=1,
    events=41203,
    events_per_s=8412.3,
    lost=0,
)

STARTING = replace(
    RUNNING,
    phase="starting",
    elapsed_s=0.3,
    units=(
        unit("api", State.CREATED, why="waits for worker-1"),
        unit("worker-1", State.STARTING, 1, "imported", 12),
        unit("worker-2", State.READY, 1, "worker-ready", 40),
    ),
    circuits=(
        CircuitResult(
            "order",
            Verdict.INCONCLUSIVE,
            InstanceCounts(),
            Latency(),
            tuple(replace(h, latency=Latency()) for h in HOPS),
        ),
    ),
    budgets={},
    findings=(),
    finding_count=0,
    events=0,
    events_per_s=0.0,
)

HOSTS = replace(
    RUNNING,
    units=tuple(
        replace(u, host=host) for u, host in zip(RUNNING.units, ("local", "lab-1", "lab-1", "lab-2"), strict=True)
    ),
    circuits=(
        replace(
            order(hops=tuple(replace(h, latency=within(h.latency, 310_000 + n * 200_000)) for n, h in enumerate(HOPS))),
            latency=latency(3.1, 9.8, 41.2, error_ns=90_000),
        ),
    ),
    clock_errors={"lab-1": 310_000, "lab-2": 1_200_000},
    budgets={"order": "p99 ≤ 5 ms"},
    over_budget=frozenset({"order"}),
    lost=12,
)

INCIDENTS = replace(
    RUNNING,
    incidents=(
        ("worker-1 (lab-3 at 10.0.0.7): refused, that unit belongs to another key", 1204),
        ("10.0.0.9: refused, unknown key", 12),
        ("pid 4711: sent what is no message: \x1b[31m", 1),
    ),
)

CROWDED = replace(
    RUNNING,
    units=tuple(
        unit(f"unit-{n}", State.FAILED if n == 177 else State.RUNNING if n % 3 else State.STARTING, n)
        for n in range(300)
    ),
    circuits=tuple(replace(order(10, int(n == 33), 0), name=f"circuit-{n}") for n in range(50)),
    findings=(MISSING,) * 50,
    finding_count=1204,
)

SCENARIO = model.Scenario(
    name="order-flow",
    folder="/somewhere",
    file="circuit.toml",
    units=(),
    circuits=(
        model.Circuit(
            "order",
            (),
            budget=model.Budget(p99_ns=20 * MS),
            hop_budgets={"worker-*: row-written": model.Budget(p50_ns=1 * MS)},
        ),
    ),
)

FOLDER = ".circuit/runs/20261121T101502Z-order-flow-3f2a"

PASSED = Result(
    run="20261121T101502Z-order-flow-3f2a",
    scenario="order-flow",
    verdict=Verdict.PASSED,
    duration_s=14.1,
    units=tuple(
        UnitResult(name, "finished", 0, "local", 10_000, 0.1) for name in ("api", "worker-1", "worker-2", "auditor")
    ),
    circuits=(order(1000, 0, 0),),
    evidence=Evidence(41203, 41203),
)

FAILED = replace(PASSED, verdict=Verdict.FAILED, circuits=(order(999, 1, 0),), findings=(MISSING,))

LAB = replace(
    PASSED,
    verdict=Verdict.INCONCLUSIVE,
    circuits=(
        replace(
            order(999, 0, 0, hops=tuple(replace(hop, latency=within(hop.latency, 310_000)) for hop in HOPS)),
            verdict=Verdict.INCONCLUSIVE,
            instances=InstanceCounts(1000, 999, 0, 0, 1),
            latency=within(latency(3.1, 19.9, 41.2), 310_000),
        ),
    ),
    findings=(
        Finding(
            FindingClass.LATE,
            "order-17 took 199.9 ms ±0.4 to api: response-received; 200 ms are allowed, which the clocks cannot decide",
            "order",
            "order-17",
            "api",
            "response-received",
            details=("as far as the clocks can tell, it is between 199.6 ms and 200.2 ms",),
            inconclusive=True,
        ),
        Finding(
            FindingClass.BUDGET,
            "p99 of order is 19.9 ms ±0.4; the budget is 20 ms, which the clocks cannot decide",
            "order",
            inconclusive=True,
        ),
    ),
    hosts=(
        HostResult("desk", "here"),
        HostResult("lab-1", "here", 84_000, 5_000_000_000, 12.0, 160_000),
        HostResult("lab-2", "here", 91_000, -5_000_000_000, 1.5, 170_000, 4.2),
        HostResult("lab-3", "gone", UNKNOWN),
    ),
    barriers=(BarrierResult("go", 100, 41_000, 180_000, 212_000, 90_000), BarrierResult("stop", 1, 800, 800, 800)),
)

MANY = replace(
    FAILED,
    circuits=(order(985, 15, 0),),
    findings=(
        *(
            replace(MISSING, key=f"order-{n}", message=MISSING.message.replace("order-17", f"order-{n}"))
            for n in range(13)
        ),
        Finding(FindingClass.BUDGET, "order p99 is 31.2 ms, over its budget of 20 ms", "order"),
        Finding(
            FindingClass.LATE,
            "order-200 reached worker-1: row-written 62 ms after order-received, allowed are 50 ms",
            "order",
            "order-200",
        ),
        Finding(FindingClass.EXCEPTION, "worker-2 raised ValueError: bad row", unit="worker-2", step="exception"),
    ),
)

NOT_READY = Result(
    run="20261121T101502Z-order-flow-3f2a",
    scenario="order-flow",
    verdict=Verdict.FAILED,
    duration_s=0.4,
    units=PASSED.units[:2],
    findings=(
        Finding(
            FindingClass.NOT_READY,
            "worker-2 exited with code 1 after 0.2 s, before its probe worker-ready",
            unit="worker-2",
            details=(
                'File "shop.py", line 12, in worker',
                "    conn = sqlite3.connect(PATH)",
                "sqlite3.OperationalError: unable to open database file",
                "whole output:  .circuit/latest/units/worker-2.err",
            ),
        ),
    ),
    evidence=Evidence(3, 3),
)

UNDECIDED = replace(
    PASSED,
    verdict=Verdict.INCONCLUSIVE,
    circuits=(replace(order(990, 0, 0), instances=InstanceCounts(1000, 990, 0, 0, 10)),),
    findings=(
        replace(MISSING, inconclusive=True),
        Finding(
            FindingClass.LOST_EVIDENCE,
            "worker-1 lost events 101 to 150: its journal was full",
            unit="worker-1",
            inconclusive=True,
        ),
    ),
    evidence=Evidence(41203, 41153, 3, 1, (Lost("worker-1", 1, 101, 150, "its journal was full"),)),
    pairs=Pairs(100, ("order-17",)),
    notes=('circuit.toml: "analitics" is an old spelling, write "analytics"',),
)
