"""Messages, records and log entries <-> bytes. The only file of the project that knows msgpack.

A message is a list of frames `[word, header, body...]`: the class name in capitals, the fields as a msgpack map, opaque
bytes. A record is a msgpack array `[seq, stamp_ns, step, kind, key, data]`; records stand back to back. docs/wire.md is
the authority. Nothing here touches a socket, a file or a clock, and whatever bytes come in, the answer is a value or a
WireError.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from functools import lru_cache
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_origin

import msgpack

from probe import message as m
from probe.errors import WireError
from probe.event import MAX_DATA_BYTES, Event, Kind

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Largest frame that a peer may send."""
MAX_HEADER_BYTES: Final = 64 * 1024
"""Largest header (or command) that is parsed at all."""
MAX_HEADER_ITEMS: Final = 8192
"""Longest array or map in a header (or command): a few bytes can claim any length, and memory is taken before they are
read."""
MAX_RECORD_BYTES: Final = MAX_DATA_BYTES + 1024
"""No record that a unit writes is larger: its data, its names, and the list of what was cut."""
MAX_INTEGER: Final = 2**64 - 1
"""Every integer of a message is between 0 and this."""

Record = list[Any]
"""`[seq, stamp_ns, step, kind, key, data]` as it comes from the wire: int, int, str, int, str | None, dict | None."""

_KINDS: Final = tuple(Kind)
_NIL: Final = b"\xc0"
_SECONDS: Final = 1
"""What has msgpack make a float of its timestamps, the one extension type that it does not ask us about."""


# --- the shape of a message, read once from its dataclass -------------------------------------------------------------


class _Mistyped(Exception):
    """What was found instead of the expected type."""


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise _Mistyped(f"is {type(value).__name__}, expected int")
    if value < 0:  # msgpack itself ends at 64 bits
        raise _Mistyped(f"is {value}, expected 0 or more")
    return value


def _exactly(kind: type[Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise _Mistyped(f"is {type(value).__name__}, expected {kind.__name__}")
        return value

    return check


def _strings(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise _Mistyped("is not a list of strings")
    return tuple(value)


def _map_of(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check_map(value: Any) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise _Mistyped("is not a map with strings as keys")
        for item in value.values():
            check(item)
        return value

    return check_map


def _checker(hint: Any) -> Callable[[Any], Any]:
    """A function that gives back a value of the type `hint` and raises _Mistyped for any other."""
    if hint is int:
        return _integer
    if hint is object:
        return lambda value: value
    if NoneType in get_args(hint):
        check = _checker(next(t for t in get_args(hint) if t is not NoneType))
        return lambda value: None if value is None else check(value)
    if get_origin(hint) is tuple:
        return _strings
    if get_origin(hint) is dict:
        return _map_of(_checker(get_args(hint)[1]))
    return _exactly(hint)


class _Field(NamedTuple):
    name: str
    check: Callable[[Any], Any]
    default: Any


class _Shape(NamedTuple):
    kind: type[Any]
    word: str
    fields: tuple[_Field, ...]


def _shape(kind: type[Any], word: str) -> _Shape:
    return _Shape(kind, word, tuple(_Field(f.name, _checker(f.type), _default(f)) for f in fields(kind)))


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


_MESSAGES: Final = {kind.__name__.upper().encode(): _shape(kind, kind.__name__.upper()) for kind in get_args(m.Message)}
_ORDERS: Final = {kind.__name__.lower(): _shape(kind, f"command {kind.__name__.lower()}") for kind in get_args(m.Order)}
_WORDS: Final = {shape.kind: word for word, shape in _MESSAGES.items()}
_FIELDS: Final = {
    shape.kind: tuple(field.name for field in shape.fields) for shape in (*_MESSAGES.values(), *_ORDERS.values())
}


def _pack(value: Any) -> bytes:
    # a lone surrogate (an environment variable that is not UTF-8) travels as "?" rather than not at all
    packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="replace")
    return packed


def _unpack(data: bytes | memoryview, what: str) -> Any:
    if len(data) > MAX_HEADER_BYTES:
        raise WireError(f"{what} has {len(data)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            ext_hook=_no_ext,
            timestamp=_SECONDS,
            max_array_len=MAX_HEADER_ITEMS,
            max_map_len=MAX_HEADER_ITEMS,
        )
    except Exception as error:  # msgpack raises half a dozen unrelated types
        raise WireError(f"{what} is not msgpack: {error or type(error).__name__}") from None


def _no_ext(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code} is not part of this protocol")


class _Extension(str):
    """What stands for an extension type in the data of an event: it must not cost the events around it. As a step or a
    key it is none, for it is not of the type of text."""

    __slots__ = ()


def _ext_text(code: int, data: bytes) -> str:
    return _Extension(f"<extension {code}, {len(data)} bytes: {data[:64].hex()}>")


def _as_map(value: m.Message | m.Order) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def _build(shape: _Shape, found: Mapping[str, Any]) -> Any:
    """What the map `found` stands for; unknown fields are ignored, a missing or mistyped one is a WireError."""
    values = []
    for name, check, default in shape.fields:
        value = found.get(name, MISSING)
        if value is not MISSING:
            try:
                values.append(check(value))
            except _Mistyped as error:
                raise WireError(f"{shape.word}: field {name!r} {error}") from None
        elif default is not MISSING:
            values.append(default)
        else:
            raise WireError(f"{shape.word}: field {name!r} is missing")
    return shape.kind(*values)


# --- messages ---------------------------------------------------------------------------------------------------------


def encode(message: m.Message, *body: bytes | memoryview) -> list[bytes | memoryview]:
    """`message` as frames, ready for `send_multipart`; `body` (at most one frame) is passed through."""
    return [_WORDS[type(message)], _pack(_as_map(message)), *body]


def decode(frames: Sequence[bytes]) -> tuple[m.Message, bytes]:
    """The message in `frames` and its body (b"" when there is none).

    Raises WireError for anything that is not a message of this protocol.
    """
    if len(frames) not in (2, 3):
        raise WireError(f"a message has 2 or 3 frames, this one {len(frames)}")
    shape = _MESSAGES.get(frames[0])
    if shape is None:
        word = frames[0][:16].decode("ascii", "replace")
        raise WireError(f"unknown message type {word!r}", word=word)
    try:
        header = _unpack(frames[1], f"{shape.word} header")
        if type(header) is not dict:
            raise WireError(f"{shape.word} header is {type(header).__name__}, expected a map")
        message: m.Message = _build(shape, header)
    except WireError as error:
        error.word = shape.word
        raise
    return message, frames[2] if len(frames) == 3 else b""


def encode_order(order: m.Order) -> bytes:
    """A command as the body of a COMMAND: the map of its fields, and its name under "do". What is private is not in it
    (see `encode_private`)."""
    fields = _as_map(order)
    if isinstance(order, m.Start) and order.private:
        fields["env"] = {name: value for name, value in order.env.items() if name not in order.private}
    return _pack({"do": type(order).__name__.lower(), **fields})


def encode_private(order: m.Order) -> bytes:
    """What of a command no log may have, as the frame behind the body of its COMMAND; b"" if that is nothing."""
    if not isinstance(order, m.Start) or not order.private:
        return b""
    return _pack({name: order.env[name] for name in order.private if name in order.env})


def with_private(order: m.Order, frame: bytes) -> m.Order:
    """`order` as it was before `encode_order` and `encode_private` made two of it. Raises WireError."""
    if not isinstance(order, m.Start) or not frame:
        return order
    found = _unpack(frame, "private part of a command")
    try:
        more = _map_of(_exactly(str))(found)
    except _Mistyped as error:
        raise WireError(f"the private part of a command {error}", word="COMMAND") from None
    return replace(order, env={**order.env, **more})


@lru_cache(maxsize=4)  # what releases a thousand units of one process is decoded once
def decode_order(body: bytes) -> m.Order:
    """The command in a COMMAND's body. Raises WireError."""
    found = _unpack(body, "command")
    name = found.get("do") if type(found) is dict else None
    shape = _ORDERS.get(name) if type(name) is str else None
    if shape is None:
        raise WireError(f"unknown command {name if type(name) is str else None!r}", word="COMMAND")
    order: m.Order = _build(shape, found)
    return order


# --- records ----------------------------------------------------------------------------------------------------------


def record_packer(*, strict: bool = False) -> Callable[[Any], bytes]:
    """A function that packs one record. A `strict` one refuses (TypeError) every value that would come back as another
    type, such as a tuple, and with it keys that no reader could use; it wants the record as a list.

    Not thread-safe: one packer, one lock.
    """
    pack: Callable[[Any], bytes] = msgpack.Packer(use_bin_type=True, strict_types=strict).pack
    return pack


def unpack_records(body: bytes | memoryview) -> list[Record]:
    """All records of an EVENTS body, each an array of six. Text that is not UTF-8 is repaired, not refused.

    Raises WireError for a body that is not records back to back. What its numbers and types have to be is
    `sift`'s business.
    """
    try:
        records: list[Record] = unpack_values(body, "strict")
    except UnicodeDecodeError:
        records = unpack_values(body, "replace")
    if records and (set(map(type, records)) != {list} or set(map(len, records)) != {6}):
        raise WireError("a record is not an array of six", word="EVENTS")
    return records


def unpack_values(body: bytes | memoryview, unicode_errors: str) -> list[Any]:
    """Whatever stands back to back in the body of EVENTS; records, if its sender is right. `unicode_errors` as in
    `bytes.decode`: by "strict" text that is not UTF-8 is a UnicodeDecodeError. Raises WireError for other than msgpack.
    """
    unpacker = _unpacker(body, unicode_errors)
    try:
        values: list[Any] = list(unpacker)
        unpacker.feed(_NIL)
        whole = list(unpacker) == [None]  # a record that is cut off would have swallowed it
    except UnicodeDecodeError:
        raise
    except Exception as error:
        raise WireError(f"a record does not parse: {error or type(error).__name__}", word="EVENTS") from None
    if not whole:
        raise WireError("the last record is cut off", word="EVENTS")
    return values


def record_bounds(body: bytes | memoryview) -> Iterator[int]:
    """Byte offset behind each whole record of `body`, in order; ends at the first thing that is not a whole one."""
    unpacker = _unpacker(body, "strict")
    while True:
        try:
            unpacker.skip()
        except Exception:  # out of data, or not msgpack: either way, here the whole records end
            return
        yield unpacker.tell()


def values_and_bounds(body: bytes | memoryview) -> Iterator[tuple[Any, int]]:
    """Each whole value of `body` and the byte offset behind it, in order; ends at the first thing that is none."""
    unpacker = _unpacker(body, "strict")
    while True:
        try:
            value = unpacker.unpack()
        except Exception:  # out of data, not msgpack, or not UTF-8: either way, here they end
            return
        yield value, unpacker.tell()


def _unpacker(body: bytes | memoryview, unicode_errors: str) -> Any:
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=False,
        ext_hook=_ext_text,
        timestamp=_SECONDS,
        unicode_errors=None if unicode_errors == "strict" else unicode_errors,
        max_buffer_size=len(body) + 1,
        max_array_len=min(len(body), MAX_DATA_BYTES),  # memory is taken before the items are read
        max_map_len=min(len(body), MAX_DATA_BYTES),
    )
    unpacker.feed(body)
    return unpacker


def event_of(unit: str, incarnation: int, record: Record) -> Event:
    """The `Event` that `record` stands for. Raises WireError for a record of the wrong shape."""
    try:
        seq, stamp_ns, step, kind, key, data = record
        if not (
            type(seq) is type(stamp_ns) is type(kind) is int
            and type(step) is str
            and (key is None or type(key) is str)
            and (data is None or type(data) is dict)
            and min(kind, stamp_ns) >= 0
        ):
            raise TypeError("a field has the wrong type")
        return Event(unit, incarnation, seq, stamp_ns, step, _KINDS[kind], key, data or {})
    except IndexError:
        raise WireError(f"unknown kind {kind}", word="EVENTS") from None
    except (TypeError, ValueError) as error:
        raise WireError(f"not a record: {error}", word="EVENTS") from None


# --- log entries: a message as the broker keeps it --------------------------------------------------------------------


def encode_entry(unit: str, incarnation: int, frames: Sequence[bytes | memoryview]) -> bytes:
    """A received message (its frames, unchanged) with the unit it came from."""
    return _pack([unit, incarnation, *frames])


def decode_entry(entry: bytes | memoryview) -> tuple[str, int, m.Message, bytes]:
    """(unit, incarnation, message, body) of an entry. Raises WireError."""
    try:
        found = msgpack.unpackb(entry, raw=False, ext_hook=_no_ext, max_array_len=8, max_map_len=0)
    except Exception as error:
        raise WireError(f"a log entry does not parse: {error or type(error).__name__}") from None
    if type(found) is not list or len(found) < 2:
        raise WireError("a log entry is not [unit, incarnation, frames...]")
    unit, incarnation, *frames = found
    if type(unit) is not str or type(incarnation) is not int or not all(type(frame) is bytes for frame in frames):
        raise WireError("a log entry is not [unit, incarnation, frames...]")
    return unit, incarnation, *decode(frames)
