"""Events in, findings out: the front of the verifier.

Belongs here: the way of each record to the circuits that it matters to, and what the session asks. Must not know how
instances are judged (`judge`), kept (`fixed_tracker`, `flexible_tracker`) or explained (`explain`); reads no clock.

Nothing here decides by the order of arrival. Arrival only says *when* something can be judged: when the watermarks have
passed it (see `tracker`).

The loop in `batch` writes the rows of a `FixedTracker` by index, for speed: with a call of `Router.take` for each event
instead, 300,000 events of a circuit of three probes took about 1.5 times as much processor time. It does what
`FixedTracker.add` does; test_hot_loop.py shows that both give the same rows and results.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import inf
from sys import maxsize
from typing import Final

from probe.event import USER_KINDS, Kind
from probe.sift import Nothing, why_not
from probe.wire import Record
from runner.core.verifier import final_checks
from runner.core.verifier.circuit_tally import CircuitTally, FaultLog
from runner.core.verifier.context import Context
from runner.core.verifier.findings import findings
from runner.core.verifier.fixed_tracker import FixedTracker
from runner.core.verifier.flexible_tracker import FlexibleTracker
from runner.core.verifier.judge import EventRef
from runner.core.verifier.losses import Losses
from runner.core.verifier.pairs import RECEIVED, SENT, PairBook
from runner.core.verifier.pattern import compile_circuit
from runner.core.verifier.progress import Progress
from runner.core.verifier.reported_exceptions import ReportedExceptions
from runner.core.verifier.route import PAIRED, Route, Router, Tracker
from runner.core.verifier.timepieces import Timepieces
from runner.core.verifier.typos import named_steps
from runner.core.verifier.unit_activity import Activity, UnitActivity
from runner.core.verifier.watermarks import Watermarks
from runner.model.orders import SUPERVISOR, supervisor_of
from runner.model.result.clocks import ONE_CLOCK, Clocks
from runner.model.result.result import (
    UNKNOWN,
    CircuitResult,
    Evidence,
    Finding,
    Pairs,
    Required,
)
from runner.model.result.unit_status import UnitStatus
from runner.model.scenario.model import Scenario

_NOTHING_COUNTED: Final = Evidence()
JUDGED_CUT_OFF: Final = 2_000
"""So many open instances of each circuit are judged at the end of a run that was cut off."""
OWES: Final = "it has not said its last word"
NO_RECORD: Final = "what came is no record"
SETTLE_AFTER: Final = 262_144
"""Events after which the verifier settles by itself: while a recording is read back, nothing else asks it to."""
_EXCEPTION: Final = int(Kind.EXCEPTION)
_USER: Final = frozenset(map(int, USER_KINDS))


class Verifier:
    """Judges one run of `scenario`, whose stamps are on one timeline as exactly as `clocks` says. `result_of` makes a
    Result of what it found.

    Feed it with `join`, `batch`, `lose`, `final` and `end_unit` as the log has them, in any order that keeps each
    incarnation's own; call `settle` now and then, and `close` at the end. Names that begin with "@" are the fabric's
    and are ignored; so is everything after `close`. A record that is none is lost: it could have been anything.
    """

    def __init__(self, scenario: Scenario, clocks: Clocks = ONE_CLOCK) -> None:
        self.scenario = scenario
        self.fault_log = FaultLog()
        self._exceptions = ReportedExceptions(self.fault_log)
        self._clocks = clocks
        names = [unit.name for unit in scenario.units]
        self._watermarks = Watermarks(names)
        self._hosted = frozenset(unit.name for unit in scenario.units if unit.launcher != "external")
        """Units of which the scenario says on which host all their processes are."""
        for unit in scenario.units:
            if unit.name in self._hosted:
                self._watermarks.place(unit.name, [supervisor_of(unit.host)])
        self._pair_book = PairBook(clocks)
        self._activities: dict[str, UnitActivity[Route]] = {}
        self._trackers: list[Tracker] = []
        for circuit in scenario.circuits:
            plan = compile_circuit(circuit, names)
            kind = FixedTracker if plan.rigid else FlexibleTracker
            self._trackers.append(kind(plan, CircuitTally(plan, self.fault_log), self._watermarks, clocks))
        self.progress = Progress(scenario, self._trackers, self.has_seen)
        """What is open and what it waits for."""
        self._router = Router(scenario, self._trackers, self._pair_book)
        self._named = named_steps(scenario)
        self.losses = Losses()
        self._timepieces = Timepieces()
        self._unkept: set[tuple[str, int]] = set()
        """Incarnations that keep no journal."""
        self._latest_ns = 0
        """The latest stamp of all events."""
        self._began_ns: int | None = None
        self._closed = False
        self._unsettled = 0
        for name in names:
            self._activity_of(name)

    # --- evidence ---------------------------------------------------------------------------------------------------

    def join(self, unit: str, incarnation: int, supervisors: Iterable[str] = (), *, journal: bool = True) -> None:
        """An incarnation of `unit` is there, on a host of these supervisors. Without a `journal` it is not known
        what it emitted last, unless it says so itself. Repeating it is harmless."""
        if not unit.startswith("@"):
            self._activity_of(unit)
            self._watermarks.join(unit, incarnation)
            if not journal:
                self._unkept.add((unit, incarnation))
            if unit not in self._hosted:
                self._watermarks.place(unit, supervisors)

    def listed(self, supervisor: str, at_ns: int) -> None:
        """Every incarnation has joined that emitted anything up to `at_ns` on the host of this supervisor."""
        self._watermarks.listed(supervisor, at_ns)

    def batch(
        self,
        unit: str,
        incarnation: int,
        places: Sequence[Record | Nothing],
        watermark_ns: int,
        first: int | None = None,
    ) -> None:
        """Records of one incarnation, numbered from `first` (None: as the first one says); everything it emitted up to
        `watermark_ns` is in or was before. Each is looked at here: what is none is lost."""
        if unit.startswith("@") or self._closed:
            return
        activity = self._activity_of(unit)
        self._watermarks.join(unit, incarnation)
        number = (_number_of(places[0]) if places else 1) - 1 if first is None else first - 1
        if places:
            self.losses.receive(unit, incarnation, number + 1, number + len(places))
            self._note_beginning(places[0])
        self._timepieces.stamped(unit, incarnation, places, watermark_ns)
        find = activity.routes.get
        last: Record | None = None
        not_counted = 0
        for record in places:
            number += 1
            try:
                seq, stamp_ns, step, kind, key, data = record  # type: ignore[misc]  # or Nothing, which is caught
                route = find(step)
            except (TypeError, ValueError):
                self._lose_unsound(activity, incarnation, number, record)
                not_counted += 1
                continue
            if (
                seq != number
                or type(seq) is not int
                or type(stamp_ns) is not int
                or type(kind) is not int
                or (type(key) is not str and key is not None)
                or (type(data) is not dict and data is not None)
                or (route is None and type(step) is not str)
                or (kind and kind not in _USER)
            ):
                not_counted += 1
                if why_not(record, number):  # else it is the fabric's
                    self._lose_unsound(activity, incarnation, number, record)
                continue
            last = record  # type: ignore[assignment]
            if route is None:
                route = self._router.new_route(activity, step)
            if kind:
                if kind in PAIRED:
                    if key is not None:
                        site = route.sites.get(kind) or self._router.new_site(route, unit, step, kind)
                        self._pair_book.add(key, site, stamp_ns, unit)
                elif kind == _EXCEPTION:
                    self._exceptions.add(incarnation, EventRef(stamp_ns, -1, unit), step, key, data or {})
            rows = route.rows
            if rows is None:
                self._router.take(route, stamp_ns, unit, step, key, data)
                continue
            row = rows.get(key)
            if row is None:
                row = route.rigid.open(key, route.slot, stamp_ns, unit)
                if row is None:
                    continue
            elif route.begins:
                route.rigid.begin_late(row, stamp_ns)
            at = route.stamp_at
            if row[at] is None:
                row[at] = stamp_ns
                row[route.unit_at] = unit
                left = row[0] - 1
                row[0] = left
                if not left:
                    route.rigid.satisfied.append(row)
            else:
                route.rigid.add_extra(row, route.slot, stamp_ns, unit)
        if last is not None:
            activity.events += len(places) - not_counted
            activity.last_stamp_ns, activity.last_step = last[1], last[2]
            self._latest_ns = max(self._latest_ns, last[1])
        self._watermarks.advance(unit, incarnation, watermark_ns)
        self._unsettled += len(places)
        if self._unsettled > SETTLE_AFTER:
            self.settle()

    def lose(self, unit: str, incarnation: int, first: int, last: int, why: str) -> None:
        """Records `first`..`last` of the incarnation will never come. It may be a supervisor, too."""
        self.losses.lose(unit, incarnation, first, last, why)

    def doubt(self, unit: str, incarnation: int, why: str) -> None:
        """The incarnation may have emitted what will never come, and it is not known how much."""
        self.losses.doubt(unit, incarnation, why)

    def awaited_in_vain(self, asker: str, names: Iterable[str]) -> None:
        """`asker` got the answer that what it waited for will not come, because of these units or patterns. If that is
        not certain, neither is what became of `asker`."""
        self.losses.awaited_in_vain(asker, names)

    def final(self, unit: str, incarnation: int, last: int) -> None:
        """The incarnation says nothing more; `last` was its last sequence number."""
        if not unit.startswith("@"):
            self._activity_of(unit)
            self.losses.receive(unit, incarnation, last + 1, last)
            self.losses.has_said_all(unit, incarnation)
            self._watermarks.final(unit, incarnation)

    def owing(self, unit: str, until_ns: int) -> list[int]:
        """Its incarnations that are not final, and of which it is not known what they emitted up to `until_ns`."""
        margin_ns = self._clocks.error(unit, until_ns, SUPERVISOR, until_ns)
        return self._watermarks.silent(unit, until_ns - margin_ns if margin_ns < UNKNOWN else inf)

    def has_to_be_known(self, unit: str, until_ns: int) -> None:
        """What the unit emitted up to `until_ns` counts; incarnations that do not say it may have lost something."""
        for incarnation in self.owing(unit, until_ns):
            self.losses.owes(unit, incarnation, OWES)

    def end_unit(self, unit: str, stopped_ns: int | None = None, *, cut_off: bool = False) -> None:
        """The unit's process is gone and every incarnation of it is final. It was stopped at `stopped_ns`, so what
        was due later is no fault; nor, if the run was interrupted (`cut_off`), is what had no deadline. What is absent
        now is judged by `settle`."""
        self._activity_of(unit)
        for incarnation in self._watermarks.end(unit, stopped_ns, cut_off=cut_off):
            self.losses.owes(unit, incarnation, OWES)
        if not self._closed:
            for tracker in self._trackers:
                if unit in tracker.all_units:
                    tracker.unit_ended()

    def _note_beginning(self, place: Record | Nothing) -> None:
        if type(place) is list and type(place[1]) is int:
            self._began_ns = place[1] if self._began_ns is None else min(self._began_ns, place[1])

    def _lose_unsound(
        self, activity: UnitActivity[Route], incarnation: int, number: int, place: Record | Nothing
    ) -> None:
        """What came under this number is no record; the record that it should have been is lost."""
        activity.malformed += 1
        self.losses.lose(activity.unit, incarnation, number, number, f"{NO_RECORD}: {why_not(place, number)}")

    def _activity_of(self, unit: str) -> UnitActivity[Route]:
        activity = self._activities.get(unit)
        if activity is None:
            activity = self._activities[unit] = UnitActivity(unit)
            for tracker in self._trackers:
                tracker.meet(unit)
        return activity

    def forgive(self, lives: Iterable[tuple[str, int]]) -> None:
        """What these (unit, incarnation) reported as exceptions is no finding: they were started again for it."""
        self._exceptions.forgive(lives)

    # --- judging ----------------------------------------------------------------------------------------------------

    def settle(self, most: int = maxsize) -> bool:
        """Judge what the watermarks now decide; of what is judged one by one about `most` instances of each circuit.
        Returns whether there may be more."""
        self._unsettled = 0
        return not self._closed and True in [tracker.settle(most) for tracker in self._trackers]

    def close(self, *, cut_off: bool = False) -> None:
        """The run is over: judge everything as of the watermarks. What is not decided by them stays open. `cut_off`: it
        was interrupted, so that too few instances are no fault, nor is a probe that did not fire. As the user
        waits, only the first of a circuit's open instances are looked at; nearly all of them are just open."""
        if self._closed:
            return
        for unit in sorted({unit for unit, _ in self._unkept}):
            for incarnation in self._watermarks.silent(unit, self._latest_ns):
                if (unit, incarnation) in self._unkept:
                    self.losses.owes(unit, incarnation, f"it kept no journal, and {OWES}")
        for tracker in self._trackers:
            tracker.close(JUDGED_CUT_OFF if cut_off else None)
        self._closed = True
        fired = self._fired()
        for tracker in self._trackers:
            lost = self._lost_in(tracker)
            final_checks.judge_circuit(tracker, fired, self._named, lost_evidence=lost, cut_off=cut_off)
        unfired = final_checks.unfired(self.scenario, self.has_seen, lambda unit: self._watermarks.over((unit,)))
        final = self._watermarks.over(self._watermarks.marks)
        unpaired = final_checks.unpaired(self._pair_book, final=final, cut_off=cut_off)
        for fault in (*unfired, *unpaired):
            if not (cut_off and fault.unclear):
                self.fault_log.add(fault)

    # --- what there is to see ---------------------------------------------------------------------------------------

    def has_seen(self, unit: str, step: str) -> bool:
        """Whether the unit has fired that probe."""
        activity = self._activities.get(unit)
        return activity is not None and step in activity.routes

    def may_have_fired(self, name: str, step: str) -> bool:
        """Whether a unit has fired that probe, as far as is remembered. `name` may be a pattern."""
        activity = self._activities.get(name)
        if activity is not None:
            return activity.may_have_fired(step)
        return any(
            activity.may_have_fired(step) and fnmatchcase(unit, name) for unit, activity in self._activities.items()
        )

    def activity(self) -> dict[str, Activity]:
        """What each unit that is declared or on the bus has emitted."""
        return {unit: activity.activity() for unit, activity in self._activities.items()}

    @property
    def lost_count(self) -> int:
        """Records known to be lost."""
        return self.losses.count

    @property
    def may_have_lost_more(self) -> bool:
        """Whether there may be more lost records than are known."""
        return bool(self.losses.unknown)

    @property
    def finding_count(self) -> int:
        """All findings so far, also those that are counted only."""
        return sum(self.fault_log.counts.values()) + len(self.losses.ranges) + len(self.losses.unknown)

    def circuits(self) -> tuple[CircuitResult, ...]:
        """What every circuit comes to, as of now."""
        return tuple(
            final_checks.circuit_result(tracker, lost_evidence=self._lost_in(tracker)) for tracker in self._trackers
        )

    def _lost_in(self, tracker: Tracker) -> bool:
        """Whether a unit that matters to the circuit lost evidence."""
        return not self.losses.affected.isdisjoint(tracker.all_units)

    def findings(self, statuses: Mapping[str, UnitStatus], most: int | None = None) -> tuple[Finding, ...]:
        """What is wrong, in words, most telling first: the first of each class, then the rest by time. `statuses` is
        what is known of the units by name. `most` limits how many, cheaply: it looks at as many of each class."""
        context = Context(
            plans={tracker.plan.name: tracker.plan for tracker in self._trackers},
            all_units={tracker.plan.name: tracker.all_units for tracker in self._trackers},
            fired=self._fired(),
            named=self._named,
            strays=self._router.strays,
            losses=self.losses,
            statuses=statuses,
            faults=tuple(self.fault_log.faults(most)),
            clocks=self._clocks,
            began_ns=self._began_ns,
            timepieces=self._timepieces,
            sends=self._pair_book.probes(SENT),
            receives=self._pair_book.probes(RECEIVED),
        )
        return findings(context)[:most]

    def _fired(self) -> dict[str, Collection[str]]:
        return {unit: activity.routes.keys() for unit, activity in self._activities.items()}

    def pairs(self) -> Pairs:
        """Sends and receives by key."""
        return self._pair_book.summary()

    def required(self) -> Required:
        """The `expect` and `ready` probes of all units."""
        return final_checks.required(self.scenario, self.has_seen)

    def evidence(self, counted: Evidence = _NOTHING_COUNTED) -> Evidence:
        """The accounts: `counted`, which says what others have counted, with all that is counted here."""
        received = sum(activity.events for activity in self._activities.values())
        return replace(
            counted,
            emitted=received + self.lost_count,
            received=received,
            lost=tuple(self.losses.ranges),
            unknown=self.losses.unknown,
            malformed=sum(activity.malformed for activity in self._activities.values()),
        )


def _number_of(place: Record | Nothing) -> int:
    return place[0] if type(place) is list and type(place[0]) is int else 1
