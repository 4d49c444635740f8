"""What units and test functions print, line by line, while they run.

Belongs here: following the files that the supervisor writes. Must not know how lines are shown.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from runner.adapters.launch import legacy_functions
from runner.model.scenario.loglevel import shows
from runner.model.scenario.model import Scenario

_CHUNK = 256 * 1024
"""Read at most so much of a file at once, in bytes: a unit that floods its output must not starve the others. Of what
is still unread at the end, so much of its end is shown: there it says why it ended."""


class Output:
    """Follows `<name>.out` and `<name>.err` in `folder` for every unit of `scenario`, and beside `folder` those of an
    legacy folder's test functions. Lines of a level that a legacy folder does not want to see are left out."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        legacy = scenario.legacy
        sources = [(unit.name, folder, legacy.debug_modes if legacy is not None else None) for unit in scenario.units]
        if legacy is not None:
            sources.append((legacy_functions.NAME, folder.parent, legacy.test_modes))
        self._files = [
            (name, place / f"{name}{ending}", modes) for name, place, modes in sources for ending in (".out", ".err")
        ]
        self._read: dict[Path, int] = {}
        self._rest: dict[Path, bytes] = {}

    def lines(self, *, last: bool = False) -> Iterator[tuple[str, str]]:
        """(unit, line) for every line completed since the last call; with `last`, unfinished lines and the end too."""
        for name, path, modes in self._files:
            read = self._read.get(path, 0)
            try:
                with path.open("rb") as file:
                    if last and (left_out := file.seek(0, os.SEEK_END) - read - _CHUNK) > 0:
                        self._rest[path] = f"… {left_out:,} bytes are not shown here; {path} has them\n".encode()
                        read += left_out
                    file.seek(read)
                    chunk = file.read(_CHUNK)
            except OSError:
                continue
            self._read[path] = read + len(chunk)
            *whole, rest = (self._rest.get(path, b"") + chunk).split(b"\n")
            if last and rest:
                whole, rest = [*whole, rest], b""
            self._rest[path] = rest
            for line in whole:
                text = line.decode(errors="replace").rstrip("\r")
                if modes is None or shows(modes, text):
                    yield name, text
