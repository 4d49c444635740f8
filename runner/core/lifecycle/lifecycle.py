"""When a unit may begin, what its end means and when the run is over: events and the time in, orders out.

Belongs here: what an event, the end of a process, a vanished host or an expired time means for units, and the orders
that follow, as values. Must not know processes, sockets or clocks: times are arguments, in nanoseconds of the run's
timeline.

The rules in short. Python units (`entrypoint`) are started at once and wait at the start gate; commands are started
when they may begin. A unit may begin when all its `after` are ready. A unit that does not get ready ends the run at
once: a system that never came up is not worth watching. One that fails later makes the run fail, but the others go on
to their own end. Services are stopped, dependents before what they depend on, when every other unit has ended and the
session says that the circuits are settled.
"""

from collections.abc import Callable, Sequence
from typing import Final

from probe.barrier import START
from probe.event import USER_KINDS, Event, Kind
from probe.message import Away, Back, Gone, Order, Release, Start, Sync
from runner.core.lifecycle.legacy_rules import Linger
from runner.core.lifecycle.report import UnitReport, report_of
from runner.core.lifecycle.supervisors import Supervisors
from runner.core.lifecycle.unit_state import UnitState, lost_with
from runner.core.lifecycle.unit_states import UnitStates
from runner.model.duration import span
from runner.model.orders import Directed, host_of, supervisor_of
from runner.model.result.result import FindingClass
from runner.model.result.unit_status import State
from runner.model.scenario.model import LOCAL, Scenario, Unit

RESTARTS: Final = 3
"""How often a unit is started again before its failure counts."""


class Lifecycle:
    """All units of one run. `launch` makes the order that starts a unit. The run begins at `now_ns`; None: when `begin`
    is called."""

    def __init__(self, scenario: Scenario, launch: Callable[[Unit], Start], now_ns: int | None = None) -> None:
        self.units = UnitStates(scenario)
        """What is known of each unit. To be read only."""
        self._legacy = scenario.legacy
        self._linger = Linger(scenario.legacy) if scenario.legacy is not None else None
        self._limit_ns = scenario.timeout_ns
        self._launch = launch
        self._now_ns = now_ns or 0
        self._deadline_ns: int | None = None
        self._supervisors = Supervisors()
        self._all_were_up = self._dismissed = self._settled = False
        self.stopped_why = ""
        """Why the run was ended early; "" when it was not. To be read only."""
        self.interrupted = False
        """Whether a person has ended the run, or the runner is gone. To be read only."""
        self._forgiven: set[tuple[str, int]] = set()
        if now_ns is not None:
            self.begin(now_ns)

    def begin(self, now_ns: int) -> None:
        """From now on units may be started, and the run's time counts."""
        self._now_ns, self._deadline_ns = now_ns, now_ns + self._limit_ns

    # --- what happened ------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """An event from the log. Those of kind ARRIVE and STATE all matter, others only from `units.wants`."""
        if (host := host_of(event.unit)) is not None:
            self._supervisor_event(host, event)
            return
        unit = self.units.get(event.unit)
        if unit is None:
            return
        unit.incarnations.add(event.incarnation)
        if event.kind is Kind.ARRIVE and event.step == START:
            unit.at_gate = True
        elif event.kind is Kind.STATE and event.step == "begun":
            unit.asked_ns = unit.started_ns = event.stamp_ns
        elif event.kind is Kind.STATE and event.step == "imported":
            unit.imported_ns = event.stamp_ns
            if unit.spec.ready is None and not unit.head_start_ns:
                self._become_ready(unit, event.stamp_ns)
        elif event.kind in USER_KINDS:
            unit.missing.discard(event.step)
            if event.step == unit.spec.ready:
                self._become_ready(unit, event.stamp_ns)
            else:
                unit.remember_step(event.step)

    def joined(self, name: str, incarnation: int, waiting: Sequence[str] = ()) -> None:
        """A HELLO: a process speaks as this unit; `waiting` are the asks on which it is still blocked."""
        unit = self.units.get(name)
        if unit is None:
            return
        unit.join(incarnation, self._now_ns)
        unit.at_gate = unit.at_gate or START in waiting
        if unit.external and unit.spec.ready is None:
            self._become_ready(unit, self._now_ns)

    def final(self, name: str, incarnation: int) -> None:
        """A FINAL: that incarnation emits nothing more. An external unit has finished when all of its incarnations sent
        theirs and its required probes have fired. The FINAL of a supervisor that has not reported the ends of its units
        comes from a recovered journal: it was killed."""
        if (host := host_of(name)) is not None and host != LOCAL and self._supervisors.serves(host, incarnation):
            self._supervisor_was_killed(host, self._supervisors.last_spoke_ns(host, self._now_ns))
        unit = self.units.get(name)
        if unit is None:
            return
        unit.talking.discard(incarnation)
        if unit.external and not unit.service and unit.up and not unit.talking and not unit.missing:
            self._end(unit, State.FINISHED, "has said everything")

    def settled(self) -> None:
        """The circuits need nothing more from the services: they may be stopped."""
        self._settled = True

    def stop(self, reason: str) -> None:
        """End every unit; `reason` is a clause: "the run was interrupted"."""
        self.stopped_why = self.stopped_why or reason

    def interrupt(self) -> None:
        """A person wants the run to end now. No unit ended by itself then: what was cut off might still have come."""
        self.interrupted = True
        self.stop("the run was interrupted")

    # --- hosts --------------------------------------------------------------------------------------------------------

    def host(self, change: Away | Back | Gone, now_ns: int = 0) -> None:
        """What was decided about a host, at `now_ns`. The units of one that is back, within its lease, are what they
        were."""
        self._now_ns = max(self._now_ns, now_ns)
        for unit in self.units.on(change.host):
            if isinstance(change, Away) and not unit.state.ended and unit.away is None:
                unit.host_away(lost_with(change), self._now_ns)
            elif not isinstance(change, Away):
                unit.host_back(self._now_ns)
            if isinstance(change, Gone):
                self._lose_with_host(unit, change)

    def _lose_with_host(self, unit: UnitState, gone: Gone) -> None:
        """The host will not come back, and no process that was started there is alive."""
        unit.lost = unit.lost or (unit.alive and bool(unit.incarnations or unit.pid is not None))
        unit.alive = False
        served = self._supervisors.serves(gone.host)
        sentence = lost_with(gone) if served else f"did not start: host {gone.host} {gone.why}"
        if not unit.state.ended and unit.up:
            self._fail(unit, sentence)
        elif not unit.state.ended:
            self._fail_to_get_ready(unit, sentence)

    def _supervisor_event(self, host: str, event: Event) -> None:
        """An event of a host's supervisor: so the host is back, if it was away. Only units there are its business."""
        for unit in self.units.on(host):
            unit.host_back(self._now_ns)
        if event.step == "serving" and event.key is None and self._supervisors.serve(host, event.incarnation):
            self._supervisor_was_killed(host, event.stamp_ns)
        self._supervisors.spoke(host, event.stamp_ns)
        about = self.units.get(event.key)
        if event.kind is Kind.STATE and about is not None and about.spec.host == host:
            self._unit_report(about, report_of(event))

    def _supervisor_was_killed(self, host: str, stamp_ns: int) -> None:
        """The units of that supervisor were killed with it; what they wrote is in the log."""
        for unit in self.units.on(host):
            unit.host_back(self._now_ns)
            if unit.alive and unit.pid is not None:
                unit.alive, unit.exit_code, unit.ended_ns = False, -9, stamp_ns
                self._exited(unit)

    # --- what it means ------------------------------------------------------------------------------------------------

    def _unit_report(self, unit: UnitState, report: UnitReport) -> None:
        if report.step == "spawned":
            unit.pid = report.pid
            if not unit.gated:
                unit.started_ns = report.stamp_ns
                if unit.spec.ready is None:
                    self._become_ready(unit, report.stamp_ns)
        elif report.step == "not-started":
            unit.alive = False
            unit.ended_ns = report.stamp_ns
            where = "" if unit.spec.host == LOCAL else f" on host {unit.spec.host}"
            self._fail_to_get_ready(unit, f"did not start{where}: {report.why or 'the supervisor gives no reason'}")
        elif report.step == "stopping":
            if unit.stopping_ns is None and unit.spec.host != LOCAL and not unit.state.ended:
                why = report.why or "gives no reason"
                unit.ended_ns = report.stamp_ns
                self._fail(unit, f"was ended on host {unit.spec.host}, whose supervisor {why}")
            unit.stopping_ns = unit.stopping_ns or report.stamp_ns
        elif report.step == "silent-end":
            unit.killed = 0 < unit.spec.stop_timeout_ns <= report.waited_ms * 1_000_000  # else it was hurried
        elif report.step == "exited":
            unit.take_exit(report)
            self._exited(unit)

    def _exited(self, unit: UnitState) -> None:
        """Its process and everything in its group is gone, and all that it emitted is in the log."""
        accepted = unit.exit_code in unit.spec.exit_codes
        if unit.killed:
            sentence = f"did not end within {span(unit.spec.stop_timeout_ns)} of SIGTERM and had to be killed"
            unit.add_finding(FindingClass.UNIT_FAILED, sentence)
            if not unit.restarting and not unit.state.ended:
                self._end(unit, State.FAILED, sentence)
        if unit.restarting:
            unit.renew()
        elif unit.state.ended:
            pass  # judged before its process was gone
        elif unit.stopping_ns is not None:
            if accepted or unit.obeyed or self.stopped_why:
                unit.state = State.STOPPED
            else:
                self._fail(unit, f"{unit.end()}, when it was stopped")
        elif accepted and (unit.up or unit.head_start_ns):
            unit.up = True
            self._end(unit, State.FINISHED, unit.end())
        elif self._restarts(unit):
            pass
        elif self.interrupted and self._may_restart(unit):  # it would have been, and then it had not failed
            self._forgive(unit)
            self._end(unit, State.STOPPED, f"{unit.end()}, and was not started again: {self.stopped_why}")
        elif unit.up:
            self._fail(unit, unit.end())
        else:
            self._fail_to_get_ready(unit, f"{unit.end()}, {unit.before()}")

    def _may_restart(self, unit: UnitState) -> bool:
        """Whether its failure does not count yet."""
        return unit.restarts < RESTARTS and (unit.spec.restart == "on-failure" or self._restarts_all(unit))

    def _forgive(self, unit: UnitState) -> None:
        self._forgiven.update((unit.name, incarnation) for incarnation in unit.incarnations)

    def _restarts_all(self, unit: UnitState) -> bool:
        return self._legacy is not None and unit.name in self._legacy.restart_all

    def _restarts(self, unit: UnitState) -> bool:
        """Whether its failure is forgiven and it is started again; with `Resume-ALL`, all units are."""
        if self.stopped_why or not self._may_restart(unit):
            return False
        all_units = self._restarts_all(unit)
        self._forgive(unit)
        unit.renew()
        for other in self.units if all_units else ():
            if other.alive:
                other.restarting = True
            elif other is not unit and not other.external:
                other.renew()
        return True

    def _become_ready(self, unit: UnitState, stamp_ns: int) -> None:
        if not unit.up and not unit.state.ended:
            unit.up, unit.ready_ns, unit.state = True, stamp_ns, State.READY
            self._run()

    def _run(self) -> None:
        """Once all units have been ready, those that are ready run."""
        self._all_were_up = self._all_were_up or self.units.all_up
        for unit in self.units if self._all_were_up else ():
            if unit.state is State.READY:
                unit.state = State.RUNNING

    def _end(self, unit: UnitState, state: State, why: str) -> None:
        unit.state, unit.why, unit.ended_ns = state, why, unit.ended_ns or self._now_ns
        self._run()

    def _fail(self, unit: UnitState, sentence: str, cls: FindingClass = FindingClass.UNIT_FAILED) -> None:
        self._end(unit, State.FAILED, sentence)
        unit.add_finding(cls, sentence, unit.instead() if cls is FindingClass.NOT_READY else ())

    def _fail_to_get_ready(self, unit: UnitState, sentence: str) -> None:
        self._fail(unit, sentence, FindingClass.NOT_READY if unit.spec.ready is not None else FindingClass.UNIT_FAILED)
        self.stop(f"{unit.name} {sentence}")

    # --- times --------------------------------------------------------------------------------------------------------

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do though nothing happens; None: never, as things are."""
        if self.stopped_why:
            return None
        due = [self._deadline_ns, self._linger.end_ns if self._linger is not None else None]
        for unit in self.units:
            if not unit.state.ended and unit.stopping_ns is None:
                due += [unit.ready_due_ns, unit.end_due_ns, unit.head_start_end_ns]
        return min((time for time in due if time is not None), default=None)

    def _check_times(self, unit: UnitState) -> None:
        if self._is_past(unit.head_start_end_ns):
            self._become_ready(unit, self._now_ns)
        if self._is_past(unit.ready_due_ns):
            self._fail_to_get_ready(unit, unit.overdue())
        elif self._is_past(unit.end_due_ns):
            self._fail(unit, f"still ran after its time of {span(unit.spec.timeout_ns or 0)}")

    def _check_the_run(self) -> None:
        if self._is_past(self._deadline_ns):
            limit = span(self._limit_ns)
            for unit in self.units:
                if unit.alive and not unit.state.ended and not unit.service:
                    self._fail(unit, f"still ran when the scenario's time of {limit} was over")
            self.stop(f"the scenario's time of {limit} was over")
        elif self._linger is not None and self._all_were_up:
            complete = not any(unit.missing for unit in self.units if not unit.external)
            self._dismissed = self._linger.over(complete, self._now_ns)

    def _is_past(self, time_ns: int | None) -> bool:
        return time_ns is not None and self._now_ns >= time_ns

    # --- orders -------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Directed]:
        """The orders that are due at `now_ns`. To be asked after every batch of events, and at `next_deadline_ns`."""
        self._now_ns = now_ns
        for unit in self.units:
            if not unit.state.ended and unit.stopping_ns is None:
                self._check_times(unit)
        if not self.stopped_why:
            self._check_the_run()
        if self.stopped_why:
            return self._stop_all()
        may_start = self._supervisors.serves(LOCAL) and self._deadline_ns is not None
        return [*self._start_some(), *self._stop_some()] if may_start else []

    def repeat(self) -> list[Directed]:
        """Orders given whose effect the log does not show yet: they may be lost. Harmless when they are not."""
        return [_to_supervisor(unit, order) for unit in self.units for order in unit.unconfirmed(self._launch)]

    def _start_some(self) -> list[Directed]:
        """Units that may begin are started, or let through the start gate."""
        orders = []
        for unit in self.units:
            created = unit.state is State.CREATED
            free = not created or not self.units.unready_needs(unit)
            served = self._supervisors.serves(unit.spec.host) and unit.away is None
            if created and not unit.alive and not unit.external and served and (free or unit.gated):
                orders.append(_to_supervisor(unit, unit.begin_to_start(self._now_ns, self._launch)))
            if not free or (unit.gated and not unit.at_gate) or not (served or unit.external):
                continue
            if unit.at_gate:  # once, or again when the answer was lost on its way
                unit.at_gate = False
                orders.append(Directed(Release(START), (unit.name,)))
            if created:
                unit.state = State.STARTING
                unit.asked_ns = unit.started_ns = self._now_ns
        return orders

    def _stop_some(self) -> list[Directed]:
        """The units that are out of time, are to be started again, are dismissed, or are services without a use."""
        over = self._settled and self.units.idle
        orders: list[Directed] = []
        if over:
            for unit in self.units:
                if unit.external and not unit.state.ended:
                    orders += self._let_go(unit, "was not needed any more")
        alive = [unit for unit in self.units if unit.alive]
        needed = {name for unit in alive for name in unit.spec.after}
        for unit in alive:
            if unit.stopping_ns is not None or unit.away is not None:
                continue
            if unit.state.ended or unit.restarting:
                orders.append(self._stop(unit, unit.why))
            elif self._dismissed and not unit.service:
                orders.append(self._stop(unit, "was stopped: every required probe had fired"))
            elif over and unit.name not in needed:
                orders.append(self._stop(unit, "was stopped at the end"))
        return orders

    def _stop_all(self) -> list[Directed]:
        orders = []
        for unit in self.units:
            unit.restarting = False
            if unit.alive and unit.stopping_ns is None:
                orders.append(self._stop(unit, f"was stopped: {self.stopped_why}"))
            elif unit.external and not unit.state.ended:
                orders += self._let_go(unit, f"was not needed any more: {self.stopped_why}")
            elif not unit.alive and not unit.state.ended:
                self._end(unit, State.STOPPED, f"was not started: {self.stopped_why}")
        return orders

    def _let_go(self, unit: UnitState, why: str) -> list[Directed]:
        """The run did not start it and does not end it, so it is asked up to when all of its events are known."""
        self._end(unit, State.STOPPED, why)
        return [Directed(Sync(), (unit.name,))] if unit.owes_final else []

    def _stop(self, unit: UnitState, why: str) -> Directed:
        return _to_supervisor(unit, unit.begin_to_stop(self._now_ns, why))

    # --- how the run ended --------------------------------------------------------------------------------------------

    @property
    def silent(self) -> tuple[str, ...]:
        """Units whose FINAL is not awaited any more: not started by the run, or on a host that is gone."""
        return tuple(unit.name for unit in self.units if (unit.owes_final and self.stopped_why) or unit.lost)

    @property
    def forgiven(self) -> frozenset[tuple[str, int]]:
        """(unit, incarnation) of those that failed and were started again because the scenario says so."""
        return frozenset(self._forgiven)

    def is_cut_off(self, name: str) -> bool:
        """Whether the unit's absent events are not its fault: the run was interrupted, or ended what it left behind."""
        unit = self.units[name]
        return unit.leftover_ns is not None or (self.interrupted and unit.stopped_ns is not None)

    def unended(self, patience_ns: int) -> tuple[str, ...]:
        """Units that were to end and whose end was not reported `patience_ns` after their time was over."""
        return tuple(unit.name for unit in self.units if unit.unended(self._now_ns, patience_ns))


def _to_supervisor(unit: UnitState, order: Order) -> Directed:
    return Directed(order, (supervisor_of(unit.spec.host),))
