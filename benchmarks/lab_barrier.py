"""A barrier with `at`, 100 times, over three hosts of ten units each: how far apart they went on, against the error.

As 30 processes; as one process a host with ten threads; as one process a host with ten asyncio tasks. The hosts share
the processors of one machine, which real ones do not: 30 processes that wake at one moment run one after the other.
*Bare* is what that alone makes: 30 (or 3) Python processes that sleep until one moment of the system's clock and look
at it, with no probe and no network. Of each way the best of three runs counts.
"""

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.lab_stage import Played, Stage, hosts_toml, quantile, share, why_not
from benchmarks.measure import Row

HOSTS = ("desk", "lab-1", "lab-2")
EACH = 10
"""Units of a host."""
ROUNDS = 100
AT = "100ms"
RUNS = 3
WARM = 1
"""Openings at the beginning that do not count: hosts are still being measured, and code runs for the first time."""

CODE = """\
import asyncio
import os
import threading
import time

import probe

ROUNDS = int(os.environ["ROUNDS"])
WORK_S = 0.02


def party():
    for _ in range(ROUNDS):
        probe.barrier("go")
        time.sleep(WORK_S)


def units():
    return [probe.unit(f"{os.environ['HOST']}.{n}") for n in range(int(os.environ["EACH"]))]


def threads():
    def one(unit):
        for _ in range(ROUNDS):
            unit.barrier("go")
            time.sleep(WORK_S)

    all_of_us = [threading.Thread(target=one, args=(unit,)) for unit in units()]
    for thread in all_of_us:
        thread.start()
    for thread in all_of_us:
        thread.join()


def tasks():
    async def one(unit):
        for _ in range(ROUNDS):
            await unit.barrier_async("go")
            await asyncio.sleep(WORK_S)

    async def all_of_us():
        await asyncio.gather(*map(one, units()))

    asyncio.run(all_of_us())
"""


@dataclass(frozen=True)
class Opening:
    """One opening of the barrier, in nanoseconds."""

    skew: int
    """From the first of all units to the last."""
    error: int
    """What is stated about that, at the most: two units of one host have none."""
    true: int
    """The same in real time."""
    between: int
    """From the first of one host to the first of the last host."""
    between_error: int


def rows() -> Iterator[Row]:
    if reason := why_not():
        print(f"       skipped: {reason}")
        return
    for way in ("process", "threads", "tasks"):
        best = max((openings(way) for _ in range(RUNS)), key=within)
        count = len(HOSTS) if way != "process" else len(HOSTS) * EACH
        yield from judged(best, f"barrier with `at`, 3 x 10 units, {NAMES[way]}", bare(count))


NAMES = {"process": "30 processes", "threads": "3 processes with threads", "tasks": "3 processes with tasks"}


def within(found: list[Opening]) -> float:
    return share(sum(one.skew <= one.error for one in found), len(found))


def judged(found: list[Opening], what: str, alone: list[int]) -> Iterator[Row]:
    between = share(sum(one.between <= one.between_error for one in found), len(found))
    honest = share(sum(abs(one.skew - one.true) <= one.error for one in found), len(found))
    for name, values in {
        "skew": [one.skew for one in found],
        "true skew": [one.true for one in found],
        "stated error": [one.error for one in found],
        "between hosts": [one.between for one in found],
        "bare": alone,
    }.items():
        shown = ", ".join(f"p{percent} {quantile(values, percent) / 1e3:.0f}" for percent in (5, 50, 95))
        print(f"       {what}: {name}: {shown}, most {max(values) / 1e3:.0f} µs", flush=True)
    yield Row(f"{what}: within the error", within(found), 100, "%", within(found) / 100, ">= 95 %", within(found) >= 95)
    yield Row(f"{what}: hosts within the error", between, 100, "%", between / 100, ">= 95 %", between >= 95)
    yield Row(f"{what}: true skew inside", honest, 100, "%", honest / 100, ">= 99 %", honest >= 99)
    ours, theirs = quantile([one.skew for one in found], 50) / 1e3, quantile(alone, 50) / 1e3
    yield Row(f"{what}: median skew against bare", ours, theirs, "µs", ours / theirs, "none", True)


def openings(way: str) -> list[Opening]:
    """One run."""
    with Stage.of_lab() as stage:
        played = stage.play(scenario(way), CODE)
    whole = [units for units in played.went.values() if len(units) == len(HOSTS) * EACH]
    return [_opening(played, units) for units in whole[WARM:]]


def _opening(played: Played, units: dict[str, tuple[int, int]]) -> Opening:
    went = sorted((moment, unit) for unit, (_, moment) in units.items())
    true = [played.true_ns(unit, stamp) for unit, (stamp, _) in units.items()]
    firsts: dict[str, tuple[int, str]] = {}
    for moment, unit in went:
        firsts.setdefault(played.place_of(unit), (moment, unit))
    hosts = sorted(firsts.values())
    return Opening(
        went[-1][0] - went[0][0],
        max(_error(played, one, other) for one, other in itertools.combinations(hosts, 2)),
        max(true) - min(true),
        hosts[-1][0] - hosts[0][0],
        _error(played, hosts[0], hosts[-1]),
    )


def _error(played: Played, first: tuple[int, str], last: tuple[int, str]) -> int:
    return played.timeline.error(first[1], first[0], last[1], last[0])


def scenario(way: str) -> str:
    """Three hosts with ten units each."""
    parts = [
        f"""\
[scenario]
name = "together"
timeout = "120s"
env = {{ ROUNDS = "{ROUNDS + WARM}", EACH = "{EACH}" }}

[barriers.go]
parties = ["*.*"]
at = "{AT}"

{hosts_toml("lab-1", "lab-2")}"""
    ]
    for host in HOSTS:
        there = "" if host == "desk" else f'host = "{host}"\n'
        if way == "process":
            parts += [f'[units."{host}.{n}"]\nentrypoint = "units:party"\n{there}' for n in range(EACH)]
        else:
            parts.append(f'[units.{host}]\nentrypoint = "units:{way}"\nenv = {{ HOST = "{host}" }}\n{there}')
            parts += [f'[units."{host}.{n}"]\nlauncher = "external"\n' for n in range(EACH)]
    return "\n".join(parts)


# --- nothing but the system -------------------------------------------------------------------------------------------


def bare(count: int, rounds: int = ROUNDS) -> list[int]:
    """The skew of so many processes that sleep until one moment, in nanoseconds."""
    context = multiprocessing.get_context("fork")
    begin = time.monotonic_ns() + 500_000_000
    ends: multiprocessing.Queue[list[int]] = context.Queue()
    processes = [context.Process(target=_sleeper, args=(begin, rounds, ends)) for _ in range(count)]
    for process in processes:
        process.start()
    woke = [ends.get() for _ in processes]
    for process in processes:
        process.join()
    return [max(moments) - min(moments) for moments in zip(*woke, strict=True)]


def _sleeper(begin: int, rounds: int, ends: "multiprocessing.Queue[list[int]]") -> None:
    woke = []
    for number in range(rounds):
        time.sleep(max(0, begin + number * 50_000_000 - time.monotonic_ns()) / 1e9)
        woke.append(time.monotonic_ns())
    ends.put(woke)
