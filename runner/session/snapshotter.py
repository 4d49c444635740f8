"""What the live view shows of a run at one moment.

Belongs here: filling a `Snapshot`. Must not know layout or terminals.
"""

from collections import deque
from dataclasses import replace

from runner.adapters.bus.log_reader import LogReader
from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.budgets import budget_uses
from runner.model.result.unit_status import State, UnitStatus
from runner.model.scenario.model import Scenario
from runner.session.dispatcher import Dispatcher

FRAME_NS = 100_000_000
"""How often a snapshot is taken."""
_RATE_WINDOW_NS = 2_000_000_000
_SHOWN_FINDINGS = 50
_SHOWN_INCIDENTS = 50


class Snapshotter:
    """Takes snapshots of one run, whose log `reader` reads. `started_ns` is the moment its elapsed time counts
    from."""

    def __init__(self, scenario: Scenario, dispatcher: Dispatcher, reader: LogReader, started_ns: int) -> None:
        self._scenario = scenario
        self._dispatcher = dispatcher
        self._reader = reader
        self._started_ns = started_ns
        self._history: deque[tuple[int, int]] = deque([(started_ns, 0)])
        self._expected = {c.name: c.instances.at_least for c in scenario.circuits if c.instances is not None}
        self._budgets = {c.name: c.budget for c in scenario.circuits}

    def take(self, phase: str, now_ns: int) -> Snapshot:
        """The run as it stands at `now_ns`."""
        verifier = self._dispatcher.verifier
        circuits = verifier.circuits()
        statuses = statuses_of(self._dispatcher) or _seen(self._dispatcher)
        events = sum(status.events for status in statuses)
        limits = {circuit.name: budget_uses(self._budgets[circuit.name], circuit.latency) for circuit in circuits}
        tightest = {name: found[0] for name, found in limits.items() if found}
        return Snapshot(
            scenario=self._scenario.name,
            phase=phase,
            elapsed_s=(now_ns - self._started_ns) / 1e9,
            now_ns=now_ns,
            units=statuses,
            circuits=circuits,
            expected=self._expected,
            budgets={name: f"{limit} {limit.word}" for name, limit in tightest.items()},
            over_budget=frozenset(name for name, limit in tightest.items() if limit.word != "ok"),
            findings=verifier.findings({s.name: s for s in statuses}, _SHOWN_FINDINGS),
            finding_count=verifier.finding_count,
            events=events,
            events_per_s=self._rate(events, now_ns),
            lost=verifier.lost_count,
            more_lost=verifier.may_have_lost_more,
            incidents=tuple((self._reader.incidents + self._dispatcher.incidents).most_common(_SHOWN_INCIDENTS)),
            clock_errors=self._dispatcher.host_results.clock_errors(self._dispatcher.timeline, now_ns),
            away=self._dispatcher.host_results.away(self._scenario.units),
            connected=self._reader.connected,
            silent_s=self._reader.silent_ns / 1e9,
        )

    def _rate(self, events: int, now_ns: int) -> float:
        self._history.append((now_ns, events))
        while len(self._history) > 2 and self._history[1][0] < now_ns - _RATE_WINDOW_NS:
            self._history.popleft()
        then_ns, before = self._history[0]
        return (events - before) / ((now_ns - then_ns) / 1e9) if now_ns > then_ns else 0.0


def statuses_of(dispatcher: Dispatcher) -> tuple[UnitStatus, ...]:
    """What is known of every unit: its life, its events, and what it waits for."""
    blocked = {**dispatcher.waits.blocked(), **dispatcher.barriers.blocked()}
    seen = dispatcher.verifier.activity()
    filled = []
    for status in dispatcher.lifecycle.units.statuses():
        activity = seen.get(status.name)
        if activity is not None:
            status = replace(
                status, events=activity.events, last_step=activity.last_step, last_stamp_ns=activity.last_stamp_ns
            )
        if not status.state.ended and status.name in blocked:
            status = replace(status, blocked_on=blocked[status.name])
        filled.append(status)
    return tuple(filled)


def _seen(dispatcher: Dispatcher) -> tuple[UnitStatus, ...]:
    """The units of a run whose scenario is not known, as far as their events tell."""
    return tuple(
        UnitStatus(
            name,
            State.RUNNING,
            host="",
            events=activity.events,
            last_step=activity.last_step,
            last_stamp_ns=activity.last_stamp_ns,
        )
        for name, activity in sorted(dispatcher.verifier.activity().items())
    )
