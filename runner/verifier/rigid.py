"""Instances of circuits whose every slot takes exactly one event: the common case, and the fast one.

Belongs here: keeping such instances and judging many at once. An instance is one list:

    [slots left to fill, stamp of each slot..., unit of each slot..., key]

so that the loop over a batch of events (in `verifier`) stores a stamp with two subscriptions, and a thousand satisfied
instances are checked as columns, at C speed. Whatever is not flawless goes to `judge`, which alone decides.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import itemgetter, sub
from typing import Any, Final, TypeAlias

from runner.verifier.gathering import REVISABLE, Gathering
from runner.verifier.judge import ClockError, Filled, Judgement, Mark, Standing, judge
from runner.verifier.pattern import Plan, Slot
from runner.verifier.score import Score
from runner.verifier.watermarks import Watermarks

Row: TypeAlias = list[Any]
LEFT: Final = 0
KEY: Final = -1


class Rigid(Gathering[Row]):
    """The instances of one rigid circuit."""

    def __init__(self, plan: Plan, score: Score, watermarks: Watermarks, clock_error: ClockError) -> None:
        super().__init__(plan, score, watermarks, clock_error)
        self._width = len(plan.slots)
        self.rows: dict[str | None, Row] = {}
        """Every instance that is not over, those in `_parked` excepted."""
        self.satisfied: list[Row] = []
        """Those whose last slot was filled since the last `settle`."""
        self._blank: Row = [self._width, *[None] * (2 * self._width), None]
        self._stamps = itemgetter(slice(1, self._width + 1))
        self._begin_slots = plan.places[0].slots
        self._recall = self._over[0].mark_of
        self._begun: list[Row] = []
        self._begun_ns = 0
        self._parked: dict[str | None, Row] = {}
        """Begun, but no deadline runs at present; an event for one takes it out (see `open`)."""
        self._woken: list[Row] = []
        self._failing: dict[str | None, Judgement] = {}
        """Instances that something is missing of; more may still come."""
        self._extras: dict[str | None, dict[int, tuple[int, Mark]]] = {}
        """Per key and slot how many events came beyond the first, and the earliest of them."""
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
            standing = self._recall(key)
            if standing is not None:
                self._again(key, standing, Mark(stamp_ns, slot, unit), self._over[0])
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
        self.score.started += 1
        if self._least_within is not None:
            if not self._begun or stamp_ns < self._begun_ns:
                self._begun_ns = stamp_ns
            self._begun.append(row)

    def add_extra(self, row: Row, slot: int, stamp_ns: int, unit: str) -> None:
        """One more event for a slot that is full. The earliest one counts; of the others the earliest is kept."""
        new, old = Mark(stamp_ns, slot, unit), Mark(row[slot + 1], slot, row[slot + 1 + self._width])
        if new < old:
            row[slot + 1], row[slot + 1 + self._width] = stamp_ns, unit
            new = old
        extras = self._extras.setdefault(row[KEY], {})
        count, earliest = extras.get(slot, (0, new))
        extras[slot] = count + 1, min(earliest, new)

    # --- judging ----------------------------------------------------------------------------------------------------

    def _is_open(self, instance: Row) -> bool:
        return instance[LEFT] > 0 and instance[KEY] not in self._failing

    def _all_open(self) -> Iterable[Row]:
        return filter(self._is_open, chain(self.rows.values(), self._parked.values()))

    def _gather(self) -> None:
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

    def _conclude(self, instances: list[Row]) -> None:
        flawed: list[Row]
        if self._composite and not self._one_clock:
            flawed = instances
        elif self._extras or self._failing:
            flawed = [row for row in instances if row[KEY] in self._extras or row[KEY] in self._failing]
            known = {row[KEY] for row in flawed}
            flawed += self._conclude_flawless([row for row in instances if row[KEY] not in known])
        else:
            flawed = self._conclude_flawless(instances)
        if flawed:
            horizons = self.horizons()
            for row in flawed:
                self._finish(row, self._judge(row, horizons))

    @property
    def _composite(self) -> bool:
        return len(self.plan.places) < self._width

    def _conclude_flawless(self, rows: list[Row]) -> list[Row]:
        """Counts those of `rows` that are plainly complete; returns the others."""
        if not rows:
            return []
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        width, one_clock = self._width, self._one_clock
        flawed: set[int] = set()
        hops: list[list[int]] = []
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
                error = 0
                if not one_clock:
                    error = self._error_between(columns, before_slot + 1 + width, place.slots[0] + 1 + width)
                    self.score.hops[place.index].error_ns = max(self.score.hops[place.index].error_ns, error)
                if min(soonest) < 0:
                    flawed.update(i for i, latency in enumerate(soonest) if latency < 0)
                if place.within_ns is not None and max(latencies) + error > place.within_ns:
                    flawed.update(i for i, latency in enumerate(latencies) if latency + error > place.within_ns)
                hops.append(latencies)
            before, before_slot = moments, place.slots[0]
        totals = list(map(sub, before, begun))
        error = 0
        if not one_clock:
            error = self._error_between(columns, first[0] + 1 + width, before_slot + 1 + width)
            self.score.total.error_ns = max(self.score.total.error_ns, error)
        within = self.plan.circuit.within_ns
        if within is not None and max(totals) + error > within:
            flawed.update(i for i, latency in enumerate(totals) if latency + error > within)
        keys: Sequence[str | None] = columns[KEY]
        rest = [rows[i] for i in sorted(flawed)]
        if flawed:
            fine = [i not in flawed for i in range(len(rows))]
            keys, totals = list(compress(keys, fine)), list(compress(totals, fine))
            hops = [list(compress(latencies, fine)) for latencies in hops]
        self.score.apply_flawless(len(keys), hops, totals)
        for key in keys:
            del self.rows[key]
        self._over[0].add_all(keys, Standing.COMPLETE)
        return rest

    def _error_between(self, columns: Sequence[Sequence[Any]], one: int, other: int) -> int:
        """The largest clock error between the units in two columns."""
        pairs = set(zip(columns[one], columns[other], strict=True))
        return max(self._clock_error(unit, another) for unit, another in pairs)

    def _judge(self, row: Row, horizons: Sequence[float]) -> Judgement:
        extras = self._extras.get(row[KEY], {})
        filled: list[Filled | None] = [None] * self._width
        for slot in range(self._width):
            if row[slot + 1] is not None:
                mark = Mark(row[slot + 1], slot, row[slot + 1 + self._width])
                count, extra = extras.get(slot, (0, None))
                filled[slot] = Filled(1 + count, mark, extra, (mark,))
        return judge(self.plan, filled, horizons, self._clock_error)

    def _look(self, instance: Row, horizons: Sequence[float]) -> tuple[int, int] | None:
        judgement = self._judge(instance, horizons)
        key = instance[KEY]
        if not judgement.absent:
            if judgement.waits is None and judgement.started:
                self.rows.pop(key, None)
                self._parked[key] = instance
            return judgement.waits
        self.score.apply(key, judgement)
        if self._parked.pop(key, None):
            self.rows[key] = instance
        self._failing[key] = judgement
        self._beginless -= not judgement.started
        if len(self._failing) > REVISABLE:
            oldest = self.rows[next(iter(self._failing))]
            self._finish(oldest, self._judge(oldest, horizons))
        return None

    def _finish(self, row: Row, judgement: Judgement) -> None:
        """The instance is over."""
        key = row[KEY]
        if key in self._failing:
            self.score.withdraw(self._failing.pop(key))
        self.score.apply(key, judgement)
        row[LEFT] = 0
        del self.rows[key]
        self._extras.pop(key, None)
        self._bury(key, judgement, self._over[0])

    def _close(self, horizons: Sequence[float]) -> None:
        for row in [*self.rows.values(), *self._parked.values()]:
            self.rows[row[KEY]] = row
            self._finish(row, self._judge(row, horizons))
        self._parked.clear()

    # --- what the session asks ---------------------------------------------------------------------------------------

    def open_count(self) -> int:
        return len(self.rows) + len(self._parked) - len(self._failing)

    def due_count(self) -> int:
        if self._least_within is not None:
            return len(self.rows) - len(self._failing) - self._beginless
        return len(self.satisfied) + sum(len(instances) for _, _, instances in self._satisfied)
