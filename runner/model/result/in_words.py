"""Keys, data and exceptions of events in words.

Belongs here: how a value is written in a sentence. Must not know the sentence.
"""

from collections.abc import Mapping
from typing import Any, Final

_MOST_DATA: Final = 300
"""Characters of an event's data that are written."""


def data_in_words(data: Mapping[str, Any]) -> str:
    """The data of an event on one line: "reason='checksum', attempt=2"."""
    return ", ".join(f"{name}={value!r}" for name, value in data.items())[:_MOST_DATA]


def exception_in_words(data: Mapping[str, Any]) -> str:
    """What the data of an exception event says, on one line: "no such order (shop.py:12 in work)"."""
    rest = dict(data)
    message, where = rest.pop("message", ""), rest.pop("where", "")
    text = " ".join(part for part in (str(message), f"({where})" if where else "", data_in_words(rest)) if part)
    return " ".join(text.split())[:_MOST_DATA]


def key_in_words(key: str) -> str:
    """A key as it stands in a sentence: in quotes where one could not see where it begins and ends."""
    return key if key and not any(character.isspace() for character in key) else f'"{key}"'
