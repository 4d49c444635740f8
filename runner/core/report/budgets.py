"""How much of the budgets of a circuit is used by what was measured.

Belongs here: one comparison per limit. Must not know where it is shown.
"""

from math import inf
from typing import NamedTuple

from runner.core.report.quantity import percent
from runner.model.duration import span
from runner.model.result.result import UNKNOWN, Latency
from runner.model.scenario.model import Budget


class BudgetUse(NamedTuple):
    """One limit of a budget. `share`: how much of it is used, more than 1 is over it; None: nothing is measured.
    `least` and `most`: what it truly is lies between, where clocks are not exact; they may be below 0 or infinite."""

    name: str
    limit_ns: int
    share: float | None
    least: float = 0.0
    most: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether the value is surely over the limit."""
        return self.least > 1

    @property
    def undecided(self) -> bool:
        """Whether the clocks leave open if it is."""
        return self.least <= 1 < self.most

    @property
    def word(self) -> str:
        """Its state, in a word."""
        return "broken" if self.broken else "undecided" if self.undecided else "ok"

    @property
    def used(self) -> str:
        """How much of it is used, in words."""
        if self.most == inf:
            return "not known: its clocks do not relate" if self.least <= 1 else "surely broken"
        if self.share is None:
            return "nothing measured"
        if self.undecided:
            least = f"{percent(self.least)} to " if self.least > 0 else "up to "
            return f"{least}{percent(self.most)} of it used: undecided"
        if self.least > 0 or self.least == self.most:
            return f"{percent(self.share)} of it used"
        return f"up to {percent(self.most)} of it used"

    def __str__(self) -> str:
        return f"{self.name} ≤ {span(self.limit_ns)}"


def budget_uses(budget: Budget, latency: Latency) -> list[BudgetUse]:
    """Every limit that `budget` states: broken ones first, then those that are undecided, the most used ones first."""
    limits = (
        ("p50", budget.p50_ns, latency.p50_ns),
        ("p90", budget.p90_ns, latency.p90_ns),
        ("p99", budget.p99_ns, latency.p99_ns),
        ("max", budget.max_ns, latency.max_ns),
    )
    found = [_use_of(name, limit, value, latency) for name, limit, value in limits if limit is not None]
    return sorted(found, key=lambda use: (not use.broken, not use.undecided, -(use.share or 0)))


def _use_of(name: str, limit_ns: int, value_ns: int, latency: Latency) -> BudgetUse:
    if not (latency.count or latency.unknown) or not limit_ns:
        return BudgetUse(name, limit_ns, None)
    least, most = latency.between(name)
    share = value_ns / limit_ns if latency.count else None
    return BudgetUse(name, limit_ns, share, least / limit_ns, most / limit_ns if most < UNKNOWN else inf)
