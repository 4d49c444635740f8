"""Bounds of one offset, carried from moment to moment."""

from probe.clock import drift_ns
from runner.core.clocks.bounds import Bounds

SECOND = 1_000_000_000


def bounds(*, low: list[tuple[int, int]], high: list[tuple[int, int]]) -> Bounds:
    made = Bounds()
    for at, bound in low:
        made.add_low(at, bound)
    for at, bound in high:
        made.add_high(at, bound)
    return made


def test_the_best_bound_of_each_side_counts_and_ages() -> None:
    made = bounds(low=[(0, -100), (10, -900)], high=[(0, 700), (10, 200)])
    assert made.advance(10)
    assert made.interval == (-100 - drift_ns(10), 200)
    assert made.advance(10 + SECOND)
    assert made.interval == (-101 - 500_000, 200 + 500_000)
    assert made.newest_ns == 10


def test_a_bound_of_a_later_moment_counts_already_with_its_age() -> None:
    made = bounds(low=[(0, -1_000_000), (SECOND, 0)], high=[(0, 1_000_000)])
    made.advance(0)
    assert made.interval == (-500_000, 1_000_000)
    made.advance(SECOND)
    assert made.interval == (0, 1_500_000)


def test_with_one_side_there_is_no_interval() -> None:
    made = bounds(low=[(0, -100)], high=[])
    assert made.advance(5)
    assert made.interval is None


def test_bounds_that_contradict_each_other_are_noticed() -> None:
    made = bounds(low=[(0, 0)], high=[(0, 100)])
    assert made.advance(0)
    made.add_low(5, 5_000)
    made.add_high(5, 5_100)
    assert not made.advance(5)
    made.restart()
    assert made.interval == (5_000, 5_100)


def test_after_a_jump_the_newer_of_two_that_contradict_each_other_is_believed() -> None:
    made = bounds(low=[(0, 0), (4, -9_000)], high=[(0, 100), (6, -8_000), (7, -9_500)])
    assert not made.advance(10)
    made.restart()
    assert (made.low, made.high) == (None, -9_500 + 1)


def test_a_later_bound_that_contradicts_what_is_known_does_not_count_yet() -> None:
    made = bounds(low=[(0, 0), (SECOND, SECOND)], high=[(0, 100)])
    assert made.advance(0)
    assert made.interval == (0, 100)
