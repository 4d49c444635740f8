"""`Events_Manager`: probes and their history under the names that legacy units use.

An event that is set goes the way of every probe; what is read comes from the broker's log. So nothing is stored in
`path`, and an event of another unit is seen as soon as it was emitted there.
"""

import time
from typing import Any, Final

from probe import unit
from probe.event import Event, Kind

from .log import Log

_KINDS: Final = {
    "Default": Kind.DEFAULT,
    "Exception": Kind.EXCEPTION,
    "Send": Kind.SEND,
    "Receive": Kind.RECEIVE,
}
_TYPES: Final = {kind: name for name, kind in _KINDS.items()}
_EVERY: Final = "*"
COLUMNS: Final = ("ID", "Unit", "StepCompleted", "EventType", "EventKey", "Time", "Metadata")
"""Fields of an event as it is read: `ID` its place in the log from 1, `Time` seconds since 1970."""


class Events_Manager:  # noqa: N801
    """Sets and reads events of one unit; `Unit="*"` reads those of all. `path` is accepted and not used."""

    def __init__(self, Unit: str, path: str | None = ".") -> None:  # noqa: N803, ARG002
        self.Unit = Unit

    def Set_Event(self, step: str, event_type: str = "Default", **kwargs: Any) -> None:  # noqa: N802
        """Emit `step`. `event_key` ties it to a journey; `metadata` (a dict) and all other arguments are its data.

        Raises ValueError for an unknown `event_type`, a Send or Receive without `event_key`, or the unit "*".
        """
        if self.Unit == _EVERY:
            raise ValueError("an event belongs to one unit, and this manager is for all of them (Unit='*')")
        if event_type not in _KINDS:
            raise ValueError(f"event_type is {event_type!r}; expected one of: {', '.join(sorted(_KINDS))}")
        key = kwargs.pop("event_key", "")
        if event_type in ("Send", "Receive") and not key:
            raise ValueError(f"a {event_type} needs event_key: what it is paired by")
        metadata = kwargs.pop("metadata", None) or {}
        if not isinstance(metadata, dict):
            raise ValueError(f"metadata is {type(metadata).__name__}; expected a dict")
        unit(self.Unit).record(_KINDS[event_type], step, key or None, {**metadata, **kwargs})

    def list_events(self, unit: str | None = None) -> list[dict[str, Any]]:
        """Every event so far of this unit, or of `unit` ("*": of all), by time; fields are `COLUMNS`."""
        wanted = self.Unit if unit is None else unit
        events = [
            (number, event)
            for number, event in enumerate(Log.of_process().events(), 1)
            if wanted in (_EVERY, event.unit)
        ]
        now = time.time() - time.monotonic()
        return [_row(number, event, now) for number, event in sorted(events, key=lambda pair: pair[1].stamp_ns)]

    def List_Events(self) -> dict[str, dict[int, Any]]:  # noqa: N802
        """The same as a table: column -> row number from 0 -> value."""
        rows = self.list_events()
        return {column: {number: row[column] for number, row in enumerate(rows)} for column in COLUMNS}

    def completed_steps(self, unit: str | None = None) -> set[str]:
        """Which steps have fired."""
        return {event["StepCompleted"] for event in self.list_events(unit)}

    def wait_for_event(
        self,
        step: str,
        unit: str | None = None,
        timeout: float = 10.0,
        poll_interval: float = 0.1,  # noqa: ARG002
    ) -> bool:
        """Whether `step` has fired, or does within `timeout` seconds. Nothing is polled; `poll_interval` is ignored."""
        wanted = self.Unit if unit is None else unit
        return Log.of_process().wait(lambda event: event.step == step and wanted in (_EVERY, event.unit), timeout)

    def drop_events_table(self) -> None:
        """Does nothing: each run has a log of its own, and evidence is kept."""


def _row(number: int, event: Event, offset_s: float) -> dict[str, Any]:
    return {
        "ID": number,
        "Unit": event.unit,
        "StepCompleted": event.step,
        "EventType": _TYPES.get(event.kind, "Default"),
        "EventKey": event.key or "",
        "Time": event.stamp_ns / 1e9 + offset_s,
        "Metadata": dict(event.data),
    }
