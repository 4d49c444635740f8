"""The nouns of a probe: what fired, and of which kind.

Belongs here: `Event`, `Kind` and the size limits every part of the fabric agrees on. Must not know bytes, sockets,
files, threads or who reads the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

MAX_STEP_BYTES: Final = 200
"""Longest step (probe name), in bytes of UTF-8; a longer one is cut at `emit`."""

MAX_KEY_BYTES: Final = 200
"""Longest key, in bytes of UTF-8; a longer one is cut at `emit`."""

MAX_DATA_BYTES: Final = 64 * 1024
"""Largest packed data of one event, in bytes; larger data is replaced by a marker at `emit`."""

TRUNCATED: Final = "@truncated"
"""Data key that marks an event whose step, key or data did not fit; its value lists what was cut."""


class Kind(IntEnum):
    """What sort of event a record is. The number is what travels (see docs/wire.md)."""

    DEFAULT = 0
    SEND = 1
    RECEIVE = 2
    EXCEPTION = 3
    READY = 4
    """The unit says it can do its work (`probe.ready`)."""
    ARRIVE = 5
    """The unit stands at a barrier and asks to be let through (`probe.barrier`)."""
    GATE = 6
    """The unit stands at a checkpoint."""
    STATE = 7
    """The fabric speaks: a supervisor reports what became of a process."""
    WAIT = 8
    """The unit asks for an answer when another unit's probe has fired (`probe.wait`)."""


USER_KINDS: Final = frozenset({Kind.DEFAULT, Kind.SEND, Kind.RECEIVE, Kind.EXCEPTION, Kind.READY})
"""Kinds that a unit's own code emits; the others are the fabric's records and are not counted as the unit's events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One probe that fired, as it is stored.

    `incarnation` tells one life of the unit's process from the next, `seq` counts from 1 within it without holes,
    `stamp_ns` is CLOCK_MONOTONIC of the unit's host in nanoseconds. `key` ties the events of one journey together
    (None: the event belongs to no journey). `data` is what the unit added; never None.
    """

    unit: str
    incarnation: int
    seq: int
    stamp_ns: int
    step: str
    kind: Kind
    key: str | None
    data: Mapping[str, Any]
