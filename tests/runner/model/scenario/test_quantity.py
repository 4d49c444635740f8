"""Durations, times and instances: what people write, and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.scenario.model import Instances
from runner.model.scenario.quantity import duration, instances, parse_duration, parse_range, seconds, times
from runner.model.scenario.toml_reader import Source, TomlValue

UNITS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def spot(value: object) -> TomlValue:
    return TomlValue(value, ("here",), Source("circuit.toml", {}))


def said(at: TomlValue) -> str:
    (mistake,) = at.source.mistakes
    return mistake.message


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("200ms", 200_000_000),
        ("1m30s", 90_000_000_000),
        ("2s", 2_000_000_000),
        ("50us", 50_000),
        ("50µs", 50_000),
        ("1h", 3_600_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.1ms", 100_000),
        ("7ns", 7),
        ("0s", 0),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "30s1m", "1s1s", "-1s", "1,5s", "5sec", "1.s", "٣s", "1e3s"])
def test_anything_else_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10**6), min_size=1))
def test_every_duration_that_can_be_written_is_read_back(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    assert parse_duration(text) == sum(number * UNITS[unit] for unit, number in parts.items())


@given(st.text(max_size=12) | st.text("0123456789.hmsunµ ", max_size=12))
def test_no_text_breaks_the_parsers(text: str) -> None:
    nanoseconds = parse_duration(text)
    assert nanoseconds is None or nanoseconds >= 0
    bounds = parse_range(text)
    assert bounds is None or bounds[0] >= 0


@given(st.integers(0, 10**9), st.integers(0, 10**9) | st.none())
def test_every_range_that_can_be_written_is_read_back(least: int, most: int | None) -> None:
    assert parse_range(f"{least}..{'' if most is None else most}") == (least, most)
    assert parse_range(str(least)) == (least, least)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (30, 'expected a duration with its unit such as "30s" or "30ms", found an integer 30'),
        (0.5, 'expected a duration with its unit such as "0.5s" or "0.5ms", found a float 0.5'),
        (True, 'expected a duration such as "200ms" or "1m30s", found a boolean true'),
        ("30 s", 'is not a duration: "30 s"; write numbers with h, m, s, ms, us or ns: "200ms", "1m30s"'),
        ("0s", "is zero; leave it out for no limit, or give it some time"),
        ("9000h", 'is longer than a year: "9000h"'),
    ],
)
def test_a_wrong_duration_says_how_to_be_right(value: object, message: str) -> None:
    at = spot(value)
    assert duration()(at) is None
    assert said(at) == message


def test_no_time_at_all_is_allowed_where_it_makes_sense() -> None:
    assert duration(zero=True)(spot("0s")) == 0


def test_the_legacy_shape_counts_seconds() -> None:
    assert seconds(spot(2.5)) == 2_500_000_000
    for wrong in (0, -1, True, "5", float("nan"), float("inf")):
        at = spot(wrong)
        assert seconds(at) is None
        assert said(at).startswith("expected a positive number of seconds, found ")


@pytest.mark.parametrize(("value", "bounds"), [(2, (2, 2)), ("2", (2, 2)), ("0..3", (0, 3)), ("1..", (1, None))])
def test_times_are_a_number_or_a_range(value: object, bounds: tuple[int, int | None]) -> None:
    assert times(spot(value)) == bounds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3..1", 'ends below its start: "3..1"; write the smaller number first'),
        (0, "lets it never fire; name the probe under never instead"),
        ("0..0", "lets it never fire; name the probe under never instead"),
        (-1, 'expected how often it fires: 2, "0..3" or "1..", found an integer -1'),
        (True, 'expected how often it fires: 2, "0..3" or "1..", found a boolean true'),
        ("..3", 'expected how often it fires: 2, "0..3" or "1..", found a string "..3"'),
        ([1], 'expected how often it fires: 2, "0..3" or "1..", found an array'),
    ],
)
def test_wrong_times_say_how_to_be_right(value: object, message: str) -> None:
    at = spot(value)
    assert times(at) is None
    assert said(at) == message


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (100, Instances(100, 100)),
        ("100", Instances(100, 100)),
        (">= 1", Instances(1, None)),
        (">=1", Instances(1, None)),
        ("<= 5", Instances(0, 5)),
        ("10..20", Instances(10, 20)),
        ("10..", Instances(10, None)),
        (0, Instances(0, 0)),
    ],
)
def test_instances_are_a_number_a_bound_or_a_range(value: object, meaning: Instances) -> None:
    assert instances(spot(value)) == meaning


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_every_way_to_write_instances_is_read_back(one: int, other: int) -> None:
    least, most = sorted((one, other))
    assert instances(spot(f"{least}..{most}")) == Instances(least, most)
    assert instances(spot(f">= {least}")) == Instances(least, None)
    assert instances(spot(f"<= {most}")) == Instances(0, most)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("> 5", 'expected a number of instances: 100, ">= 1", "<= 5" or "10..20", found a string "> 5"'),
        (1.5, 'expected a number of instances: 100, ">= 1", "<= 5" or "10..20", found a float 1.5'),
        (-3, 'expected a number of instances: 100, ">= 1", "<= 5" or "10..20", found an integer -3'),
        ("20..10", 'ends below its start: "20..10"; write the smaller number first'),
    ],
)
def test_wrong_instances_say_how_to_be_right(value: object, message: str) -> None:
    at = spot(value)
    assert instances(at) is None
    assert said(at) == message
