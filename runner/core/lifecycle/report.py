"""What a supervisor says of a unit's process, as a value: it may come from another host, so nothing of it is believed
to have the right type.

Belongs here: reading such an event. What it means is the business of `lifecycle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe.event import Event

MOST_WORDS = 100
"""Lines, or names of processes, that are taken."""


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One event of a supervisor about a unit. What is absent, or of the wrong type, counts as not said."""

    step: str
    stamp_ns: int
    pid: int | None = None
    code: int | None = None
    why: str = ""
    waited_ms: int = 0
    tail: tuple[str, ...] = ()
    of_output: bool = False
    """Whether `tail` is of its standard output, not of its standard error."""
    leftover: tuple[str, ...] = ()
    """Processes that outlived its main process and were ended."""
    leftover_ms: int = 0
    """How long before this report they were ordered to end."""
    by_itself: bool = False
    """Whether its main process had ended before its order to end."""


def report_of(event: Event) -> UnitReport:
    """What the event says."""
    data = event.data
    return UnitReport(
        step=event.step,
        stamp_ns=event.stamp_ns,
        pid=_number(data, "pid"),
        code=_number(data, "code"),
        why=str(data.get("why", "")),
        waited_ms=_number(data, "waited_ms") or 0,
        tail=_words(data, "tail"),
        of_output=data.get("stream") == "out",
        leftover=_words(data, "leftover"),
        leftover_ms=_number(data, "leftover_ms") or 0,
        by_itself=data.get("by_itself") is True,
    )


def _number(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    return value if type(value) is int else None


def _words(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    return tuple(map(str, value[:MOST_WORDS])) if isinstance(value, list | tuple) else ()
