"""Numbers in words keep their width and never mislead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.report.quantity import ago, compact, count, elapsed, percent, plural
from runner.model.duration import duration, span


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (412, "412 ns"),
        (3_140, "3.14 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (9_999_999, "10.0 ms"),
        (41_200_000, "41.2 ms"),
        (412_000_000, "412 ms"),
        (12_440_000_000, "12.4 s"),
        (99_960_000_000, "1m 40s"),
        (7_500_000_000_000, "2h 05m"),
        (-3_140_000, "-3.1 ms"),
    ],
)
def test_a_duration_has_three_significant_digits_and_its_unit(ns: int, text: str) -> None:
    assert duration(ns) == text


@given(st.integers(-(10**10), 10**15))
def test_a_duration_never_outgrows_its_column(ns: int) -> None:
    assert len(duration(ns)) <= 7


@given(st.integers(0, 10**15))
def test_counts_never_outgrow_their_columns(number: int) -> None:
    assert len(count(number)) <= 9
    assert len(compact(number)) <= 4


def test_a_compact_count_is_rounded_down_so_that_it_never_looks_done_too_early() -> None:
    assert [compact(n) for n in (988, 1000, 1999, 9_999, 999_999, 1_990_000)] == [
        "988",
        "1k",
        "1.9k",
        "9.9k",
        "999k",
        "1.9M",
    ]


def test_a_count_is_exact_as_long_as_it_fits() -> None:
    assert [count(n) for n in (41_203, 9_999_999, 41_234_567)] == ["41,203", "9,999,999", "41.2 M"]


def test_an_age_is_coarse() -> None:
    assert [ago(ns) for ns in (-5, 2_900_000, 1_240_000_000, 41_400_000_000, 200 * 10**9, 3 * 3600 * 10**9)] == [
        "now",
        "2 ms",
        "1.2 s",
        "41 s",
        "3 m",
        "3 h",
    ]


def test_a_limit_is_said_as_it_was_written() -> None:
    assert [span(ns) for ns in (20_000_000, 1_500_000_000, 200_000_000, 90 * 10**9)] == [
        "20 ms",
        "1.5 s",
        "200 ms",
        "90 s",
    ]


def test_a_clock_shows_tenths_then_seconds() -> None:
    assert [elapsed(s) for s in (0.04, 12.44, 99.94, 99.96, 3725)] == ["0.0 s", "12.4 s", "99.9 s", "1m 40s", "62m 05s"]


def test_shares_and_nouns() -> None:
    assert [percent(p) for p in (0, 0.004, 0.5, 1.55)] == ["0 %", "0.4 %", "50 %", "155 %"]
    assert [plural(n, "event") for n in (1, 41_203)] == ["1 event", "41,203 events"]
