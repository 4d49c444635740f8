"""What the live view shows of a run at one moment.

Belongs here: filling a `Board`. Must not know layout or terminals.
"""

from collections import deque
from dataclasses import replace

from runner.scenario.model import Budget, Scenario
from runner.scenario.state import UnitStatus
from runner.session.intake import Intake
from runner.verifier.verdict import CircuitResult
from runner.view.board import Board
from runner.view.quantity import duration

_RATE_WINDOW_NS = 2_000_000_000
_SHOWN_FINDINGS = 50


class Picture:
    """Takes pictures of one run. `started_ns` is the moment its elapsed time counts from."""

    def __init__(self, scenario: Scenario, intake: Intake, started_ns: int) -> None:
        self._scenario = scenario
        self._intake = intake
        self._started_ns = started_ns
        self._history: deque[tuple[int, int]] = deque([(started_ns, 0)])
        self._expected = {c.name: c.instances.at_least for c in scenario.circuits if c.instances is not None}
        self._budgets = {c.name: c.budget for c in scenario.circuits}

    def take(self, phase: str, now_ns: int) -> Board:
        """The run as it stands at `now_ns`."""
        verifier = self._intake.verifier
        circuits = verifier.circuits()
        statuses = statuses_of(self._intake)
        events = sum(status.events for status in statuses)
        return Board(
            scenario=self._scenario.name,
            phase=phase,
            elapsed_s=(now_ns - self._started_ns) / 1e9,
            now_ns=now_ns,
            units=statuses,
            circuits=circuits,
            expected=self._expected,
            budgets={c.name: text for c in circuits if (text := _standing(c, self._budgets[c.name]))},
            findings=verifier.findings({s.name: s for s in statuses})[:_SHOWN_FINDINGS],
            finding_count=verifier.finding_count,
            events=events,
            events_per_s=self._rate(events, now_ns),
            lost=verifier.lost_count,
        )

    def _rate(self, events: int, now_ns: int) -> float:
        self._history.append((now_ns, events))
        while len(self._history) > 2 and self._history[1][0] < now_ns - _RATE_WINDOW_NS:
            self._history.popleft()
        (then_ns, before), passed = self._history[0], now_ns - self._history[0][0]
        del then_ns
        return (events - before) / (passed / 1e9) if passed > 0 else 0.0


def statuses_of(intake: Intake) -> tuple[UnitStatus, ...]:
    """What is known of every unit: its life, its events, and what it waits for."""
    blocked = {**intake.waits.blocked(), **intake.barriers.blocked()}
    seen = intake.verifier.activity()
    filled = []
    for status in intake.lifecycle.statuses():
        activity = seen.get(status.name)
        if activity is not None:
            status = replace(
                status, events=activity.events, last_step=activity.last_step, last_stamp_ns=activity.last_stamp_ns
            )
        if not status.state.ended and status.name in blocked:
            status = replace(status, blocked_on=blocked[status.name])
        filled.append(status)
    return tuple(filled)


def _standing(circuit: CircuitResult, budget: Budget) -> str:
    """How the budget stands so far, in words; the first broken limit, else the first there is."""
    limits = [
        ("p50", budget.p50_ns, circuit.latency.p50_ns),
        ("p90", budget.p90_ns, circuit.latency.p90_ns),
        ("p99", budget.p99_ns, circuit.latency.p99_ns),
        ("max", budget.max_ns, circuit.latency.max_ns),
    ]
    stated = [(name, limit, value) for name, limit, value in limits if limit is not None]
    for name, limit, value in stated:
        if value > limit:
            return f"{name} ≤ {duration(limit)} broken"
    return f"{stated[0][0]} ≤ {duration(stated[0][1])} ok" if stated else ""
