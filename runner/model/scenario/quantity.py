"""How a scenario writes amounts: durations, `times` and `instances`.

Belongs here: text to numbers. Must not know which key an amount stands under.
"""

import re
from decimal import Decimal
from typing import Final

from runner.model.scenario.hints import expected, found
from runner.model.scenario.model import Instances
from runner.model.scenario.toml_reader import Reader, TomlValue

_UNITS: Final = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_DURATION: Final = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit}(?![a-z]))?" for unit in _UNITS), re.ASCII)
_LONGEST_NS: Final = 8_766 * _UNITS["h"]
_RANGE: Final = re.compile(r"(\d{1,15})\.\.(\d{1,15})?", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,15}", re.ASCII)
_BOUND: Final = re.compile(r"(>=|<=) *(\d{1,15})", re.ASCII)


def parse_duration(text: str) -> int | None:
    """Nanoseconds in "1m30s", "200ms", "1.5s" and the like (h, m, s, ms, us, ns, from large to small), else None."""
    match = _DURATION.fullmatch(text.replace("µs", "us")) if text else None
    if match is None:
        return None
    return round(
        sum(Decimal(number or 0) * scale for number, scale in zip(match.groups(), _UNITS.values(), strict=True))
    )


def parse_range(text: str) -> tuple[int, int | None] | None:
    """The bounds in "2", "0..3" and "1.." (no upper one: None), else None."""
    if _COUNT.fullmatch(text):
        return int(text), int(text)
    if match := _RANGE.fullmatch(text):
        return int(match[1]), int(match[2]) if match[2] else None
    return None


def duration(*, zero: bool = False) -> Reader[int]:
    """A reader of durations in nanoseconds; `zero` says whether "0s" makes sense here."""

    def read(spot: TomlValue) -> int | None:
        value = spot.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            spot.mistake(f'expected a duration with its unit such as "{value}s" or "{value}ms", found {found(value)}')
            return None
        if not isinstance(value, str):
            spot.mistake(expected('a duration such as "200ms" or "1m30s"', value))
            return None
        nanoseconds = parse_duration(value)
        if nanoseconds is None:
            spot.mistake(f'is not a duration: "{value}"; write numbers with h, m, s, ms, us or ns: "200ms", "1m30s"')
        elif nanoseconds > _LONGEST_NS:
            spot.mistake(f'is longer than a year: "{value}"')
        elif nanoseconds == 0 and not zero:
            spot.mistake("is zero; leave it out for no limit, or give it some time")
        else:
            return nanoseconds
        return None

    return read


def seconds(spot: TomlValue) -> int | None:
    """A positive number of seconds (the legacy folder shape), as nanoseconds."""
    value = spot.value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value * _UNITS["s"] <= _LONGEST_NS:
        return round(value * _UNITS["s"])
    spot.mistake(expected("a positive number of seconds", value))
    return None


def times(spot: TomlValue) -> tuple[int, int | None] | None:
    """How often an element may fire: 2, "2", "0..3", "1.."."""
    bounds = parse_range(str(spot.value)) if isinstance(spot.value, str) or type(spot.value) is int else None
    if bounds is None:
        spot.mistake(expected('how often it fires: 2, "0..3" or "1.."', spot.value))
    elif bounds[1] is not None and bounds[1] < bounds[0]:
        spot.mistake(f'ends below its start: "{spot.value}"; write the smaller number first')
    elif bounds[1] == 0:
        spot.mistake("lets it never fire; name the probe under never instead")
    else:
        return bounds
    return None


def instances(spot: TomlValue) -> Instances | None:
    """How many instances must start: 100, ">= 1", "<= 5", "10..20"."""
    text = str(spot.value) if isinstance(spot.value, str) or type(spot.value) is int else ""
    if match := _BOUND.fullmatch(text):
        number = int(match[2])
        return Instances(number, None) if match[1] == ">=" else Instances(0, number)
    bounds = parse_range(text)
    if bounds is None:
        spot.mistake(expected('a number of instances: 100, ">= 1", "<= 5" or "10..20"', spot.value))
    elif bounds[1] is not None and bounds[1] < bounds[0]:
        spot.mistake(f'ends below its start: "{spot.value}"; write the smaller number first')
    else:
        return Instances(*bounds)
    return None
