"""Instances of all circuits that are not rigid: `times`, `any`, `optional`, and keys that change on the way.

Belongs here: keeping the events of such instances and finding out whose they are. Judging is in `judge`.

The path is cut behind every element with `rekey`; the events of one segment with one key are a *part*. A rekey event
links its part to the part of the next segment that has the new key. The instance of a key runs from its part of the
first segment along the links; where there is no link it goes on under the same key, unless that part belongs to
another instance by a link. Because parts are kept by segment and key alone, events under the new key may come before
the link.

What the law leaves open is decided so: the earliest rekey event that holds the field names the new key; without the
field the key stays what it was; two instances that are led to the same key share what happens under it; events under
the old key behind a link belong to no instance.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

from probe.event import MAX_KEY_BYTES
from runner.core.verifier.circuit_tally import CircuitTally
from runner.core.verifier.judge import EventRef, Fault, Filled, Judgement, judge
from runner.core.verifier.pattern import Plan, Slot
from runner.core.verifier.slot_events import SlotEvents, slot_events
from runner.core.verifier.tracker import REVISABLE, InstanceTracker
from runner.core.verifier.watermarks import Horizon, Watermarks
from runner.model.result.clocks import Clocks
from runner.model.result.result import FindingClass


class Part:
    """The events of one segment with one key. `link` is the rekey event that counts and the key it names."""

    __slots__ = ("link", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, SlotEvents] = {}
        self.link: tuple[EventRef, str] | None = None


class FlexibleInstance:
    """One instance. `eager`: any event could be the one that satisfies it. `parked`: no deadline runs at present.
    `pending`: satisfied, so judged, but the watermarks have yet to pass it. `judgement`: what it counts as."""

    __slots__ = ("eager", "gone", "judgement", "key", "parked", "pending", "started")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.eager = False
        self.gone = False
        self.parked = False
        self.started = False
        self.pending: Judgement | None = None
        self.judgement: Judgement | None = None


class Doubt(NamedTuple):
    """A fault of an instance may go away. `waits`: it stays once that stamp is passed at that place; None: once all
    units of the place have ended."""

    waits: tuple[int, int] | None


class FlexibleTracker(InstanceTracker[FlexibleInstance]):
    """The instances of one circuit."""

    def __init__(self, plan: Plan, tally: CircuitTally, watermarks: Watermarks, clocks: Clocks) -> None:
        super().__init__(plan, tally, watermarks, clocks)
        self._parts: list[dict[str | None, Part]] = [{} for _ in range(plan.segments)]
        self._claims: list[dict[str | None, set[str | None]]] = [{} for _ in range(plan.segments)]
        """For each segment: key -> keys of the segment before whose parts are linked to it."""
        self._instances: dict[str | None, FlexibleInstance] = {}
        self._judged: OrderedDict[str | None, FlexibleInstance] = OrderedDict()
        self._stirred: dict[str | None, FlexibleInstance] = {}
        self._begun: list[FlexibleInstance] = []
        self._begun_ns = 0
        self._begin_slots: Final = frozenset(plan.places[0].slots)
        self._last_slots: Final = frozenset(plan.last_slots)
        self._rekey_places: Final = [one.index for one, two in pairwise(plan.places) if one.segment != two.segment]
        """For each segment but the last its last place."""

    # --- taking events ----------------------------------------------------------------------------------------------

    def add(self, slot: Slot, stamp_ns: int, unit: str, key: str | None, data: Mapping[str, Any] | None) -> None:
        """An event for `slot`, whose `where` it agrees with."""
        segment = self.plan.places[slot.place].segment
        event = EventRef(stamp_ns, slot.index, unit)
        part = self._parts[segment].get(key)
        if part is None:
            over = self._over[segment]
            if (state := over.value_of(key)) is not None:
                if not slot.elastic:
                    self._count_repeat(key, state, event, over)
                return
            part = self._parts[segment][key] = Part()
        events = part.slots.get(slot.index)
        if events is None:
            part.slots[slot.index] = slot_events(event, slot)
        else:
            events.add(event)
        if slot.rekey is not None and data is not None and data.get(slot.rekey) is not None:
            self._link(segment, key, part, (event, key_of(data[slot.rekey])))
        last = slot.index in self._last_slots
        for root in self._roots(segment, key):
            instance = self._instance(root)
            if slot.index in self._begin_slots and not instance.started:
                self._begin(instance, stamp_ns)
            instance.eager = instance.eager or last
            if instance.eager or instance.parked or instance.judgement is not None:
                self._stirred[root] = instance

    def _instance(self, root: str | None) -> FlexibleInstance:
        instance = self._instances.get(root)
        if instance is None:
            instance = self._instances[root] = FlexibleInstance(root)
        return instance

    def _begin(self, instance: FlexibleInstance, stamp_ns: int) -> None:
        instance.started = True
        self.tally.started += 1
        if not self._begun or stamp_ns < self._begun_ns:
            self._begun_ns = stamp_ns
        self._begun.append(instance)

    def _link(self, segment: int, key: str | None, part: Part, link: tuple[EventRef, str]) -> None:
        """A rekey event of `part`: unless an earlier one counts, the instance goes on under the key in `link`."""
        if part.link is not None and part.link <= link:
            return
        claims = self._claims[segment + 1]
        touched = {*self._roots(segment, key), *self._roots(segment + 1, link[1])}
        if part.link is not None:
            touched.update(self._roots(segment + 1, part.link[1]))
            claims[part.link[1]].discard(key)
            touched.update(self._roots(segment + 1, part.link[1]))
        claims.setdefault(link[1], set()).add(key)
        part.link = link
        for root in touched:
            instance = self._instance(root)
            instance.eager = True
            self._stirred[root] = instance

    def _roots(self, segment: int, key: str | None) -> Iterable[str | None]:
        """The keys under which the instances began that pass through this part."""
        while segment:
            if claimers := self._claims[segment].get(key):
                if len(claimers) > 1:
                    return {root for claimer in claimers for root in self._roots(segment - 1, claimer)}
                (key,) = claimers
            segment -= 1
        return (key,)

    def _walk(self, root: str | None) -> Iterator[tuple[int, str | None, Part]]:
        """The parts of an instance: segment, key, part."""
        key, linked = root, True
        for segment, parts in enumerate(self._parts):
            if not linked and self._claims[segment].get(key):
                return  # from here on the key is another instance's
            linked = False
            part = parts.get(key)
            if part is not None:
                yield segment, key, part
                if part.link is not None:
                    key, linked = part.link[1], True

    def _keys(self, root: str | None) -> list[str | None]:
        """The key under which the instance goes on in each segment."""
        keys = [root]
        for parts in self._parts[:-1]:
            part = parts.get(keys[-1])
            keys.append(part.link[1] if part is not None and part.link is not None else keys[-1])
        return keys

    # --- judging ----------------------------------------------------------------------------------------------------

    def _is_open(self, instance: FlexibleInstance) -> bool:
        return instance.judgement is None and instance.pending is None and not instance.gone

    def _all_open(self) -> Iterable[FlexibleInstance]:
        return filter(self._is_open, self._instances.values())

    def _find_satisfied(self) -> None:
        if self._begun:
            self._wait_first(self._begun_ns, self._begun)
            self._begun = []
        if not self._stirred:
            return
        stirred, self._stirred = self._stirred, {}
        horizons = self.horizons()
        held: list[FlexibleInstance] = []
        latest_ns = 0
        waiting = []
        for instance in stirred.values():
            if instance.gone:
                continue
            instance.parked = False
            instance.pending = None
            if (waits := self._look(instance, horizons)) is not None:
                waiting.append((instance, waits))
            elif instance.pending is not None:
                held.append(instance)
                latest_ns = max(latest_ns, instance.pending.latest_ns)
        self._wait(waiting)
        if held:
            self._hold(latest_ns, held)

    def _look(self, instance: FlexibleInstance, horizons: Sequence[Horizon]) -> tuple[int, int] | None:
        judgement = self._judge(instance.key, horizons)
        if judgement is None:  # all its events belong to another instance by a link that came later
            self._uncount(instance)
            self._remove(instance)
        elif (doubt := self._doubt(instance.key, judgement, horizons)) is not None:
            self._uncount(instance)
            instance.parked = doubt.waits is None
            return doubt.waits
        elif judgement.satisfied:
            instance.pending = judgement
        elif judgement.absent:
            self._withhold(instance, judgement)
            self._count(instance, judgement)
        else:
            self._uncount(instance)
            instance.parked = judgement.waits is None
            return judgement.waits
        return None

    def _doubt(self, root: str | None, judgement: Judgement, horizons: Sequence[Horizon]) -> "Doubt | None":
        """Whether the faults of a decided judgement hang on a rekey event that another one may take the place of. Where
        something else is certain, the rest is withheld, and there is no doubt."""
        if self.plan.segments == 1 or not judgement.faults or not (judgement.satisfied or judgement.absent):
            return None
        links = {segment: part.link for segment, _, part in self._walk(root)}
        for segment, place in enumerate(self._rekey_places):
            link, horizon = links.get(segment), horizons[place]
            if not horizon.final and (link is None or link[0].stamp_ns > horizon.stamp_ns):
                judgement.withhold(partial(self._is_behind, segment))
                if judgement.faults or not judgement.withheld:
                    return None
                return Doubt(None if link is None else (link[0].stamp_ns, place))
        return None

    def _is_behind(self, segment: int, fault: Fault) -> bool:
        return fault.place is None or self.plan.places[fault.place].segment > segment

    def _look_again(self, instances: list[FlexibleInstance]) -> None:
        for instance in instances:
            if instance.judgement is not None and instance.judgement.withheld:
                self._stirred[instance.key] = instance

    def _conclude(self, instances: list[FlexibleInstance]) -> int:
        low = self._watermarks.low(self.all_units)
        for instance in instances:
            # One that was stirred again since is held a second time, until its latest event is passed.
            if (
                instance.pending is not None
                and not instance.gone
                and (instance.pending.latest_ns <= low or self._closing)
            ):
                self._count(instance, instance.pending)
        return len(instances)

    def _judge(self, root: str | None, horizons: Sequence[Horizon]) -> Judgement | None:
        """None: the instance has no events."""
        filled: list[Filled | None] = [None] * len(self.plan.slots)
        unlinked: Slot | None = None
        found = False
        for _, _, part in self._walk(root):
            for index, events in part.slots.items():
                found = True
                filled[index] = events.filled()
                if self.plan.slots[index].rekey is not None and part.link is None:
                    unlinked = self.plan.slots[index]
        if not found:
            return None
        judgement = judge(self.plan, filled, horizons, self._clocks)
        if judgement.faults and self.plan.segments > 1:
            keys = self._keys(root)
            for fault in judgement.faults:
                if fault.place is not None and (key := keys[self.plan.places[fault.place].segment]) != root:
                    fault.under = key
        if unlinked is not None:
            for fault in judgement.faults:
                if fault.cls is FindingClass.MISSING and fault.place is not None and fault.place > unlinked.place:
                    fault.note = f'{unlinked.name} had no "{unlinked.rekey}" in its data, so the key stayed the same'
        return judgement

    def _count(self, instance: FlexibleInstance, judgement: Judgement) -> None:
        """The instance counts as `judgement` from now on."""
        self._uncount(instance)
        self.tally.apply(instance.key, judgement)
        instance.judgement, instance.pending = judgement, None
        self._judged[instance.key] = instance
        if len(self._judged) > REVISABLE:
            _, oldest = self._judged.popitem(last=False)
            assert oldest.judgement is not None
            if oldest.judgement.withheld:
                self.tally.withdraw(oldest.judgement)
                oldest.judgement.restore()
                self.tally.apply(oldest.key, oldest.judgement)
            for segment, key, _ in list(self._walk(oldest.key)):
                self._retire(key, oldest.judgement, self._over[segment])
            self._remove(oldest)

    def _uncount(self, instance: FlexibleInstance) -> None:
        if instance.judgement is not None:
            self.tally.withdraw(instance.judgement)
            instance.judgement = None
            self._judged.pop(instance.key, None)

    def _remove(self, instance: FlexibleInstance) -> None:
        """Forget the instance, and those of its parts that no other instance shares."""
        for segment, key, part in list(self._walk(instance.key)):
            if not (segment and self._claims[segment].get(key)):
                del self._parts[segment][key]
                if part.link is not None:
                    claims = self._claims[segment + 1]
                    claims[part.link[1]].discard(key)
                    if not claims[part.link[1]]:
                        del claims[part.link[1]]
        instance.gone = True
        self._instances.pop(instance.key, None)

    def _close(self, horizons: Sequence[Horizon], most: int | None) -> None:
        for instance in list(self._instances.values())[:most]:
            judgement = self._judge(instance.key, horizons)
            self._uncount(instance)
            if judgement is not None:
                self.tally.apply(instance.key, judgement)
            instance.gone = True
            del self._instances[instance.key]
        for parts in self._parts:
            parts.clear()

    # --- what the session asks ---------------------------------------------------------------------------------------

    def open_count(self) -> int:
        return len(self._instances) - len(self._judged)

    def due_count(self) -> int:
        timed = self._least_within is not None
        return sum(
            1
            for instance in self._instances.values()
            if instance.judgement is None
            and (instance.pending is not None or (timed and instance.started and not instance.parked))
        )


def key_of(value: object) -> str:
    """A data value as the key that another unit emits for it: text, cut where `emit` cuts keys."""
    return str(value).encode()[:MAX_KEY_BYTES].decode("utf-8", "ignore")
