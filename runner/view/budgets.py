"""How the budgets of a circuit stand against what was measured.

Belongs here: one comparison per limit. Must not know where it is shown.
"""

from typing import NamedTuple

from runner.duration import span
from runner.scenario.model import Budget
from runner.verifier.verdict import Latency


class Standing(NamedTuple):
    """One limit of a budget. `share`: how much of it is used, more than 1 is broken; None: nothing is measured."""

    name: str
    limit_ns: int
    share: float | None

    @property
    def broken(self) -> bool:
        """Whether the measured value is over the limit."""
        return self.share is not None and self.share > 1

    def __str__(self) -> str:
        return f"{self.name} ≤ {span(self.limit_ns)}"


def standings(budget: Budget, latency: Latency) -> list[Standing]:
    """Every limit that `budget` states, the most used one first."""
    limits = (
        ("p50", budget.p50_ns, latency.p50_ns),
        ("p90", budget.p90_ns, latency.p90_ns),
        ("p99", budget.p99_ns, latency.p99_ns),
        ("max", budget.max_ns, latency.max_ns),
    )
    found = [
        Standing(name, most, actual / most if latency.count and most else None)
        for name, most, actual in limits
        if most is not None
    ]
    return sorted(found, key=lambda standing: -(standing.share or 0))
