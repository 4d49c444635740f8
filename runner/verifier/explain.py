"""Faults in words: what is wrong in one sentence, and the lines that explain it.

Belongs here: every sentence of the verifier. Must not decide whether something is wrong. Pure: what the units are
doing is passed in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from typing import Any, Final

from runner.scenario.state import State, UnitStatus
from runner.verifier.judge import Fault, Mark
from runner.verifier.member import Recent
from runner.verifier.names import nearest, slip
from runner.verifier.pattern import Plan, Slot
from runner.verifier.score import is_inconclusive
from runner.verifier.verdict import Finding, FindingClass, Lost

EXPLAINED: Final = 1_000
"""Findings with details; those beyond have their sentence only."""
COMPARED: Final = 2_000
"""Keys that are looked at for one near miss."""
_STDERR_LINES: Final = 4
_SUSPECTS: Final = 3

_ORDER: Final = {
    cls: rank
    for rank, cls in enumerate(
        (
            FindingClass.NOT_READY,
            FindingClass.MISSING,
            FindingClass.UNIT_FAILED,
            FindingClass.DUPLICATE,
            FindingClass.LATE,
            FindingClass.ACAUSAL,
            FindingClass.UNEXPECTED,
            FindingClass.EXCEPTION,
            FindingClass.BUDGET,
            FindingClass.COUNT,
            FindingClass.ORPHAN,
            FindingClass.CHECK,
            FindingClass.LOST_EVIDENCE,
            FindingClass.LEFTOVER,
        )
    )
}


@dataclass
class Context:
    """What an explanation may draw on."""

    plans: Mapping[str, Plan]
    everybody: Mapping[str, Collection[str]]
    """Circuit -> units that take part."""
    fired: Mapping[str, Collection[str]]
    """Unit -> steps that it fired."""
    named: Collection[str]
    """Steps that the scenario names anywhere."""
    strays: Recent[tuple[str, str]]
    """Key -> (unit, step) of the latest event that no circuit asks for."""
    lost: Sequence[Lost]
    statuses: Mapping[str, UnitStatus]
    faults: Iterable[Fault]

    @cached_property
    def losers(self) -> frozenset[str]:
        return frozenset(lost.unit for lost in self.lost)

    @cached_property
    def odd_keys(self) -> dict[tuple[str | None, int | None], list[tuple[str, FindingClass]]]:
        """(circuit, slot) -> keys that turned up there and should not have, or too often."""
        odd: dict[tuple[str | None, int | None], list[tuple[str, FindingClass]]] = {}
        for fault in self.faults:
            if fault.key is not None and fault.cls in (FindingClass.ORPHAN, FindingClass.DUPLICATE):
                keys = odd.setdefault((fault.circuit, fault.slot), [])
                if len(keys) < COMPARED:
                    keys.append((fault.key, fault.cls))
        return odd

    @cached_property
    def unfinished(self) -> dict[tuple[str | None, int | None], list[str]]:
        """(circuit, slot) -> keys that lack an event there."""
        lacking: dict[tuple[str | None, int | None], list[str]] = {}
        for fault in self.faults:
            if fault.key is not None and fault.cls is FindingClass.MISSING:
                keys = lacking.setdefault((fault.circuit, fault.slot), [])
                if len(keys) < COMPARED:
                    keys.append(fault.key)
        return lacking

    def lost_for(self, fault: Fault) -> bool:
        """Whether a unit that matters to the finding lost evidence."""
        if fault.circuit is not None:
            return not self.losers.isdisjoint(self.everybody[fault.circuit])
        return bool(self.losers) if fault.key is not None else fault.unit in self.losers


def explain(context: Context, most: int | None = None) -> tuple[Finding, ...]:
    """All faults and losses as findings, most telling first; at most `most` of them."""
    faults = list(context.faults)
    weak = {id(fault): is_inconclusive(fault, lost_evidence=context.lost_for(fault)) for fault in faults}

    def rank(fault: Fault) -> tuple[Any, ...]:
        at = fault.mark or fault.after
        where = fault.mark.slot if fault.mark else fault.slot or 0
        named = (fault.circuit or "", fault.key or "", where, fault.unit or "", fault.step or "", fault.note)
        return weak[id(fault)], _ORDER[fault.cls], at.stamp_ns if at else 0, *named

    chosen = sorted(faults, key=rank) if most is None else _leading(faults, rank, most)
    findings = [_finding(fault, context, weak[id(fault)], full=index < EXPLAINED) for index, fault in enumerate(chosen)]
    return in_order([*findings, *map(_lost, context.lost)])[:most]


def _leading(faults: Sequence[Fault], rank: Any, most: int) -> list[Fault]:
    """The first of each class, and the first ones of all."""
    first: dict[FindingClass, Fault] = {}
    for fault in faults:
        if fault.cls not in first or rank(fault) < rank(first[fault.cls]):
            first[fault.cls] = fault
    chosen = {id(fault): fault for fault in (*first.values(), *nsmallest(most, faults, key=rank))}
    return sorted(chosen.values(), key=rank)


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings, most telling first: the first of each class, then the rest; what is certain before what is not, and
    lost evidence before what it leaves uncertain."""

    def rank(finding: Finding) -> tuple[bool, int]:
        order = -1 if finding.cls is FindingClass.LOST_EVIDENCE else _ORDER[finding.cls]
        return finding.inconclusive, order

    ordered = sorted(findings, key=rank)
    seen: set[FindingClass] = set()
    leading = [finding for finding in ordered if not (finding.cls in seen or seen.add(finding.cls))]  # type: ignore[func-returns-value]
    first = {id(finding) for finding in leading}
    return (*leading, *(finding for finding in ordered if id(finding) not in first))


def exception_in_words(data: Mapping[str, Any]) -> str:
    """What an exception event says: "ValueError: no such order"; cut to one line."""
    kind, message = (str(data.get(name) or "") for name in ("type", "message"))
    text = ": ".join(part for part in (kind, message) if part) or "an exception"
    return " ".join(text.split())[:300]


def span(ns: int) -> str:
    """A duration in words: three significant digits, no zeros at the end."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if abs(ns) >= size:
            digits = f"{ns / size:.3g}" if abs(ns) < 1000 * size else f"{ns / size:,.0f}"
            return f"{digits} {unit}"
    return f"{ns} ns"


# --- one finding ------------------------------------------------------------------------------------------------------


def _lost(lost: Lost) -> Finding:
    many = f"events {lost.first:,} to {lost.last:,}" if lost.last > lost.first else f"event {lost.first:,}"
    return Finding(
        FindingClass.LOST_EVIDENCE,
        f"{lost.unit} (incarnation {lost.incarnation}) lost {many}: {lost.why}",
        unit=lost.unit,
        inconclusive=True,
    )


def _finding(fault: Fault, context: Context, inconclusive: bool, *, full: bool) -> Finding:
    plan = context.plans.get(fault.circuit) if fault.circuit is not None else None
    slot = plan.slots[fault.slot] if plan is not None and fault.slot is not None else None
    told = _Told(fault, context, plan, slot)
    at = fault.mark or fault.after
    return Finding(
        cls=fault.cls,
        message=told.message(),
        circuit=fault.circuit,
        key=fault.key,
        unit=fault.mark.unit if fault.mark else slot.unit if slot else fault.unit,
        step=slot.step if slot else fault.step,
        stamp_ns=at.stamp_ns if at else None,
        details=tuple(told.details()) if full else (),
        inconclusive=inconclusive,
    )


class _Told:
    """One fault and everything that is said about it."""

    def __init__(self, fault: Fault, context: Context, plan: Plan | None, slot: Slot | None) -> None:
        self.fault = fault
        self.context = context
        self.plan = plan
        self.slot = slot
        self.who = fault.key if fault.key is not None else f"{fault.circuit} (without a key)"

    def message(self) -> str:
        """The sentence."""
        fault, who = self.fault, self.who
        match fault.cls:
            case FindingClass.MISSING:
                return self._missing()
            case FindingClass.ORPHAN if self.plan is None:
                how = "sent" if fault.note == "received" else "received"
                return f"{who} was {how} by {fault.unit}: {fault.step} and {fault.note} by nobody"
            case FindingClass.ORPHAN:
                assert self.plan is not None
                return f"{who} turned up at {self._at(fault.mark)} without {self.plan.places[0].name}"
            case FindingClass.DUPLICATE if self.plan is None:
                return f"{who} fired {fault.unit}: {fault.step} more than once"
            case FindingClass.DUPLICATE:
                return f"{who} fired {self._place()} {_times(fault.value)}; {_times(fault.limit)} is the most"
            case FindingClass.ACAUSAL:
                lead = f"{span(fault.value)}{self._error()}"
                return f"{who} fired {self._place()} {lead} before {self._name(fault.after)}, which comes before it"
            case FindingClass.LATE if fault.place is None:
                return (
                    f"{who} took {span(fault.value)}{self._error()} to {self._place()}; {span(fault.limit)} are allowed"
                )
            case FindingClass.LATE:
                took = f"{span(fault.value)}{self._error()} after {self._name(fault.after)}"
                return f"{who} fired {self._place()} {took}; {span(fault.limit)} are allowed"
            case FindingClass.UNEXPECTED if fault.mark is None:
                return f"{fault.circuit} forbids {fault.unit}: {fault.step}, which never fired; is it spelt right?"
            case FindingClass.UNEXPECTED:
                key = f" for {fault.key}" if fault.key is not None else ""
                return f"{fault.unit}: {fault.step} fired{key}, which {fault.circuit} forbids"
            case FindingClass.EXCEPTION:
                key = f" for {fault.key}" if fault.key is not None else ""
                return f"{fault.unit}: {fault.step} reported{key} {fault.note}"
            case FindingClass.COUNT:
                many = "1 instance" if fault.value == 1 else f"{fault.value:,} instances"
                return f"{many} of {fault.circuit} began; the scenario asks for {fault.note}"
            case FindingClass.BUDGET:
                what = fault.circuit if fault.place is None or self.plan is None else self.plan.places[fault.place].name
                value = f"{span(fault.value)}{self._error()}"
                return f"{fault.note} of {what} is {value}; the budget is {span(fault.limit)}"
        return f"{fault.cls}: {who}"

    def _missing(self) -> str:
        fault = self.fault
        if self.plan is None:
            return f"{fault.unit} never fired {fault.step}, which the scenario expects of it"
        if self.slot is None:
            return f"{fault.unit}: {fault.step} of {fault.circuit} never fired; is it spelt right?"
        if fault.after is None:
            return f"{fault.circuit} never began: {self.slot.name} did not fire"
        if fault.until is not None:
            return f"{self.who} went from {self._at(fault.after)} to {self._at(fault.until)} without {self._place()}"
        return f"{self.who} stopped after {self._at(fault.after)}; {self._place()} did not fire"

    def details(self) -> Iterable[str]:
        """The lines that explain it, most telling first."""
        fault = self.fault
        if fault.cls is FindingClass.MISSING or fault.cls is FindingClass.COUNT:
            yield from self._what_came()
            yield from self._near_misses()
            yield from self._suspects()
        elif fault.cls in (FindingClass.LATE, FindingClass.ACAUSAL, FindingClass.DUPLICATE) and fault.mark is not None:
            if fault.after is not None:
                gap = fault.mark.stamp_ns - fault.after.stamp_ns
                when = f"{span(gap)} after" if gap >= 0 else f"{span(-gap)} before"
                yield f"{self._at(fault.mark)} fired {when} {self._at(fault.after)}"
            if fault.cls is FindingClass.LATE:
                yield f"late by {span(fault.value - fault.limit)}"
                yield from self._suspects(fault.mark.unit)
        elif fault.cls is FindingClass.ORPHAN and self.plan is not None:
            first = self.plan.places[0].name
            yield f"every journey of {fault.circuit} begins with {first}; it never fired with this key"
            yield from self._near_keys_of_missing()
        elif fault.cls in (FindingClass.EXCEPTION, FindingClass.UNEXPECTED):
            yield from self._near_misses()
            if fault.unit is not None:
                yield from self._suspects(fault.unit)
        if self._error():
            yield "the clocks of the two units are known no better than that"
        if self.context.lost_for(fault):
            losers = ", ".join(sorted(self.context.losers))
            yield f"evidence was lost ({losers}), so this need not be so"

    # --- parts of sentences ------------------------------------------------------------------------------------------

    def _at(self, mark: Mark | None) -> str:
        """An event by the unit that fired it."""
        return f"{mark.unit}: {self.plan.slots[mark.slot].step}" if mark is not None and self.plan is not None else "?"

    def _name(self, mark: Mark | None) -> str:
        """An event as the path names it."""
        return self.plan.slots[mark.slot].name if mark is not None and self.plan is not None else "?"

    def _place(self) -> str:
        """The probe as the path names it; of `each`, the unit that it is about."""
        assert self.slot is not None
        slot = self.slot
        return f"{slot.name} (in {slot.unit})" if slot.name != f"{slot.unit}: {slot.step}" else slot.name

    def _error(self) -> str:
        return f" ±{span(self.fault.error)}" if self.fault.error else ""

    # --- what came, who is to blame, what nearly was -----------------------------------------------------------------

    def _what_came(self) -> Iterable[str]:
        fault, plan = self.fault, self.plan
        if plan is None or self.slot is None:
            return
        if fault.after is not None:
            since = ""
            if fault.begun is not None and fault.begun != fault.after:
                since = f", {span(fault.after.stamp_ns - fault.begun.stamp_ns)} after it began"
            yield f"last reached: {self._at(fault.after)}{since}"
            place = plan.places[fault.place or 0]
            within = f", within {span(place.within_ns)}" if place.within_ns is not None else ""
            yield f"next expected: {place.name}{within}"
        if fault.note and fault.cls is FindingClass.MISSING:
            yield fault.note

    def _suspects(self, unit: str | None = None) -> Iterable[str]:
        """What the units are doing that should have fired."""
        fault = self.fault
        statuses = self.context.statuses
        if unit is not None:
            suspects = [unit]
        elif self.slot is not None:
            suspects = [name for name in statuses if self.slot.means(name)]
            if fault.after is not None and fault.after.unit in suspects:
                suspects = [fault.after.unit]
        else:
            suspects = [fault.unit] if fault.unit is not None else []
        for name in suspects[:_SUSPECTS]:
            if name in statuses:
                yield from _doing(statuses[name])
        if len(suspects) > _SUSPECTS:
            yield f"and {len(suspects) - _SUSPECTS:,} more units could have fired it"

    def _near_misses(self) -> Iterable[str]:
        fault, context = self.fault, self.context
        step = self.slot.step if self.slot is not None else fault.step
        if step is None:
            return
        if fault.mark is None and fault.note in {name for names in context.fired.values() for name in names}:
            yield f'near miss: "{fault.note}" fired, which the scenario does not name; did you mean that?'
            return
        stray = context.strays.get(fault.key) if fault.key is not None else None
        if stray is not None and fault.cls is FindingClass.MISSING:
            hint = slip(stray[1], step)
            yield f'near miss: {stray[0]} fired "{stray[1]}" with the same key{f" ({hint})" if hint else ""}'
        if fault.key is not None:
            for key, cls in context.odd_keys.get((fault.circuit, fault.slot), ()):
                if hint := slip(key, fault.key):
                    why = "which has it twice" if cls is FindingClass.DUPLICATE else "which never began"
                    yield f'near miss: it fired with key "{key}", {why} ({hint}?)'
                    break
        means = self.slot.means if self.slot is not None else lambda unit: unit == fault.unit
        if fault.mark is None and not any(step in names for unit, names in context.fired.items() if means(unit)):
            others = {name: unit for unit, names in context.fired.items() if means(unit) for name in names}
            if near := nearest(step, others.keys() - set(context.named)):
                yield f'"{step}" never fired at all; {others[near]} fired "{near}", did you mean that?'
            elif elsewhere := [unit for unit, names in context.fired.items() if step in names]:
                yield f'"{step}" never fired there, but in {", ".join(sorted(elsewhere)[:_SUSPECTS])}'
            else:
                yield f'"{step}" never fired at all'

    def _near_keys_of_missing(self) -> Iterable[str]:
        """For an orphan: a journey that lacks what turned up here."""
        fault = self.fault
        if fault.key is None:
            return
        for other in self.context.unfinished.get((fault.circuit, fault.slot), ()):
            if hint := slip(fault.key, other):
                yield f'near miss: "{other}" lacks exactly this ({hint}?)'
                return


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _doing(status: UnitStatus) -> Iterable[str]:
    """What a unit does now, or how it ended."""
    if status.state in (State.FAILED, State.STOPPED, State.FINISHED):
        why = status.why or f"has {status.state}"
        code = (
            f" with code {status.exit_code}"
            if status.exit_code is not None and "code" not in why and not status.why
            else ""
        )
        yield f"{status.name} {why}{code}" if not why.startswith(status.name) else f"{why}{code}"
        yield from (f"    {line}" for line in status.stderr_tail[-_STDERR_LINES:])
        return
    if status.state is State.CREATED:
        yield f"{status.name} was never started{f': {status.why}' if status.why else ''}"
        return
    parts = [f"{status.name} is {status.state}"]
    if status.blocked_on:
        parts.append(f"blocked on {status.blocked_on}")
    if status.last_step:
        parts.append(f"its last probe was {status.last_step}")
    yield ", ".join(parts)
