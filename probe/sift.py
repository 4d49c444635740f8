"""Which of the records in a message are what docs/wire.md says.

Belongs here: the types and numbers of records, in one place for all that read a log. What is not sound is never
mended: it was meant to say something, and it is unknown what. Must not know what records mean, or why they are lost.
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

from probe.errors import WireError
from probe.event import Kind
from probe.wire import MAX_RECORD_BYTES, Record, record_bounds, unpack_values, values_and_bounds

_STAMP: Final = itemgetter(1)
_KINDS: Final = frozenset(map(int, Kind))


class Nothing(NamedTuple):
    """Stands where a record should be, and says `why` there is none."""

    why: str


class Sifted(NamedTuple):
    """What a message has. `places` has as many as it says, each a list of six or Nothing: `why_not` says
    whether what is in a list is sound. `surplus`: more came than it says, and their numbers are unknown."""

    places: list[Record | Nothing]
    surplus: bool = False

    @property
    def records(self) -> list[Record]:
        """The lists of six."""
        return [place for place in self.places if type(place) is list]


def sift(body: bytes, count: int) -> Sifted:
    """What the body of an EVENTS has that says to bring `count` records.

    One that came whole and is no record costs its own place. Behind bytes that do not parse there is nothing.
    """
    try:
        values = unpack_values(body, "strict")
        if len(values) == count and _are_records(values):
            return Sifted(values)
        places = [_place(value) for value in values]
    except (WireError, UnicodeDecodeError):
        places = list(_one_by_one(body))
    missing = Nothing(f"of {count:,} records {len(places):,} came")
    return Sifted([*places[:count], *[missing] * (count - len(places))], len(places) > count)


def sound(body: bytes, first: int, count: int) -> Iterator[Record]:
    """The records in such a body that are what they should be, numbered from `first`."""
    for number, place in enumerate(sift(body, count).places, first):
        if type(place) is list and not why_not(place, number):
            yield place


def numbered_bounds(body: bytes | memoryview, first: int) -> Iterator[int]:
    """Byte offset behind each record of `body` as long as they are what a unit writes, numbered `first`, `first` + 1
    and so on; ends at the first thing that is not."""
    start = 0
    for number, (record, end) in enumerate(values_and_bounds(body), first):
        if why_not(record, number) or end - start > MAX_RECORD_BYTES:
            return
        yield end
        start = end


def why_not(record: Any, number: int) -> str:
    """Why `record` is not the one with this number; "" if it is."""
    if isinstance(record, Nothing):
        return record.why
    if type(record) is not list or len(record) != 6:
        return "a record is no array of six"
    seq, stamp_ns, step, kind, key, data = record
    if type(seq) is not int or seq != number:
        return f"a record has the number {_shown(seq)}"
    if type(stamp_ns) is not int or stamp_ns < 0:
        return f"a stamp is {_shown(stamp_ns)}"
    if type(step) is not str:
        return f"a step is {_named(step)}"
    if type(kind) is not int or kind not in _KINDS:
        return f"a kind is {_shown(kind)}"
    if key is not None and type(key) is not str:
        return f"a key is {_named(key)}"
    if data is not None and type(data) is not dict:
        return f"data is {_named(data)}"
    return ""


def _are_records(values: list[Any]) -> bool:
    """Whether `_place` would leave all of them as they are. This runs over every event."""
    if not values:
        return True
    try:
        return set(map(type, values)) == {list} and set(map(len, values)) == {6} and min(map(_STAMP, values)) >= 0
    except TypeError:
        return False


def _place(value: Any) -> Record | Nothing:
    if type(value) is not list or len(value) != 6:
        return Nothing("a record is no array of six")
    if type(value[1]) is int and value[1] < 0:
        return Nothing(f"a stamp is {value[1]}")
    return value


def _one_by_one(body: bytes) -> Iterator[Record | Nothing]:
    """What stands in a body of which something does not parse."""
    start = 0
    for end in record_bounds(body):
        yield _read(body[start:end])
        start = end
    if start < len(body):
        yield Nothing("a record does not parse")


def _read(part: bytes) -> Record | Nothing:
    try:
        try:
            (value,) = unpack_values(part, "strict")
        except UnicodeDecodeError:
            (value,) = unpack_values(part, "surrogateescape")
            if type(value) is list and not _are_utf8(text for text in value if type(text) is str):
                return Nothing("a step or a key is not UTF-8")
            (value,) = unpack_values(part, "backslashreplace")  # it is in the data: no two texts become one
    except (WireError, ValueError):
        return Nothing("a record does not parse")
    return _place(value)


def _are_utf8(texts: Iterable[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(value: object) -> str:
    return "nil" if value is None else type(value).__name__


def _shown(value: object) -> str:
    return str(value) if type(value) is int else _named(value)
