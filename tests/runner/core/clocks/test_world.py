"""Clocks against the truth, in a world where it is known: the true latency is inside what is stated."""

import time
from pathlib import Path

import pytest

from probe import message as m
from probe.clock import drift_ns
from probe.units import Unit
from runner.core.clocks import Timeline
from runner.core.clocks.remote_clock import STEP_NS
from tests.support.clock_world import BEGIN, DESK, MS, SECOND, Delay, Hop, World, play, quick, slow, slower, world
from tests.support.small_broker import PATIENCE_S, SmallBroker

CABLE = (quick, quick)
LAND = (slow, slower)


def share_inside(made: World) -> float:
    return sum(abs(hop.common[1] - hop.common[0] - hop.true_ns) <= hop.error for hop in made.hops) / len(made.hops)


def median_error(hops: list[Hop]) -> int:
    return sorted(hop.error for hop in hops)[len(hops) // 2]


@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("to_broker", [CABLE, LAND])
def test_of_ten_thousand_hops_between_clocks_seconds_apart_the_truth_of_every_one_is_inside(
    to_broker: tuple[Delay, Delay], hints: bool
) -> None:
    made = world(1, to_broker=to_broker)
    play(made, hints=hints)
    assert len(made.hops) == 10_000
    assert share_inside(made) == 1


@pytest.mark.parametrize("seed", range(10, 30))
def test_it_is_so_for_the_largest_drift_there_may_be(seed: int) -> None:
    made = world(seed, hops=500, length_ns=30 * SECOND, most_ppm=499, to_broker=(CABLE, LAND)[seed % 2], hosts=4)
    play(made, hints=seed % 3 > 0)
    assert share_inside(made) == 1


@pytest.mark.parametrize("to_broker", [CABLE, LAND])
def test_the_stated_error_is_at_most_half_the_best_round_trip_and_the_drift_since(
    to_broker: tuple[Delay, Delay],
) -> None:
    made = world(2, hops=1, to_broker=to_broker)
    timeline = play(made, hints=False)
    for host, samples in made.samples.items():
        first, last = (made.clocks[host].at(BEGIN + after * SECOND) // STEP_NS * STEP_NS for after in (1, 59))
        for at in range(first, last, STEP_NS):
            best = min(trip // 2 + drift_ns(at - sent) for sent, returned, trip in samples if sent < returned <= at)
            common = timeline.to_common(host, 1, at)
            assert timeline.error(host, common, DESK, common) <= best + 10


def test_messages_of_the_application_make_it_tighter_where_the_broker_is_far() -> None:
    apart = world(3, to_broker=LAND)
    play(apart, hints=False)
    together = world(3, to_broker=LAND)
    play(together, hints=True)
    assert median_error(together.hops) < median_error(apart.hops) / 50
    assert share_inside(together) == 1


def answered(timeline: Timeline, *, extra_ns: int, until: int = 2 * SECOND) -> tuple[int, int]:
    """Two hosts of which the broker knows within 50 ms, and a message each way every 100 ms, 1 ms under way; `extra_ns`
    is added to the stamps of receivers. Gives value and error of a latency of 1 ms at the end."""
    for boot in ("a", "b"):
        timeline.join("@" + boot, 1, boot)
    offset = {"a": 3 * SECOND, "b": -3 * SECOND}
    timeline.join("@desk", 1, DESK)
    for true in range(4 * SECOND, 4 * SECOND + until, 50 * MS):
        for boot, other in (("a", "b"), ("b", "a")):
            timeline.hint("@" + boot, 1, 1, f"{boot} {true}", true + offset[boot])
            timeline.hint("@" + other, 1, 2, f"{boot} {true}", true + MS + offset[other] + extra_ns)
        for boot in ("a", "b"):
            now = true + offset[boot] + 2 * MS
            far = 30 * MS if boot == "a" else 70 * MS
            low, high = offset[boot] - far, offset[boot] + 100 * MS - far
            timeline.report("@" + boot, 1, now, {"low": [[now, low]], "high": [[now, high]]})
    at = 4 * SECOND + until - 300 * MS
    sent, received = (timeline.to_common("@" + b, 1, at + offset[b] + extra) for b, extra in (("a", 0), ("b", MS)))
    return received - sent, timeline.error("@b", received, "@a", sent)


def test_messages_both_ways_bound_the_difference_of_two_clocks() -> None:
    value, error = answered(Timeline(DESK), extra_ns=0)
    assert abs(value - MS) <= error < 2 * MS


def test_messages_that_are_received_before_they_are_sent_are_not_used() -> None:
    value, error = answered(Timeline(DESK), extra_ns=-5 * MS)
    assert abs(value - MS) <= error
    assert error > 50 * MS


def test_messages_that_contradict_what_the_broker_has_heard_are_not_used() -> None:
    for late in (-300 * MS, 300 * MS):  # the sender's stamps are wrong, in one direction of the traffic and the other
        timeline = Timeline(DESK)
        for boot in ("a", "b"):
            timeline.join(boot, 1, boot)
        for true in range(SECOND, 3 * SECOND, 50 * MS):
            timeline.hint("a", 1, 1, f"a {true}", true)
            timeline.hint("b", 1, 2, f"a {true}", true + MS + late)
            timeline.hint("b", 1, 1, f"b {true}", true + late)
            timeline.hint("a", 1, 2, f"b {true}", true + MS)
            for boot in ("a", "b"):
                report = {"low": [[true, -50 * MS]], "high": [[true, 50 * MS]]}
                timeline.report(boot, 1, true + 2 * MS, report)
        value = timeline.to_common("b", 1, 2 * SECOND + MS) - timeline.to_common("a", 1, 2 * SECOND)
        error = timeline.error("b", 2 * SECOND + MS, "a", 2 * SECOND)
        assert abs(value - MS) <= error
        assert 100 * MS <= error < 101 * MS


def test_a_key_that_is_sent_twice_is_not_used() -> None:
    timeline = Timeline(DESK)
    timeline.join("@a", 1, "a")
    timeline.join("@b", 1, "b")
    for stamp in (1, 2):
        timeline.hint("@a", 1, 1, "again", stamp)
    timeline.hint("@b", 1, 2, "again", 3)
    assert not timeline._remote["b"].pairs
    timeline.hint("@a", 1, 1, "later again", 10 * MS)
    timeline.hint("@b", 1, 2, "later again", 11 * MS)
    timeline.hint("@a", 1, 1, "later again", 12 * MS)
    (pair,) = timeline._remote["b"].pairs.values()
    timeline.hint("@b", 1, 1, "back", 10 * MS)
    timeline.hint("@a", 1, 2, "back", 11 * MS)
    assert pair.advance(20 * MS, (-SECOND, SECOND)) is None


def test_keys_are_forgotten_and_what_is_no_message_is_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.core.clocks.messages.MAX_KEYS", 3)
    timeline = Timeline(DESK)
    timeline.join("@a", 1, "a")
    for number in range(10):
        timeline.hint("@a", 1, 1, str(number), number)
    timeline.hint("@a", 1, 1, None, 5)
    timeline.hint("@a", 1, 0, "default", 5)
    assert list(timeline._messages._known) == ["7", "8", "9"]


def test_messages_with_the_brokers_own_host_bound_a_clock_directly() -> None:
    made = world(4, to_broker=LAND, hosts=1, hops=3000)
    play(made, hints=True)
    assert share_inside(made) == 1
    assert median_error(made.hops) < 2 * MS


def test_a_unit_that_measures_tells_the_timeline_where_the_broker_s_clock_is(tmp_path: Path) -> None:
    """The whole way, with a real unit and its socket; the broker's clock shows 7 s less than ours."""
    broker = SmallBroker(tmp_path)
    try:
        broker.measure = True
        behind = 7 * SECOND
        broker.answer_pings = lambda ping: [
            m.Pong(ping.sent_ns, now - behind, now - behind, {}) for now in (time.monotonic_ns(),)
        ]
        unit = Unit("far", environment=broker.environment("far"))
        unit.emit("first")
        broker.until(lambda: broker.steps().count("clock") >= 3)
        unit.emit("last")
        assert unit.close(PATIENCE_S)
    finally:
        broker.close()
    timeline = Timeline(DESK)
    timeline.join("far", 1, "far")
    for _, stamp, step, _, _, data in broker.all_records():
        if step == "clock":
            timeline.report("far", 1, stamp, data)
    timeline.final("far", 1)
    for _, stamp, step, *_ in broker.all_records():
        common = timeline.to_common("far", 1, stamp)
        assert abs(stamp - behind - common) <= timeline.error("far", common, "api", common), step
    assert timeline.malformed == 0
    (estimate,) = timeline.estimates(common)
    assert estimate.jumps == 0
