"""A declared circuit, compiled: slots that events fill, and a tree that says when they are enough.

Belongs here: what a path means apart from any event. Must not know stamps, keys or verdicts.

A *slot* is one place that events fill: a probe of the path, or for `each` that probe in one of the units it asks for.
A circuit is *rigid* when every slot is needed and needs one event, however many it may take; then an instance is
satisfied when each of its slots has an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from runner.model.scenario.model import All, Circuit, Element, Optional, Probe, Quorum
from runner.model.scenario.path import StepName, element_names, step_names

NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Slot:
    """One place that events fill. `name` is the probe as the user wrote it, `unit` a name or pattern, `label` its
    step, distinct from the others of the path; `place` is the path element it belongs to. `elastic`: it may take more
    events after the instance is satisfied."""

    index: int
    place: int
    name: str
    unit: str
    step: str
    label: str
    exactly: bool
    at_least: int
    at_most: int | None
    where: Mapping[str, Any]
    rekey: str | None
    elastic: bool

    @property
    def needed(self) -> int:
        """How many of its events, the earliest, count for order and time; the others may come whenever they like."""
        return max(self.at_least, 1)

    def takes(self, unit: str, step: str) -> bool:
        """Whether an event of that unit and step may fill it (its `where` is another matter)."""
        return step == self.step and self.means(unit)

    def means(self, unit: str) -> bool:
        """Whether its unit or pattern means `unit`."""
        return unit == self.unit if self.exactly else fnmatchcase(unit, self.unit)

    def agrees(self, data: Mapping[str, Any] | None) -> bool:
        """Whether an event's data has what `where` asks for."""
        return holds(self.where, data)


def holds(where: Mapping[str, Any], data: Mapping[str, Any] | None) -> bool:
    """Whether `data` has every field of `where` with an equal value."""
    found = data or NOTHING
    return all(name in found and found[name] == value for name, value in where.items())


def fires(probe: Probe, unit: str, step: str) -> bool:
    """Whether an event of that unit and step is one of `probe` (its `where` is another matter)."""
    return step == probe.step and fnmatchcase(unit, probe.unit)


@dataclass(frozen=True, slots=True)
class SlotNode:
    slot: int


@dataclass(frozen=True, slots=True)
class AllNode:
    members: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class QuorumNode:
    need: int
    members: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class OptionalNode:
    content: "Node"


Node: TypeAlias = SlotNode | AllNode | QuorumNode | OptionalNode


@dataclass(frozen=True, slots=True)
class PathElement:
    """One element of the path. `segment` counts the elements with `rekey` before it: places of one segment share a
    key."""

    index: int
    name: str
    node: Node
    slots: tuple[int, ...]
    within_ns: int | None
    segment: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A circuit, compiled for the units of its scenario."""

    circuit: Circuit
    slots: tuple[Slot, ...]
    places: tuple[PathElement, ...]
    rigid: bool

    @property
    def name(self) -> str:
        return self.circuit.name

    @property
    def segments(self) -> int:
        return self.places[-1].segment + 1

    @property
    def last_slots(self) -> tuple[int, ...]:
        """The slots from the last place on that cannot be skipped: without an event there nothing is satisfied."""
        needed = [place.index for place in self.places if not passable(place.node, self.slots)]
        return tuple(slot for place in self.places[max(needed, default=0) :] for slot in place.slots)


def compile_circuit(circuit: Circuit, units: Sequence[str]) -> Plan:
    """The plan of `circuit` for a scenario that declares `units`."""
    compiler = _Compiler(units, step_names(circuit.path))
    slots = compiler.slots
    places: list[PathElement] = []
    segment = 0
    for index, (element, name) in enumerate(zip(circuit.path, element_names(circuit.path), strict=True)):
        first = len(slots)
        node = compiler.node(element, index, inside=False)
        own = tuple(range(first, len(slots)))
        places.append(PathElement(index, name, node, own, _within(element), segment))
        if index + 1 == len(circuit.path):  # nothing follows that a new key could lead to
            slots[first:] = [replace(slot, rekey=None) for slot in slots[first:]]
        segment += any(slots[slot].rekey is not None for slot in own)
    rigid = all(slot.at_least == 1 for slot in slots) and all(_needs_all(place.node) for place in places)
    return Plan(circuit=circuit, slots=tuple(slots), places=tuple(places), rigid=rigid and segment == 0)


class _Compiler:
    """Elements to nodes, probes to `slots`."""

    def __init__(self, units: Sequence[str], label: StepName) -> None:
        self.slots: list[Slot] = []
        self._units = units
        self._label = label

    def node(self, element: Element, place: int, *, inside: bool) -> Node:
        """`inside`: below an element that is satisfied without all its content."""
        match element:
            case Probe(each=True):
                asked = [unit for unit in self._units if fnmatchcase(unit, element.unit)] or [element.unit]
                return AllNode(tuple(self._leaf(element, unit, place, inside=inside) for unit in asked))
            case Probe():
                return self._leaf(element, element.unit, place, inside=inside)
            case All():
                return AllNode(tuple(self.node(member, place, inside=inside) for member in element.members))
            case Quorum():
                inside = inside or element.need < len(element.members)
                members = tuple(self.node(member, place, inside=inside) for member in element.members)
                return QuorumNode(element.need, members)
            case Optional():
                return OptionalNode(self.node(element.content, place, inside=True))

    def _leaf(self, probe: Probe, unit: str, place: int, *, inside: bool) -> SlotNode:
        slot = Slot(
            index=len(self.slots),
            place=place,
            name=f"{probe.unit}: {self._label(probe)}",
            unit=unit,
            step=probe.step,
            label=self._label(probe),
            exactly=probe.each or not any(sign in unit for sign in "*?["),
            at_least=probe.at_least,
            at_most=probe.at_most,
            where=probe.where,
            rekey=probe.rekey,
            elastic=inside or probe.at_least != probe.at_most,
        )
        self.slots.append(slot)
        return SlotNode(slot.index)


def _needs_all(node: Node) -> bool:
    """Whether `node` is satisfied by all its content only."""
    match node:
        case SlotNode():
            return True
        case AllNode():
            return all(map(_needs_all, node.members))
        case QuorumNode():
            return node.need == len(node.members) and all(map(_needs_all, node.members))
        case OptionalNode():
            return False


def _within(element: Element) -> int | None:
    """Only an element of the path has one before it, so a `within` below it counts for `optional` content alone."""
    if isinstance(element, Optional) and element.within_ns is None:
        return _within(element.content)
    return element.within_ns


def passable(node: Node, slots: Sequence[Slot]) -> bool:
    """Whether `node` can be satisfied by nothing."""
    match node:
        case SlotNode():
            return slots[node.slot].at_least == 0
        case AllNode():
            return all(passable(member, slots) for member in node.members)
        case QuorumNode():
            return False
        case OptionalNode():
            return True
