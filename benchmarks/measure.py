"""One measured line, and how lines are kept and printed.

Belongs here: the shape of a figure. Every speed is a ratio to the bare thing measured in the same run, because machines
differ and are noisy.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` and `bare` in `unit`; `ratio` is what `target` speaks of; `ok`: whether it is met."""

    name: str
    ours: float
    bare: float
    unit: str
    ratio: float
    target: str
    ok: bool


def at_most(name: str, ours: float, bare: float, unit: str, limit: float) -> Row:
    """A row whose ratio ours / bare must not exceed `limit`."""
    ratio = ours / bare if bare else float("inf")
    return Row(name, ours, bare, unit, ratio, f"<= {limit:g} x", ratio <= limit)


def at_least(name: str, ours: float, bare: float, unit: str, limit: float) -> Row:
    """A row whose ratio ours / bare must reach `limit`."""
    ratio = ours / bare if bare else 0.0
    return Row(name, ours, bare, unit, ratio, f">= {limit:g} x", ratio >= limit)


def below(name: str, ours: float, unit: str, limit: float) -> Row:
    """A row with an absolute limit; `ratio` is the share of it that is used."""
    return Row(name, ours, limit, unit, ours / limit, f"<= {limit:g} {unit}", ours <= limit)
