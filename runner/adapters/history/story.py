"""The story of a key: every event of a recorded run that fits, in order of time.

Belongs here: choosing events from a log. Must not know what a circuit is or how events are shown.
"""

from pathlib import Path

from probe.event import Event
from probe.message import Events
from probe.sift import sound
from probe.wire import event_of
from runner.adapters.history import replay


def events(log: Path, *, key: str | None = None, unit: str | None = None, step: str | None = None) -> list[Event]:
    """Events of `log` with this key, of this unit, of this step (None: any), the fabric's own records included.

    Raises RecordingError when the log cannot be read.
    """
    found: list[Event] = []
    marks = tuple(text.encode() for text in (key, step) if text is not None)
    for entry in replay.entries(log):
        if not isinstance(entry.message, Events) or (unit is not None and entry.unit != unit):
            continue
        if not all(mark in entry.body for mark in marks):
            continue  # a search in raw bytes is a hundred times cheaper than decoding what cannot fit
        records = sound(entry.body, entry.message.first, entry.message.count)
        events = [event_of(entry.unit, entry.incarnation, record) for record in records]
        found += [e for e in events if (key is None or e.key == key) and (step is None or e.step == step)]
    return sorted(found, key=lambda event: event.stamp_ns)
