"""When a unit may begin and when the run is over: events and the time in, orders out.

Belongs here: the orders, as values, and what is known of the run. What events mean is in `fates`. Must not know
processes, sockets or clocks: times are arguments, in nanoseconds of the run's timeline.

The rules in short. Python units (`entrypoint`) are started at once and wait at the start gate; commands are started
when they may begin. A unit may begin when all its `after` are ready. A unit that does not get ready ends the run at
once: a system that never came up is not worth watching. One that fails later makes the run fail, but the others go on
to their own end. Services are stopped, dependents before what they depend on, when every other unit has ended and the
session says that the circuits are settled.
"""

from probe.barrier import START
from probe.message import Order, Release, Sync
from runner.core.lifecycle.fates import Fates
from runner.core.lifecycle.unit_state import UnitState
from runner.model.orders import Directed, supervisor_of
from runner.model.result.result import Finding
from runner.model.result.unit_status import State, UnitStatus
from runner.model.scenario.model import LOCAL


class Lifecycle(Fates):
    """All units of one run. `launch` makes the order that starts a unit. The run begins at `now_ns`; None: when `begin`
    is called."""

    # --- what to do ---------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Directed]:
        """The orders that are due at `now_ns`. To be asked after every batch of events, and at `next_deadline_ns`."""
        self._now_ns = now_ns
        for life in self._lives.values():
            if not life.state.ended and life.stopping_ns is None:
                self._check_times(life)
        if not self._stopped_why:
            self._check_the_run()
        if self._stopped_why:
            return self._stop_all()
        may_start = LOCAL in self._served and self._deadline_ns is not None
        return [*self._let_begin(), *self._stop_some()] if may_start else []

    def repeat(self) -> list[Directed]:
        """Orders given whose effect the log does not show yet: they may be lost. Harmless when they are not."""
        return [
            _to_supervisor(life, order) for life in self._lives.values() for order in life.unconfirmed(self._launch)
        ]

    def _let_begin(self) -> list[Directed]:
        orders = []
        for life in self._lives.values():
            free = life.state is not State.CREATED or all(self._lives[name].supports for name in life.unit.after)
            served = life.unit.host in self._served and life.away is None
            if life.state is State.CREATED and not life.alive and not life.external and served and (free or life.gated):
                start = life.start(self._launch)
                life.alive, life.out, life.err, life.asked_ns = True, start.out, start.err, self._now_ns
                orders.append(_to_supervisor(life, start))
            if not free or (life.gated and not life.at_gate) or not (served or life.external):
                continue
            if life.at_gate:  # once, or again when the answer was lost on its way
                life.at_gate = False
                orders.append(Directed(Release(START), (life.name,)))
            if life.state is State.CREATED:
                life.state = State.STARTING
                life.asked_ns = life.started_ns = self._now_ns
        return orders

    def _stop_some(self) -> list[Directed]:
        """Whoever is out of time, is to be started again, is dismissed, or is a service that nobody needs any more."""
        over = self._settled and self.idle
        orders: list[Directed] = []
        if over:
            for life in self._lives.values():
                if life.external and not life.state.ended:
                    orders += self._let_go(life, "was not needed any more")
        living = [life for life in self._lives.values() if life.alive]
        needed = {name for life in living for name in life.unit.after}
        for life in living:
            if life.stopping_ns is not None or life.away is not None:
                continue
            if life.state.ended or life.again:
                orders.append(self._stop(life, life.why))
            elif self._dismissed and not life.service:
                orders.append(self._stop(life, "was stopped: every required probe had fired"))
            elif over and life.name not in needed:
                orders.append(self._stop(life, "was stopped at the end"))
        return orders

    def _stop_all(self) -> list[Directed]:
        orders = []
        for life in self._lives.values():
            life.again = False
            if life.alive and life.stopping_ns is None:
                orders.append(self._stop(life, f"was stopped: {self._stopped_why}"))
            elif life.external and not life.state.ended:
                orders += self._let_go(life, f"was not needed any more: {self._stopped_why}")
            elif not life.alive and not life.state.ended:
                self._end(life, State.STOPPED, f"was not started: {self._stopped_why}")
        return orders

    def _let_go(self, life: UnitState, why: str) -> list[Directed]:
        """Somebody else has started it, and may leave it alive: so it is asked to say up to when all is known of it."""
        self._end(life, State.STOPPED, why)
        return [Directed(Sync(), (life.name,))] if life.owes_a_word else []

    def _stop(self, life: UnitState, why: str) -> Directed:
        life.stopping_ns = self._now_ns
        if not life.state.ended:
            life.why = why
        return _to_supervisor(life, life.stop())

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def wants(self) -> frozenset[str]:
        """Units whose own events still matter here; those of all others need not be handed in."""
        everything = self._linger is not None
        return frozenset(
            life.name
            for life in self._lives.values()
            if not life.state.ended and (not life.up or (life.missing and (everything or life.external)))
        )

    @property
    def idle(self) -> bool:
        """Every other unit has ended, and all services are up: time to settle."""
        lives = self._lives.values()
        return self.all_up and all((life.state.ended and life.away is None) or life.service for life in lives)

    @property
    def over(self) -> bool:
        """Every unit has ended and no process of the run is left."""
        return all(life.state.ended and not life.alive for life in self._lives.values())

    @property
    def lives_here(self) -> bool:
        """Whether a unit of this host has not ended, or a process of one is left."""
        lives = [life for life in self._lives.values() if life.unit.host == LOCAL]
        return any(life.alive or not life.state.ended for life in lives)

    @property
    def gone(self) -> frozenset[str]:
        """Units that came to their end and said all they had to say. Of one that only fell silent nobody knows."""
        gone = [life for life in self._lives.values() if life.state.ended and not life.alive and not life.owes_a_word]
        return frozenset(life.name for life in gone if not life.lost)

    def stopped_ns(self, unit: str) -> int | None:
        """Since when the unit was not left to its own end; None: it was."""
        return self._lives[unit].stopped_ns

    def is_cut_off(self, unit: str) -> bool:
        """Whether it is not to blame for what it did not do: the run was interrupted, or ended what it left behind."""
        life = self._lives[unit]
        return life.leftover_ns is not None or (self._interrupted and life.stopped_ns is not None)

    @property
    def let_go(self) -> dict[str, int]:
        """Units that somebody else has started and nobody waits for any more, and that have not said their last word ->
        since when nobody does."""
        lives = [life for life in self._lives.values() if life.owes_a_word and life.state is State.STOPPED]
        return {life.name: life.ended_ns for life in lives if life.ended_ns is not None}

    @property
    def silent(self) -> tuple[str, ...]:
        """Units whose last word nobody waits for any more: started by somebody else, or on a host that is gone."""
        lives = self._lives.values()
        return tuple(life.name for life in lives if (life.owes_a_word and self._stopped_why) or life.lost)

    def unended(self, patience_ns: int) -> tuple[str, ...]:
        """Units that were to end and of whose end nobody has told, `patience_ns` after their time was over."""
        return tuple(life.name for life in self._lives.values() if life.unended(self._now_ns, patience_ns))

    @property
    def waits_for(self) -> str:
        """What keeps the run from being over: "the end of api, worker"; "" when it is."""
        left = [life.name for life in self._lives.values() if life.alive or not life.state.ended]
        return f"the end of {', '.join(left)}" if left else ""

    @property
    def stopped_why(self) -> str:
        """Why the run was ended early; "" when it was not."""
        return self._stopped_why

    @property
    def interrupted(self) -> bool:
        """Whether a person has ended the run, or whoever drove it is gone."""
        return self._interrupted

    @property
    def forgiven(self) -> frozenset[tuple[str, int]]:
        """(unit, incarnation) of lives that failed and were started again because the scenario says so."""
        return frozenset(self._forgiven)

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do though nothing happens; None: never, as things stand."""
        if self._stopped_why:
            return None
        due = [self._deadline_ns, self._linger.end_ns if self._linger is not None else None]
        for life in self._lives.values():
            if not life.state.ended and life.stopping_ns is None:
                due += [life.ready_due_ns, life.end_due_ns, life.head_start_end_ns]
        return min((time for time in due if time is not None), default=None)

    def statuses(self) -> tuple[UnitStatus, ...]:
        """Every unit, in the scenario's order. How often its probes fired is not known here."""
        return tuple(life.status(self._keeps_waiting(life)) for life in self._lives.values())

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with units, in the scenario's order."""
        return tuple(finding for life in self._lives.values() for finding in life.explained())

    def _keeps_waiting(self, life: UnitState) -> str:
        if life.state is not State.CREATED:
            return ""
        missing = [name for name in life.unit.after if not self._lives[name].supports]
        return f"waits for {', '.join(missing)}" if missing else ""


def _to_supervisor(life: UnitState, order: Order) -> Directed:
    return Directed(order, (supervisor_of(life.unit.host),))
