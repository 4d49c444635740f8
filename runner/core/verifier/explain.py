"""One fault in words: what is wrong in a sentence, and the lines that explain it.

Belongs here: every sentence of the verifier. Must not decide whether something is wrong, nor which finding comes first
(`findings`). Pure: what the units are doing is passed in.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from runner.core.verifier.context import Context, key_at
from runner.core.verifier.distrust import distrust
from runner.core.verifier.judge import EventRef, Fault
from runner.core.verifier.pattern import Plan, Slot
from runner.core.verifier.typos import nearest, typo
from runner.model.duration import span
from runner.model.result.in_words import key_in_words
from runner.model.result.interval import at_most, interval
from runner.model.result.result import UNKNOWN, FindingClass
from runner.model.result.unit_status import State, UnitStatus

_STDERR_LINES: Final = 4
_CALL_NS: Final = 100_000_000
"""What is out of order by less than a call takes may be so because a probe stands behind the call."""
_SUSPECTS: Final = 3


class FaultText:
    """The sentences about one fault."""

    def __init__(self, fault: Fault, context: Context) -> None:
        self.fault = fault
        self.context = context
        self.plan: Plan | None = context.plans[fault.circuit] if fault.circuit is not None else None
        self.slot: Slot | None = None
        if self.plan is not None and fault.slot is not None:
            self.slot = self.plan.slots[fault.slot]
        self.inconclusive = context.is_inconclusive(fault)
        self.who = key_in_words(fault.key) if fault.key is not None else f"{fault.circuit} (without a key)"
        self.doubt = distrust(fault, context)

    def message(self) -> str:
        """The sentence."""
        fault, who = self.fault, self.who
        match fault.cls:
            case FindingClass.MISSING:
                return self._missing()
            case FindingClass.ORPHAN if self.plan is None:
                how = "sent" if fault.note == "received" else "received"
                return f"{who} was {how} by {fault.unit}: {fault.step} and {fault.note} by no unit"
            case FindingClass.ORPHAN:
                assert self.plan is not None
                return f"{who} turned up at {self._at(fault.event)} without {self.plan.places[0].name}"
            case FindingClass.DUPLICATE if self.plan is None:
                return f"{who} fired {fault.unit}: {fault.step} more than once"
            case FindingClass.DUPLICATE:
                return f"{who} fired {self._place()} {_times(fault.value)}; {_times(fault.limit)} is the most"
            case FindingClass.ACAUSAL if self.doubt is not None:
                place, sent = (
                    (f"{fault.unit}: {fault.step}", fault.note)
                    if self.plan is None
                    else (self._place(), self._name(fault.after))
                )
                lead = f"{who} fired {place} {self._value()} before {sent}"
                return f"{lead} by stamps that cannot be right: the clock of {self.doubt.unit} {self.doubt.did}"
            case FindingClass.ACAUSAL if self.plan is None:
                received = f"{who} was received by {fault.unit}: {fault.step}"
                return f"{received} {self._value()} before it was sent by {fault.note}"
            case FindingClass.ACAUSAL if self._awaits_several:
                too_few = self._too_few(self._slots_before())
                return f"{who} fired {self._place()} {self._value()} too soon: {too_few}"
            case FindingClass.ACAUSAL:
                lead = self._value()
                return f"{who} fired {self._place()} {lead} before {self._name(fault.after)}, which comes before it"
            case FindingClass.LATE if fault.place is None:
                return f"{who} took {self._value()} to {self._place()}; {self._limit('are allowed')}"
            case FindingClass.LATE:
                took = f"{self._value()} after {self._name(fault.after)}"
                return f"{who} fired {self._place()} {took}; {self._limit('are allowed')}"
            case FindingClass.UNEXPECTED if fault.event is None:
                return f"{fault.circuit} forbids {fault.unit}: {fault.step}, which never fired; is it spelt right?"
            case FindingClass.UNEXPECTED:
                data = f" ({fault.note})" if fault.note else ""
                return f"{fault.unit}: {fault.step}{data} fired{self._for_key()}, which {fault.circuit} forbids"
            case FindingClass.EXCEPTION:
                return f"{fault.unit} reported {fault.step}{self._for_key()}{f': {fault.note}' if fault.note else ''}"
            case FindingClass.COUNT:
                return f"{fault.circuit} began {_times(fault.value)}; the scenario asks for {fault.note}"
            case FindingClass.BUDGET:
                what = fault.circuit if fault.place is None or self.plan is None else self.plan.places[fault.place].name
                return f"{fault.note} of {what} is {self._value()}; the budget is {self._limit()}"
        return f"{fault.cls}: {who}"

    def _missing(self) -> str:
        fault = self.fault
        if self.plan is None:
            return f"{fault.unit} never fired {fault.step}, which the scenario expects of it"
        if self.slot is None:
            return f"{fault.unit}: {fault.step} of {fault.circuit} never fired; is it spelt right?"
        if fault.after is None:
            return f"{fault.circuit} never began; {self.slot.name} did not fire"
        place, reached = self._place(), self._at(fault.after)
        too_few = f"{place} fired {_times(fault.value)} and {self.slot.at_least:,} are needed" if fault.value else ""
        if fault.needed:
            too_few = self._too_few(fault.lacking)
        if fault.until is None:
            absent = too_few or f"{place} did not fire"
            return f"{self.who} stopped after {reached}; {absent}{self._with_key()}{self._within(' ')}"
        went = f"{self.who} went from {reached} to {self._at(fault.until)}"
        return f"{went} though {too_few}" if too_few else f"{went} without {place}{self._with_key()}"

    def details(self) -> Iterable[str]:
        """The lines that explain it, most telling first."""
        match self.fault.cls:
            case FindingClass.COUNT if self.fault.too_many:
                pass
            case FindingClass.MISSING | FindingClass.COUNT:
                yield from self._what_came()
                yield from self._near_misses()
                yield from self._suspects()
            case FindingClass.DUPLICATE if self.plan is None:
                probe = f"{self.fault.unit}: {self.fault.step}"
                yield f'a retry? a circuit may allow it: {{ probe = "{probe}", times = "1.." }}'
            case FindingClass.LATE | FindingClass.ACAUSAL | FindingClass.DUPLICATE:
                yield from self._when()
                yield from self._misplaced()
            case FindingClass.ORPHAN if self.plan is not None:
                yield from self._beginning(self.plan)
                yield from self._who_lacks_it()
            case FindingClass.EXCEPTION | FindingClass.UNEXPECTED:
                yield from self._near_misses()
                yield from self._suspects()
        if self.doubt is not None:
            yield from self.doubt.lines
        yield from self._clocks()
        if self.inconclusive and self.context.lost_for(self.fault):
            yield f"evidence of {', '.join(sorted(self.context.losses.units))} was lost, so this need not be so"

    # --- parts of sentences ------------------------------------------------------------------------------------------

    def _at(self, event: EventRef | None) -> str:
        """An event by the unit that fired it."""
        return (
            f"{event.unit}: {self.plan.slots[event.slot].label}" if event is not None and self.plan is not None else "?"
        )

    def _name(self, event: EventRef | None) -> str:
        """An event as the path names it."""
        return self.plan.slots[event.slot].name if event is not None and self.plan is not None else "?"

    def _place(self) -> str:
        """The probe as the path names it; of `each`, the unit that it is about."""
        assert self.slot is not None
        return self._slot_name(self.slot)

    @staticmethod
    def _slot_name(slot: Slot) -> str:
        return f"{slot.name} (in {slot.unit})" if slot.name != f"{slot.unit}: {slot.label}" else slot.name

    def _with_key(self) -> str:
        """The key at this place of the path, where a `rekey` has led to another one."""
        return "" if self.fault.under is None else f" with key {key_in_words(self.fault.under)}"

    def _within(self, before: str) -> str:
        """The time that the element has, if it has its own; `before` is what joins it to the sentence."""
        within_ns = self.plan.places[self.fault.place or 0].within_ns if self.plan is not None else None
        return "" if within_ns is None else f"{before}within {span(within_ns)}"

    def _slots_before(self) -> Sequence[int]:
        """All slots of the element that the last event reached belongs to."""
        plan, after = self.plan, self.fault.after
        return plan.places[plan.slots[after.slot].place].slots if plan is not None and after is not None else ()

    @property
    def _awaits_several(self) -> bool:
        """Whether the element before an `acausal` event has several members, or several events."""
        return self.fault.needed > 1 or len(self._slots_before()) > 1

    def _too_few(self, slots: Iterable[int]) -> str:
        """How much had come of what is needed: "1 of the 2 needed had stored", "none of a: seen, b: seen had fired".
        `slots` are those that could."""
        assert self.plan is not None
        there, needed = self.fault.there, self.fault.needed
        found = [self.plan.slots[slot] for slot in slots]
        if needed == 1:
            return f"none of {', '.join(self._slot_name(slot) for slot in found)} had fired"
        steps = {slot.step for slot in found}
        return f"{there or 'none'} of the {needed:,} needed had {steps.pop() if len(steps) == 1 else 'fired'}"

    def _for_key(self) -> str:
        return f" for {self.who}" if self.fault.key is not None else ""

    def _value(self) -> str:
        """The fault's value with its error."""
        if self.fault.error >= UNKNOWN:
            return "an unknown time" if self._is_in_doubt() else f"more than {span(self.fault.limit)}"
        return interval(self.fault.value, self.fault.error).text

    def _limit(self, verb: str = "") -> str:
        """The fault's limit, and that the clocks cannot tell whether it was kept."""
        text = f"{span(self.fault.limit)} {verb}".strip()
        return f"{text}, which the clocks cannot decide" if self._is_in_doubt() else text

    def _is_in_doubt(self) -> bool:
        """Whether it is the clocks that leave open if the limit was kept."""
        fault = self.fault
        return fault.unclear and fault.error > 0 and fault.value - fault.error <= fault.limit

    def _apart(self, event: EventRef, other: EventRef) -> str:
        """Where `event` is in time, seen from `other`: "2.1 ms ±0.3 after", "within 90 µs of"."""
        gap = event.stamp_ns - other.stamp_ns
        error = self.context.clocks.error(other.unit, other.stamp_ns, event.unit, event.stamp_ns)
        if error >= UNKNOWN:
            return "an unknown time before or after"
        if error and abs(gap) <= error:
            return f"within {at_most(abs(gap) + error)} of"
        return f"{interval(abs(gap), error).text} {'after' if gap >= 0 else 'before'}"

    # --- what came, which units it may be, near misses ---------------------------------------------------------------

    def _what_came(self) -> Iterable[str]:
        fault, plan = self.fault, self.plan
        if plan is None or fault.after is None:
            return
        since = ""
        if fault.begun is not None and fault.begun != fault.after:
            since = f", {self._apart(fault.after, fault.begun)} its first event"
        yield f"last reached: {self._at(fault.after)}{since}"
        place = plan.places[fault.place or 0]
        yield f"next expected: {place.name}{self._with_key()}{self._within(', ')}"
        if len(fault.lacking) > 1 and len(fault.lacking) < len(place.slots):
            yield f"lacking: {', '.join(self._slot_name(plan.slots[slot]) for slot in fault.lacking)}"
        if fault.note:
            yield fault.note

    def _when(self) -> Iterable[str]:
        """When it fired and in which unit, unless the sentence says so."""
        fault = self.fault
        if fault.event is None:
            return
        if fault.after is not None:
            named = fault.place is not None and fault.cls is not FindingClass.DUPLICATE and fault.under is None
            as_fired = (self._place(), self._name(fault.after)) == (self._at(fault.event), self._at(fault.after))
            if not (named and as_fired) or (fault.cls is FindingClass.ACAUSAL and self._awaits_several):
                when = self._apart(fault.event, fault.after)
                last = f", the last of the {fault.needed:,} needed" if fault.needed > 1 else ""
                yield f"{self._at(fault.event)} fired{self._with_key()} {when} {self._at(fault.after)}{last}"
        else:
            into = f"{span(fault.event.stamp_ns - (self.context.began_ns or 0))} into the run"
            yield f"{self._at(fault.event)} fired once more{self._with_key()}, {into}, after the journey was complete"
        if fault.cls is FindingClass.LATE and not self._is_in_doubt():
            yield f"late by {interval(fault.value - fault.limit, fault.error).text}"

    def _misplaced(self) -> Iterable[str]:
        """For what was received moments before it was sent: most likely the probe stands behind the call."""
        fault, context, plan = self.fault, self.context, self.plan
        if fault.cls is not FindingClass.ACAUSAL or fault.value > _CALL_NS or self.doubt is not None:
            return
        if plan is None:
            sender = fault.note
        else:
            sent, received = (
                (event.unit, plan.slots[event.slot].step) if event is not None else ("", "")
                for event in (fault.after, fault.event)
            )
            if sent not in context.sends or received not in context.receives:
                return
            sender = ": ".join(sent)
        yield f"does {sender} stand behind the call that sends? write the probe before the call"

    def _beginning(self, plan: Plan) -> Iterable[str]:
        """How an instance comes to the place of an orphan."""
        first, place = plan.places[0].name, plan.places[self.fault.place or 0]
        rekeys = [slot for slot in plan.slots if slot.rekey and plan.places[slot.place].segment + 1 == place.segment]
        led = next(iter(rekeys), None)
        if led is None:
            yield f"every journey of {self.fault.circuit} begins with {first}; it never fired with this key"
        else:
            yield f'a journey of {self.fault.circuit} comes here by the "{led.rekey}" of {led.name}; none had this key'

    def _clocks(self) -> Iterable[str]:
        """What the clocks leave open, and by how much."""
        fault = self.fault
        if fault.error >= UNKNOWN:
            yield "nothing is known of how the clocks of its hosts relate"
        elif self._is_in_doubt():
            least, most = fault.value - fault.error, span(fault.value + fault.error)
            found = f"between {span(least)} and {most}" if least > 0 else f"{most} or less"
            yield f"as far as the clocks can tell, it is {found}"
        elif fault.error:
            yield "the clocks of its hosts agree no better than that"

    def _suspects(self) -> Iterable[str]:
        """What the units are doing that fired it or should have."""
        fault, statuses = self.fault, self.context.statuses
        at = fault.event or fault.after
        if fault.event is not None:
            suspects = [fault.event.unit]
        elif self.slot is not None:
            slots = [self.plan.slots[slot] for slot in fault.lacking] if self.plan is not None else []
            suspects = [name for name in statuses if any(slot.means(name) for slot in slots or [self.slot])]
            if fault.after is not None and fault.after.unit in suspects:  # the one that had it last
                suspects = [fault.after.unit]
        else:
            suspects = [fault.unit] if fault.unit is not None else []
        for name in suspects[:_SUSPECTS]:
            if name in statuses:
                yield from _doing(statuses[name], at.stamp_ns if at is not None else None)
        if len(suspects) > _SUSPECTS:
            yield f"{len(suspects) - _SUSPECTS:,} more units could have fired it"

    def _near_misses(self) -> Iterable[str]:
        fault = self.fault
        step = self.slot.step if self.slot is not None else fault.step
        if step is None:
            return
        key = key_at(fault)
        stray = self.context.strays.get(key) if key is not None else None
        if stray is not None and stray[1] != step and fault.cls is FindingClass.MISSING:
            if hint := typo(stray[1], step):
                yield f'near miss: {stray[0]} fired "{stray[1]}" with the same key ({hint})'
            elif self.slot is not None and self.slot.means(stray[0]):
                yield f'with the same key {stray[0]} fired "{stray[1]}"'
        yield from self._similar_key_here()
        if fault.event is None:
            yield from self._similar_name(step)

    def _similar_key_here(self) -> Iterable[str]:
        fault, wanted = self.fault, key_at(self.fault)
        if wanted is None:
            return
        for odd in self.context.odd_keys.get((fault.circuit, fault.slot), ()):
            key = key_at(odd)
            if odd.event is not None and key is not None and (hint := typo(key, wanted)):
                why = "which has it too often" if odd.cls is FindingClass.DUPLICATE else "which never began"
                yield f'near miss: {self._at(odd.event)} fired with key "{key}", {why} ({hint}?)'
                return

    def _similar_name(self, step: str) -> Iterable[str]:
        fired = self.context.fired
        means = self.slot.means if self.slot is not None else lambda unit: fnmatchcase(unit, self.fault.unit or "")
        own = {name: unit for unit, names in fired.items() if means(unit) for name in names}
        if step in own:
            return
        others = sorted(unit for unit, names in fired.items() if step in names)
        if near := nearest(step, own.keys() - set(self.context.named)):
            yield f'"{step}" never fired at all, but {own[near]} fired "{near}"; did you mean that?'
        elif others:
            yield f'"{step}" fired in {", ".join(others[:_SUSPECTS])} only'
        else:
            yield f'"{step}" never fired at all'

    def _who_lacks_it(self) -> Iterable[str]:
        """For an orphan: an instance that lacks what turned up here."""
        fault = self.fault
        if fault.key is not None:
            for other in self.context.unfinished.get((fault.circuit, fault.slot), ()):
                if hint := typo(fault.key, other):
                    yield f'near miss: "{other}" lacks exactly this ({hint}?)'
                    return


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _doing(status: UnitStatus, at_ns: int | None) -> Iterable[str]:
    """What a unit does now, or how it ended; of a unit that was started again since `at_ns`, how that life ended."""
    life = next((life for life in status.former if at_ns is not None and life.ended_ns >= at_ns), None)
    if life is not None:
        yield f"{status.name} {life.how}, and was started again"
        return
    last = f"; its last probe was {status.last_step}" if status.last_step else ""
    if status.state.ended:
        why = status.why or f"has {status.state}"
        yield f"{why if why.startswith(status.name) else f'{status.name} {why}'}{last}"
        if status.state is State.FAILED:
            yield from (f"    {line}" for line in status.last_lines[-_STDERR_LINES:])
    elif status.state is State.CREATED:
        yield f"{status.name} was never started{f': {status.why}' if status.why else ''}"
    else:
        blocked = f", blocked on {status.blocked_on}" if status.blocked_on else ""
        yield f"{status.name} is {status.state}{blocked}{last}"
