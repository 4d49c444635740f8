"""Memory over time: a real run of twenty minutes with 20,000 events a second, and how much each of its processes grows.

    python -m benchmarks soak                     twenty minutes: the figures of docs/performance.md
    python -m benchmarks.soak --minutes 8         another length, printed only

Belongs here: the scenario, the samples, the slopes. A slope is that of the straight line with the least squares through
the resident sizes after the first five minutes (the first quarter of a shorter run), in MiB an hour. What a process
holds once (code, tables of fixed size, the first journals) is in none.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import Row

MINUTES: Final = 20.0
SETTLED_MINUTES: Final = 5.0
RATE: Final = 20_000
"""Events a second, of both units together."""
SAMPLE_S: Final = 2.0
ALLOWED: Final = 2.0
"""MiB an hour that the runner may grow."""

SCENARIO: Final = """
[scenario]
name = "soak"
timeout = "{limit_s}s"

[units.sink]
entrypoint = "soak:sink"
ready = "listening"

[units.source]
entrypoint = "soak:source"
after = ["sink"]
env = {{ SECONDS = "{seconds:g}", RATE = "{rate}" }}

[circuits.message]
path = ["source: sent", {{ probe = "sink: got", within = "10s" }}]
"""

UNITS: Final = """
import os
import time
from multiprocessing.connection import Client, Listener

import probe


def sink():
    with Listener(("127.0.0.1", 0)) as port:
        probe.ready("listening", address=port.address)
        with port.accept() as messages:
            while (numbers := messages.recv()) is not None:
                for number in numbers:
                    probe.receive("got", key=f"message-{number}")


def source():
    address = tuple(probe.wait("sink: listening").data["address"])
    seconds, rate = float(os.environ["SECONDS"]), int(os.environ["RATE"]) // 2
    begin_s, sent = time.monotonic(), 0
    with Client(address) as messages:
        while (passed_s := time.monotonic() - begin_s) < seconds:
            due = round(passed_s * rate)
            for number in range(sent, due):
                probe.send("sent", key=f"message-{number}")
            messages.send(range(sent, due))
            sent = due
            time.sleep(0.005)
        messages.send(None)
"""


def rows(minutes: float = MINUTES) -> Iterator[Row]:
    """The slope of each process, and what the run came to."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        result, samples = play(folder, minutes)
    settled_s = 60 * min(SETTLED_MINUTES, minutes / 4)
    for name, sizes in samples.items():
        settled = [(at_s, size) for at_s, size in sizes if at_s >= settled_s]
        grows = slope(settled) * 3600 / 2**20
        limit = ALLOWED if name == "runner" else None
        largest = max(size for _, size in sizes) / 2**20
        yield Row(
            f"soak, {minutes:g} min: {name} grows (largest: {largest:.1f} MiB)",
            grows,
            limit or 0.0,
            "MiB/h",
            grows / limit if limit else 0.0,
            f"<= {limit:g} MiB/h" if limit else "none",
            limit is None or grows <= limit,
        )
    evidence = result["evidence"]
    lost = evidence["emitted"] - evidence["received"]
    passed = result["verdict"] == "passed"
    yield Row(
        "soak: events emitted, and lost",
        evidence["emitted"],
        lost,
        "events",
        0.0,
        "0 lost, passed",
        passed and not lost,
    )


def play(folder: Path, minutes: float) -> tuple[dict[str, object], dict[str, list[tuple[float, int]]]]:
    """One run: its result, and for each process (seconds since the start, resident bytes) as often as it was looked."""
    (folder / "soak.py").write_text(UNITS)
    seconds = 60 * minutes
    scenario = SCENARIO.format(limit_s=round(seconds + 120), seconds=seconds, rate=RATE)
    (folder / "circuit.toml").write_text(scenario)
    samples: dict[str, list[tuple[float, int]]] = {}
    begin_s = time.monotonic()
    argv = [
        str(Path(sys.executable).with_name("circuit-run")),
        str(folder),
        "--quiet",
        "--json",
        "result.json",
        "--runs",
        "runs",
    ]
    with subprocess.Popen(argv, cwd=folder) as runner:
        while True:
            try:
                runner.wait(SAMPLE_S)
                break
            except subprocess.TimeoutExpired:
                for name, size in sizes_of(runner.pid):
                    samples.setdefault(name, []).append((time.monotonic() - begin_s, size))
    return json.loads((folder / "result.json").read_text()), samples


def sizes_of(runner: int) -> Iterator[tuple[str, int]]:
    """(name, resident bytes) of the runner and of every process of its run that lives."""
    waiting = [runner]
    while waiting:
        pid = waiting.pop()
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            status = Path(f"/proc/{pid}/status").read_text()
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has just ended
            continue
        resident = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "")
        if resident:
            yield name_of(pid, runner, words), int(resident.split()[1]) * 1024


def name_of(pid: int, runner: int, words: Sequence[bytes]) -> str:
    """What a process of the run is, by its command line."""
    if pid == runner:
        return "runner"
    line = b" ".join(words).decode(errors="replace")
    named = {"broker": "broker", "supervisor": "supervisor", "soak:sink": "unit sink", "soak:source": "unit source"}
    return next((name for word, name in named.items() if word in line), f"process {pid}")


def slope(points: Sequence[tuple[float, int]]) -> float:
    """Of the line with the least squares through `points`; 0.0 where there are too few for one."""
    if len(points) < 3:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return above / sum((x - mean_x) ** 2 for x, _ in points)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    for row in rows(parser.parse_args().minutes):
        print(f"{row.name:<60} {row.ours:>14,.2f} {row.unit:<7} {row.target}", flush=True)
