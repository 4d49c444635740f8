"""Whatever a caller hands to a probe -> a step, a key and data that fit into a record.

Belongs here: cutting what is too long and replacing what cannot be packed, marked with `@truncated`. User code runs
here (`str` and `repr` of foreign objects), so it is called without any lock, and nothing it raises gets out.
"""

from collections.abc import Callable
from typing import Any, Final

from probe import handlers
from probe.event import MAX_DATA_BYTES, MAX_KEY_BYTES, MAX_STEP_BYTES, TRUNCATED
from probe.wire import record_packer

SURELY_FITS: Final = min(MAX_STEP_BYTES, MAX_KEY_BYTES)
"""In a packed record of at most so many bytes nothing can be over its limit."""

_MAX_DEPTH: Final = 32
_MARKER_BYTES: Final = 1024
"""Kept free in cut data for the list of what was cut."""


def fits(step: str, key: str | None, record_bytes: int) -> bool:
    """Whether nothing in a packed record of this size can be over its limit, without packing anything again."""
    return (
        record_bytes <= MAX_DATA_BYTES
        and len(step) * 4 <= MAX_STEP_BYTES  # UTF-8 takes at most four bytes a character
        and (key is None or len(key) * 4 <= MAX_KEY_BYTES)
    )


def fit(step: object, key: object, data: dict[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
    """Step, key and data that can be packed and are within the limits. Raises nothing of its own.

    What had to be cut is listed in `data["@truncated"]`: "step", "key", or the names of the fields that are gone.
    """
    cut: list[str] = []
    name = _text(step)
    short = _short(name, MAX_STEP_BYTES)
    if short != name:
        cut.append("step")
    tie = None if key is None else _text(key)
    short_tie = None if tie is None else _short(tie, MAX_KEY_BYTES)
    if short_tie != tie:
        cut.append("key")
    try:
        fields = _small({_text(field): _plain(value) for field, value in data.items()}, cut)
    except Exception as error:  # data that changes while it is read, or a mapping that is not one
        if handlers.raised(error):
            raise
        fields = {}
        cut.append("data")
    if cut:
        fields[TRUNCATED] = cut
    return short, short_tie, fields


def _text(value: object, turn: Callable[[object], str] = str) -> str:
    """`value` as text that UTF-8 can carry, whatever its class does."""
    try:
        text = value if type(value) is str else str.__str__(turn(value))
    except Exception as error:
        if handlers.raised(error):
            raise
        text = f"<{type(value).__name__}: {type(error).__name__} in {turn.__name__}()>"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _short(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8, cut between characters."""
    if len(text) * 4 <= limit:
        return text
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _plain(value: object, depth: int = 0) -> Any:
    """`value` made of what msgpack knows only: what it does not know becomes its repr."""
    match value:
        case None | bool() | float() | bytes() | bytearray():
            return value
        case str():
            return _text(value)
        case int():
            return int(value) if -(1 << 63) <= value < 1 << 64 else hex(value)
        case dict() | list() | tuple() | set() | frozenset() if depth > _MAX_DEPTH:
            return "..."
        case dict():
            return {_text(field): _plain(inner, depth + 1) for field, inner in list(value.items())}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner, depth + 1) for inner in list(value)]
    return _text(value, repr)


def _small(fields: dict[str, Any], cut: list[str]) -> dict[str, Any]:
    """`fields` without those that make them larger than the limit: the smallest ones stay, `cut` gets the others."""
    pack = record_packer()
    if len(pack(fields)) <= MAX_DATA_BYTES:
        return fields
    room = MAX_DATA_BYTES - _MARKER_BYTES
    kept = {}
    for size, name in sorted((len(pack((name, value))), name) for name, value in fields.items()):
        room -= size
        if room >= 0:
            kept[name] = fields[name]
        elif len(cut) < 10:
            cut.append(_short(name, 64))
    return kept
