"""Messages, records and log entries <-> bytes. The only file of the project that knows msgpack.

A message is a list of frames `[word, header, body...]`: the class name in capitals, the fields as a msgpack map, opaque
bytes. A record is a msgpack array `[seq, stamp_ns, step, kind, key, data]`; records stand back to back. docs/wire.md is
the authority. Nothing here touches a socket, a file or a clock.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final, get_args, get_type_hints

import msgpack

from probe import message as m
from probe.errors import WireError
from probe.event import Event, Kind

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Largest frame that a peer may send."""
MAX_HEADER_BYTES: Final = 64 * 1024
"""Largest header (or command) that is parsed at all."""

Record = list[Any]
"""`[seq, stamp_ns, step, kind, key, data]` as it comes from the wire: int, int, str, int, str | None, dict | None."""

_ANYTHING = object


def _shape(kind: type[Any]) -> dict[str, tuple[tuple[type, ...], Any]]:
    """Field name -> (accepted types, default or MISSING), read once from the dataclass."""
    hints = get_type_hints(kind)
    shape = {}
    for field in fields(kind):
        hint = hints[field.name]
        accepted = tuple(getattr(t, "__origin__", t) for t in (get_args(hint) if _is_union(hint) else (hint,)))
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        shape[field.name] = (accepted, default)
    return shape


def _is_union(hint: Any) -> bool:
    return type(hint).__name__ in ("UnionType", "Union", "_UnionGenericAlias")


_MESSAGES: Final = {kind.__name__.upper(): (kind, _shape(kind)) for kind in get_args(m.Message)}
_ORDERS: Final = {kind.__name__.lower(): (kind, _shape(kind)) for kind in get_args(m.Order)}
_WORDS: Final = {kind: word.encode() for word, (kind, _) in _MESSAGES.items()}
_FIELDS: Final = {kind: tuple(shape) for kind, shape in (*_MESSAGES.values(), *_ORDERS.values())}


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _unpack(data: bytes | memoryview, what: str) -> Any:
    if len(data) > MAX_HEADER_BYTES:
        raise WireError(f"{what} has {len(data)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_no_ext)
    except Exception as error:  # msgpack raises half a dozen unrelated types
        raise WireError(f"{what} is not msgpack: {error}") from None


def _no_ext(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code} is not part of this protocol")


def _as_map(value: m.Message | m.Order) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def _build(kind: type[Any], shape: Mapping[str, tuple[tuple[type, ...], Any]], found: Any, what: str) -> Any:
    """A `kind` from the map `found`; unknown fields are ignored, a missing or mistyped one is a WireError."""
    if not isinstance(found, dict):
        raise WireError(f"{what}: header is {type(found).__name__}, expected a map")
    values = {}
    for name, (accepted, default) in shape.items():
        if name not in found:
            if default is MISSING:
                raise WireError(f"{what}: field {name!r} is missing")
            continue
        value = found[name]
        if tuple in accepted and type(value) is list:
            if not all(type(item) is str for item in value):
                raise WireError(f"{what}: field {name!r} holds something that is not a string")
            value = tuple(value)
        if type(value) not in accepted:
            wanted = " or ".join("null" if t is type(None) else t.__name__ for t in accepted)
            raise WireError(f"{what}: field {name!r} is {type(value).__name__}, expected {wanted}")
        values[name] = value
    return kind(**values)


# --- messages ---------------------------------------------------------------------------------------------------------


def encode(message: m.Message, *body: bytes | memoryview) -> list[bytes | memoryview]:
    """`message` as frames, ready for `send_multipart`; `body` is passed through."""
    return [_WORDS[type(message)], _pack(_as_map(message)), *body]


def decode(frames: Sequence[bytes]) -> tuple[m.Message, bytes]:
    """The message in `frames` and its body (b"" when there is none).

    Raises WireError for anything that is not a message of this protocol.
    """
    if len(frames) not in (2, 3):
        raise WireError(f"a message has 2 or 3 frames, this one {len(frames)}")
    word = bytes(frames[0][:16]).decode("ascii", "replace")
    if word not in _MESSAGES:
        raise WireError(f"unknown message type {word!r}", word=word)
    kind, shape = _MESSAGES[word]
    try:
        message: m.Message = _build(kind, shape, _unpack(frames[1], f"{word} header"), word)
    except WireError as error:
        raise WireError(str(error), word=word) from None
    return message, frames[2] if len(frames) == 3 else b""


def encode_order(order: m.Order) -> bytes:
    """A command as the body of a COMMAND: the map of its fields, and its name under "do"."""
    return _pack({"do": type(order).__name__.lower(), **_as_map(order)})


def decode_order(body: bytes) -> m.Order:
    """The command in a COMMAND's body. Raises WireError."""
    found = _unpack(body, "command")
    name = found.get("do") if isinstance(found, dict) else None
    if not isinstance(name, str) or name not in _ORDERS:
        raise WireError(f"unknown command {name!r}", word="COMMAND")
    kind, shape = _ORDERS[name]
    order: m.Order = _build(kind, shape, found, f"command {name}")
    return order


# --- records ----------------------------------------------------------------------------------------------------------


def record_packer(default: Callable[[Any], Any] | None = None) -> Callable[[Any], bytes]:
    """A function that packs one record tuple; `default` turns a value msgpack does not know into one it does.

    Not thread-safe: one packer, one lock.
    """
    pack: Callable[[Any], bytes] = msgpack.Packer(default=default, use_bin_type=True).pack
    return pack


def unpack_records(body: bytes | memoryview) -> list[Record]:
    """All records of an EVENTS body. Raises WireError for a body that is not records back to back."""
    unpacker = msgpack.Unpacker(
        raw=False, strict_map_key=False, ext_hook=_no_ext, max_buffer_size=max(len(body), 1), unicode_errors="replace"
    )
    unpacker.feed(body)
    try:
        records: list[Record] = list(unpacker)
    except Exception as error:
        raise WireError(f"a record does not parse: {error}", word="EVENTS") from None
    if unpacker.tell() != len(body):
        raise WireError("the last record is cut off", word="EVENTS")
    return records


def record_bounds(body: bytes | memoryview) -> Iterator[int]:
    """Byte offset behind each whole record of `body`, in order; ends at the first thing that is not a whole one."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    while True:
        try:
            unpacker.skip()
        except Exception:  # out of data, or not msgpack: either way, here the whole records end
            return
        yield unpacker.tell()


def event_of(unit: str, incarnation: int, record: Record) -> Event:
    """The `Event` that `record` stands for. Raises WireError for a record of the wrong shape."""
    try:
        seq, stamp_ns, step, kind, key, data = record
        return Event(unit, incarnation, seq, stamp_ns, step, Kind(kind), key, data or {})
    except (TypeError, ValueError) as error:
        raise WireError(f"not a record: {error}", word="EVENTS") from None


# --- log entries: a message as the broker keeps it --------------------------------------------------------------------


def encode_entry(unit: str, incarnation: int, frames: Sequence[bytes]) -> bytes:
    """A received message (its frames, unchanged) with the unit it came from."""
    return _pack([unit, incarnation, *frames])


def decode_entry(entry: bytes | memoryview) -> tuple[str, int, m.Message, bytes]:
    """(unit, incarnation, message, body) of an entry. Raises WireError."""
    try:
        unit, incarnation, *frames = msgpack.unpackb(entry, raw=False, ext_hook=_no_ext)
    except Exception as error:
        raise WireError(f"a log entry does not parse: {error}") from None
    if type(unit) is not str or type(incarnation) is not int or not all(type(f) is bytes for f in frames):
        raise WireError("a log entry is not [unit, incarnation, frames...]")
    return unit, incarnation, *decode(frames)
