"""Distributions: exact while small, within 0.8 % when large, honest about what is below zero."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.verifier.latency import Distribution
from runner.verifier.quantiles import EXACT
from runner.verifier.verdict import Latency


def quantile(values: list[int], percent: int) -> int:
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def test_nothing_has_no_quantiles() -> None:
    assert Distribution().summary() == Latency()


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=300))
def test_small_ones_are_exact(values: list[int]) -> None:
    distribution = Distribution()
    distribution.add_all(values)
    found = distribution.summary()
    assert (found.p50_ns, found.p90_ns, found.p99_ns) == tuple(quantile(values, percent) for percent in (50, 90, 99))
    assert (found.count, found.max_ns, sum(found.bars)) == (len(values), max(values), len(values))


@settings(max_examples=20)
@given(st.integers(0, 2**40), st.integers(1, 2**50), st.sampled_from((1, 97, 5_000)))
def test_large_ones_are_within_one_percent_however_they_came(least: int, spread: int, at_once: int) -> None:
    values = [least + (n * 7919) % 10_007 * spread // 10_007 for n in range(3 * EXACT)]
    distribution = Distribution()
    for start in range(0, len(values), at_once):
        distribution.add_all(values[start : start + at_once])
    found = distribution.summary()
    for percent, value in ((50, found.p50_ns), (90, found.p90_ns), (99, found.p99_ns)):
        assert value == pytest.approx(quantile(values, percent), rel=0.008, abs=1)
    assert (found.count, found.max_ns, sum(found.bars)) == (len(values), max(values), len(values))


@pytest.mark.parametrize("count", [10, 2 * EXACT])
def test_what_is_taken_back_leaves_no_trace(count: int) -> None:
    kept, both = Distribution(), Distribution()
    kept.add_all(range(count))
    both.add_all(range(count))
    for value in (5, 3 * count, -7):
        both.add(value)
    for value in (5, 3 * count, -7):
        both.take_back(value)
    assert both.summary().count == kept.summary().count
    assert both.summary().p99_ns == pytest.approx(kept.summary().p99_ns, rel=0.008)
    assert both.summary().max_ns == pytest.approx(kept.summary().max_ns, rel=0.008)
    assert both.negative == 0


def test_a_negative_latency_is_counted_and_in_no_quantile() -> None:
    distribution = Distribution()
    distribution.add(-50, 20)
    distribution.add(10, 30)
    found = distribution.summary()
    assert (found.count, found.p50_ns, found.max_ns, found.negative, found.error_ns) == (1, 10, 10, 1, 30)
