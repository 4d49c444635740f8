"""The events of one slot, in memory that does not grow with their number.

Belongs here: which events of a slot are kept, whatever order they come in. Must not know instances.
"""

from bisect import insort
from typing import TypeAlias

from runner.core.verifier.judge import EventRef, Filled
from runner.core.verifier.pattern import Slot


class Earliest:
    """How many events there are, and the earliest of them, `kept` at most."""

    __slots__ = ("_kept", "events", "number")

    def __init__(self, event: EventRef, kept: int) -> None:
        self._kept = kept
        self.events = [event]
        self.number = 1

    def add(self, event: EventRef) -> None:
        self.number += 1
        if len(self.events) < self._kept:
            insort(self.events, event)
        elif event < self.events[-1]:
            self.events.pop()
            insort(self.events, event)


class Several(Earliest):
    """The events of a slot that takes a number of them: of the earliest enough to say which are needed and which
    is the first beyond the most allowed."""

    __slots__ = ("_slot",)

    def __init__(self, event: EventRef, slot: Slot) -> None:
        super().__init__(event, slot.needed if slot.at_most is None else slot.at_most + 1)
        self._slot = slot

    def filled(self) -> Filled:
        """As `judge` wants it."""
        most = self._slot.at_most
        beyond = self.events[most] if most is not None and self.number > most else None
        return Filled(self.number, self.events[: self._slot.needed], beyond)


class Single:
    """The same for a slot that takes one: most slots are such, and there are many. It is one object, for the sake of
    the garbage collector."""

    __slots__ = ("extra", "number", "slot", "stamp_ns", "unit")

    def __init__(self, event: EventRef) -> None:
        self.stamp_ns, self.slot, self.unit = event
        self.extra: EventRef | None = None
        self.number = 1

    def add(self, event: EventRef) -> None:
        self.number += 1
        earliest = EventRef(self.stamp_ns, self.slot, self.unit)
        if event < earliest:
            self.stamp_ns, _, self.unit = event
            event = earliest
        self.extra = event if self.extra is None else min(self.extra, event)

    def filled(self) -> Filled:
        """As `judge` wants it."""
        event = EventRef(self.stamp_ns, self.slot, self.unit)
        return Filled(self.number, (event,), self.extra)


SlotEvents: TypeAlias = Single | Several


def slot_events(event: EventRef, slot: Slot) -> SlotEvents:
    """The events of `slot`, of which `event` is the first to come."""
    return Single(event) if slot.at_most == 1 else Several(event, slot)
