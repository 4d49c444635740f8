"""What docs/circuit.md says of circuits, a second time: slow, obvious, and without a line of the verifier's.

Given every event of a run, all units being final, it says what each circuit comes to. It looks at sets of events only
and knows nothing of arrival, watermarks or memory. Property tests compare the verifier with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from runner.model.scenario.model import All, Circuit, Element, Optional, Probe, Quorum, Scenario


@dataclass(frozen=True)
class Happened:
    """One event."""

    unit: str
    stamp: int
    step: str
    key: str | None
    data: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass
class Said:
    """What the oracle says of one circuit. Findings are (class, key, unit, step), latencies (value, error)."""

    started: int = 0
    complete: int = 0
    failed: int = 0
    inconclusive: int = 0
    findings: list[tuple[str, str | None, str | None, str | None]] = field(default_factory=list)
    hops: list[list[tuple[int, int]]] = field(default_factory=list)
    total: list[tuple[int, int]] = field(default_factory=list)


NOT_SATISFIED = "not satisfied"
SKIPPED = "skipped"


@dataclass
class Satisfied:
    """An element that is satisfied: its moment, the event and probe that made it so, the needed events."""

    moment: int
    by: tuple[Happened, Probe]
    needed: list[tuple[Happened, Probe]]


class Oracle:
    def __init__(self, scenario: Scenario, error: Callable[[str, int, str, int], int] = lambda *_: 0) -> None:
        self.units = [unit.name for unit in scenario.units]
        self.error_of = error

    def error(self, one: Happened, other: Happened) -> int:
        """How exactly the time between two events is known."""
        return self.error_of(one.unit, one.stamp, other.unit, other.stamp)

    def judge(self, circuit: Circuit, events: Sequence[Happened]) -> Said:
        said = Said(hops=[[] for _ in circuit.path])
        keys = {event.key for event in events if any(self.matches(p, event) for e in circuit.path for p in probes(e))}
        for key in sorted(keys, key=lambda k: (k is not None, k)):
            own = self.events_of(circuit, key, events)
            if any(own):
                self.instance(circuit, key, own, said)
        first = probes(circuit.path[0])[0]
        if circuit.instances is None:
            if not said.complete + said.failed + said.inconclusive:
                said.findings.append(("missing", None, self.asked(first)[0], first.step))
        else:
            at_least, at_most = circuit.instances.at_least, circuit.instances.at_most
            if said.started < at_least or (at_most is not None and said.started > at_most):
                said.findings.append(("count", None, self.asked(first)[0], first.step))
        for event in events:
            for forbidden in circuit.never:
                if self.matches(forbidden, event):
                    said.findings.append(("unexpected", event.key, event.unit, event.step))
        return said

    # --- which events belong to which instance ------------------------------------------------------------------------

    def matches(self, probe: Probe, event: Happened) -> bool:
        if event.step != probe.step:
            return False
        if probe.each and event.unit not in self.units:
            return False
        if not fnmatchcase(event.unit, probe.unit):
            return False
        return all(name in event.data and event.data[name] == value for name, value in probe.where.items())

    def under(self, element: Element, key: str | None, events: Sequence[Happened]) -> list[Happened]:
        return [e for e in events if e.key == key and any(self.matches(p, e) for p in probes(element))]

    def leads_to(self, element: Element, key: str | None, events: Sequence[Happened]) -> str | None:
        """The key that the instance of `key` takes on behind `element`; None: it keeps its own."""
        new = [
            (event.stamp, event.unit, str(event.data[probe.rekey]))
            for probe in probes(element)
            if probe.rekey is not None
            for event in events
            if event.key == key and self.matches(probe, event) and event.data.get(probe.rekey) is not None
        ]
        return min(new)[2] if new else None

    def events_of(self, circuit: Circuit, key: str | None, events: Sequence[Happened]) -> list[list[Happened]]:
        """The events of the instance of `key`, for each element of the path."""
        found: list[list[Happened]] = []
        ours = True  # the key has not become another instance's
        for element in circuit.path:
            found.append(self.under(element, key, events) if ours else [])
            if any(probe.rekey is not None for probe in probes(element)):
                new = self.leads_to(element, key, events) if ours else None
                every = {event.key for event in events}
                taken = {self.leads_to(element, other, events) for other in every} - {None}
                ours = new is not None or (ours and key not in taken)
                key = new if new is not None else key
        return found

    # --- one instance -------------------------------------------------------------------------------------------------

    def instance(self, circuit: Circuit, key: str | None, own: list[list[Happened]], said: Said) -> None:
        findings: list[tuple[str, str | None, str | None, str | None]] = []
        unclear: list[tuple[str, str | None, str | None, str | None]] = []
        path = circuit.path
        states = [self.satisfaction(element, events) for element, events in zip(path, own, strict=True)]
        said.started += bool(own[0])

        before: Satisfied | None = None
        for number, state in enumerate(states):
            if not isinstance(state, Satisfied):
                continue
            if before is not None:
                latency = state.moment - before.moment
                said.hops[number].append((latency, self.error(before.by[0], state.by[0])))
                early = [
                    (event.stamp, self.place(path, probe, event.unit), event.unit, probe.step)
                    for event, probe in state.needed
                    if event.stamp + self.error(before.by[0], event) < before.moment
                ]
                if early:
                    findings.append(("acausal", key, min(early)[2], min(early)[3]))
                within = path[number].within_ns
                self.late(key, latency, within, before.by[0], state.by, findings, unclear)
            before = state

        ends = [state for state in states if state != SKIPPED]
        if own[0] and isinstance(ends[-1], Satisfied):
            start = min(own[0], key=lambda e: (e.stamp, self.place_of(path, e), e.unit))
            latency = ends[-1].moment - start.stamp
            said.total.append((latency, self.error(start, ends[-1].by[0])))
            self.late(key, latency, circuit.within_ns, start, ends[-1].by, findings, unclear)

        if not own[0]:
            first = min((e for events in own for e in events), key=lambda e: (e.stamp, self.place_of(path, e), e.unit))
            findings, unclear = [("orphan", key, first.unit, first.step)], []
        else:
            last = max((n for n, state in enumerate(states) if isinstance(state, Satisfied)), default=-1)
            absent = [n for n, state in enumerate(states) if state == NOT_SATISFIED]
            missing = [n for n in absent if n < last] + [n for n in absent if n > last][:1]
            for n in missing:
                unit, step = self.lacking(path[n], own[n])
                findings.append(("missing", key, unit, step))
            for element, events in zip(path, own, strict=True):
                for probe in probes(element):
                    for unit, fired in self.by_place(probe, events):
                        del unit
                        if probe.at_most is not None and len(fired) > probe.at_most:
                            findings.append(("duplicate", key, fired[probe.at_most].unit, probe.step))
        said.findings += findings + unclear
        if findings:
            said.failed += 1
        elif unclear:
            said.inconclusive += 1
        else:
            said.complete += 1

    def late(
        self,
        key: str | None,
        latency: int,
        within: int | None,
        start: Happened,
        end: tuple[Happened, Probe],
        findings: list[tuple[str, str | None, str | None, str | None]],
        unclear: list[tuple[str, str | None, str | None, str | None]],
    ) -> None:
        if within is None:
            return
        error = self.error(start, end[0])
        if latency - error > within:
            findings.append(("late", key, end[0].unit, end[1].step))
        elif latency + error > within:
            unclear.append(("late", key, end[0].unit, end[1].step))

    def by_place(self, probe: Probe, events: Sequence[Happened]) -> Iterator[tuple[str, list[Happened]]]:
        """The events of a probe, earliest first: of all units together, or for `each` of every unit asked for."""
        fired = sorted((e for e in events if self.matches(probe, e)), key=lambda e: (e.stamp, e.unit))
        if not probe.each:
            yield probe.unit, fired
        else:
            for unit in self.asked(probe):
                yield unit, [e for e in fired if e.unit == unit]

    def asked(self, probe: Probe) -> list[str]:
        return [u for u in self.units if fnmatchcase(u, probe.unit)] if probe.each else [probe.unit]

    def satisfaction(self, element: Element, events: Sequence[Happened]) -> Satisfied | str:
        match element:
            case Probe():
                needed: list[Happened] = []
                for _, fired in self.by_place(element, events):
                    if len(fired) < element.at_least:
                        return NOT_SATISFIED
                    needed += fired[: max(element.at_least, 1)]
                if not needed:
                    return SKIPPED
                last = max(needed, key=lambda e: (e.stamp, e.unit))
                return Satisfied(last.stamp, (last, element), [(event, element) for event in needed])
            case All():
                states = [self.satisfaction(member, events) for member in element.members]
                if NOT_SATISFIED in states:
                    return NOT_SATISFIED
                return self.together([state for state in states if isinstance(state, Satisfied)])
            case Quorum():
                states = [self.satisfaction(member, events) for member in element.members]
                happened = sorted((s for s in states if isinstance(s, Satisfied)), key=lambda s: s.moment)
                if len(happened) < element.need:
                    return NOT_SATISFIED
                return self.together(happened[: element.need])
            case Optional():
                if not any(self.matches(probe, event) for probe in probes(element) for event in events):
                    return SKIPPED
                return self.satisfaction(element.content, events)

    def together(self, states: Sequence[Satisfied]) -> Satisfied | str:
        if not states:
            return SKIPPED
        moment = max(state.moment for state in states)
        last = [state for state in states if state.moment == moment][-1]
        return Satisfied(moment, last.by, [event for state in states for event in state.needed])

    def lacking(self, element: Element, events: Sequence[Happened]) -> tuple[str, str]:
        """Unit and step of the first probe that keeps `element` from being satisfied."""
        match element:
            case Probe():
                for unit, fired in self.by_place(element, events):
                    if len(fired) < max(element.at_least, 1):
                        return unit, element.step
                raise AssertionError("nothing is lacking")
            case All():
                member = next(m for m in element.members if self.satisfaction(m, events) == NOT_SATISFIED)
                return self.lacking(member, events)
            case Quorum():
                member = next(m for m in element.members if not isinstance(self.satisfaction(m, events), Satisfied))
                return self.lacking(member, events)
            case Optional():
                return self.lacking(element.content, events)

    def place(self, path: Sequence[Element], probe: Probe, unit: str) -> int:
        """Where the probe stands in the path, counted from left to right, `each` unit by unit: breaks ties."""
        number = 0
        for element in path:
            for other in probes(element):
                for asked in self.asked(other):
                    if other is probe and (not probe.each or asked == unit):
                        return number
                    number += 1
        raise AssertionError("the probe is not in the path")

    def place_of(self, path: Sequence[Element], event: Happened) -> int:
        probe = next(p for element in path for p in probes(element) if self.matches(p, event))
        return self.place(path, probe, event.unit)


def probes(element: Element) -> list[Probe]:
    match element:
        case Probe():
            return [element]
        case All() | Quorum():
            return [probe for member in element.members for probe in probes(member)]
        case Optional():
            return probes(element.content)
