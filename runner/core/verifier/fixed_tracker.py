"""Instances of circuits whose every slot needs exactly one event: the common case, and the fast one.

Belongs here: keeping such instances and judging many at once. The earliest event of a slot is the one that it needs;
the others are counted beside. An instance is one list:

    [slots left to fill, stamp of each slot..., unit of each slot..., key]

so that the loop over a batch of events (in `verifier`) stores a stamp with two subscriptions, and a thousand satisfied
instances are checked as columns, at C speed. Whatever is not flawless goes to `judge`, which alone decides.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import add, itemgetter, sub
from typing import Any, Final, NamedTuple, TypeAlias

from runner.core.verifier.circuit_tally import CircuitTally, Times
from runner.core.verifier.closed_keys import Recent
from runner.core.verifier.judge import EventRef, Filled, InstanceState, Judgement, judge
from runner.core.verifier.pattern import Plan, Slot
from runner.core.verifier.slot_events import Earliest
from runner.core.verifier.tracker import REVISABLE, InstanceTracker
from runner.core.verifier.watermarks import Horizon, Watermarks
from runner.model.result.clocks import Clocks

Row: TypeAlias = list[Any]
LEFT: Final = 0
KEY: Final = -1

Extras: TypeAlias = dict[int, Earliest]
"""By slot the events beyond the first: how many, and of the earliest as many as the slot takes. What it takes without
limit is not kept."""


class Over(NamedTuple):
    """A satisfied instance that was judged and may be judged again, as one of its slots takes more events."""

    row: Row
    extras: Extras
    judgement: Judgement | None
    """None: it was flawless when it was judged."""


class Failing(NamedTuple):
    """The judgement of an instance that something is missing of, and what had been seen of it then."""

    judgement: Judgement
    seen: tuple[Row, int]


class FixedTracker(InstanceTracker[Row]):
    """The instances of one rigid circuit."""

    def __init__(self, plan: Plan, tally: CircuitTally, watermarks: Watermarks, clocks: Clocks) -> None:
        super().__init__(plan, tally, watermarks, clocks)
        self._width = len(plan.slots)
        self.rows: dict[str | None, Row] = {}
        """Every instance that is not over, those in `_parked` excepted."""
        self.satisfied: list[Row] = []
        """Those whose last slot was filled since the last `settle`."""
        self._blank: Row = [self._width, *[None] * (2 * self._width), None]
        self._stamps = itemgetter(slice(1, self._width + 1))
        self._begin_slots = plan.places[0].slots
        self._recall = self._over[0].value_of
        self._begun: list[Row] = []
        self._begun_ns = 0
        self._parked: dict[str | None, Row] = {}
        """Begun, but no deadline runs at present; an event for one takes it out (see `open`)."""
        self._woken: list[Row] = []
        self._failing: OrderedDict[str | None, Failing] = OrderedDict()
        """Instances that something is missing of; more may still come."""
        self._extras: dict[str | None, Extras] = {}
        self._too_many: set[str | None] = set()
        """Keys of instances that have more events somewhere than are allowed."""
        self._elastic = any(slot.at_most != 1 for slot in plan.slots)
        self._revisable: Recent[Row | Over] = Recent(REVISABLE)
        """Satisfied instances that are over, where a slot takes more events: too many may come, and from a process that
        joins late one that is earlier than what was judged. Of one that was flawless there may be its row alone."""
        self._beginless = 0
        """How many in `rows`, not failing, have no event of the first element."""

    # --- taking events ----------------------------------------------------------------------------------------------

    def places_of(self, slot: int) -> tuple[int, int]:
        """Where in a row the stamp and the unit of `slot` stand."""
        return slot + 1, slot + 1 + self._width

    def add(self, slot: Slot, stamp_ns: int, unit: str, key: str | None, data: object) -> None:
        """An event for `slot`. The loop in `verifier` does the same without the calls."""
        del data
        row = self.rows.get(key)
        if row is None:
            row = self.open(key, slot.index, stamp_ns, unit)
            if row is None:
                return
        elif slot.place == 0:
            self.begin_late(row, stamp_ns)
        stamp_at, unit_at = self.places_of(slot.index)
        if row[stamp_at] is not None:
            self.add_extra(row, slot.index, stamp_ns, unit)
            return
        row[stamp_at], row[unit_at] = stamp_ns, unit
        row[LEFT] -= 1
        if not row[LEFT]:
            self.satisfied.append(row)

    def open(self, key: str | None, slot: int, stamp_ns: int, unit: str) -> Row | None:
        """The instance of a `key` that is not in `rows`, for an event of `slot`; None: it is over."""
        row = self._parked.pop(key, None) if self._parked else None
        if row is not None:
            self._woken.append(row)
        else:
            state = self._recall(key)
            if state is not None:
                self._once_more(key, state, EventRef(stamp_ns, slot, unit))
                return None
            row = self._blank.copy()
            row[KEY] = key
            if slot in self._begin_slots:
                self._begin(row, stamp_ns)
            else:
                self._beginless += 1
        self.rows[key] = row
        return row

    def begin_late(self, row: Row, stamp_ns: int) -> None:
        """An event of the first element comes to an instance that is in `rows` already."""
        if all(row[slot + 1] is None for slot in self._begin_slots):
            if row[KEY] not in self._failing:
                self._beginless -= 1
            self._begin(row, stamp_ns)

    def _begin(self, row: Row, stamp_ns: int) -> None:
        self.tally.started += 1
        if self._least_within is not None:
            if not self._begun or stamp_ns < self._begun_ns:
                self._begun_ns = stamp_ns
            self._begun.append(row)

    def add_extra(self, row: Row, slot: int, stamp_ns: int, unit: str) -> None:
        """One more event for a slot that has one. The earliest counts; the others are counted."""
        new, old = EventRef(stamp_ns, slot, unit), EventRef(row[slot + 1], slot, row[slot + 1 + self._width])
        if new < old:
            row[slot + 1], row[slot + 1 + self._width] = stamp_ns, unit
            new = old
        if self.plan.slots[slot].at_most is not None and self._add_to(self._extras.setdefault(row[KEY], {}), new):
            self._too_many.add(row[KEY])

    def _add_to(self, extras: Extras, event: EventRef) -> bool:
        """Add one more event to the extras of an instance; whether its slot has more than it takes."""
        most = self.plan.slots[event.slot].at_most
        assert most is not None
        if (extra := extras.get(event.slot)) is None:
            extra = extras[event.slot] = Earliest(event, most)
        else:
            extra.add(event)
        return extra.number >= most

    def _once_more(self, key: str | None, state: int, event: EventRef) -> None:
        """One more event for an instance that is over."""
        if (over := self._revisable.get(key)) is not None:
            self._revise(key, over, event)
        elif self.plan.slots[event.slot].at_most == 1:
            self._count_repeat(key, state, event, self._over[0])

    def _revise(self, key: str | None, over: Row | Over, event: EventRef) -> None:
        """Judge the instance again if `event` changes anything: it is earlier than what was needed, or one too many."""
        row, extras, before = over if isinstance(over, Over) else (over, {}, None)
        most = self.plan.slots[event.slot].at_most
        stamp_at, unit_at = self.places_of(event.slot)
        needed = EventRef(row[stamp_at], event.slot, row[unit_at])
        more = extras[event.slot].number + 1 if event.slot in extras else 1
        changes = event < needed or (most is not None and more >= most)
        if changes and before is None:
            before = self._judge(row, extras, ())
        if event < needed:
            row[stamp_at], row[unit_at] = event.stamp_ns, event.unit
        if most is not None:
            self._add_to(extras, max(event, needed))
        if changes and before is not None:
            self.tally.withdraw(before)
            before = self._judge(row, extras, ())
            self.tally.apply(key, before)
            self._retire(key, before, self._over[0])
        self._revisable.add(key, Over(row, extras, before))

    def _keep(self, row: Row, judgement: Judgement) -> None:
        """The instance is over and satisfied."""
        if self._elastic:
            self._revisable.add(row[KEY], Over(row, self._extras_of(row), judgement))

    # --- judging ----------------------------------------------------------------------------------------------------

    def _is_open(self, instance: Row) -> bool:
        return instance[LEFT] > 0 and instance[KEY] not in self._failing

    def _all_open(self) -> Iterable[Row]:
        return filter(self._is_open, chain(self.rows.values(), self._parked.values()))

    def _find_satisfied(self) -> None:
        if self._begun:
            self._wait_first(self._begun_ns, self._begun)
            self._begun = []
        if self._woken:
            woken, self._woken = self._woken, []
            horizons = self.horizons()
            self._wait((row, waits) for row in filter(self._is_open, woken) if (waits := self._look(row, horizons)))
        if self.satisfied:
            satisfied, self.satisfied = self.satisfied, []
            self._hold(max(map(max, map(self._stamps, satisfied))), satisfied)

    def _conclude(self, instances: list[Row]) -> int:
        flawed: list[Row]
        if self._too_many or self._failing:
            flawed = [row for row in instances if row[KEY] in self._too_many or row[KEY] in self._failing]
            known = {row[KEY] for row in flawed}
            flawed += self._conclude_flawless([row for row in instances if row[KEY] not in known])
        else:
            flawed = self._conclude_flawless(instances)
        if flawed:
            horizons = self.horizons()
            for row in flawed:
                self._finish(row, self._judge(row, self._extras_of(row), horizons))
        return len(flawed)

    def _conclude_flawless(self, rows: list[Row]) -> list[Row]:
        """Counts those of `rows` that are plainly complete; returns the others."""
        if not rows:
            return []
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        exact = self._clocks.one_clock or self._agree(columns)
        if not exact and (self._elastic or len(self.plan.places) < self._width):
            return rows  # the errors of each are kept, or whose stamp is the moment of an element differs
        flawed: set[int] = set()
        hops: list[Times] = []
        first = self.plan.places[0].slots
        begun = columns[first[0] + 1] if len(first) == 1 else list(map(min, *(columns[slot + 1] for slot in first)))
        before: Sequence[int] = ()
        before_slot = first[0]
        for place in self.plan.places:
            stamps = [columns[slot + 1] for slot in place.slots]
            moments = stamps[0] if len(stamps) == 1 else list(map(max, *stamps))
            if before:
                latencies = list(map(sub, moments, before))
                soonest = latencies if len(stamps) == 1 else list(map(sub, map(min, *stamps), before))
                if min(soonest) < 0:
                    flawed.update(i for i, latency in enumerate(soonest) if latency < 0)
                errors = None if exact else self._errors(columns, before_slot, place.slots[0])
                _find_late(latencies, errors, place.within_ns, flawed)
                hops.append((latencies, errors))
            before, before_slot = moments, place.slots[0]
        totals = list(map(sub, before, begun))
        errors = None if exact else self._errors(columns, first[0], before_slot)
        _find_late(totals, errors, self.plan.circuit.within_ns, flawed)
        total: Times = totals, errors
        keys: Sequence[str | None] = columns[KEY]
        rest = [rows[i] for i in sorted(flawed)]
        if flawed:
            fine = [i not in flawed for i in range(len(rows))]
            keys, total = list(compress(keys, fine)), _only(total, fine)
            hops = [_only(times, fine) for times in hops]
        self.tally.apply_flawless(len(keys), hops, total)
        if self._elastic:
            self._revisable.add_all(zip(keys, compress(rows, fine) if flawed else rows, strict=True))
            for key in self._extras.keys() & keys:
                self._revisable.add(key, Over(self.rows[key], self._extras.pop(key), None))
        for key in keys:
            del self.rows[key]
        self._over[0].add_all(keys, InstanceState.COMPLETE)
        return rest

    def _agree(self, columns: Sequence[Sequence[Any]]) -> bool:
        """Whether all stamps in `columns` are of one clock, though the run has several."""
        stamps, units = columns[1 : self._width + 1], columns[self._width + 1 : KEY]
        one, *others = {unit for column in units for unit in column}
        first_ns, last_ns = min(map(min, stamps)), max(map(max, stamps))
        return not any(self._clocks.worst(one, other, first_ns, last_ns) for other in others)

    def _errors(self, columns: Sequence[Sequence[Any]], one: int, other: int) -> Sequence[int] | None:
        """The clock errors between the events of two slots; None: there are none."""
        places = (self.places_of(one), self.places_of(other))
        (ones, one_units), (others, other_units) = ((columns[stamp], columns[unit]) for stamp, unit in places)
        stamps = (*ones, *others)
        first_ns, last_ns = min(stamps), max(stamps)
        pairs = set(zip(one_units, other_units, strict=True))
        if not any(self._clocks.worst(*pair, first_ns, last_ns) for pair in pairs):
            return None
        return list(map(self._clocks.error, one_units, ones, other_units, others))

    def _extras_of(self, row: Row) -> Extras:
        return self._extras.get(row[KEY], {})

    def _judge(self, row: Row, extras: Extras, horizons: Sequence[Horizon]) -> Judgement:
        """`horizons` matter only where something is missing."""
        filled: list[Filled | None] = [None] * self._width
        for slot in range(self._width):
            if row[slot + 1] is not None:
                event = EventRef(row[slot + 1], slot, row[slot + 1 + self._width])
                filled[slot] = Filled(1, (event,), None)
                if (extra := extras.get(slot)) is not None:
                    most = self.plan.slots[slot].at_most or 0
                    filled[slot] = Filled(
                        1 + extra.number, (event,), extra.events[most - 1] if extra.number >= most else None
                    )
        return judge(self.plan, filled, horizons, self._clocks)

    def _look(self, instance: Row, horizons: Sequence[Horizon]) -> tuple[int, int] | None:
        judgement = self._judge(instance, self._extras_of(instance), horizons)
        key = instance[KEY]
        if not judgement.absent:
            if judgement.waits is None and judgement.started:
                self.rows.pop(key, None)
                self._parked[key] = instance
            return judgement.waits
        self._withhold(instance, judgement)
        self.tally.apply(key, judgement)
        if self._parked.pop(key, None):
            self.rows[key] = instance
        self._failing[key] = Failing(judgement, self._seen(instance))
        self._beginless -= not judgement.started
        if len(self._failing) > REVISABLE:
            self._give_up()
        return None

    def _look_again(self, instances: list[Row]) -> None:
        horizons = self.horizons()
        for row in instances:
            key = row[KEY]
            failing = self._failing.get(key)
            if failing is None or not failing.judgement.withheld or not row[LEFT]:
                continue
            judgement = self._judge(row, self._extras_of(row), horizons)
            if judgement.absent:
                self.tally.withdraw(failing.judgement)
                self._withhold(row, judgement)
                self.tally.apply(key, judgement)
                self._failing[key] = Failing(judgement, self._seen(row))

    def _give_up(self) -> None:
        """The instance that failed first is not judged again, whatever comes; unless all of it has come by now and
        it only waits for watermarks."""
        key, failing = next(iter(self._failing.items()))
        row = self.rows[key]
        if not row[LEFT]:
            self._failing.move_to_end(key)
        elif failing.judgement.withheld or self._seen(row) != failing.seen:
            self._finish(row, self._judge(row, self._extras_of(row), self.horizons()))
        else:
            del self._failing[key]
            self._remove(row, failing.judgement)

    def _seen(self, row: Row) -> tuple[Row, int]:
        """What has been seen of an instance: the same for the same events."""
        return row.copy(), sum(extra.number for extra in self._extras_of(row).values())

    def _finish(self, row: Row, judgement: Judgement) -> None:
        """The instance is over."""
        key = row[KEY]
        if key in self._failing:
            self.tally.withdraw(self._failing.pop(key).judgement)
        self.tally.apply(key, judgement)
        self._remove(row, judgement)

    def _remove(self, row: Row, judgement: Judgement) -> None:
        """Forget the instance, which is counted as `judgement`."""
        key = row[KEY]
        row[LEFT] = 0
        del self.rows[key]
        if judgement.satisfied:
            self._keep(row, judgement)
        self._extras.pop(key, None)
        self._too_many.discard(key)
        self._retire(key, judgement, self._over[0])

    def _close(self, horizons: Sequence[Horizon], most: int | None) -> None:
        for row in [*self.rows.values(), *self._parked.values()][:most]:
            self._parked.pop(row[KEY], None)
            self.rows[row[KEY]] = row
            self._finish(row, self._judge(row, self._extras_of(row), horizons))

    # --- what the session asks ---------------------------------------------------------------------------------------

    def open_count(self) -> int:
        return len(self.rows) + len(self._parked) - len(self._failing)

    def due_count(self) -> int:
        if self._least_within is not None:
            return len(self.rows) - len(self._failing) - self._beginless
        return len(self.satisfied) + sum(len(instances) for _, _, instances in self._satisfied)


def _find_late(latencies: Sequence[int], errors: Sequence[int] | None, within_ns: int | None, found: set[int]) -> None:
    """Adds the rows whose latency may be over the limit to `found`."""
    if within_ns is not None:
        most = latencies if errors is None else list(map(add, latencies, errors))
        if max(most) > within_ns:
            found.update(i for i, latency in enumerate(most) if latency > within_ns)


def _only(times: Times, wanted: Sequence[bool]) -> Times:
    latencies, errors = times
    return list(compress(latencies, wanted)), None if errors is None else list(compress(errors, wanted))
