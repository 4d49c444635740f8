"""What the starters of threads, tasks and processes have in common, and what they report to their conductor.

Belongs here: the life of one actor as its conductor sees it. Must not know which order is prescribed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from typing import Any, Final

from runner.adapters.actors.wrapping import Wrapped, wrapped
from runner.core.lockstep.prescription import Checkpoint

_NUMBERS: Final = count(1)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An actor is held at a checkpoint."""

    actor: "Starter"
    step: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An actor has come to its end."""

    actor: "Starter"


Reports = SimpleQueue[Arrived | Ended]
"""What actors report to their conductor."""


class Starter(ABC):
    """Something that is run under a conductor: `target(*args, **kwargs)`. `result` and `error` are what came of it."""

    def __init__(self, target: Callable[..., Any], *args: Any, name: str = "", **kwargs: Any) -> None:
        self.name = name or f"{getattr(target, '__name__', type(target).__name__)}-{next(_NUMBERS)}"
        self.result: Any = None
        self.error: BaseException | None = None
        self.held: str | None = None
        """The checkpoint at which it is held; None: at none."""
        self.has_begun = False
        self.has_ended = False
        self.wrapped: list[Wrapped] = []
        self._target = target
        self._args = args
        self._kwargs = kwargs
        self._queue: Reports = SimpleQueue()
        self._steps: Collection[str] = ()
        self.seen: dict[str, None] = {}
        """Checkpoints that it came by and was not held at."""
        self._is_free = False

    def checkpoint(self, step: str) -> Checkpoint:
        """The checkpoint of that name in this actor's code: `probe.checkpoint(step)`."""
        return Checkpoint(self.name, step)

    def add_checkpoint_before(self, target: Callable[..., Any]) -> Checkpoint:
        """A checkpoint where this actor is about to call `target`: a function of a module, or a method. Raises
        UsageError for what cannot be wrapped."""
        found = wrapped(target)
        self.wrapped.append(found)
        return Checkpoint(self.name, found.before)

    def add_checkpoint_after(self, target: Callable[..., Any]) -> Checkpoint:
        """The same where `target` has returned, or raised."""
        found = wrapped(target)
        self.wrapped.append(found)
        return Checkpoint(self.name, found.after)

    def attend(self, queue: Reports, steps: Collection[str]) -> None:
        """From now on report to `queue`, and hold at these steps."""
        self._queue, self._steps = queue, steps

    def go(self) -> None:
        """Begin, or go on from where it is held; nothing if it runs."""
        if not self.has_begun:
            self.has_begun = True
            self._begin()
        elif self.held is not None:
            self.held = None
            self._release()

    def free(self) -> None:
        """Hold it nowhere any more. What has not begun never will."""
        self._is_free = True
        if self.has_begun and not self.has_ended:
            self._free()

    def _passes(self, step: str) -> bool:
        """Whether it is not held at `step`."""
        if self._is_free or step not in self._steps:
            self.seen[step] = None
            return True
        return False

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _release(self) -> None:
        """Let it go on from the checkpoint where it is held."""

    def _free(self) -> None:
        """`_release` if it is held, and at every checkpoint that follows."""
        if self.held is not None:
            self.held = None
            self._release()

    def _arrive(self, step: str) -> None:
        """It has come to `step` and is about to be held there."""
        self.held = step
        self._queue.put(Arrived(self, step))

    def _end(self) -> None:
        """It has come to its end."""
        self.has_ended = True
        self._queue.put(Ended(self))

    @abstractmethod
    def doing(self) -> list[str]:
        """Where it is in its code, innermost last, as lines for people; [] if that is not known."""

    def waits_for_a_lock(self) -> bool:
        """Whether it surely does nothing but wait for a lock."""
        return False

    @abstractmethod
    def join(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came."""
