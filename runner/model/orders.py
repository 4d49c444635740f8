"""An order and the units it is for: what the deciding parts (lifecycle, barriers, waits) hand to the session.

Belongs here: that one structure, and which units names and patterns mean. Must not know how an order travels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from probe.message import Order

SUPERVISOR: Final = "@local"
"""Unit name of this host's supervisor."""
RUNNER: Final = "@runner"
"""The name in the log of the sender of orders."""
FOREVER_S: Final = 1e9
"""A unit that says it waits so long, some thirty years, waits for ever."""
KEPT_ANSWERS: Final = 10_000
"""How many answers are remembered so that one lost in a broken connection can be given again."""


@dataclass(frozen=True, slots=True)
class Directed:
    """`order`, to the units named in `to`."""

    order: Order
    to: tuple[str, ...]


def patience_of(said: object) -> float | None:
    """How long a unit that asks is ready to wait, as it says; None: it does not say, or what it says makes no sense."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not said < FOREVER_S:
        return None
    return max(0.0, float(said))


def supervisor_of(host: str) -> str:
    """Unit name of the supervisor of `host`."""
    return f"@{host}"


def host_of(unit: str) -> str | None:
    """The host whose supervisor `unit` is; None: it is none."""
    return unit[1:] if unit.startswith("@") and unit != RUNNER else None


def is_pattern(name: str) -> bool:
    """Whether `name` may mean several units."""
    return any(sign in name for sign in "*?[")


def meant(patterns: Iterable[str], units: Sequence[str]) -> tuple[str, ...]:
    """The names in `units` that any of `patterns` means, in the order of `units`."""
    wanted = tuple(patterns)
    return tuple(unit for unit in units if any(fnmatchcase(unit, pattern) for pattern in wanted))
