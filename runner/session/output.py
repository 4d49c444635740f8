"""What units print, line by line, while they run.

Belongs here: following the files that the supervisor writes. Must not know how lines are shown.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

_CHUNK = 256 * 1024
"""Read at most so much of a file at once, in bytes: a unit that floods its output must not starve the others."""


class Output:
    """Follows `<name>.out` and `<name>.err` in `folder` for every unit in `names`."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._files = [(name, folder / f"{name}{ending}") for name in names for ending in (".out", ".err")]
        self._read: dict[Path, int] = {}
        self._rest: dict[Path, bytes] = {}

    def lines(self, *, last: bool = False) -> Iterator[tuple[str, str]]:
        """(unit, line) for every line completed since the last call; with `last`, unfinished lines too."""
        for name, path in self._files:
            try:
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    chunk = file.read(_CHUNK)
            except OSError:
                continue
            self._read[path] = self._read.get(path, 0) + len(chunk)
            *whole, rest = (self._rest.get(path, b"") + chunk).split(b"\n")
            if last and rest:
                whole, rest = [*whole, rest], b""
            self._rest[path] = rest
            for line in whole:
                yield name, line.decode(errors="replace").rstrip("\r")
