"""The verifier says what the oracle says, whatever the path, the trace, the arrival, the batches and the watermarks.

`make oracle` runs 30,000 examples of each.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import ceil
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from runner.core.verifier import Verifier
from runner.core.verifier.run_result import result_of
from runner.model.result.result import UNKNOWN
from runner.model.scenario.model import (
    All,
    Budget,
    Circuit,
    Element,
    Instances,
    Optional,
    Probe,
    Quorum,
    Scenario,
    Unit,
)
from runner.model.scenario.path import passable
from tests.support.clocks import Several
from tests.support.oracle import Happened, Oracle, Said, probes

thorough = settings(
    max_examples=30_000 if "VERIFIER_CAMPAIGN" in os.environ else 200,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

DECLARED = ("a", "w1", "w2")
ON_THE_BUS = (*DECLARED, "w9")
KEYS = (None, "k", "l", "m")
REKEY = "id"
TIMES = ((1, 1),) * 4 + ((2, 2), (1, 2), (1, 3), (2, 3), (1, None), (2, None), (0, 2), (0, None))


# --- random circuits --------------------------------------------------------------------------------------------------

# Strategies that are drawn from often are made once: making one takes longer than drawing from it.
UP_TO = {most: st.integers(0, most) for most in (1, 3, 4, 5, 9, 15, 20, 60)}
FROM_1_TO = {most: st.integers(1, most) for most in (1, 2, 3, 4, 6, 60)}
WITHINS = st.none() | st.integers(1, 30)
TOTALS = st.none() | FROM_1_TO[60]
ANY_TIMES = st.sampled_from(TIMES)
NAMED_UNITS = st.sampled_from(("a", "w1", "w2", "w*"))
WORKERS = st.sampled_from(("w1", "w2", "w9"))
BUS = st.sampled_from(ON_THE_BUS)
NEW_KEYS = st.sampled_from(("k", "l", "r", "s"))
STRAY_KEYS = st.sampled_from((*KEYS, "r"))
STRAY_DATA = st.sampled_from(({}, {"ok": True}, {"ok": 1}, {REKEY: "r"}, {REKEY: None}))
SEEDS = st.integers(0, 2**32)
MOSTS = st.sampled_from((1, 1, 1, 2, 3, None))
DELIVERIES = st.sampled_from((1, 1, 1, 1, 2, 3))
PROBE_ONLY = ("probe",) * 4
KINDS = {
    kinds: st.sampled_from(kinds)
    for kinds in (PROBE_ONLY, (*PROBE_ONLY, "all", "quorum"), (*PROBE_ONLY, "all", "quorum", "optional"))
}


@st.composite
def circuits(draw: st.DrawFn, *, timed: bool = True) -> Circuit:
    steps = iter(f"s{n}" for n in range(100))
    numbers = iter(range(100))

    def probe(*, inside: bool, first: bool) -> Probe:
        unit = draw(NAMED_UNITS)
        each = draw(st.booleans()) if unit == "w*" else False
        times = draw(ANY_TIMES)
        if first and times[0] == 0:
            times = (1, times[1])
        rekey = REKEY if times == (1, 1) and not each and not inside and draw(UP_TO[3]) == 0 else None
        step, where = next(steps), {"ok": True} if draw(UP_TO[4]) == 0 else {}
        if draw(UP_TO[5]) == 0:  # a step that stands in the path again, where another number is asked for
            step, where = "tick", {"n": next(numbers)}
        return Probe(
            unit,
            step,
            each=each,
            at_least=times[0],
            at_most=times[1],
            where=where,
            rekey=rekey,
            within_ns=None if inside or first or not timed else draw(WITHINS),
        )

    def element(depth: int, *, inside: bool, first: bool, whole: bool) -> Element:
        kinds = PROBE_ONLY + (("all", "quorum") + (() if whole else ("optional",)) if depth else ())
        kind = draw(KINDS[kinds])
        within = None if inside or first or not timed else draw(WITHINS)
        if kind == "probe":
            return probe(inside=inside, first=first or whole)
        if kind == "optional":
            return Optional(element(depth - 1, inside=True, first=False, whole=False), within)
        count = draw(FROM_1_TO[3])
        needed = count if kind == "quorum" else 1 if first or whole else 0  # members that may not be skipped
        members = tuple(element(depth - 1, inside=True, first=False, whole=n < needed) for n in range(count))
        return All(members, within) if kind == "all" else Quorum(draw(FROM_1_TO[count]), members, within)

    length = draw(FROM_1_TO[4])
    depth = draw(st.sampled_from((0, 1, 2)))
    path = tuple(element(depth, inside=False, first=n == 0, whole=n == 0) for n in range(length))
    assert not passable(path[0])
    never = (Probe("w*", "never", where=draw(st.sampled_from(({}, {"ok": True})))),) if draw(st.booleans()) else ()
    at_least = draw(st.integers(0, 3))
    counts = st.none() | st.builds(Instances, st.just(at_least), st.none() | st.integers(at_least, 4))
    return Circuit("c", path, draw(TOTALS) if timed else None, draw(counts), never=never)


# --- random traces ----------------------------------------------------------------------------------------------------


@st.composite
def traces(draw: st.DrawFn, circuit: Circuit) -> list[Happened]:
    """Instances that mostly keep to the path, damaged a little; and some noise."""
    events: list[Happened] = []
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=3, unique=True)):
        now, current = draw(UP_TO[60]), key
        for element in circuit.path:
            now += draw(UP_TO[20]) - (2 if draw(UP_TO[9]) == 0 else 0)
            renamed = current
            for probe in probes(element):
                for unit in _units_of(draw, probe):
                    usual = probe.at_least or draw(UP_TO[1])
                    count = usual if draw(UP_TO[9]) else draw(UP_TO[4])
                    for _ in range(count):
                        data: dict[str, Any] = dict(probe.where) if draw(UP_TO[9]) else {}
                        if probe.rekey is not None and draw(UP_TO[9]):
                            renamed = draw(NEW_KEYS)
                            data[REKEY] = renamed
                        events.append(Happened(unit, now + draw(UP_TO[3]), probe.step, current, data))
            current = renamed
    once_more = draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    events += [replace(event, stamp=event.stamp + draw(UP_TO[60])) for event in once_more]
    every = [probe for element in circuit.path for probe in probes(element)]
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 4)))):
        step = draw(st.sampled_from([probe.step for probe in every] + ["never", "x"]))
        events.append(Happened(draw(BUS), draw(UP_TO[60]), step, draw(STRAY_KEYS), draw(STRAY_DATA)))
    return events


def _units_of(draw: st.DrawFn, probe: Probe) -> Sequence[str]:
    if probe.each:
        return [unit for unit in ("w1", "w2") if draw(UP_TO[9])]
    return [draw(WORKERS)] if probe.unit == "w*" else [probe.unit]


# --- random arrival ---------------------------------------------------------------------------------------------------


@dataclass
class Stream:
    """One incarnation of one unit: its events in order of their stamps."""

    unit: str
    incarnation: int
    events: list[Happened]
    sent: int = 0
    final: bool = False


def feed(
    verifier: Verifier, events: Sequence[Happened], seed: int, *, join_late: bool = False, lives: int | None = None
) -> None:
    """Every event in some order that keeps each incarnation's own, in batches of any size, with watermarks that say
    as much as they may or less; then all are final. `seed` decides all that; `lives`, if it is given, which
    incarnation has emitted what."""
    chance = Random(seed)
    life = chance if lives is None else Random(lives)
    found: dict[tuple[str, int], list[Happened]] = {(unit, 1): [] for unit in ON_THE_BUS}
    for event in sorted(events, key=lambda e: e.stamp):
        found.setdefault((event.unit, life.choice((1, 1, 1, 2))), []).append(event)
    streams = [Stream(unit, incarnation, own) for (unit, incarnation), own in found.items()]
    if not join_late:
        for stream in streams:
            verifier.join(stream.unit, stream.incarnation)
    waiting = list(streams)
    while waiting:
        stream = chance.choice(waiting)
        if stream.sent == len(stream.events) and chance.random() < 0.5:
            verifier.final(stream.unit, stream.incarnation, stream.sent)
            stream.final = True
            waiting.remove(stream)
            if all(s.final for s in streams if s.unit == stream.unit):
                verifier.end_unit(stream.unit)
        else:
            size = chance.randint(0, len(stream.events) - stream.sent)
            batch = stream.events[stream.sent : stream.sent + size]
            records = [[stream.sent + n, e.stamp, e.step, 0, e.key, e.data] for n, e in enumerate(batch, 1)]
            stream.sent += size
            rest = stream.events[stream.sent :]
            most = rest[0].stamp - 1 if rest else 200
            verifier.batch(stream.unit, stream.incarnation, records, most - chance.choice((0, 0, 5, 100)))
        if chance.random() < 0.7:
            verifier.settle()
            verifier.progress.next_deadline_ns, verifier.progress.laggards(30)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(verifier: Verifier, said: Said) -> None:
    (circuit,) = verifier.circuits()
    counts = circuit.instances
    assert (counts.started, counts.complete, counts.failed, counts.inconclusive, counts.open) == (
        said.started,
        said.complete,
        said.failed,
        said.inconclusive,
        0,
    )
    found = [(f.cls.value, f.key, f.unit, f.step) for f in verifier.findings({})]
    assert Counter(found) == Counter(said.findings)
    for hop, times in zip((*circuit.hops, None), (*said.hops[1:], said.total), strict=True):
        latency = hop.latency if hop is not None else circuit.latency
        known = [(value, error) for value, error in times if error < UNKNOWN and value + error >= 0]
        unknown = sum(error >= UNKNOWN for _, error in times)
        assert (latency.count, latency.unknown) == (len(known), unknown)
        assert latency.negative == len(times) - len(known) - unknown
        found = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns]
        assert found == quantiles([value for value, _ in known])
        assert latency.error_ns == max((error for _, error in known), default=0)
        if latency.error_ns or latency.unknown:
            bounds = [latency.between(name) for name in ("p50", "p90", "p99", "max")]
            lows = quantiles([value - error for value, error in known] + [-UNKNOWN] * unknown)
            highs = quantiles([value + error for value, error in known] + [UNKNOWN] * unknown)
            assert bounds == list(zip(lows, highs, strict=True))
        else:
            assert (latency.low, latency.high) == (None, None)


def quantiles(values: Sequence[int]) -> list[int]:
    return [sorted(values)[ceil(len(values) * q / 100) - 1] if values else 0 for q in (50, 90, 99, 100)]


def scenario(circuit: Circuit) -> Scenario:
    return Scenario("s", "/", "circuit.toml", tuple(Unit(name) for name in DECLARED), (circuit,))


@given(st.data())
@thorough
def test_it_agrees_with_the_oracle_in_every_order_of_arrival(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    events = data.draw(traces(circuit))
    seed = data.draw(SEEDS)
    verifier = Verifier(scenario(circuit))
    feed(verifier, events, seed)
    verifier.close()
    said = Oracle(scenario(circuit)).judge(circuit, events)
    note(str(said))
    compare(verifier, said)


@given(st.data())
@thorough
def test_it_agrees_with_the_oracle_where_clocks_are_not_exact(data: st.DataObject) -> None:
    clocks = data.draw(several_clocks())
    circuit = data.draw(circuits())
    events = data.draw(traces(circuit))
    seed = data.draw(SEEDS)
    verifier = Verifier(scenario(circuit), clocks)
    feed(verifier, events, seed)
    verifier.close()
    said = Oracle(scenario(circuit), clocks.error).judge(circuit, events)
    note(str(said))
    compare(verifier, said)


@st.composite
def plain_instances(draw: st.DrawFn) -> tuple[Circuit, list[Happened]]:
    """A circuit whose every slot needs one event, and up to six instances, some of whose messages come again."""
    units = draw(st.lists(NAMED_UNITS, min_size=1, max_size=4))
    path = tuple(
        Probe(unit, f"s{n}", at_most=draw(MOSTS), within_ns=draw(WITHINS) if n else None)
        for n, unit in enumerate(units)
    )
    events = [
        Happened(draw(WORKERS) if unit == "w*" else unit, 10 * n + draw(UP_TO[15]) + 20 * again, f"s{n}", key)
        for key in "klmnop"[: draw(FROM_1_TO[6])]
        for n, unit in enumerate(units)
        if draw(UP_TO[9])
        for again in range(draw(DELIVERIES))
    ]
    return Circuit("c", path, draw(TOTALS)), events


@given(st.data())
@thorough
def test_it_agrees_with_the_oracle_where_clocks_are_not_exact_and_every_slot_needs_one_event(
    data: st.DataObject,
) -> None:
    """The fast way, with more instances than one."""
    clocks = data.draw(several_clocks())
    circuit, events = data.draw(plain_instances())
    verifier = Verifier(scenario(circuit), clocks)
    feed(verifier, events, data.draw(SEEDS))
    verifier.close()
    compare(verifier, Oracle(scenario(circuit), clocks.error).judge(circuit, events))


@given(st.data())
@thorough
def test_budgets_and_findings_do_not_depend_on_the_order_of_arrival_where_clocks_are_not_exact(
    data: st.DataObject,
) -> None:
    clocks = data.draw(several_clocks())
    limits = st.none() | st.integers(1, 20)
    path = (Probe("a", "one"), Probe("w*", "two", within_ns=data.draw(limits)), Probe("w*", "three"))
    budget = Budget(p50_ns=data.draw(limits), p99_ns=data.draw(limits))
    circuit = Circuit("c", path, data.draw(limits), budget=budget, hop_budgets={str(path[2]): budget})
    events = data.draw(traces(circuit))
    results = []
    for seed in range(3):
        verifier = Verifier(scenario(circuit), clocks)
        feed(verifier, events, seed, lives=0)
        verifier.close()
        results.append(result_of(verifier, run="r", duration_s=1.0, statuses=()))
    assert results[0] == results[1] == results[2]


@st.composite
def several_clocks(draw: st.DrawFn) -> Several:
    hosts = {unit: draw(st.sampled_from(("", "lab-1", "lab-2"))) for unit in ON_THE_BUS}
    start = st.integers(0, 6) | st.just(UNKNOWN)
    errors = {host: (draw(start), draw(st.sampled_from((3, 10, 1000)))) for host in ("lab-1", "lab-2")}
    return Several(hosts, errors)


@given(st.data())
@thorough
def test_a_process_that_joins_late_changes_no_count(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    events = data.draw(traces(circuit))
    seed = data.draw(SEEDS)
    verifier = Verifier(scenario(circuit))
    feed(verifier, events, seed, join_late=True)
    verifier.close()
    said = Oracle(scenario(circuit)).judge(circuit, events)
    (result,) = verifier.circuits()
    assert (result.instances.started, result.instances.complete) == (said.started, said.complete)


@given(st.data())
@thorough
def test_a_process_that_joins_late_changes_no_count_where_every_slot_needs_one_event(data: st.DataObject) -> None:
    circuit, events = data.draw(plain_instances())
    verifier = Verifier(scenario(circuit))
    feed(verifier, events, data.draw(SEEDS), join_late=True)
    verifier.close()
    said = Oracle(scenario(circuit)).judge(circuit, events)
    (result,) = verifier.circuits()
    assert (result.instances.started, result.instances.complete) == (said.started, said.complete)


def test_an_instance_that_is_due_twice_at_a_time_is_counted_once() -> None:
    path = (Probe("a", "s0"), Probe("w*", "s1"), Probe("a", "s2"), Probe("a", "s3", within_ns=1))
    circuit = Circuit("c", path)
    fired = {
        "k": [("a", 0, "s0"), ("w1", 10, "s1"), ("a", 30, "s3")],
        "l": [("w1", 10, "s1"), ("a", 21, "s2"), ("a", 40, "s2"), ("a", 30, "s3"), ("a", 50, "s3"), ("a", 70, "s3")],
        "m": [("a", 0, "s0"), ("a", 20, "s0"), ("w1", 10, "s1"), ("a", 20, "s2"), ("a", 30, "s3")],
    }
    events = [Happened(unit, stamp, step, key) for key, all_ in fired.items() for unit, stamp, step in all_]
    clocks = Several(dict.fromkeys(ON_THE_BUS, ""), {})
    verifier = Verifier(scenario(circuit), clocks)
    feed(verifier, events, 4_294_967_296)
    verifier.close()
    compare(verifier, Oracle(scenario(circuit), clocks.error).judge(circuit, events))


def test_an_earlier_delivery_that_is_heard_late_is_the_one_that_counts() -> None:
    path = (Probe("a", "sent"), Probe("w*", "got", at_most=2))
    circuit = Circuit("c", path, 49)
    verifier = Verifier(scenario(circuit))
    verifier.batch("a", 1, [[1, 59, "sent", 0, "k", {}]], 200)
    verifier.batch("w1", 1, [[1, 122, "got", 0, "k", {}]], 200)
    verifier.end_unit("w2")
    verifier.settle()
    assert [f.cls.value for f in verifier.findings({})] == ["late"]
    verifier.batch("w1", 2, [[1, 71, "got", 0, "k", {}]], 200)
    assert verifier.findings({}) == ()
    verifier.batch("w1", 3, [[1, 70, "got", 0, "k", {}]], 200)
    assert [f.cls.value for f in verifier.findings({})] == ["duplicate"]
    verifier.close()
    (result,) = verifier.circuits()
    assert (result.instances.complete, result.latency.max_ns) == (0, 11)


class Heard(Verifier):
    """Notes what is found each time it has settled."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.found: list[Counter[tuple[str, str | None, str | None, str | None]]] = []

    def settle(self) -> None:
        super().settle()
        self.found.append(self.now())

    def now(self) -> Counter[tuple[str, str | None, str | None, str | None]]:
        return Counter((f.cls.value, f.key, f.unit, f.step) for f in self.findings({}) if f.cls.value != "duplicate")


@given(st.data())
@thorough
def test_what_is_found_while_no_deadline_runs_stays_found(data: st.DataObject) -> None:
    """With one, what is missing may still come, and is late. One more event too many may come before the first such."""
    circuit = data.draw(circuits(timed=False))
    events = data.draw(traces(circuit))
    verifier = Heard(scenario(circuit))
    feed(verifier, events, data.draw(SEEDS))
    verifier.close()
    assert all(found <= verifier.now() for found in verifier.found)


def test_nothing_behind_an_optional_element_is_found_while_a_part_of_that_may_come() -> None:
    path = (Probe("a", "one"), Optional(Probe("w1", "two", at_least=2, at_most=2)), Probe("a", "three"))
    verifier = Verifier(scenario(Circuit("c", path)))
    verifier.batch("a", 1, [[1, 1, "one", 0, "k", {}]], 9)
    verifier.end_unit("a")
    verifier.settle()
    assert verifier.findings({}) == ()
    verifier.batch("w1", 1, [[1, 5, "two", 0, "k", {}]], 9)
    verifier.end_unit("w1")
    verifier.settle()
    assert [(f.cls.value, f.unit, f.step) for f in verifier.findings({})] == [("missing", "w1", "two")]


def test_beside_what_is_certain_nothing_is_found_that_may_be_a_consequence() -> None:
    path = (Probe("w*", "one", each=True), Probe("a", "two"), Probe("a", "three"), Probe("w1", "four"))
    verifier = Verifier(scenario(Circuit("c", path)))
    verifier.batch("w2", 1, [[1, 1, "one", 0, "k", {}]], 9)
    verifier.batch("a", 1, [[1, 2, "two", 0, "k", {}]], 9)
    verifier.end_unit("w1")
    verifier.end_unit("w2")
    verifier.settle()
    assert [(f.unit, f.step) for f in verifier.findings({})] == [("w1", "one")]
    verifier.end_unit("a")
    verifier.close()
    assert sorted((f.unit, f.step) for f in verifier.findings({})) == [("a", "three"), ("w1", "one")]


def early_and_incomplete() -> Verifier:
    """A quorum of one of which a later event than the element behind it has come, and a last element that will not."""
    path = (Quorum(1, (Probe("a", "one"), Probe("a", "other"))), Probe("w1", "two"), Probe("w2", "never"))
    verifier = Verifier(scenario(Circuit("c", path)))
    verifier.batch("a", 1, [[1, 20, "one", 0, "k", {}]], 19)
    verifier.batch("w1", 1, [[1, 10, "two", 0, "k", {}]], 30)
    verifier.end_unit("w1")
    verifier.end_unit("w2")
    verifier.settle()
    return verifier


def test_of_what_lacks_something_no_order_is_found_that_an_earlier_event_may_put_right() -> None:
    verifier = early_and_incomplete()
    assert [(f.cls.value, f.step) for f in verifier.findings({})] == [("missing", "never")]
    verifier.batch("a", 2, [[1, 5, "other", 0, "k", {}]], 30)
    verifier.end_unit("a")
    verifier.settle()
    assert [(f.cls.value, f.step) for f in verifier.findings({})] == [("missing", "never")]


def test_of_what_lacks_something_the_order_is_found_once_no_earlier_event_can_come() -> None:
    verifier = early_and_incomplete()
    verifier.batch("a", 1, [], 30)
    verifier.settle()
    assert sorted((f.cls.value, f.step) for f in verifier.findings({})) == [("acausal", "two"), ("missing", "never")]


def test_where_every_slot_takes_one_event_the_order_is_found_once_no_earlier_event_can_come() -> None:
    path = (Probe("a", "one"), Probe("w1", "two"), Probe("w2", "never"))
    verifier = Verifier(scenario(Circuit("c", path)))
    verifier.batch("a", 1, [[1, 20, "one", 0, "k", {}]], 19)
    verifier.batch("w1", 1, [[1, 10, "two", 0, "k", {}]], 30)
    verifier.end_unit("w1")
    verifier.end_unit("w2")
    verifier.settle()
    assert [(f.cls.value, f.step) for f in verifier.findings({})] == [("missing", "never")]
    verifier.batch("a", 1, [], 20)
    verifier.settle()
    assert sorted((f.cls.value, f.step) for f in verifier.findings({})) == [("acausal", "two"), ("missing", "never")]


def led_astray() -> Verifier:
    """A rekey event without the field, so that the key stays what it was; nothing comes behind it."""
    path = (Probe("a", "one", rekey="id"), Probe("w1", "two"))
    verifier = Verifier(scenario(Circuit("c", path)))
    verifier.batch("a", 1, [[1, 20, "one", 0, "l", {}]], 19)
    verifier.batch("w1", 1, [[1, 30, "two", 0, "k", {}]], 30)
    verifier.end_unit("w1")
    verifier.settle()
    return verifier


def test_nothing_behind_a_rekey_is_found_while_another_event_may_name_the_key() -> None:
    verifier = led_astray()
    assert verifier.findings({}) == ()
    verifier.batch("a", 2, [[1, 10, "one", 0, "l", {"id": "k"}]], 30)
    verifier.end_unit("a")
    verifier.settle()
    assert [f.cls.value for f in verifier.findings({})] == ["duplicate"]


def test_what_is_missing_behind_a_rekey_is_found_once_no_other_event_can_name_the_key() -> None:
    verifier = led_astray()
    verifier.end_unit("a")
    verifier.settle()
    assert sorted((f.cls.value, f.key) for f in verifier.findings({})) == [("missing", "l"), ("orphan", "k")]


def test_every_arrival_order_of_one_broken_instance_gives_the_same_result() -> None:
    """All 720 orders of six one-event incarnations, each settled after every event."""
    path = (Probe("a", "one"), Probe("w*", "two", within_ns=5), Probe("a", "three"), Probe("w*", "four"))
    circuit = Circuit("c", path, 40)
    events = [
        Happened("a", 1, "one", "k"),
        Happened("w1", 9, "two", "k"),
        Happened("w2", 9, "two", "k"),
        Happened("a", 8, "three", "k"),
        Happened("w1", 30, "four", "k"),
        Happened("w2", 12, "four", "l"),
    ]
    said = Oracle(scenario(circuit)).judge(circuit, events)
    for order in permutations(range(len(events))):
        verifier = Verifier(scenario(circuit))
        for number in range(len(events)):
            verifier.join(events[number].unit, number)
        for number in order:
            event = events[number]
            verifier.batch(event.unit, number, [[1, event.stamp, event.step, 0, event.key, event.data]], event.stamp)
            verifier.final(event.unit, number, 1)
            verifier.settle()
        for unit in DECLARED:
            verifier.end_unit(unit)
        verifier.close()
        compare(verifier, said)
