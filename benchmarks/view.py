"""The live picture: what ten frames a second cost the process that also verifies the run."""

import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, at_most, below
from runner.adapters.terminal.live import Drawn, transition
from runner.adapters.terminal.rows import rows as lines_of
from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.text import paint
from runner.model.duration import duration
from runner.model.result.result import CircuitResult, Hop, InstanceCounts, Latency, Verdict
from runner.model.result.unit_status import State, UnitStatus

FRAMES = 200
WIDTH, HEIGHT = 119, 49
MS = 1_000_000


def rows() -> Iterator[Row]:
    """One frame of 8 units and 4 circuits with 4 hops in which every number has changed, up to the terminal's bytes."""
    ours = 1e3 * median_s(our_frame())
    yield below("live view, one frame", ours, "ms", 3)
    yield at_most("live view against the same tables by rich", ours, 1e3 * median_s(rich_frame()), "ms", 0.2)


def median_s(frame: Callable[[Snapshot], int]) -> float:
    taken = []
    for number in range(FRAMES):
        moment = snapshot(number)
        start = time.perf_counter()
        frame(moment)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def our_frame() -> Callable[[Snapshot], int]:
    old: list[Drawn] = []

    def frame(moment: Snapshot) -> int:
        nonlocal old
        new = [Drawn(paint(line, colours=True), WIDTH) for line in lines_of(moment, WIDTH, HEIGHT)]
        written = transition(old, new).encode()
        old = new
        return len(written)

    return frame


def rich_frame() -> Callable[[Snapshot], int]:
    console = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True)

    def frame(moment: Snapshot) -> int:
        units = Table("UNIT", "STATE", "EVENTS", "LAST PROBE", "AGO", box=None)
        for unit in moment.units:
            ago = duration(moment.now_ns - (unit.last_stamp_ns or 0))
            units.add_row(unit.name, unit.state, f"{unit.events:,}", unit.last_step, ago)
        circuits = Table("CIRCUIT", "DONE", "OPEN", "FAIL", "p50", "p99", "max", box=None)
        for circuit in moment.circuits:
            now = circuit.instances
            circuits.add_row(circuit.name, str(now.complete), str(now.open), str(now.failed), *times(circuit.latency))
            for hop in circuit.hops:
                circuits.add_row(hop.target, "", "", "", *times(hop.latency))
        console.file = io.StringIO()
        console.print(units)
        console.print(circuits)
        return len(console.file.getvalue())

    return frame


def times(latency: Latency) -> tuple[str, str, str]:
    return duration(latency.p50_ns), duration(latency.p99_ns), duration(latency.max_ns)


def snapshot(number: int) -> Snapshot:
    """A moment of a busy run; every number differs from one `number` to the next."""
    latency = Latency(
        number, MS + 7919 * number, 0, 9 * MS + 104_729 * number, 40 * MS + number, 0, (1, 3, 7, 5, 2, number)
    )
    hops = tuple(Hop(f"unit-{n}: step-{n}", f"unit-{n + 1}: step-{n + 1}", latency) for n in range(4))
    circuit = CircuitResult("", Verdict.PASSED, InstanceCounts(1000 + number, number, number, 1000), latency, hops)
    unit = UnitStatus("", State.RUNNING, events=50_000 * number, last_step=f"step-{number % 4}")
    return Snapshot(
        scenario="order-flow",
        phase="running",
        elapsed_s=number / 10,
        now_ns=number * 100 * MS,
        units=tuple(replace(unit, name=f"unit-{n}", last_stamp_ns=number * 99 * MS) for n in range(8)),
        circuits=tuple(replace(circuit, name=f"circuit-{n}") for n in range(4)),
        expected={"circuit-1": 1000},
        budgets={"circuit-1": "p99 <= 20 ms ok"},
        findings=(),
        finding_count=0,
        events=50_000 * number,
        events_per_s=500_000.0 + number,
        lost=0,
    )
