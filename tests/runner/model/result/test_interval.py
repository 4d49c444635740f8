"""A time with its error in words says no more than is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.result.interval import Interval, at_most, interval
from runner.model.result.result import UNKNOWN


@pytest.mark.parametrize(
    ("ns", "error_ns", "value", "error"),
    [
        (2_100_000, 0, "2.10 ms", ""),
        (2_100_000, 300_000, "2.10 ms", "±0.30"),
        (508_000, 90_000, "508 µs", "±90"),
        (51_200_000, 380_000, "51.2 ms", "±0.4"),
        (51_234_000, 380_000, "51.2 ms", "±0.5"),
        (98_700_000, 12_300_000, "99 ms", "±13"),
        (12_400_000_000, 84_000, "12.4 s", "±0.1"),
        (999_999, 1, "1.00 ms", "±0.01"),
        (412, 3, "412 ns", "±3"),
        (100_000_000_000, 84_000, "1m 40s", "±84 µs"),
        (30_000, 90_000, "<120 µs", ""),
        (-30_000, 90_000, "<60 µs", ""),
        (-90_000, 90_000, "<1 ns", ""),
        (90_000, 90_000, "<180 µs", ""),
        (5, UNKNOWN, "?", ""),
    ],
)
def test_value_and_error_have_one_unit(ns: int, error_ns: int, value: str, error: str) -> None:
    assert interval(ns, error_ns) == Interval(value, error)


def test_a_sentence_has_no_zeros_at_the_end() -> None:
    assert interval(2_100_000, 300_000).text == "2.1 ms ±0.3"
    assert interval(20_000_000, 0).text == "20 ms"
    assert interval(100_000_000_000, 84_000).text == "1m 40s ±84 µs"
    assert interval(30_000, 90_000).text == "<120 µs"
    assert interval(5, UNKNOWN).text == "?"


@given(st.integers(-(10**9), 10**13), st.integers(1, 10**12))
def test_no_time_outgrows_its_column_and_none_that_may_be_zero_is_a_plain_number(ns: int, error_ns: int) -> None:
    shown = interval(ns, error_ns)
    assert len(shown.value) <= 7
    assert len(shown.error) <= 7
    assert shown.error.startswith("±") or shown.value.startswith("<")
    assert shown.value.startswith("<") == (ns <= error_ns)


@given(st.integers(1, 99 * 10**9), st.integers(1, 10**10))
def test_what_is_said_covers_what_is_known(ns: int, error_ns: int) -> None:
    shown = interval(ns, error_ns)
    number, unit = shown.value.removeprefix("<").split()
    size = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9}[unit]
    value, error = float(number) * size, float(shown.error.removeprefix("±") or 0) * size
    assert value + error >= (ns + error_ns) * (1 - 1e-12)
    if shown.error:
        assert value - error <= (ns - error_ns) * (1 + 1e-12) + 1e-6


@given(st.integers(1, 10**15))
def test_an_upper_end_is_never_too_small(ns: int) -> None:
    assert len(at_most(ns)) <= 6
    size = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
    text = at_most(ns)
    number = text.rstrip("nµmshd ")
    assert float(number) * size[text.removeprefix(number).strip()] >= ns * (1 - 1e-12)
