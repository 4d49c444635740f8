"""How far apart the parties of a barrier went on, where it opened at a moment (`at`): what they report, added up.

Belongs here: counting. Must not know clocks; stamps are nanoseconds of the run's timeline.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from runner.model.result.latency import Distribution
from runner.model.result.result import BarrierResult

ROUNDS: Final = 10_000
"""So many openings of all barriers together are kept; those before them are forgotten."""
Error = Callable[[str, int, str, int], int]
"""How far the time between two events of two units may be off."""


@dataclass(slots=True)
class _Opening:
    name: str
    first: tuple[int, str]
    last: tuple[int, str]


class Skews:
    """All barriers of one run."""

    def __init__(self) -> None:
        self._openings: dict[str, _Opening] = {}

    def passed(self, name: str, ask: str, unit: str, went_ns: int) -> None:
        """`unit` went on at `went_ns` when barrier `name` opened; `ask` tells this opening from others."""
        opening = self._openings.get(ask)
        if opening is None:
            self._openings[ask] = _Opening(name, (went_ns, unit), (went_ns, unit))
            if len(self._openings) > ROUNDS:
                del self._openings[next(iter(self._openings))]
            return
        opening.first = min(opening.first, (went_ns, unit))
        opening.last = max(opening.last, (went_ns, unit))

    def results(self, error: Error) -> tuple[BarrierResult, ...]:
        """Each barrier, by name: from the first to the last that went on."""
        found: dict[str, Distribution] = {}
        for opening in self._openings.values():
            (first_ns, first), (last_ns, last) = opening.first, opening.last
            found.setdefault(opening.name, Distribution()).add(
                last_ns - first_ns, error(first, first_ns, last, last_ns)
            )
        return tuple(
            BarrierResult(name, skews.count, skews.p50_ns, skews.p99_ns, skews.max_ns, skews.error_ns)
            for name, skews in sorted((name, distribution.summary()) for name, distribution in found.items())
        )
