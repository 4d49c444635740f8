"""The records of one EVENTS message, sorted once: what every part of a run asks of them.

Belongs here: which records are whole, and which of them ask the runner for something. Must not know what records mean.
This is done for every event, so each list costs one comprehension, and is only made when it is needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

from broker.log import Entry
from probe.errors import WireError
from probe.event import USER_KINDS, Event, Kind
from probe.message import Events
from probe.sift import Nothing, sift
from probe.wire import Record, event_of

_OWN: Final = int(Kind.ARRIVE)
"""The kinds from here on are those that `probe` itself emits."""


class Batch:
    """What `entry` brings. `places` are all its records and, where one should be and is not, Nothing; `surplus`: it
    brings more than it says."""

    def __init__(self, entry: Entry, message: Events) -> None:
        self._entry = entry
        self.places, self.surplus = sift(entry.body, message.count)

    @cached_property
    def records(self) -> list[Record]:
        """Those that are lists of six; what stands in them is still to be checked."""
        return [place for place in self.places if type(place) is list]

    def events(self) -> Iterator[Event]:
        """Every record that is an event, with the stamps of its process."""
        return self._events_of(self.records)

    def requests(self) -> Sequence[Event]:
        """Records of the kinds that `probe` itself emits: what a unit asks for, and what it says about itself. Few
        records are."""
        return tuple(self._events_of(_own(self.places)))

    @property
    def user_events(self) -> int:
        """How many are events of the unit's own code."""
        return sum(type(record[3]) is int and record[3] in USER_KINDS for record in self.records)

    def _events_of(self, records: Iterable[Record]) -> Iterator[Event]:
        for record in records:
            try:
                yield event_of(self._entry.unit, self._entry.incarnation, record)
            except WireError:
                continue


def _own(places: Sequence[Record | Nothing]) -> list[Record]:
    try:
        return [place for place in places if type(place) is list and place[3] >= _OWN]
    except TypeError:  # a kind that is no number
        return [place for place in places if type(place) is list and type(place[3]) is int and place[3] >= _OWN]
