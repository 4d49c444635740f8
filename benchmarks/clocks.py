"""Clocks: a simulated lab, whose truth is known, against what the timeline states; and what a translation costs.

Three hosts, their clocks off by up to 5 s and drifting by up to 200 ppm, exchange 10,000 messages. `cable` is a network
of tenths of a millisecond with spikes, `land` a broker that is 20 ms away in one direction and 45 ms in the other; the
hosts stand side by side. `python -m benchmarks.clocks` prints more of it.
"""

import time
from collections.abc import Iterator

from benchmarks.measure import Row, at_least, at_most, below
from probe.clock import drift_ns
from runner.core.clocks import Timeline
from runner.core.clocks.remote_clock import STEP_NS
from tests.support.clock_world import BEGIN, DESK, SECOND, Delay, World, play, quick, slow, slower, world

SEED = 1
CABLE: tuple[Delay, Delay] = (quick, quick)
LAND: tuple[Delay, Delay] = (slow, slower)
BATCH = 256
"""Records of one message from a unit."""


def rows() -> Iterator[Row]:
    near, lone, told = lab(CABLE, hints=True), lab(LAND, hints=False), lab(LAND, hints=True)
    for name, (made, _) in (("cable", near), ("land", lone), ("land, messages", told)):
        yield at_least(f"clocks, {name}: true latency is inside", 100 * inside(made), 100, "%", 0.99)
    for name, (made, timeline) in (("cable", lab(CABLE, hints=False)), ("land", lone)):
        error, allowed = widest(made, timeline)
        yield at_most(f"clocks, {name}: error against RTT/2 + drift", error / 1e3, allowed / 1e3, "µs", 1.001)
    yield at_most("clocks, land: median error with messages", errors(told[0], 50), errors(lone[0], 50), "ms", 0.05)
    yield below("clocks: a foreign stamp, translated", translation_us(*near), "µs", 0.5)


def lab(to_broker: tuple[Delay, Delay], *, hints: bool) -> tuple[World, Timeline]:
    made = world(SEED, to_broker=to_broker)
    return made, play(made, hints=hints)


def inside(made: World) -> float:
    """Share of the hops whose true latency lies inside value ± error."""
    return sum(abs(hop.common[1] - hop.common[0] - hop.true_ns) <= hop.error for hop in made.hops) / len(made.hops)


def errors(made: World, percent: int) -> float:
    """A percentile of the stated errors of hops between two foreign hosts, in milliseconds."""
    stated = sorted(hop.error for hop in made.hops if DESK not in (hop.sender, hop.receiver))
    return stated[len(stated) * percent // 100] / 1e6


def best_trip_ms(made: World) -> float:
    """Half of the shortest round trip that any host had, in milliseconds."""
    return min(trip for samples in made.samples.values() for *_, trip in samples) / 2e6


def widest(made: World, timeline: Timeline) -> tuple[int, int]:
    """Where the stated error of a host comes closest to what is allowed: both, in nanoseconds."""
    found = 0, 1
    for host, samples in made.samples.items():
        first, last = (made.clocks[host].at(BEGIN + after * SECOND) // STEP_NS * STEP_NS for after in (1, 59))
        for at in range(first, last, STEP_NS):
            allowed = min(trip // 2 + drift_ns(at - sent) for sent, returned, trip in samples if sent < returned <= at)
            common = timeline.to_common(host, 1, at)
            error = timeline.error(host, common, DESK, common)
            if error * found[1] > found[0] * allowed:
                found = error, allowed
    return found


def translation_us(made: World, timeline: Timeline) -> float:
    """One record of a batch, in microseconds."""
    host = "lab-0"
    begin = made.clocks[host].at(BEGIN + 30 * SECOND)
    stamps = [begin + 2_000 * number for number in range(BATCH)]
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            timeline.to_common_all(host, 1, stamps)
        best = min(best, (time.perf_counter() - started) / 100 / BATCH * 1e6)
    return best


def main() -> None:
    """Everything about the errors, for people."""
    print(f"{'':<24} {'inside':>8} {'median':>10} {'p99':>10} {'best RTT/2':>10}   (ms; hops between foreign hosts)")
    for name, to_broker in (("cable", CABLE), ("land", LAND)):
        for hints in (False, True):
            made, _ = lab(to_broker, hints=hints)
            label = f"{name}, {'with' if hints else 'without'} messages"
            figures = errors(made, 50), errors(made, 99), best_trip_ms(made)
            print(f"{label:<24} {inside(made):>8.2%} " + " ".join(f"{figure:>10.3f}" for figure in figures))


if __name__ == "__main__":
    main()
