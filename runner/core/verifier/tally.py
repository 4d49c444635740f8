"""The events of one slot, in memory that does not grow with their number.

Belongs here: which events of a slot are kept, whatever order they come in. Must not know instances.
"""

from bisect import insort
from typing import TypeAlias

from runner.core.verifier.judge import EventRef, Filled
from runner.core.verifier.pattern import Slot


class Earliest:
    """How many events there are, and the earliest of them, `kept` at most."""

    __slots__ = ("_kept", "marks", "number")

    def __init__(self, mark: EventRef, kept: int) -> None:
        self._kept = kept
        self.marks = [mark]
        self.number = 1

    def add(self, mark: EventRef) -> None:
        self.number += 1
        if len(self.marks) < self._kept:
            insort(self.marks, mark)
        elif mark < self.marks[-1]:
            self.marks.pop()
            insort(self.marks, mark)


class Several(Earliest):
    """The events of a slot that takes a number of them: as many of the earliest as tell which are needed and which is
    the first beyond the most allowed."""

    __slots__ = ("_slot",)

    def __init__(self, mark: EventRef, slot: Slot) -> None:
        super().__init__(mark, slot.needed if slot.at_most is None else slot.at_most + 1)
        self._slot = slot

    def filled(self) -> Filled:
        """As `judge` wants it."""
        most = self._slot.at_most
        beyond = self.marks[most] if most is not None and self.number > most else None
        return Filled(self.number, self.marks[: self._slot.needed], beyond)


class Single:
    """The same for a slot that takes one: most slots are such, and there are many. It is one object, for the sake of
    the garbage collector."""

    __slots__ = ("extra", "number", "slot", "stamp_ns", "unit")

    def __init__(self, mark: EventRef) -> None:
        self.stamp_ns, self.slot, self.unit = mark
        self.extra: EventRef | None = None
        self.number = 1

    def add(self, mark: EventRef) -> None:
        self.number += 1
        earliest = EventRef(self.stamp_ns, self.slot, self.unit)
        if mark < earliest:
            self.stamp_ns, _, self.unit = mark
            mark = earliest
        self.extra = mark if self.extra is None else min(self.extra, mark)

    def filled(self) -> Filled:
        """As `judge` wants it."""
        mark = EventRef(self.stamp_ns, self.slot, self.unit)
        return Filled(self.number, (mark,), self.extra)


Tally: TypeAlias = Single | Several


def tally_of(mark: EventRef, slot: Slot) -> Tally:
    """The tally of `slot`, whose first event is `mark`."""
    return Single(mark) if slot.at_most == 1 else Several(mark, slot)
