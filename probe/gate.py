"""Checkpoints: places at which a test may hold the caller, to force an order, or to look at what stands still.

Belongs here: the call and the gate that is asked. Must not know who holds whom, or why. A checkpoint holds the caller
only where a conductor has armed the process; else it costs one look at a variable.
"""

from collections.abc import Iterable
from typing import Protocol

from probe.errors import ProbeError


class Gate(Protocol):
    """What armed checkpoints ask. Both return when the caller may go on."""

    def hold(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None: ...
    async def hold_async(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None: ...


_gate: Gate | None = None


def checkpoint(step: str, /, *, touches: str | Iterable[str] = (), reads: str | Iterable[str] = ()) -> None:
    """Say that the caller is about to do what follows; a conductor may hold it here.

    `touches` names what it changes until its next checkpoint ("account:1"), `reads` what it only looks at: two steps of
    different actors that share nothing need not be tried in both orders. Blocks the thread while it is held; in a
    coroutine use `checkpoint_async`.
    """
    if _gate is not None:
        _gate.hold(step, _names(touches), _names(reads))


async def checkpoint_async(step: str, /, *, touches: str | Iterable[str] = (), reads: str | Iterable[str] = ()) -> None:
    """`checkpoint` for asyncio: the loop goes on meanwhile."""
    if _gate is not None:
        await _gate.hold_async(step, _names(touches), _names(reads))


def arm(gate: Gate | None) -> None:
    """Have every checkpoint of this process ask `gate`; None: ask none. Raises ProbeError if another one is asked."""
    global _gate
    if gate is not None and _gate is not None:
        raise ProbeError("another conductor holds the checkpoints of this process; leave its `with` block first")
    _gate = gate


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
