"""The law: one instance's events in, its findings and latencies out. docs/circuit.md in code.

Belongs here: everything that makes an instance complete, failed, inconclusive or open. It sees the set of events and
how far the watermarks are, never the order in which anything arrived; that is why no verdict can depend on it.

What the law leaves open is decided so:
- A member that may be skipped and has no event does not help a quorum: a member counts when it happened.
- An `optional` whose content has begun must be finished.
- A hop is named by its end, and counts from the nearest satisfied element before it, whatever was skipped or
  missing between. The circuit ends with its last element that was not skipped; if that is absent there is no
  circuit latency.
- One `missing`, `acausal` and `late` each per element; one `duplicate` per probe (for `each`, per probe and unit).
  The circuit's own `within` is one more `late`.
- A deadline is the sooner of the element's (its `within` after the element before, once that is satisfied) and the
  circuit's `within` after the first event. Without an event of the first element there is none: that is absent when
  its units are final.
- A clock error is that of the two events at hand. Order is kept if their stamps are within it; a `late` that it
  cannot decide is inconclusive: neither surely over the limit nor surely within.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import takewhile
from typing import Final, NamedTuple, TypeAlias

from runner.core.verifier.pattern import AllNode, Node, OptionalNode, Plan, QuorumNode, SlotNode
from runner.core.verifier.watermarks import Horizon
from runner.model.result.clocks import Clocks
from runner.model.result.result import FindingClass


class EventRef(NamedTuple):
    """One event, as far as a verdict needs it."""

    stamp_ns: int
    slot: int
    unit: str


class Filled(NamedTuple):
    """The events of one slot, at least one. `needed` are the earliest, as many as the slot needs or as have come, in
    order of their stamps; `extra` is the earliest beyond the most allowed."""

    number: int
    needed: Sequence[EventRef]
    extra: EventRef | None


class Satisfied(NamedTuple):
    """A satisfied node: its moment, and the slots whose events it needs."""

    moment: EventRef
    slots: tuple[int, ...]


class Skipped:
    """A node that is satisfied by nothing."""


SKIPPED: Final = Skipped()
Slots: TypeAlias = Sequence[Filled | None]


class InstanceState(IntEnum):
    """What an instance comes to; what lost evidence makes of it is decided when it is counted."""

    OPEN = 0
    COMPLETE = 1
    UNCLEAR = 2
    """Only findings that the clock error could make go away."""
    SOFT = 3
    """Findings that lost evidence could make go away."""
    HARD = 4
    """Something was seen that no further evidence can undo."""


@dataclass(slots=True, eq=False)
class Fault:
    """A finding before it is put into words. `place` is the path element (None: the whole circuit); `after` the last
    event reached before it. `value` and `limit` are nanoseconds, or counts for `duplicate`; `value` of a `missing`
    probe is how often it fired."""

    cls: FindingClass
    circuit: str | None = None
    key: str | None = None
    slot: int | None = None
    place: int | None = None
    event: EventRef | None = None
    after: EventRef | None = None
    begun: EventRef | None = None
    until: EventRef | None = None
    """The satisfied element behind a missing one."""
    value: int = 0
    limit: int = 0
    error: int = 0
    unclear: bool = False
    under: str | None = None
    """The key that counts at its place, where a `rekey` has led the instance to another one."""
    note: str = ""
    """What only the place that found the fault knows, in words."""
    lacking: tuple[int, ...] = ()
    """Of a `missing`: all slots that keep the element from being satisfied; `slot` is the first of them."""
    there: int = 0
    needed: int = 0
    """Of an `acausal`: how much of what the element before it needs had come then, and how much it needs. Of a
    `missing`: the same of the `any` or `quorum` that lacks members; both 0 where it is a probe that did not fire."""
    too_many: bool = False
    """More were seen than are allowed, which no further evidence undoes."""
    unit: str | None = None
    step: str | None = None
    """Where there is no slot: the probe that fired or should have."""
    stamped: tuple[tuple[str, int], ...] = ()
    """(unit, stamp) of its events, where no event says so; the earlier one first."""


def hangs_on_the_earliest(fault: Fault) -> bool:
    """Whether an earlier event of a slot could undo the fault: order and latency are those of the earliest events."""
    return fault.cls in (FindingClass.ACAUSAL, FindingClass.LATE)


@dataclass(slots=True)
class Judgement:
    """What one instance comes to. `hops` are (place, latency, clock error). `absent`: something will not come any more,
    whatever becomes of the rest. `waits` is the earliest deadline that is not decided yet and the place it belongs to;
    `latest_ns` the latest stamp that had a say."""

    faults: list[Fault] = field(default_factory=list)
    hops: list[tuple[int, int, int]] = field(default_factory=list)
    total: tuple[int, int] | None = None
    satisfied: bool = True
    absent: bool = False
    waits: tuple[int, int] | None = None
    started: bool = False
    latest_ns: int = 0
    withheld: list[Fault] = field(default_factory=list)
    """Faults that an event, still on its way, could undo (`withhold`)."""

    def withhold(self, in_doubt: Callable[[Fault], bool]) -> None:
        """Take out the faults that are `in_doubt`."""
        self.withheld += [fault for fault in self.faults if in_doubt(fault)]
        self.faults = [fault for fault in self.faults if not in_doubt(fault)]

    def restore(self) -> None:
        """Undo `withhold`."""
        self.faults, self.withheld = [*self.withheld, *self.faults], []

    @property
    def state(self) -> InstanceState:
        if any(fault.cls is FindingClass.DUPLICATE for fault in self.faults):
            return InstanceState.HARD
        if any(not fault.unclear for fault in self.faults):
            return InstanceState.SOFT
        if not self.satisfied:
            return InstanceState.OPEN
        return InstanceState.UNCLEAR if self.faults else InstanceState.COMPLETE


def judge(plan: Plan, slots: Slots, horizons: Sequence[Horizon], clocks: Clocks) -> Judgement:
    """Judge the instance whose events are in `slots` (one entry per slot of the plan; at least one is filled).

    `horizons` says for each place how far it is decided what will not satisfy it.
    """
    verdict = Judgement()
    events = [filled for filled in slots if filled]
    verdict.latest_ns = max((filled.extra or filled.needed[-1]).stamp_ns for filled in events)
    reached = [reach(place.node, slots, plan) for place in plan.places]
    begun = min((filled.needed[0] for slot in plan.places[0].slots if (filled := slots[slot])), default=None)
    verdict.started = begun is not None
    _measure(plan, slots, reached, begun, verdict, clocks)
    if begun is None:
        verdict.satisfied = False
        verdict.faults.clear()
        first = min(filled.needed[0] for filled in events)
        if all(horizons[place].final for place in _beginnings(plan, events)):
            # Else an earlier one may come.
            verdict.absent = all(known.final or known.stamp_ns >= first.stamp_ns for known in horizons)
            place = plan.slots[first.slot].place
            verdict.faults.append(Fault(FindingClass.ORPHAN, slot=first.slot, place=place, event=first))
        return verdict
    _find_absent(plan, slots, reached, begun, horizons, verdict)
    for slot, filled in zip(plan.slots, slots, strict=True):
        if filled and filled.extra:
            verdict.faults.append(
                Fault(
                    FindingClass.DUPLICATE,
                    slot=slot.index,
                    place=slot.place,
                    event=filled.extra,
                    after=filled.needed[-1],
                    value=filled.number,
                    limit=slot.at_most or 0,
                )
            )
    return verdict


def _beginnings(plan: Plan, events: Sequence[Filled]) -> Iterator[int]:
    """The places by which the instance of these events, none of them of the first element, could still get a beginning:
    the first, and the one whose event may say that another instance goes on under this key."""
    yield 0
    segment = min(plan.places[plan.slots[filled.needed[0].slot].place].segment for filled in events)
    if segment:
        yield next(place.index for place in plan.places if place.segment == segment) - 1


def reach(node: Node, slots: Slots, plan: Plan) -> Satisfied | Skipped | None:
    """How `node` is satisfied; None: it is not."""
    match node:
        case SlotNode():
            filled = slots[node.slot]
            count = filled.number if filled else 0
            if count < plan.slots[node.slot].at_least:
                return None
            return Satisfied(filled.needed[-1], (node.slot,)) if filled else SKIPPED
        case AllNode():
            members = [reach(member, slots, plan) for member in node.members]
            if None in members:
                return None
            return _joined([member for member in members if isinstance(member, Satisfied)])
        case QuorumNode():
            members = [reach(member, slots, plan) for member in node.members]
            happened = sorted((m for m in members if isinstance(m, Satisfied)), key=lambda m: m.moment.stamp_ns)
            return _joined(happened[: node.need]) if len(happened) >= node.need else None
        case OptionalNode():
            content = reach(node.content, slots, plan)
            return SKIPPED if content is None and not _touched(node.content, slots) else content


def _joined(members: Sequence[Satisfied]) -> Satisfied | Skipped:
    if not members:
        return SKIPPED
    moment = max(member.moment for member in members)
    return Satisfied(moment, tuple(slot for member in members for slot in member.slots))


def _touched(node: Node, slots: Slots) -> bool:
    match node:
        case SlotNode():
            return slots[node.slot] is not None
        case AllNode() | QuorumNode():
            return any(_touched(member, slots) for member in node.members)
        case OptionalNode():
            return _touched(node.content, slots)


def lacking(node: Node, slots: Slots, plan: Plan) -> tuple[int, ...]:
    """The slots below the unsatisfied `node` that keep it so, in the order of the path."""
    match node:
        case SlotNode():
            return (node.slot,)
        case AllNode():
            absent = [m for m in node.members if reach(m, slots, plan) is None]
        case QuorumNode():
            absent = [m for m in node.members if not isinstance(reach(m, slots, plan), Satisfied)]
        case OptionalNode():
            absent = [node.content]
    return tuple(slot for member in absent for slot in lacking(member, slots, plan))


def _too_few(node: Node, slots: Slots, plan: Plan) -> tuple[int, int]:
    """How many members have come, and how many are needed, of the group that first keeps the unsatisfied `node` so; 0
    and 0: it is a probe that does."""
    match node:
        case SlotNode():
            return 0, 0
        case AllNode():
            return _too_few(next(m for m in node.members if reach(m, slots, plan) is None), slots, plan)
        case QuorumNode():
            return sum(isinstance(reach(m, slots, plan), Satisfied) for m in node.members), node.need
        case OptionalNode():
            return _too_few(node.content, slots, plan)


def _come(node: Node, event: EventRef, slots: Slots, plan: Plan, clocks: Clocks) -> tuple[int, int]:
    """How much of what the satisfied `node` needs had come when `event` did, and how much it needs."""
    match node:
        case SlotNode():
            filled = slots[node.slot]
            needed = list(filled.needed) if filled else []
        case AllNode() | QuorumNode():
            reached = [r.moment for m in node.members if isinstance(r := reach(m, slots, plan), Satisfied)]
            needed = sorted(reached)[: node.need if isinstance(node, QuorumNode) else None]
        case OptionalNode():
            return _come(node.content, event, slots, plan, clocks)
    return sum(not _is_before(event, moment, clocks) for moment in needed), len(needed)


def _measure(
    plan: Plan,
    slots: Slots,
    reached: Sequence[Satisfied | Skipped | None],
    begun: EventRef | None,
    verdict: Judgement,
    clocks: Clocks,
) -> None:
    """Latencies, and what is late or too early."""
    before: EventRef | None = None
    place_before = plan.places[0]
    for place, here in zip(plan.places, reached, strict=True):
        if not isinstance(here, Satisfied):
            continue
        if before is not None:
            latency, error = _between(before, here.moment, clocks)
            verdict.hops.append((place.index, latency, error))
            if early := _too_early(here, before, slots, clocks):
                early.place = place.index
                assert early.event is not None
                early.there, early.needed = _come(place_before.node, early.event, slots, plan, clocks)
                verdict.faults.append(early)
            if late := _late(latency, error, place.within_ns, here.moment, before):
                late.place = place.index
                verdict.faults.append(late)
        before, place_before = here.moment, place
    end = next((here for here in reversed(reached) if here is not SKIPPED), None)
    if begun is not None and isinstance(end, Satisfied):
        latency, error = _between(begun, end.moment, clocks)
        verdict.total = latency, error
        if late := _late(latency, error, plan.circuit.within_ns, end.moment, begun):
            verdict.faults.append(late)


def _between(one: EventRef, other: EventRef, clocks: Clocks) -> tuple[int, int]:
    """The time from one event to another, and its error."""
    return other.stamp_ns - one.stamp_ns, clocks.error(one.unit, one.stamp_ns, other.unit, other.stamp_ns)


def _is_before(one: EventRef, other: EventRef, clocks: Clocks) -> bool:
    """Whether it is earlier beyond the clock error."""
    return one.stamp_ns + clocks.error(other.unit, other.stamp_ns, one.unit, one.stamp_ns) < other.stamp_ns


def _too_early(here: Satisfied, before: EventRef, slots: Slots, clocks: Clocks) -> Fault | None:
    """The earliest needed event of `here` that is, beyond its clock error, before the moment `before`."""
    if all(filled.needed[0].stamp_ns >= before.stamp_ns for slot in here.slots if (filled := slots[slot])):
        return None
    too_early = [
        event
        for slot in here.slots
        if (filled := slots[slot])
        for event in takewhile(lambda event: event.stamp_ns < before.stamp_ns, filled.needed)
        if _is_before(event, before, clocks)
    ]
    if not too_early:
        return None
    event = min(too_early)
    lead, error = _between(event, before, clocks)
    return Fault(FindingClass.ACAUSAL, slot=event.slot, event=event, after=before, value=lead, error=error)


def _late(latency: int, error: int, limit: int | None, event: EventRef, after: EventRef) -> Fault | None:
    if limit is None or latency + error <= limit:
        return None
    return Fault(
        FindingClass.LATE,
        slot=event.slot,
        event=event,
        after=after,
        value=latency,
        limit=limit,
        error=error,
        unclear=latency - error <= limit,
    )


def _find_absent(
    plan: Plan,
    slots: Slots,
    reached: Sequence[Satisfied | Skipped | None],
    begun: EventRef,
    horizons: Sequence[Horizon],
    verdict: Judgement,
) -> None:
    """What will not come any more, and what may still come and by when."""
    last = max((place.index for place in plan.places if isinstance(reached[place.index], Satisfied)), default=-1)
    within_ns = plan.circuit.within_ns
    circuit_due = None if within_ns is None else begun.stamp_ns + within_ns
    before: EventRef | None = None
    before_known = True  # every element since `before` is decided
    may_be_half = False  # one since `before` that was skipped may still come in part, and is missing then
    found_behind_last = False
    certain: list[Fault] = []
    consequences: list[Fault] = []  # perhaps
    cut_short = False  # an open element might have come, had the run not ended its units
    for place in plan.places:
        here = reached[place.index]
        if isinstance(here, Satisfied):
            before, before_known, may_be_half = here.moment, True, False
        elif here is SKIPPED:
            may_be_half |= not isinstance(place.node, SlotNode) and not horizons[place.index].final
        else:
            verdict.satisfied = False
            due = circuit_due
            if before is not None and before_known and place.within_ns is not None:
                own = before.stamp_ns + place.within_ns
                due = own if due is None else min(own, due)
            if not horizons[place.index].decides(due):
                before_known = False
                cut_short |= horizons[place.index].cut_short
                if due is not None and (verdict.waits is None or due < verdict.waits[0]):
                    verdict.waits = due, place.index
            elif not found_behind_last:
                found_behind_last = place.index > last
                # If an open element before it does not come either, that one is the fault and this is a consequence.
                is_certain = not found_behind_last or (before_known and not (due is None and may_be_half))
                verdict.absent = verdict.absent or is_certain
                until = next((r.moment for r in reached[place.index :] if isinstance(r, Satisfied)), None)
                absent = lacking(place.node, slots, plan)
                there, needed = _too_few(place.node, slots, plan)
                fault = Fault(
                    FindingClass.MISSING,
                    slot=absent[0],
                    lacking=absent,
                    there=there,
                    needed=needed,
                    place=place.index,
                    after=before or begun,
                    begun=begun,
                    until=until,
                    value=filled.number if (filled := slots[absent[0]]) else 0,
                    limit=place.within_ns or 0,
                )
                (certain if is_certain else consequences).append(fault)
    if verdict.absent:
        verdict.faults += certain
    elif not cut_short:
        verdict.faults += consequences
