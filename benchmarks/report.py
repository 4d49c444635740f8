"""The measured rows as docs/performance.md. A test compares the page with benchmarks/results.json."""

from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "performance.md"

HEAD: Final = """\
# Performance

Written by `make bench` from benchmarks/results.json; measure your own machine with the same command (about five
minutes), or one part of it with `python -m benchmarks emit` (parts: emit, bus, barrier, fanin, stall, verifier,
view, clocks, scenario).

Machines differ and are noisy, so speed is a **ratio to the bare thing measured in the same run**, in turn with ours,
the best of several rounds each. What stands on both sides is said in the head of each file in benchmarks/.
"""

TAIL: Final = """\
## What the figures mean

- **emit in a loop**: one call of `probe.emit` with a key, journal and all, against `time.monotonic_ns` plus packing the
  same record.
- **emit alone** wakes the sender's thread, and that is most of what it costs.
- **emit -> log -> verified circuits**: one process emits as fast as it can; broker, log, listener and verifier keep up
  on the same two cores. Bare is what is left when journal, log, acknowledgements and judging are taken away.
- **barrier**: 1,000 units of one process. A unit has a connection of its own, so this is also 1,000 connections.
- **two-unit scenario, whole command**: from typing the command to its exit code, interpreters, broker, supervisor and
  verdict included, on a folder that both tools can run.
- **1,000 units x 100 events/s**: four processes of 250 units, each with a connection of its own, for twenty seconds;
  every event of every unit is counted. Processor and memory are the broker's, memory of a unit is what one connection
  costs it. The delay is shown beside the time between two events of a unit.
- **largest emit**: a loop that emits 50,000 times a second for ten seconds, the slowest single call of the best of
  three rounds; with a broker that SIGSTOP holds all the time, with a healthy one, and without any probe. On a machine
  that does other work too, the largest of 500,000 calls is mostly that work's; without a probe it is nothing else.
- **clocks**: a simulated lab of three hosts, off by up to 5 s and 200 ppm, with 10,000 hops between them. *Land* is a
  broker that is 20 ms away in one direction and 45 ms in the other; *messages* are the application's own, which go from
  host to host in tenths of a millisecond. `python -m benchmarks.clocks` prints more of it.
- **verifier memory**: resident size after 50 million events over that after 5 million.
"""

HOSTS: Final = """
## Several hosts

`make lab` (root, about ten minutes) makes hosts out of network namespaces, each with a clock of its own, and measures
runs over them; each part runs alone, too. Measured on 2026-11-25, if nothing else is said on two busy cores
(load average 4 to 10, at times 40), with a build of that day that had fewer faults mended than this one.

`python -m benchmarks lab_hops`: three hosts up to 5 s and 200 ppm apart, 12,000 hops, true times known.

| clocks | messages both ways | one way only | target | |
|---|---:|---:|---|---|
| true latency within what is stated | 100 % | 100 % | >= 99 % | met |
| stated error, p50 / p99 | 103 / 237 µs | 267 / 613 µs | none | |
| actually off, p50 / p99 | 11 / 38 µs | 35 / 154 µs | none | |
| moments with more error than half the round trip and drift | 0 of 91 | 0 of 80 | none | met |
| latencies below zero that were shown as they were | 0 | 0 | none | met |

`python -m benchmarks lab_barrier`, measured again at rest: 3 hosts x 10 units, a barrier with `at`, 100 releases; the
spread of the moments at which all went on, in ms. The true spread was within measured +- stated in every release.

| barrier | spread p50 / p95 | stated error p50 | bare p50 | all within it | first of each host | target | |
|---|---:|---:|---:|---:|---:|---|---|
| 30 processes | 0.94 / 1.26 | 0.59 | 0.29 | 0 % | 80 % | >= 95 % | **missed** |
| 3 processes x 10 threads | 0.73 / 3.44 | 0.66 | 0.04 | 35 % | 96 % | >= 95 % | **missed** |
| 3 processes x 10 tasks | 0.49 / 1.03 | 0.63 | 0.04 | 71 % | 82 % | >= 95 % | **missed** |

Bare is the same number that only sleep until a moment and stamp, on one clock. What ours
takes beyond that, 0.4 to 0.7 ms, is about as much as the error that is stated, and is not explained yet.

`python -m benchmarks lab_crowd`: 200 units of one host at one barrier; milliseconds between the first and the last.

| crowd | 200 processes | 4 processes x 50 threads | target | |
|---|---:|---:|---|---|
| with `at`, p50 / p99 | 13 - 16 / 90 - 112 | 3.2 / 9.7 | p99 <= 10 ms | **missed** / met |
| without `at`, p50 / p99 | 80 / 111 - 129 | 42 / 108 | p99 <= 10 ms | **missed** |
| bare, p50 / p99 | 2.2 / 6 - 275 | 0.05 / 2.8 | none | |
| one is killed: all others have its name, worst | 151 | 58 | <= 250 ms | met |

`python -m benchmarks lab_gone`: seconds until a host that vanished is named, the worst of five, measured again; the
target is 3 s.

| what | s | |
|---|---:|---|
| its cable is pulled | 2.57 | met |
| its supervisor is killed | 2.41 | met |
| everything on it is killed, reached by ssh | 2.59 | met |
| everything on it is killed, joined by an agent | 2.51 | met |
"""


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    missed = [row for row in results["rows"] if not row["ok"]]
    verdict = "Every target is met." if not missed else "Missed:"
    return (
        "\n".join(
            [
                HEAD,
                f"Measured on {results['date']}: {results['system']}, {results['cores']} cores, "
                f"Python {results['python']}; load average when it began: {results['load']}.",
                "",
                "| what | ours | bare or limit | unit | ratio | target | |",
                "|---|---:|---:|---|---:|---|---|",
                *(_line(row) for row in results["rows"]),
                "",
                verdict,
                "",
                *(f"- {row['name']}: {_reached(row)} where the target is {row['target']}." for row in missed),
                *([""] if missed else []),
                TAIL + HOSTS,
            ]
        ).rstrip()
        + "\n"
    )


def _reached(row: dict[str, Any]) -> str:
    """What was measured, in the terms of the target: a ratio, or a quantity."""
    if row["target"].endswith(" x"):
        return f"{_number(row['ratio'])} x"
    return f"{_number(row['ours'])} {row['unit']}"


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["name"],
        _number(row["ours"]),
        _number(row["bare"]),
        row["unit"],
        _number(row["ratio"]),
        row["target"],
        "met" if row["ok"] else "**missed**",
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Three significant digits, and whole numbers from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
