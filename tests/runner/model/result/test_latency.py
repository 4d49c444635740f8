"""Distributions: exact while small, within 0.8 % when large, honest about what is below zero."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model.result.latency import Distribution
from runner.model.result.quantiles import EXACT
from runner.model.result.result import UNKNOWN, Latency, Quantiles


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


def test_a_value_that_may_be_zero_or_more_counts_as_it_was_measured() -> None:
    distribution = Distribution()
    for value, error_ns in ((-50, 50), (-5, 20), (40, 10), (100, 0)):
        distribution.add(value, error_ns)
    found = distribution.summary()
    assert (found.count, found.negative, found.error_ns) == (4, 0, 50)
    assert (found.p50_ns, found.p90_ns, found.max_ns) == (-5, 100, 100)
    assert (found.low, found.high) == (Quantiles(-25, 100, 100, 100), Quantiles(15, 100, 100, 100))
    assert (found.p50_error_ns, found.max_error_ns) == (20, 0)


def test_exact_values_have_no_interval() -> None:
    distribution = Distribution()
    distribution.add_all([1, 2, 3], [0, 0, 0])
    found = distribution.summary()
    assert (found.low, found.high, found.p50_error_ns, found.between("p99")) == (None, None, 0, (3, 3))


def test_a_value_of_clocks_that_do_not_relate_is_in_no_quantile_and_may_be_anything() -> None:
    distribution = Distribution()
    distribution.add_all([1, 2, 3], [0, UNKNOWN, 0])
    found = distribution.summary()
    assert (found.count, found.unknown, found.p50_ns, found.max_ns, found.error_ns) == (2, 1, 1, 3, 0)
    assert (found.between("p50"), found.between("max")) == ((1, 3), (3, UNKNOWN))
    assert (found.p50_error_ns, found.max_error_ns) == (2, UNKNOWN)


known = st.tuples(st.integers(-100, 10**9), st.sampled_from((0, 0, 7, 90_000, 10**8, UNKNOWN)))


@given(st.lists(known, max_size=60), st.lists(known, max_size=20), st.integers(0, 60))
def test_what_is_taken_back_leaves_no_trace_where_clocks_are_not_exact(
    kept: list[tuple[int, int]], more: list[tuple[int, int]], at_once: int
) -> None:
    one, other = Distribution(), Distribution()
    for value in (*kept[at_once:], *kept[:at_once]):
        one.add(*value)
    for value in (*more, *kept):
        other.add(*value)
    for value in more:
        other.take_back(*value)
    assert other.summary() == one.summary() == one.copy().summary()


@settings(max_examples=20, deadline=None)
@given(st.integers(-(10**6), 10**9), st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 5))
def test_the_interval_of_a_quantile_of_many_covers_the_truth_and_is_no_wider_than_the_largest_error(
    least: int, spread: int, error: int, kinds: int
) -> None:
    """The truth: what exact clocks would have measured, anywhere within the errors."""
    values = [least + (n * 7919) % 10_007 * spread // 10_007 for n in range(3 * EXACT)]
    errors = [max(error * (n % kinds + 1), -value) for n, value in enumerate(values)]
    distribution = Distribution()
    for value, error_ns in zip(values, errors, strict=True):
        distribution.add(value, error_ns)
    found = distribution.summary()
    assert (found.count, sum(found.bars), found.negative) == (len(values), len(values), 0)
    for name, percent in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)):
        value = getattr(found, f"{name}_ns")
        measured = quantile(values, percent)
        assert value == pytest.approx(measured, rel=0.008, abs=1)
        assert getattr(found, f"{name}_error_ns") <= found.error_ns == max(errors)
        blur = abs(value - measured) + 1
        least_ns, most_ns = found.between(name)
        for share in (-1, -0.5, 0.5, 1):
            truth = quantile([v + round(e * share) for v, e in zip(values, errors, strict=True)], percent)
            assert least_ns - blur <= truth <= most_ns + blur


def test_values_below_zero_are_in_order_in_large_distributions() -> None:
    distribution = Distribution()
    for value in range(-5_000, 5_001):
        distribution.add(value, 5_000)
    found = distribution.summary()
    assert found.p50_ns == pytest.approx(0, abs=1)
    assert found.p99_ns == pytest.approx(4_900, rel=0.008)
    assert (found.max_ns, found.count) == (5_000, 10_001)
