"""Hops between hosts whose clocks are wrong on purpose: ±5 s and ±200 ppm, over TCP, and the truth about each.

Three pairs (desk and lab-1, desk and lab-2, lab-1 and lab-2) send each other 2,000 orders and 2,000 answers at the same
time: 12,000 hops. One run says `send` and `receive`, so that the messages tell about the clocks, too; one only `emit`,
so that the broker's answers alone do. What is compared is what `verify` judges by, against the real time of the stamps.
"""

import json
import re
from collections.abc import Iterator

from benchmarks.lab_stage import Played, Stage, hosts_toml, quantile, share, why_not
from benchmarks.measure import Row, at_least, below
from probe.clock import drift_ns
from probe.clock_pings import CLOCK
from probe.event import Kind
from probe.message import Events
from probe.wire import unpack_records
from runner.adapters.history import log_file
from runner.core.clocks.clock_map import ROUNDING_NS
from runner.core.clocks.remote_clock import STEP_NS

ORDERS = 2_000
PAIRS = (("desk", "lab-1"), ("desk", "lab-2"), ("lab-1", "lab-2"))
PORT = 7001

CODE = """\
import os
import socket
import time

import probe

KIND = os.environ["KIND"]
leaves = probe.send if KIND == "send" else probe.emit
arrives = probe.receive if KIND == "send" else probe.emit


def worker():
    pair = os.environ["PAIR"]
    with socket.create_server(("", int(os.environ["PORT"]))) as server:
        probe.ready("listens")
        connection = server.accept()[0]
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rw") as talk:
        for line in talk:
            n = line.strip()
            arrives(f"arrived-{pair}", key=f"{pair}/{n}")
            leaves(f"back-{pair}", key=f"{pair}/{n}/back")
            talk.write(line)
            talk.flush()


def client():
    pair = os.environ["PAIR"]
    with socket.create_connection((os.environ["SERVER"], int(os.environ["PORT"]))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rw") as talk:
            for n in range(int(os.environ["ORDERS"])):
                leaves(f"sent-{pair}", key=f"{pair}/{n}")
                talk.write(f"{n}\\n")
                talk.flush()
                talk.readline()
                arrives(f"answered-{pair}", key=f"{pair}/{n}/back")
                time.sleep(0.004)
"""


def rows() -> Iterator[Row]:
    if reason := why_not():
        print(f"       skipped: {reason}")
        return
    with Stage.of_lab() as stage:
        for kind, what in (("send", "with messages"), ("emit", "without")):
            yield from judged(stage.play(scenario(kind), CODE), f"hops, ±5 s and 200 ppm, {what}")


def judged(played: Played, what: str) -> Iterator[Row]:
    """The figures of one run."""
    hops = list(hops_of(played))
    inside = sum(abs(value - true) <= error for value, true, error in hops)
    errors = sorted(error for *_, error in hops)
    off = sorted(abs(value - true) for value, true, _ in hops)
    print(
        f"       {what}: {len(hops):,} hops, {len(hops) - inside} outside; stated error {shown(errors)}; off by "
        f"{shown(off)}; measured below zero: {sum(value < 0 for value, *_ in hops)}",
        flush=True,
    )
    yield at_least(f"{what}: true latency is inside", share(inside, len(hops)), 100, "%", 0.99)
    yield Row(f"{what}: how many", len(hops), 10_000, "hops", len(hops) / 10_000, ">= 10,000", len(hops) >= 10_000)
    beyond, knots, error, allowed = beyond_trip(played)
    yield Row(
        f"{what}: error of a host above RTT/2 + drift",
        beyond,
        knots,
        "moments",
        beyond / knots,
        "none",
        not beyond,
    )
    print(f"       {what}: closest to RTT/2 + drift: {error / 1e3:.1f} of {allowed / 1e3:.1f} µs, of {knots} moments")
    yield below(f"{what}: times that are shown below zero, or without error", wrongly_shown(played), "times", 0.5)


def shown(values: list[int]) -> str:
    """In microseconds."""
    p50, p99 = (f"{quantile(values, percent) / 1e3:.0f}" for percent in (50, 99))
    return f"p50 {p50}, p99 {p99}, most {max(values) / 1e3:.0f} µs"


def hops_of(played: Played) -> Iterator[tuple[int, int, int]]:
    """(value, truth, stated error) of every hop between hosts."""
    for one, two in PAIRS:
        pair = f"{one}_{two}"
        for leaves, arrives in ((f"sent-{pair}", f"arrived-{pair}"), (f"back-{pair}", f"answered-{pair}")):
            begins, ends = played.named(leaves), played.named(arrives)
            for key, begin in begins.items():
                end = ends[key]
                moments = played.moments[begin], played.moments[end]
                truth = played.true_ns(end[0], played.stamps[end]) - played.true_ns(begin[0], played.stamps[begin])
                error = played.timeline.error(begin[0], moments[0], end[0], moments[1])
                yield moments[1] - moments[0], truth, error


def beyond_trip(played: Played) -> tuple[int, int, int, int]:
    """How many moments state a larger error than half of the best round trip and the drift since, of how many; and of
    that which comes closest, both. Moments are those of the knots, four a second."""
    beyond = count = 0
    closest = 0, 1
    for host in ("lab-1", "lab-2"):
        trips, unit = trips_of(played, host), f"@{host}"
        life = played.lives[unit]
        for at in range((trips[0][1] // STEP_NS + 1) * STEP_NS, trips[-1][1], STEP_NS):
            allowed = min(trip // 2 + drift_ns(at - since) for since, told, trip in trips if told <= at)
            common = played.timeline.to_common(unit, life, at)
            error = played.timeline.error(unit, common, "@local", common)
            count += 1
            beyond += error > allowed + ROUNDING_NS
            if error * closest[1] > closest[0] * allowed:
                closest = error, allowed
    return beyond, count, *closest


def trips_of(played: Played, host: str) -> list[tuple[int, int, int]]:
    """(report before, report, best round trip in between) of a host, by its own clock, as its supervisor has reported
    them: the trip was no earlier than the report before."""
    found: list[tuple[int, int, int]] = []
    before_ns = 0
    for entry in log_file.entries(played.run.folder.log):
        if entry.unit == f"@{host}" and isinstance(entry.message, Events):
            for _, stamp_ns, step, kind, _, data in unpack_records(entry.body):
                if step == CLOCK and kind == Kind.STATE:
                    if before_ns and data.get("rtt_ns") is not None:
                        found.append((before_ns, stamp_ns, data["rtt_ns"]))
                    before_ns = stamp_ns
    return found


def wrongly_shown(played: Played) -> int:
    """How many times of hops between hosts are a plain number though they have an error, or are below zero."""
    wrong = 0
    for circuit in played.run.result["circuits"]:
        for hop in circuit["hops"]:
            lows = hop["low"] or {}
            for name in ("p50", "p90", "p99", "max"):
                wrong += hop[f"{name}_ns"] < 0 and not hop[f"{name}_error_ns"]
            wrong += not hop["error_ns"] or not lows
    text = played.run.out
    wrong += len(re.findall(r"(?<![\w.])-\d[\d.,]* ?(?:ns|µs|ms|s)\b", text))
    wrong += "-" in json.dumps([host["clock_error_ns"] for host in played.run.result["hosts"]])
    return wrong


def scenario(kind: str) -> str:
    """Three pairs at once."""
    parts = [
        f"""\
[scenario]
name = "hops"
timeout = "100s"
env = {{ KIND = "{kind}", ORDERS = "{ORDERS}" }}

{hosts_toml("lab-1", "lab-2")}"""
    ]
    for number, (one, two) in enumerate(PAIRS):
        pair, port = f"{one}_{two}", PORT + number
        host = "" if one == "desk" else f'host = "{one}"\n'
        more = f'env = {{ PAIR = "{pair}", PORT = "{port}", SERVER = "{two}" }}'
        parts.append(
            f"""\
[units.worker-{pair}]
entrypoint = "units:worker"
ready = "listens"
host = "{two}"
{more}

[units.client-{pair}]
entrypoint = "units:client"
after = ["worker-{pair}"]
{host}{more}

[circuits.there-{pair}]
path = ["client-{pair}: sent-{pair}", "worker-{pair}: arrived-{pair}"]
instances = {ORDERS}

[circuits.back-{pair}]
path = ["worker-{pair}: back-{pair}", "client-{pair}: answered-{pair}"]
instances = {ORDERS}
"""
        )
    return "\n".join(parts)
