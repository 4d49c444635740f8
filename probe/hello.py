"""The HELLO of one incarnation: said by its unit, or afterwards by recovery in its name.

Belongs here: what stands in it. When it is said is `connection`'s business.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from probe import message as m
from probe.connection import SDK
from probe.segment import Owner

ASKS_BYTES: Final = 16 * 1024
"""So much of what the unit waits for stands in its HELLO, the oldest first; all of it is asked again anyway."""


def of_unit(owner: Owner, *, is_agent: bool, waiting: Iterable[str], journal: bool, units_key: str) -> m.Hello:
    """`journal`: the incarnation keeps one; see docs/wire.md for the others."""
    return m.Hello(
        version=m.VERSION,
        role="agent" if is_agent else "unit",
        run=owner.run,
        unit=owner.unit,
        incarnation=owner.incarnation,
        host=owner.boot,
        pid=owner.pid,
        sdk=SDK,
        waiting=_first_of(waiting),
        journal=journal,
        units_key=units_key,
    )


def of_recovery(owner: Owner, *, journal: bool) -> m.Hello:
    """`journal`: the incarnation kept one."""
    return m.Hello(
        version=m.VERSION,
        role="unit",
        run=owner.run,
        unit=owner.unit,
        incarnation=owner.incarnation,
        host=owner.boot,
        pid=owner.pid,
        sdk=f"{SDK} recovery",
        recovered=True,
        journal=journal,
    )


def _first_of(asks: Iterable[str]) -> tuple[str, ...]:
    """As many of them as fit into a HELLO."""
    known = tuple(asks)
    sizes = accumulate(len(ask.encode()) + 3 for ask in known)
    return tuple(ask for ask, size in zip(known, sizes, strict=True) if size <= ASKS_BYTES)
