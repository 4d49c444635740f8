"""What things may be called, and the names by which they refer to each other.

Belongs here: names of units, circuits and barriers, `module:function`, "unit: step", patterns of units. Must not know
which key holds them.
"""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final

from probe.event import MAX_KEY_BYTES, MAX_STEP_BYTES
from runner.model.scenario.hints import did_you_mean, expected
from runner.model.scenario.toml_reader import TomlValue, string

_ENTRYPOINT: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_PATTERN: Final = frozenset("*?[]")
LONGEST_NAME: Final = 100
"""Longest name of a unit, circuit or scenario, in characters. A supervisor tells of a unit by an event whose key is the
unit's name, and names files after it, so there is a limit in bytes of UTF-8 too."""


def name_of(spot: TomlValue) -> str | None:
    """The key of this table as a name; what it may not be is recorded."""
    name = spot.key
    if not name or name != name.strip() or not name.isprintable():
        spot.mistake("needs a name without blanks at its ends and without control characters")
    elif name.startswith("@"):
        spot.mistake('may not begin with "@"; such names belong to the fabric')
    elif bad := sorted((_PATTERN | {":", "/"}) & set(name)):
        spot.mistake(f'may not have "{bad[0]}" in its name; ":" ends a unit\'s name, "*" and "?" make a pattern of it')
    elif len(name) > LONGEST_NAME:
        spot.mistake(f"has a name of {len(name)} characters; at most {LONGEST_NAME} are allowed")
    elif len(name.encode()) > MAX_KEY_BYTES:
        spot.mistake(f"has a name of {len(name.encode())} bytes in UTF-8; at most {MAX_KEY_BYTES} are allowed")
    else:
        return name
    return None


def entrypoint(spot: TomlValue) -> str | None:
    """`module:function`."""
    text = string(spot)
    if text is None or _ENTRYPOINT.fullmatch(text):
        return text
    spot.mistake(expected('"module:function"', text))
    return None


def is_entrypoint(text: str) -> bool:
    return _ENTRYPOINT.fullmatch(text) is not None


def step(spot: TomlValue) -> str | None:
    """The name of a probe, without its unit."""
    text = string(spot)
    if text is None:
        return None
    if ": " in text:
        unit, _, own = text.partition(": ")
        spot.mistake(f'names a step of its own unit only; write "{own.strip()}", or put it under units.{unit}')
        return None
    return _checked_step(spot, text.strip())


def unit_and_step(spot: TomlValue, units: Sequence[str]) -> tuple[str, str] | None:
    """The two halves of "unit: step", where unit is one of `units` or a pattern for some of them."""
    text = string(spot)
    if text is None:
        return None
    unit, colon, rest = (part.strip() for part in text.partition(":"))
    if not (unit and colon and rest):
        spot.mistake(f'is not a probe: "{text}"; write "unit: step"')
        return None
    checked = _checked_step(spot, rest)
    return (unit, checked) if means_units(spot, unit, units) and checked else None


def _checked_step(spot: TomlValue, text: str) -> str | None:
    if len(text.encode()) <= MAX_STEP_BYTES:
        return text
    spot.mistake(f"names a step of {len(text.encode())} bytes; emit cuts them at {MAX_STEP_BYTES}, so it never fires")
    return None


def means_units(spot: TomlValue, pattern: str, units: Sequence[str]) -> bool:
    """Whether `pattern` is, or matches, one of `units`; else that is recorded."""
    if "[" in pattern or "]" in pattern:
        spot.mistake(f'has brackets in "{pattern}"; a pattern knows "*" and "?" only')
        return False
    if matching(pattern, units):
        return True
    listed = f"units are {', '.join(units)}" if units else "there are no units"
    if _PATTERN & set(pattern):
        spot.mistake(f'matches no unit with "{pattern}"; {listed}')
        return False
    hint = did_you_mean(pattern, units)
    meant = f"{hint} (" if "mean" in hint else "; "
    spot.mistake(f'names unit "{pattern}"{meant}{listed}{")" if "mean" in hint else ""}')
    return False


def matching(pattern: str, units: Collection[str]) -> set[str]:
    """The units that a name or pattern means."""
    return {unit for unit in units if fnmatchcase(unit, pattern)}
