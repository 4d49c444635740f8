"""What the actors of a run do: their checkpoints in order, and what they touch there.

Belongs here: the nouns of a search, and when two steps depend on each other. Must not know how a profile is recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

Order: TypeAlias = tuple[int, ...]
"""Whose step is next, by number of the actor."""

T = TypeVar("T")


class Chance(Protocol):
    """A source of random numbers, as `random.Random` is one."""

    def random(self) -> float: ...
    def choice(self, seq: Sequence[T], /) -> T: ...
    def choices(self, population: Sequence[T], weights: Sequence[float]) -> list[T]: ...
    def sample(self, population: Sequence[T], k: int) -> list[T]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What an actor does from one checkpoint to its next: the name of the checkpoint that it leaves, and for each
    resource that it touches whether it `writes` there."""

    checkpoint: str
    writes: Mapping[str, bool] = field(default_factory=dict)

    def depends_on(self, other: "Step") -> bool:
        """Whether it matters which of two steps of different actors comes first: both touch a resource, and one
        writes."""
        mine, its = self.writes, other.writes
        if len(its) < len(mine):
            mine, its = its, mine
        return any(resource in its and (writes or its[resource]) for resource, writes in mine.items())


@dataclass(frozen=True, slots=True)
class Profile:
    """The steps of every actor, in its own order. What an actor does is taken not to depend on the others."""

    actors: tuple[tuple[Step, ...], ...]

    @property
    def length(self) -> int:
        """The steps of all actors together."""
        return sum(map(len, self.actors))

    def is_order(self, order: Order) -> bool:
        """Whether `order` has every step of every actor."""
        return len(order) == self.length and all(order.count(i) == len(own) for i, own in enumerate(self.actors))

    def steps(self, order: Sequence[int]) -> list[Step]:
        """The steps that `order` goes through."""
        at = [0] * len(self.actors)
        found = []
        for actor in order:
            found.append(self.actors[actor][at[actor]])
            at[actor] += 1
        return found
