"""The verifier alone: what an event costs from packed bytes to a judged circuit, and what a long run costs in memory.

`python -m benchmarks.verifier EVENTS` runs that many events in this process and prints its memory after a tenth of
them and at the end; `rows` does so with 50 million in a process of its own.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, at_most, below
from probe.wire import record_packer, unpack_records
from runner.core.verifier import Verifier
from runner.model.scenario.model import Circuit, Probe, Scenario, Unit

JOURNEYS = 400
"""Journeys that begin and end in one chunk."""
PATH = (
    ("client", "order-sent"),
    ("api", "order-queued"),
    ("worker-1", "order-received"),
    ("worker-1", "row-written"),
    ("client", "response-received"),
)
UNITS = ("client", "api", "worker-1")
CHUNKS = 250
MS = 1_000_000

Chunk = list[tuple[str, bytes, int]]
"""(unit, records, watermark) as they come from the log."""


def rows() -> Iterator[Row]:
    chunks = [chunk(number) for number in range(CHUNKS)]
    ours, bare = min(verified_us(chunks) for _ in range(3)), min(paired_us(chunks) for _ in range(3))
    yield below("verifier: decode, match and judge, 4 hops, per event", ours, "µs", 1.5)
    yield at_most("verifier against decode and pair in a dict", ours, bare, "µs", 3.5)
    plain, repeated = min(verified_us(chunks) for _ in range(3)), min(verified_us(chunks, 2) for _ in range(3))
    yield at_most('verifier, one element with times = "1..2" against none', repeated, plain, "µs", 1.3)
    early, late = (float(word) for word in _in_own_process(50_000_000).split())
    yield at_most("verifier memory, 50 M events against 5 M", late, early, "MiB", 1.05)


def scenario(deliveries: int = 1) -> Scenario:
    """`deliveries`: how often the worker may receive an order."""
    path = (
        Probe("client", "order-sent"),
        Probe("api", "order-queued"),
        Probe("worker-*", "order-received", at_most=deliveries, within_ns=50 * MS),
        Probe("worker-*", "row-written"),
        Probe("client", "response-received"),
    )
    units = tuple(Unit(name) for name in UNITS)
    return Scenario("bench", "/", "circuit.toml", units, (Circuit("order", path, within_ns=200 * MS),))


def chunk(number: int) -> Chunk:
    """`JOURNEYS` journeys, as the batches that their units sent."""
    pack = record_packer()
    records: dict[str, list[bytes]] = {unit: [] for unit in UNITS}
    per_chunk = {unit: JOURNEYS * sum(unit == one for one, _ in PATH) for unit in UNITS}
    begin_ns = number * JOURNEYS * 10_000
    for place, (unit, step) in enumerate(PATH):
        for journey in range(JOURNEYS):
            stamp_ns = begin_ns + journey * 5_000 + place * 400_000 + journey % 97
            seq = number * per_chunk[unit] + len(records[unit]) + 1
            key = f"order-{number * JOURNEYS + journey}"
            records[unit].append(pack((seq, stamp_ns, step, 0, key, {})))
    watermark_ns = begin_ns + JOURNEYS * 5_000 + 2 * MS
    return [(unit, b"".join(packed), watermark_ns) for unit, packed in records.items()]


def verified_us(chunks: list[Chunk], deliveries: int = 1) -> float:
    verifier = Verifier(scenario(deliveries))
    start = time.perf_counter()
    for batches in chunks:
        _verify(verifier, batches)
    taken = time.perf_counter() - start
    assert verifier.circuits()[0].instances.complete == len(chunks) * JOURNEYS, verifier.circuits()
    return taken * 1e6 / (len(chunks) * JOURNEYS * len(PATH))


def _verify(verifier: Verifier, batches: Chunk) -> None:
    for unit, body, watermark_ns in batches:
        verifier.batch(unit, 1, unpack_records(body), watermark_ns)
    verifier.settle()


def paired_us(chunks: list[Chunk]) -> float:
    """The least that anybody could do: decode, and match first and last by key."""
    waiting: dict[str, int] = {}
    latencies: list[int] = []
    start = time.perf_counter()
    for batches in chunks:
        for _, body, _ in batches:
            for _, stamp_ns, _, _, key, _ in unpack_records(body):
                if key in waiting:
                    latencies.append(stamp_ns - waiting.pop(key))
                else:
                    waiting[key] = stamp_ns
    taken = time.perf_counter() - start
    return taken * 1e6 / (len(chunks) * JOURNEYS * len(PATH))


def memory_mib(events: int) -> tuple[float, float]:
    """Memory of this process after a tenth of `events`, and after all of them."""
    verifier = Verifier(scenario())
    chunks = events // (JOURNEYS * len(PATH))
    early = 0.0
    for number in range(chunks):
        _verify(verifier, chunk(number))
        if number == chunks // 10:
            early = _resident_mib()
    assert verifier.circuits()[0].instances.complete == chunks * JOURNEYS, verifier.circuits()
    return early, _resident_mib()


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # no such file on macOS, where this is in bytes


def _in_own_process(events: int) -> str:
    command = [sys.executable, "-m", "benchmarks.verifier", str(events)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(*(f"{mib:.1f}" for mib in memory_mib(int(sys.argv[1]))))
