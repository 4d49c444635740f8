"""Where the events of one step of one unit go, found out once for each step.

Belongs here: routes as values, how they are found, and the way of an event that is no plain case. Must not know how an
instance is kept or judged.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from probe.event import Kind
from runner.core.verifier.circuit_tally import CircuitTally
from runner.core.verifier.closed_keys import Recent
from runner.core.verifier.fixed_tracker import FixedTracker, Row
from runner.core.verifier.flexible_tracker import FlexibleTracker
from runner.core.verifier.judge import EventRef, Fault
from runner.core.verifier.pairs import EXPLAINED, RECEIVED, SENT, PairBook
from runner.core.verifier.pattern import Slot, fires, holds
from runner.core.verifier.unit_activity import UnitActivity
from runner.model.result.in_words import data_in_words
from runner.model.result.result import FindingClass
from runner.model.scenario.model import Probe, Scenario

STRAYS: Final = 8192
"""Keys that are remembered though their event went to no circuit."""
PAIRED: Final = {int(Kind.SEND): SENT, int(Kind.RECEIVE): RECEIVED}
"""Kinds of events that are one half of a pair."""
Tracker: TypeAlias = FixedTracker | FlexibleTracker


class Route:
    """Where the events of one step of one unit go. `rows` is not None in the plain case: one slot of one rigid circuit,
    without `where`; the loop in `Verifier.batch` then needs nothing but what is beside it here."""

    __slots__ = ("begins", "nevers", "rigid", "rows", "sites", "slot", "stamp_at", "targets", "unit_at")

    def __init__(self, targets: Sequence[tuple[Tracker, Slot]], nevers: Sequence[tuple[CircuitTally, Probe]]) -> None:
        self.targets = targets
        self.nevers = nevers
        self.sites: dict[int, int] = {}
        self.rows: dict[str | None, Row] | None = None
        self.slot = self.stamp_at = self.unit_at = 0
        self.begins = False
        self.rigid: FixedTracker  # only where `rows` is
        if len(targets) == 1 and not nevers:
            ((tracker, slot),) = targets
            if isinstance(tracker, FixedTracker) and not slot.where:
                self.rigid, self.rows, self.slot = tracker, tracker.rows, slot.index
                self.stamp_at, self.unit_at = tracker.places_of(slot.index)
                self.begins = slot.place == 0


class Router:
    """Finds the routes of one run."""

    def __init__(self, scenario: Scenario, trackers: Sequence[Tracker], pairs: PairBook) -> None:
        self._scenario = scenario
        self._trackers = trackers
        self._pairs = pairs
        self._nevers = [(tracker.tally, probe) for tracker in trackers for probe in tracker.plan.circuit.never]
        self.strays: Recent[tuple[str, str]] = Recent(STRAYS)
        """Key -> unit and step of an event that went to no circuit."""

    def new_route(self, activity: UnitActivity[Route], step: str) -> Route:
        """The route of a step that the unit has not fired before. The unit's activity remembers it."""
        unit = activity.unit
        targets = [(t, slot) for t in self._trackers for slot in t.plan.slots if slot.takes(unit, step)]
        nevers = [(tally, probe) for tally, probe in self._nevers if fires(probe, unit, step)]
        route = Route(targets, nevers)
        activity.remember(step, route, always=bool(targets or nevers) or self._is_expected(unit, step))
        return route

    def _is_expected(self, unit: str, step: str) -> bool:
        return any(unit == u.name and (step in u.expect or step == u.ready) for u in self._scenario.units)

    def new_site(self, route: Route, unit: str, step: str, kind: int) -> int:
        """Where the pairs of this step begin or end, for a kind of `PAIRED` that came along the route for the first
        time."""
        explained = EXPLAINED if route.targets else 0
        site = route.sites[kind] = self._pairs.site(unit, step, PAIRED[kind] | explained)
        return site

    def take(
        self, route: Route, stamp_ns: int, unit: str, step: str, key: str | None, data: dict[str, Any] | None
    ) -> None:
        """An event that goes to no circuit, to several, or not to a plain slot."""
        for tracker, slot in route.targets:
            if not slot.where or slot.agrees(data):
                tracker.add(slot, stamp_ns, unit, key, data)
        for tally, probe in route.nevers:
            if holds(probe.where, data):
                event = EventRef(stamp_ns, -1, unit)
                note = data_in_words(data or {})
                fault = Fault(FindingClass.UNEXPECTED, key=key, event=event, unit=unit, step=step, note=note)
                tally.add_fault(fault)
        if not route.targets and key is not None:
            self.strays.add(key, (unit, step))
