"""What one probe costs: in a loop, alone, and switched off, against the bare work and against what others do instead.

Everything runs with a real broker beside it. Loops are taken in turns and the best of each counts: a machine that is
busy with something else slows both sides of a ratio, or neither.
"""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns, perf_counter_ns

from benchmarks.measure import Row, at_most, below
from probe.environment import Environment
from probe.units import Unit
from probe.wire import record_packer

LOOP = 20_000
ROUNDS = 15
ALONE = 300
"""Isolated emits."""
BETWEEN_S = 0.004
"""Long enough for the sender to go back to sleep."""


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as home, running_broker(home) as settings:
        unit = Unit("bench", environment=settings)
        off = Unit("off", environment=Environment("", "", "off", "", "", disabled=False))
        unit.emit("warm-up")
        off.emit("warm-up")
        try:
            bare, emit, nothing = best(
                (lambda: packs(LOOP), LOOP), (lambda: emits(unit, LOOP), LOOP), (lambda: emits(off, LOOP), LOOP)
            )
            p50, p99 = alone(unit)
        finally:
            unit.close(10.0)
        span, row, event = best(
            (spans(2_000), 2_000),
            (commits(Path(home) / "rows.db", 200), 200),
            (set_events(Path(home), 30), 30),
            rounds=5,
        )
    return [
        at_most("emit in a loop / monotonic_ns + pack", emit, bare, "ns", 3.5),
        cheaper("OpenTelemetry span / emit", emit, span, 12),
        cheaper("committed SQLite row / emit", emit, row, 500),
        cheaper("Testrium 0.2.0 Set_Event / emit", emit, event, 500),
        below("emit alone, p50", p50 / 1e3, "µs", 15),
        below("emit alone, p99", p99 / 1e3, "µs", 80),
        below("emit without a broker", nothing, "ns", 100),
    ]


def cheaper(name: str, ours: float, theirs: float, times: float) -> Row:
    """A row that wants `theirs` to cost so many times as much as `ours`."""
    return Row(name, ours, theirs, "ns", theirs / ours, f">= {times:g} x", theirs / ours >= times)


def best(*work: tuple[Callable[[], None], int], rounds: int = ROUNDS) -> list[float]:
    """Nanoseconds for one of each, from the best of `rounds` turns; `work` is what to call and how many it does."""
    least = [float("inf")] * len(work)
    for _ in range(rounds):
        for place, (do, count) in enumerate(work):
            began = perf_counter_ns()
            do()
            least[place] = min(least[place], (perf_counter_ns() - began) / count)
    return least


def packs(count: int) -> None:
    """The bare work: the clock, and the very same record."""
    pack = record_packer()
    for number in range(count):
        pack((number, monotonic_ns(), "order-sent", 0, "order-17", {"n": number}))


def emits(unit: Unit, count: int) -> None:
    for number in range(count):
        unit.emit("order-sent", key="order-17", n=number)


def alone(unit: Unit) -> tuple[float, float]:
    """p50 and p99 of emits that each find the sender asleep, in nanoseconds."""
    took = []
    for number in range(ALONE):
        time.sleep(BETWEEN_S)
        began = perf_counter_ns()
        unit.emit("order-sent", key="order-17", n=number)
        took.append(perf_counter_ns() - began)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def spans(count: int) -> Callable[[], None]:
    """OpenTelemetry spans with one attribute, through a BatchSpanProcessor whose exporter does nothing."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
            return SpanExportResult.SUCCESS

    def run() -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nowhere()))
        tracer = provider.get_tracer("bench")
        for number in range(count):
            with tracer.start_as_current_span("order-sent") as span:
                span.set_attribute("n", number)
        provider.shutdown()

    return run


def commits(file: Path, count: int) -> Callable[[], None]:
    """SQLite rows, each committed: what survives a killed process there."""

    def run() -> None:
        database = sqlite3.connect(file)
        database.execute("create table if not exists events (step, key, stamp, data)")
        for number in range(count):
            database.execute("insert into events values ('order-sent', 'order-17', ?, ?)", (monotonic_ns(), number))
            database.commit()
        database.close()

    return run


def set_events(folder: Path, count: int) -> Callable[[], None]:
    """The older tool's probe."""
    from testrium.modules.events import Events_Manager

    manager = Events_Manager(Unit="bench", path=str(folder / "older"))

    def run() -> None:
        for number in range(count):
            manager.Set_Event("order-sent", event_type="Send", event_key=f"order-{number}")

    return run


@contextmanager
def running_broker(home: str) -> Iterator[Environment]:
    """A broker of its own, and the environment of a unit that talks to it."""
    listen = ["--listen", f"ipc://{home}/bus", "--folder", f"{home}/runs"]
    with subprocess.Popen([sys.executable, "-m", "broker", *listen], stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        try:
            endpoint = broker.stdout.readline().split()[-1]
            yield Environment(endpoint, "bench", "bench", f"{home}/journal", "", disabled=False)
        finally:
            broker.terminate()
