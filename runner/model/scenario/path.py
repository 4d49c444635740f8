"""What can be said of a path as a value: its probes, what its elements are called, which may be skipped.

Belongs here: questions about elements that the reader of a file, the verifier and the view share. Must not know TOML,
nor any event.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from runner.model.scenario.model import All, Element, Optional, Probe, Quorum

StepName: TypeAlias = Callable[[Probe], str]


def probes_of(element: Element) -> list[Probe]:
    """Every probe in an element, from left to right."""
    match element:
        case Probe():
            return [element]
        case All() | Quorum():
            return [probe for member in element.members for probe in probes_of(member)]
        case Optional():
            return probes_of(element.content)


def passable(element: Element) -> bool:
    """Whether an element may be satisfied without any event."""
    match element:
        case Probe():
            return element.at_least == 0
        case All():
            return all(passable(member) for member in element.members)
        case Quorum():
            return sum(passable(member) for member in element.members) >= element.need
        case Optional():
            return True


# --- names ------------------------------------------------------------------------------------------------------------


def step_names(path: Sequence[Element]) -> StepName:
    """What the steps of `path` are called: as the user wrote them, with their `where` if one unit has several such."""
    often = Counter(str(probe) for element in path for probe in probes_of(element))

    def name(probe: Probe) -> str:
        return f"{probe.step} {_in_toml(probe.where)}" if often[str(probe)] > 1 else probe.step

    return name


def element_names(path: Sequence[Element]) -> tuple[str, ...]:
    """The elements of `path` as the user wrote them, each on one line and under a name of its own."""
    name = step_names(path)
    return tuple(_name(element, name) for element in path)


def hop_names(path: Sequence[Element]) -> Mapping[str, Sequence[str]]:
    """What may be written for a hop of `path` -> the names of the elements that it can mean. A hop is called by the
    element at which it ends; if that has one probe, as `each` and `optional` have, by that probe too."""
    meant: dict[str, list[str]] = {}
    for element, name in zip(path[1:], element_names(path)[1:], strict=True):
        probes = probes_of(element)
        for written in {name, *(map(str, probes) if len(probes) == 1 else ())}:
            meant.setdefault(written, []).append(name)
    return meant


def _name(element: Element, name: StepName) -> str:
    match element:
        case Probe():
            return f"{'each ' if element.each else ''}{element.unit}: {name(element)}"
        case All():
            return f"all of {_listed(element.members, name)}"
        case Quorum(need=1):
            return f"any of {_listed(element.members, name)}"
        case Quorum():
            return f"{element.need} of {_listed(element.members, name)}"
        case Optional():
            return f"optional {_name(element.content, name)}"


def _listed(members: Sequence[Element], name: StepName) -> str:
    return f"({', '.join(_name(member, name) for member in members)})"


def _in_toml(where: Mapping[str, Any]) -> str:
    fields = (f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in where.items())
    return f"{{ {', '.join(fields)} }}"
