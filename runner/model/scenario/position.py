"""Where in a TOML text each value stands: dotted path -> line.

Belongs here: a scanner that knows just enough of TOML to find keys and values. It trusts that the text has been parsed
before (`tomllib` says what is wrong with it, but not where its values stand). Must not know what the keys mean.
"""

import bisect
import re
import tomllib
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and array indices from the root of a file to a value: ("units", "worker", "after", 0)."""

_BLANK: Final = re.compile(r"(?:\s|#[^\n]*)*")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE: Final = re.compile(r"[^,\]}\n#]+")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and array element of `text`, which must be valid TOML."""
    return _Scanner(text).scan()


def dotted(path: Path) -> str:
    """A path as people write it: `units.worker.after[0]`, with quotes around a key that needs them."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            key = part if _PLAIN.fullmatch(part) else f'"{part}"'
            written += f".{key}" if written else key
    return written


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}
        """Arrays of tables, `[[name]]`: index of their last table."""

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._peek():
            if self._take("[["):
                array = self._header()
                self._arrays[array] = self._arrays.get(array, -1) + 1
                table = (*array, self._arrays[array])
                self._lines[table] = self._line()
                self._take("]]")
            elif self._take("["):
                table = self._header()
                self._lines[table] = self._line()
                self._take("]")
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Path:
        """The path that a table header means: below an array of tables it speaks of the last of them."""
        path: Path = ()
        for name in self._key():
            if path in self._arrays:
                path = (*path, self._arrays[path])
            path = (*path, name)
            self._lines.setdefault(path, self._line())
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for key in self._key():
            path = (*path, key)
            self._lines.setdefault(path, self._line())
        self._take("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._take("["):
            index = 0
            while not self._take("]"):
                self._lines[(*path, index)] = self._line()
                self._value((*path, index))
                self._take(",")
                index += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(path)
                self._take(",")
        elif not self._match(_STRING):
            self._match(_BARE_VALUE)

    def _key(self) -> Path:
        parts = []
        while True:
            self._peek()
            if quoted := self._match(_STRING):
                parts.append(tomllib.loads(f"key = {quoted}")["key"])
            else:
                parts.append(self._match(_BARE_KEY))
            if not self._take("."):
                return tuple(parts)

    def _line(self) -> int:
        return bisect.bisect_left(self._newlines, self._at) + 1

    def _peek(self) -> str:
        """Skips space and comments; the next character, or "" at the end."""
        if blank := _BLANK.match(self._text, self._at):
            self._at = blank.end()
        return self._text[self._at : self._at + 1]

    def _take(self, mark: str) -> bool:
        self._peek()
        taken = self._text.startswith(mark, self._at)
        self._at += len(mark) * taken
        return taken

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]
