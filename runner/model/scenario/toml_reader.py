"""One TOML file on its way to values: each place knows its path, and mistakes are collected, not raised.

Belongs here: opening a file, walking its tables by declared keys, and the plain types. A reader takes a `TomlValue` and
returns a value, or None when the spot is unusable, which it has recorded by then. Must not know what the keys mean.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, TypeAlias, TypeVar

from runner.model.errors import Mistake, ScenarioError
from runner.model.scenario import position
from runner.model.scenario.hints import did_you_mean, expected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """An open TOML file: its name for messages, where its values stand, what is wrong with them."""

    name: str
    lines: Mapping[position.Path, int]
    mistakes: list[Mistake] = field(default_factory=list)

    def in_order(self) -> list[Mistake]:
        """The mistakes from the first line to the last."""
        return sorted(self.mistakes, key=lambda mistake: mistake.line or 0)


@dataclass(frozen=True, slots=True)
class TomlValue:
    """A value in a file, and its place there."""

    value: Any
    path: position.Path
    source: Source

    def mistake(self, message: str) -> None:
        """Records what is wrong here; `message` goes on after the name of the place."""
        known = (self.path[:length] for length in range(len(self.path), 0, -1))
        line = next((self.source.lines[path] for path in known if path in self.source.lines), None)
        self.source.mistakes.append(Mistake(self.source.name, position.dotted(self.path), message, line))

    def at(self, key: str | int) -> "TomlValue":
        """The value below this one; None where there is none."""
        value = None
        if isinstance(self.value, dict):
            value = self.value.get(key)
        elif isinstance(self.value, list) and isinstance(key, int):
            value = self.value[key]
        return TomlValue(value, (*self.path, key), self.source)

    def items(self) -> "Iterator[TomlValue]":
        """What stands in this array, or table, one by one; nothing for any other value."""
        keys = self.value if isinstance(self.value, dict) else range(len(self.value))
        return (self.at(key) for key in keys)

    @property
    def key(self) -> str:
        """The last key of the path."""
        return str(self.path[-1])


Reader: TypeAlias = Callable[[TomlValue], T | None]
Keys: TypeAlias = Mapping[str, tuple[str, Reader[Any]]]
"""What a table may hold: key in the file -> (field of the structure, reader)."""


def open_toml(path: FilePath, name: str) -> TomlValue:
    """The root table of the file; `name` is what messages call it.

    Raises ScenarioError when the file cannot be read or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
        found = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ScenarioError([Mistake(name, "", f"is not UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except OSError as error:
        raise ScenarioError([Mistake(name, "", f"cannot be read: {error.strerror}")]) from None
    except tomllib.TOMLDecodeError as error:
        sentence, _, place = str(error).partition(" (at ")
        number = re.match(r"line (\d+)", place)
        line = int(number[1]) if number else text.count("\n") + 1
        raise ScenarioError([Mistake(name, "", f"is not TOML: {sentence}", line)]) from None
    return TomlValue(found, (), Source(name, position.lines(text)))


def table(spot: TomlValue, keys: Keys, needed: Collection[str] = ()) -> dict[str, Any]:
    """The fields that the table gives, read by `keys`; absent and unusable ones are left out.

    Unknown keys, and absent ones of those `needed`, are recorded.
    """
    if not isinstance(spot.value, dict):
        spot.mistake(expected("a table", spot.value))
        return {}
    for key in spot.value:
        if key not in keys:
            spot.at(key).mistake(f"is not known{did_you_mean(key, keys)}")
    for key in sorted(needed):
        if key not in spot.value:
            spot.at(key).mistake("is missing")
    read = {name: reader(spot.at(key)) for key, (name, reader) in keys.items() if key in spot.value}
    return {name: value for name, value in read.items() if value is not None}


def tables(spot: TomlValue) -> list[TomlValue]:
    """The tables below a table of tables, such as all `[units.*]`."""
    if spot.value is None:
        return []
    if not isinstance(spot.value, dict):
        spot.mistake(expected("a table", spot.value))
        return []
    return list(spot.items())


def array_of(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """A reader of arrays whose elements `reader` reads; unusable elements are left out."""

    def read(spot: TomlValue) -> tuple[T, ...] | None:
        if not isinstance(spot.value, list):
            spot.mistake(expected("an array", spot.value))
            return None
        return tuple(value for item in spot.items() if (value := reader(item)) is not None)

    return read


def string(spot: TomlValue) -> str | None:
    """Any string that is not blank."""
    if not isinstance(spot.value, str):
        spot.mistake(expected("a string", spot.value))
    elif not spot.value.strip():
        spot.mistake("is empty")
    else:
        return spot.value
    return None


def boolean(spot: TomlValue) -> bool | None:
    if isinstance(spot.value, bool):
        return spot.value
    spot.mistake(expected("true or false", spot.value))
    return None


def whole(least: int, most: int) -> Reader[int]:
    """A reader of integers from `least` to `most`."""

    def read(spot: TomlValue) -> int | None:
        if type(spot.value) is int and least <= spot.value <= most:
            return spot.value
        spot.mistake(expected(f"an integer from {least} to {most}", spot.value))
        return None

    return read


def one_of(*choices: str) -> Reader[Any]:
    """A reader of strings that are one of `choices`."""

    def read(spot: TomlValue) -> str | None:
        if spot.value in choices:
            return str(spot.value)
        listed = " or ".join(f'"{choice}"' for choice in choices)
        hint = did_you_mean(spot.value, choices) if isinstance(spot.value, str) else ""
        spot.mistake(expected(listed, spot.value) + (hint if "mean" in hint else ""))
        return None

    return read


def strings_by_name(spot: TomlValue) -> dict[str, str] | None:
    """A table whose values are all strings (they may be empty), such as `env`."""
    if not isinstance(spot.value, dict):
        spot.mistake(expected("a table of strings", spot.value))
        return None
    for item in spot.items():
        if not isinstance(item.value, str):
            item.mistake(expected("a string", item.value))
    return {key: value for key, value in spot.value.items() if isinstance(value, str)}
