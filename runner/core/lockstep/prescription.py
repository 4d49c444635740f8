"""A prescribed order of checkpoints, and how far it has come.

Belongs here: what is due, and what an arrival means. Must not know threads, processes or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place where an actor can be held."""

    actor: str
    step: str

    def __str__(self) -> str:
        return f"{self.actor}: {self.step}"


Group: TypeAlias = Sequence[Checkpoint]
"""Checkpoints that may come in any order among themselves."""


class Arrival(Enum):
    """What it means that an actor has come to a checkpoint."""

    DUE = auto()
    EARLY = auto()
    """It is due later."""
    FREE = auto()
    """The order does not say anything about it any more."""


class Prescription:
    """An order: groups of checkpoints, one after the other. The same checkpoint may be in it several times."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._left: list[list[Checkpoint]] = [list(group) for group in groups if group]
        self.length = sum(map(len, self._left))
        self.passed: list[Checkpoint] = []

    @property
    def due(self) -> tuple[Checkpoint, ...]:
        """What may come next, in the order in which it was written; () at the end."""
        return tuple(self._left[0]) if self._left else ()

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All that are still to come."""
        return tuple(checkpoint for group in self._left for checkpoint in group)

    def names(self, checkpoint: Checkpoint) -> bool:
        """Whether it is still to come."""
        return checkpoint in self.checkpoints

    def arrived(self, checkpoint: Checkpoint) -> Arrival:
        """The actor is held there. Where it is due it counts as passed from now on."""
        if not self.names(checkpoint):
            return Arrival.FREE
        if checkpoint not in self._left[0]:
            return Arrival.EARLY
        self._left[0].remove(checkpoint)
        self.passed.append(checkpoint)
        if not self._left[0]:
            self._left.pop(0)
        return Arrival.DUE

    def drop(self) -> None:
        """Prescribe nothing any more."""
        self._left.clear()
