"""What the two trackers of instances share: units, horizons, waiting for watermarks, keys that are over.

Belongs here: when an instance of one circuit may be judged. How its events are kept is in `fixed_tracker` (circuits
whose every slot takes one event; fast) and `flexible_tracker` (all others); how it is judged is in `judge`.

A satisfied instance is judged when the watermarks of all units of the circuit have passed its latest event: no event
that would change it can come any more. An unsatisfied one is judged when the watermarks of the units that could
satisfy it have passed its deadline by more than the clock error: what is missing is a fault at once, and what came
late or too early is one when the watermarks of all units have passed its latest event. If more comes after all (from a
forked child that joins late), it is judged again.

Memory is bounded in instances that are judged. How far back the verifier knows:
- Of each circuit the last 32,768 verdicts that more events could change (something missing, or a slot that may take
  more) are revised when more comes. Older verdicts are not revised: what was missing and comes later, or what a
  slot might still take, changes nothing.
- One more event for a full slot of an instance that is over is a `duplicate`: surely for the last 65,536 instances,
  and with the chance that `closed_keys` states for older ones. A key that is forgotten begins a new instance.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from math import inf
from sys import maxsize
from typing import Final, Generic, TypeVar

from runner.core.verifier.circuit_tally import CircuitTally
from runner.core.verifier.closed_keys import ClosedKeys
from runner.core.verifier.deadlines import Deadlines
from runner.core.verifier.judge import EventRef, Fault, InstanceState, Judgement, hangs_on_the_earliest
from runner.core.verifier.pattern import Plan
from runner.core.verifier.watermarks import Horizon, Watermarks
from runner.model.result.clocks import Clocks
from runner.model.result.result import UNKNOWN, FindingClass

Instance = TypeVar("Instance")

REVISABLE: Final = 32_768
"""Instances of a circuit that were judged and may still be judged again; beyond that the oldest is not."""

_MARGIN_LASTS: Final = 100
"""How often the margin is used before it is looked up anew, once there is one."""

UNFINISHED: Final = 7
"""Mark of a key whose instance was given up while something was missing: more events for it change nothing."""


class InstanceTracker(ABC, Generic[Instance]):
    """The instances of one circuit, from first event to verdict."""

    def __init__(self, plan: Plan, tally: CircuitTally, watermarks: Watermarks, clocks: Clocks) -> None:
        self.plan = plan
        self.tally = tally
        self.units: list[set[str]] = [set() for _ in plan.places]
        """For each place the units that could satisfy it, as far as they are known."""
        self.all_units: set[str] = set()
        self._watermarks = watermarks
        self._clocks = clocks
        self._margin_ns = 0
        self._margin_age = 0
        self._deadlines: Deadlines[Instance] = Deadlines(len(plan.places), self._is_open)
        self._satisfied: list[tuple[int, int, list[Instance]]] = []
        self._to_look_at: deque[Instance] = deque()
        """Open when a unit ended; something may be absent now."""
        self._withheld: list[tuple[int, int, Instance]] = []
        """What they lack is a fault already; their other faults are withheld until the watermarks pass a stamp."""
        self._serial = 0
        self._over = [ClosedKeys() for _ in range(plan.segments)]
        """For each segment of the path the keys whose instances are over, marked with their state."""
        self._repeats: dict[tuple[str | None, int], Fault] = {}
        self._closing = False
        self._ended: list[bool] = [False] * len(plan.places)
        limits = [(p.within_ns, p.index) for p in plan.places[1:] if p.within_ns is not None]
        if plan.circuit.within_ns is not None:
            limits.append((plan.circuit.within_ns, min(1, len(plan.places) - 1)))
        self._least_within = min(limits, default=None)

    # --- units ------------------------------------------------------------------------------------------------------

    def meet(self, unit: str) -> None:
        """A unit is known now."""
        for place, units in zip(self.plan.places, self.units, strict=True):
            if any(self.plan.slots[slot].means(unit) for slot in place.slots):
                units.add(unit)
                self.all_units.add(unit)
                self._margin_age = 0

    def horizons(self, *, closing: bool = False) -> list[Horizon]:
        """For each place how far it is decided what will not satisfy it. `closing`: units that never showed themselves
        hold nothing back any more."""
        margin = self._clock_margin()
        horizon = self._watermarks.horizon
        return [horizon(units, margin) if units or not closing else Horizon(inf, True) for units in self.units]

    def _clock_margin(self) -> int:
        """What is surely after a deadline is so much later: at least the largest clock error between two units of the
        circuit. Looked up anew now and then, it changes slowly."""
        if not self._clocks.one_clock:
            self._margin_age -= 1
            if self._margin_age < 0:
                self._margin_ns = self._max_clock_error()
                self._margin_age = _MARGIN_LASTS if 0 < self._margin_ns < UNKNOWN else 0
        return self._margin_ns

    def _max_clock_error(self) -> int:
        """An error that no two units of the circuit exceed at present. Each is compared with one of them, because there
        may be a thousand: two others are no further apart than both are from that one."""
        marks = self._watermarks.marks
        known = [unit for unit in self.all_units if marks.get(unit, -inf) > -inf]
        now = [int(marks[unit]) for unit in known if marks[unit] < inf]
        if not now:
            return 0
        worst, one = self._clocks.worst, known[0]
        errors = sorted(worst(one, unit, min(now), max(now)) for unit in known[1:])
        return min(sum(errors[-2:]), UNKNOWN)

    # --- judging ----------------------------------------------------------------------------------------------------

    def settle(self, most: int = maxsize) -> bool:
        """Judge what the watermarks now decide; of what is judged one by one about `most`. Returns whether there may be
        more."""
        if self._withheld:
            low = self._watermarks.low(self.all_units)
            passed: list[Instance] = []
            while self._withheld and self._withheld[0][0] <= low and len(passed) < most:
                passed.append(heappop(self._withheld)[2])
            if passed:
                self._look_again(passed)
                most -= len(passed)
        self._find_satisfied()
        if self._satisfied:
            low = self._watermarks.low(self.all_units)
            while most > 0 and self._satisfied and self._satisfied[0][0] <= low:
                most -= self._conclude(heappop(self._satisfied)[2])
        if self._to_look_at or self._deadlines:
            horizons = self.horizons()
            while self._to_look_at and most > 0:
                instance = self._to_look_at.popleft()
                if self._is_open(instance):
                    self._look(instance, horizons)
                    most -= 1
            due = self._deadlines.due([horizon.stamp_ns for horizon in horizons], most)
            # one that was queued twice may be judged by now
            self._wait([(i, waits) for i in due if self._is_open(i) and (waits := self._look(i, horizons))])
            most -= len(due)
        return most <= 0

    def unit_ended(self) -> None:
        """A unit that takes part has said everything: what only it could satisfy is absent, deadline or not."""
        ended = [horizon.final for horizon in self.horizons()]
        if ended != self._ended:
            self._ended = ended
            self._find_satisfied()
            self._to_look_at = deque(self._all_open())

    def close(self, most: int | None = None) -> None:
        """The run is over: judge everything as of the watermarks; of what is judged one by one about `most`."""
        self._closing = True
        self._find_satisfied()
        left = maxsize if most is None else most
        while self._satisfied and left > 0:
            left -= self._conclude(heappop(self._satisfied)[2])
        self._close(self.horizons(closing=True), most)

    def _hold(self, latest_ns: int, instances: list[Instance]) -> None:
        """`instances` are satisfied and may be judged when the watermarks pass `latest_ns`."""
        self._serial += 1
        heappush(self._satisfied, (latest_ns, self._serial, instances))

    def _withhold(self, instance: Instance, judgement: Judgement) -> None:
        """`instance` lacks something for certain; withhold what an earlier event, still on its way, could undo."""
        if (
            any(map(hangs_on_the_earliest, judgement.faults))
            and self._watermarks.low(self.all_units) < judgement.latest_ns
        ):
            judgement.withhold(hangs_on_the_earliest)
            self._serial += 1
            heappush(self._withheld, (judgement.latest_ns, self._serial, instance))

    def _wait(self, waiting: Iterable[tuple[Instance, tuple[int, int]]]) -> None:
        """Queue open instances by the deadline and the place that each waits for."""
        by_place: dict[int, list[tuple[int, Instance]]] = {}
        for instance, (due, place) in waiting:
            by_place.setdefault(place, []).append((due, instance))
        for place, found in by_place.items():
            self._deadlines.push(min(due for due, _ in found), place, [instance for _, instance in found])

    def _wait_first(self, first_ns: int, instances: list[Instance]) -> None:
        """Queue instances that began at `first_ns` or later."""
        if self._least_within is not None:
            within, place = self._least_within
            self._deadlines.push(first_ns + within, place, instances)

    @abstractmethod
    def _is_open(self, instance: Instance) -> bool:
        """Whether it is neither satisfied nor judged."""

    @abstractmethod
    def _all_open(self) -> Iterable[Instance]:
        """Every instance that is neither satisfied nor judged."""

    @abstractmethod
    def _find_satisfied(self) -> None:
        """Find out which instances have become satisfied since the last call."""

    @abstractmethod
    def _conclude(self, instances: list[Instance]) -> int:
        """Judge satisfied instances: no event can change them any more. How many of them were judged one by one."""

    @abstractmethod
    def _look(self, instance: Instance, horizons: Sequence[Horizon]) -> tuple[int, int] | None:
        """Judge an open instance if something is absent; else returns the deadline and place it waits for."""

    @abstractmethod
    def _look_again(self, instances: list[Instance]) -> None:
        """Judge instances again of which faults were withheld, if they still lack something."""

    @abstractmethod
    def _close(self, horizons: Sequence[Horizon], most: int | None) -> None:
        """Judge what is left."""

    # --- what the session asks ---------------------------------------------------------------------------------------

    @abstractmethod
    def open_count(self) -> int:
        """Instances that are not judged, satisfied ones among them."""

    @abstractmethod
    def due_count(self) -> int:
        """How many of them only wait for watermarks to pass a stamp or a deadline."""

    def next_ns(self) -> int | None:
        """The earliest stamp that the watermarks must pass before something more can be judged."""
        soonest = self._deadlines.next_ns()
        if self._satisfied:
            return min(self._satisfied[0][0], soonest) if soonest is not None else self._satisfied[0][0]
        return soonest

    def laggards(self, until_ns: int) -> set[str]:
        """Units and supervisors that have to say more before what is due by `until_ns` can be judged."""
        behind = self._watermarks.behind
        margin = self._clock_margin()
        found: set[str] = set()
        if self._satisfied and self._satisfied[0][0] <= until_ns:
            latest = max(entry[0] for entry in self._satisfied if entry[0] <= until_ns)
            found |= behind(self.all_units, latest)
        for due, place in self._deadlines.waiting(until_ns) if margin < UNKNOWN else ():
            found |= behind(self.units[place], due + margin)
        return found

    # --- keys that are over ------------------------------------------------------------------------------------------

    def _retire(self, key: str | None, judgement: Judgement, over: ClosedKeys) -> None:
        """Remember that the instance of `key` is over."""
        over.add(key, judgement.state if judgement.satisfied else UNFINISHED)
        for fault in judgement.faults:
            if fault.cls is FindingClass.DUPLICATE and fault.slot is not None and len(self._repeats) < REVISABLE:
                self._repeats[key, fault.slot] = fault

    def _count_repeat(self, key: str | None, state: int, event: EventRef, over: ClosedKeys) -> None:
        """One event beyond the most that its slot takes, for an instance that is over: a duplicate."""
        slot = self.plan.slots[event.slot]
        if state == UNFINISHED:
            return
        fault = self._repeats.get((key, event.slot))
        if fault is None:
            most = slot.at_most or 0
            fault = Fault(
                FindingClass.DUPLICATE, self.plan.name, key, event.slot, slot.place, event, value=most, limit=most
            )
            if len(self._repeats) < REVISABLE:
                self._repeats[key, event.slot] = fault
            self.tally.fault_log.add(fault)
            self.tally.judged[InstanceState(state)] -= 1
            self.tally.judged[InstanceState.HARD] += 1
            over.add(key, InstanceState.HARD)
        elif fault.event is not None and event < fault.event:
            fault.event = event
        fault.value += 1
