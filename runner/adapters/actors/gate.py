"""Which actor is held when a checkpoint is reached in this process: the actor in whose context it is called.

Belongs here: finding the actor. Code that belongs to no actor is never held.
"""

from contextvars import ContextVar
from typing import Protocol


class Held(Protocol):
    """An actor in this process."""

    def hold(self, step: str) -> None: ...
    async def hold_async(self, step: str) -> None: ...


ACTOR: ContextVar[Held | None] = ContextVar("ACTOR", default=None)
"""The actor that runs here. Tasks inherit it from the one that made them, threads do not."""


class ActorGate:
    """See `probe.gate.Gate`."""

    def hold(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        """Hold the actor that runs here, if there is one and its order says so."""
        del writes, reads
        if (actor := ACTOR.get()) is not None:
            actor.hold(step)

    async def hold_async(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        """The same in a coroutine."""
        del writes, reads
        if (actor := ACTOR.get()) is not None:
            await actor.hold_async(step)
