"""What becomes of the units of a run: events and the time in, states and findings out.

Belongs here: what an event, the end of a process, a host that vanishes or a time that is over means for a unit. Which
orders follow is the business of `lifecycle`. Must not know processes, sockets or clocks: times are arguments, in
nanoseconds of the run's timeline.
"""

from collections.abc import Callable, Sequence
from typing import Final

from probe.barrier import START
from probe.event import USER_KINDS, Event, Kind
from probe.message import Away, Back, Gone, Start
from runner.core.lifecycle.legacy_rules import Linger, head_start_ns
from runner.core.lifecycle.report import UnitReport, report_of
from runner.core.lifecycle.unit_state import REMEMBERED_STEPS, UnitState
from runner.model.duration import span
from runner.model.orders import host_of
from runner.model.result.result import FindingClass
from runner.model.result.unit_status import State
from runner.model.scenario.model import LOCAL, Scenario, Unit

RESTARTS: Final = 3
"""How often a unit is started again before its failure counts."""
ENDED_BY_US: Final = frozenset({0, -15, 143, -2, 130})
"""Exit codes of a unit that did what it was told: 0, or SIGTERM or SIGINT as the system and as a shell tell them."""


class Fates:
    """All units of one run, as far as the log tells of them (see `Lifecycle`)."""

    def __init__(self, scenario: Scenario, launch: Callable[[Unit], Start], now_ns: int | None = None) -> None:
        self._older = legacy = scenario.legacy
        self._limit_ns = scenario.timeout_ns
        self._launch = launch
        self._now_ns = now_ns or 0
        self._deadline_ns: int | None = None
        self._linger = Linger(legacy) if legacy is not None else None
        self._served: dict[str, int] = {}
        """Host -> the incarnation of its supervisor."""
        self._spoke_ns: dict[str, int] = {}
        """Host -> when its supervisor has said something last."""
        self._complete = self._dismissed = self._settled = False
        self._stopped_why = ""
        self._interrupted = False
        self._forgiven: set[tuple[str, int]] = set()
        needed = {name for unit in scenario.units for name in unit.after}
        self._lives: dict[str, UnitState] = {}
        for unit in scenario.units:
            life = self._lives[unit.name] = UnitState(
                unit,
                service=unit.service if unit.service is not None else legacy is None and unit.name in needed,
                head_start_ns=head_start_ns(legacy, unit),
                missing={*unit.expect, *([unit.ready] if unit.ready is not None else [])},
            )
            if legacy is not None and life.external:  # test functions emit for it, nobody joins as it
                life.up = life.service = True
                life.state = State.READY
        if now_ns is not None:
            self.begin(now_ns)

    def begin(self, now_ns: int) -> None:
        """From now on units may be started, and the run's time counts."""
        self._now_ns, self._deadline_ns = now_ns, now_ns + self._limit_ns

    # --- what happened ------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """An event from the log. Those of kind ARRIVE and STATE all matter, others only from units in `wants`."""
        if (host := host_of(event.unit)) is not None:
            self._heard(host, event)
            return
        life = self._lives.get(event.unit)
        if life is None:
            return
        life.incarnations.add(event.incarnation)
        if event.kind is Kind.ARRIVE and event.step == START:
            life.at_gate = True
        elif event.kind is Kind.STATE and event.step == "begun":
            life.asked_ns = life.started_ns = event.stamp_ns
        elif event.kind is Kind.STATE and event.step == "imported":
            life.imported_ns = event.stamp_ns
            if life.unit.ready is None and not life.head_start_ns:
                self._got_ready(life, event.stamp_ns)
        elif event.kind in USER_KINDS:
            life.missing.discard(event.step)
            if event.step == life.unit.ready:
                self._got_ready(life, event.stamp_ns)
            elif not life.up and event.step not in life.steps and len(life.steps) < REMEMBERED_STEPS:
                life.steps.append(event.step)

    def joined(self, unit: str, incarnation: int, waiting: Sequence[str] = ()) -> None:
        """A HELLO: a process speaks as `unit`; `waiting` are the asks on which it is still blocked."""
        life = self._lives.get(unit)
        if life is None:
            return
        if life.external and not life.incarnations and life.asked_ns is not None:
            life.asked_ns = self._now_ns  # its time to join is over, and that to get ready begins
        life.talking.add(incarnation)
        life.incarnations.add(incarnation)
        if START in waiting:
            life.at_gate = True
        if life.external and life.unit.ready is None:
            self._got_ready(life, self._now_ns)

    def final(self, unit: str, incarnation: int) -> None:
        """A FINAL: that incarnation will say nothing more. An external unit has finished when all of them said so and
        its required probes have fired. A supervisor that has not told the ends of its units was killed, and somebody
        has published what it had written down."""
        if (host := host_of(unit)) is not None and host != LOCAL and self._served.get(host) == incarnation:
            self._supervisor_was_killed(host, self._spoke_ns.get(host, self._now_ns))
        life = self._lives.get(unit)
        if life is None:
            return
        life.talking.discard(incarnation)
        if life.external and not life.service and life.up and not life.talking and not life.missing:
            self._end(life, State.FINISHED, "has said everything")

    def settled(self) -> None:
        """The circuits need nothing more from the services: they may be stopped."""
        self._settled = True

    def stop(self, reason: str) -> None:
        """End every unit; `reason` is a clause: "the run was interrupted"."""
        self._stopped_why = self._stopped_why or reason

    def interrupt(self) -> None:
        """A person wants the run to end now. Nobody has come to an end then: what was cut off might still have come."""
        self._interrupted = True
        self.stop("the run was interrupted")

    # --- hosts --------------------------------------------------------------------------------------------------------

    def host(self, change: Away | Back | Gone, now_ns: int = 0) -> None:
        """What was decided about a host, at `now_ns`. The units of one that is back, within its lease, are what they
        were."""
        self._now_ns = max(self._now_ns, now_ns)
        for life in self._on(change.host):
            if isinstance(change, Back) and life.away is not None:
                life.find_again(self._now_ns)
            elif isinstance(change, Away) and not life.state.ended and life.away is None:
                life.lose_sight(_lost_with(change), self._now_ns)
        if isinstance(change, Gone):
            self._host_gone(change)

    def _host_gone(self, gone: Gone) -> None:
        """It will not come back, and nothing that was started there lives any more."""
        here = gone.host in self._served
        sentence = _lost_with(gone) if here else f"did not start: host {gone.host} {gone.why}"
        for life in self._on(gone.host):
            if life.away is not None:
                life.find_again(self._now_ns)
            life.lost = life.lost or (life.alive and bool(life.incarnations or life.pid is not None))
            life.alive = False
            if not life.state.ended and life.up:
                self._fail(life, sentence)
            elif not life.state.ended:
                self._came_to_nothing(life, sentence)

    def _on(self, host: str) -> list[UnitState]:
        return [life for life in self._lives.values() if life.unit.host == host and not life.external]

    def _heard(self, host: str, event: Event) -> None:
        """Its supervisor says something, which is told of units there alone: so the host is back, if it was away."""
        for away in self._on(host):
            if away.away is not None:
                away.find_again(self._now_ns)
        if event.step == "serving" and event.key is None:
            if self._served.get(host, event.incarnation) != event.incarnation:
                self._supervisor_was_killed(host, event.stamp_ns)
            self._served[host] = event.incarnation
        self._spoke_ns[host] = event.stamp_ns
        told = self._lives.get(event.key or "")
        if event.kind is Kind.STATE and told is not None and told.unit.host == host:
            self._reported(told, report_of(event))

    def _supervisor_was_killed(self, host: str, stamp_ns: int) -> None:
        """There is another one now. The units of the one before were killed with it; what they wrote is in the log."""
        for life in self._on(host):
            if life.away is not None:
                life.find_again(self._now_ns)
            if life.alive and life.pid is not None:
                life.alive, life.exit_code, life.ended_ns = False, -9, stamp_ns
                self._exited(life)

    @property
    def all_up(self) -> bool:
        """Every unit has been ready, or has ended."""
        return all(life.up or life.state.ended for life in self._lives.values())

    # --- what it means ------------------------------------------------------------------------------------------------

    def _reported(self, life: UnitState, report: UnitReport) -> None:
        if report.step == "spawned":
            life.pid = report.pid
            if not life.gated:
                life.started_ns = report.stamp_ns
                if life.unit.ready is None:
                    self._got_ready(life, report.stamp_ns)
        elif report.step == "not-started":
            life.alive = False
            life.ended_ns = report.stamp_ns
            where = "" if life.unit.host == LOCAL else f" on host {life.unit.host}"
            self._came_to_nothing(life, f"did not start{where}: {report.why or 'the supervisor says no reason'}")
        elif report.step == "stopping":
            if life.stopping_ns is None and life.unit.host != LOCAL and not life.state.ended:
                why = report.why or "does not say why"
                life.ended_ns = report.stamp_ns
                self._fail(life, f"was ended on host {life.unit.host}, whose supervisor {why}")
            life.stopping_ns = life.stopping_ns or report.stamp_ns
        elif report.step == "silent-end":
            life.killed = 0 < life.unit.stop_timeout_ns <= report.waited_ms * 1_000_000  # else it was hurried
        elif report.step == "exited":
            life.alive = False
            life.ended_ns, life.exit_code = report.stamp_ns, report.code
            life.tail, life.tail_of = report.tail, life.out if report.of_output else life.err
            if report.by_itself:
                life.stopping_ns = None
            if report.leftover:
                life.leftover_ns = report.stamp_ns - report.leftover_ms * 1_000_000
                life.accuse(FindingClass.LEFTOVER, f"left processes behind: {', '.join(report.leftover)}")
            self._exited(life)

    def _exited(self, life: UnitState) -> None:
        """Its process and everything in its group is gone, and all that it said is in the log."""
        accepted = life.exit_code in life.unit.exit_codes
        if life.killed:
            sentence = f"did not end within {span(life.unit.stop_timeout_ns)} of SIGTERM and had to be killed"
            life.accuse(FindingClass.UNIT_FAILED, sentence)
            if not life.again and not life.state.ended:
                self._end(life, State.FAILED, sentence)
        if life.again:
            life.renew()
        elif life.state.ended:
            pass  # judged before its process was gone
        elif life.stopping_ns is not None:
            hurried = life.exit_code == -9 and not life.unit.stop_timeout_ns
            if accepted or life.exit_code in ENDED_BY_US or hurried or self._stopped_why:
                life.state = State.STOPPED
            else:
                self._fail(life, f"{life.end()}, when it was stopped")
        elif accepted and (life.up or life.head_start_ns):
            life.up = True
            self._end(life, State.FINISHED, life.end())
        elif self._restarts(life):
            pass
        elif life.up:
            self._fail(life, life.end())
        else:
            self._came_to_nothing(life, f"{life.end()}, {life.before()}")

    def _restarts(self, life: UnitState) -> bool:
        """Whether its failure is forgiven and it is started again; with `Resume-ALL`, everybody is."""
        everybody = self._older is not None and life.name in self._older.restart_all
        if self._stopped_why or life.restarts >= RESTARTS or not (everybody or life.unit.restart == "on-failure"):
            return False
        self._forgiven.update((life.name, incarnation) for incarnation in life.incarnations)
        life.renew()
        for other in self._lives.values() if everybody else ():
            if other.alive:
                other.again = True
            elif other is not life and not other.external:
                other.renew()
        return True

    def _got_ready(self, life: UnitState, stamp_ns: int) -> None:
        if not life.up and not life.state.ended:
            life.up, life.ready_ns, life.state = True, stamp_ns, State.READY
            self._run()

    def _run(self) -> None:
        """Once all have been ready, whoever is ready runs."""
        self._complete = self._complete or self.all_up
        for life in self._lives.values() if self._complete else ():
            if life.state is State.READY:
                life.state = State.RUNNING

    def _end(self, life: UnitState, state: State, why: str) -> None:
        life.state, life.why, life.ended_ns = state, why, life.ended_ns or self._now_ns
        self._run()

    def _fail(self, life: UnitState, sentence: str, cls: FindingClass = FindingClass.UNIT_FAILED) -> None:
        self._end(life, State.FAILED, sentence)
        life.accuse(cls, sentence, life.instead() if cls is FindingClass.NOT_READY else ())

    def _came_to_nothing(self, life: UnitState, sentence: str) -> None:
        """It did not get ready."""
        self._fail(life, sentence, FindingClass.NOT_READY if life.unit.ready is not None else FindingClass.UNIT_FAILED)
        self.stop(f"{life.name} {sentence}")

    def _check_times(self, life: UnitState) -> None:
        if self._passed(life.head_start_end_ns):
            self._got_ready(life, self._now_ns)
        if self._passed(life.ready_due_ns):
            self._came_to_nothing(life, life.overdue())
        elif self._passed(life.end_due_ns):
            self._fail(life, f"still ran after its time of {span(life.unit.timeout_ns or 0)}")

    def _check_the_run(self) -> None:
        if self._passed(self._deadline_ns):
            limit = span(self._limit_ns)
            for life in self._lives.values():
                if life.alive and not life.state.ended and not life.service:
                    self._fail(life, f"still ran when the scenario's time of {limit} was over")
            self.stop(f"the scenario's time of {limit} was over")
        elif self._linger is not None and self._complete:
            complete = not any(life.missing for life in self._lives.values() if not life.external)
            self._dismissed = self._linger.over(complete, self._now_ns)

    def _passed(self, time_ns: int | None) -> bool:
        return time_ns is not None and self._now_ns >= time_ns


def _lost_with(change: Away | Gone) -> str:
    """What became of a unit when its host vanished; completes "<unit> ..."."""
    return f"was lost with host {change.host}, which {change.why}"
