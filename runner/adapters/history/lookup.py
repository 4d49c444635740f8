"""The first event of a probe in a log that still grows: a unit may wait for a probe that has fired already.

Belongs here: finding it repeatedly without reading the whole log each time. Must not know which unit asks.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from broker import log
from broker.log import Entry
from probe.errors import WireError
from probe.event import USER_KINDS, Event
from probe.message import Events
from probe.sift import Nothing, sift
from probe.wire import Record, event_of
from runner.adapters.history import log_file

MOST_PLACES: Final = 500_000
"""So many probes and keys are remembered; for one beyond them the log is read."""
MOST_STEPS: Final = 16_384
FEW: Final = 8
"""For so many steps it is cheaper to look for their bytes than to decode everything."""
DECODED: Final = 4
"""So many entries are kept as events: a unit that asks for one event often asks for its neighbours."""


class Lookup:
    """Follows one log from its beginning by `take`. A step that is asked for more than once is followed: where its
    events are, by unit and key, is remembered from then on, and asking again costs the reading of one entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = log.START
        """Behind the last entry that was taken."""
        self._asked: set[str] = set()
        """Steps that were asked for."""
        self._followed: dict[str, dict[str, None]] = {}
        """Step -> units that fired it."""
        self._places: dict[int, int] = {}
        """Hash of (unit, step, key; None: any) -> where the entry with its first event begins."""
        self._complete = True
        """Whether nothing had to be left out of `_places`."""
        self._decoded: dict[int, list[Event]] = {}

    def take(self, entry: Entry, records: Sequence[Record | Nothing]) -> None:
        """The next EVENTS of the log, and what stands in it."""
        self._end = entry.end
        if self._followed:
            self._note(entry, records, self._followed)

    def expect(self, steps: Iterable[str]) -> None:
        """So often these will be asked for next. Raises RecordingError."""
        wanted = Counter(steps)
        new = [step for step in wanted if step not in self._followed]
        if len(new) <= FEW:
            new = [step for step in new if wanted[step] > 1 or step in self._asked]
        self._asked.update(wanted)
        if new:
            self._follow(new)

    def first(self, unit: str, step: str, key: str | None) -> Event | None:
        """The first event of a unit's own code that fits. `unit` may be a pattern; `key` None means any. Raises
        RecordingError."""
        fired = self._followed.get(step)
        if fired is None:
            return log_file.find(self._path, unit, step, key, self._end)
        units = (unit,) if unit in fired else [name for name in fired if fnmatchcase(name, unit)]
        places = [self._places.get(hash((name, step, key)), self._end) for name in units]
        place = min(places, default=self._end)
        if place < self._end:
            for event in self._events_at(place):
                if event.step == step and event.unit in units and (key is None or event.key == key):
                    return event
        return None if self._complete else log_file.find(self._path, unit, step, key, self._end)

    def _follow(self, steps: Collection[str]) -> None:
        """Read the log once for all of them."""
        if len(self._followed) + len(steps) > MOST_STEPS:
            self._asked.clear()
            self._followed.clear()
            self._places.clear()
            self._complete = True
        followed: dict[str, dict[str, None]] = {step: {} for step in steps}
        for entry in log_file.mentions(self._path, steps if len(steps) <= FEW else (), until=self._end):
            if isinstance(entry.message, Events):
                self._note(entry, sift(entry.body, entry.message.count).records, followed)
        self._followed |= followed

    def _note(self, entry: Entry, records: Sequence[Record | Nothing], followed: dict[str, dict[str, None]]) -> None:
        places = self._places
        for event in _events_of(
            entry, [r for r in records if type(r) is list and type(r[2]) is str and r[2] in followed]
        ):
            if len(places) >= MOST_PLACES:
                self._complete = False
                return
            followed[event.step][entry.unit] = None
            places.setdefault(hash((entry.unit, event.step, None)), entry.start)
            if event.key is not None:
                places.setdefault(hash((entry.unit, event.step, event.key)), entry.start)

    def _events_at(self, start: int) -> list[Event]:
        """The events in the entry that begins at that byte."""
        events = self._decoded.get(start)
        if events is None:
            entry = next(iter(log_file.entries(self._path, start)))
            count = entry.message.count if isinstance(entry.message, Events) else 0
            events = list(_events_of(entry, sift(entry.body, count).records))
            if len(self._decoded) >= DECODED:
                del self._decoded[next(iter(self._decoded))]
            self._decoded[start] = events
        return events


def _events_of(entry: Entry, records: Iterable[Record]) -> Iterable[Event]:
    """Those of `records` that are events of a unit's own code."""
    for record in records:
        with suppress(WireError):
            event = event_of(entry.unit, entry.incarnation, record)
            if event.kind in USER_KINDS:
                yield event
