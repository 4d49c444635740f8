"""What units on other hosts have written, put into the run folder as if it had been written there.

Belongs here: those files. What comes twice is written over itself.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from probe.event import Event

_STREAMS: Final = ("out", "err")
OUTPUT: Final = "output"
"""Step by which a supervisor tells what a unit has written."""


class Fetched:
    """The files `<unit>.out` and `<unit>.err` of `units` in `folder`."""

    def __init__(self, folder: Path, units: Collection[str]) -> None:
        self._folder = folder
        self._units = frozenset(units)
        self._files: dict[tuple[str, str], int] = {}

    def take(self, event: Event) -> None:
        """What a supervisor says: `output`, and `spawned`, from when on there are files. Whatever is neither is
        ignored, and so is what cannot be meant, as it comes from elsewhere."""
        if event.step == "spawned" and event.key in self._units:
            for stream in _STREAMS:
                self._file(event.key, stream)
        elif event.step == OUTPUT:
            self._take(event)

    def _take(self, event: Event) -> None:
        stream, at, piece = event.data.get("stream"), event.data.get("at"), event.data.get("bytes")
        unit = event.key or ""
        if unit not in self._units or stream not in _STREAMS or type(at) is not int or type(piece) is not bytes:
            return
        if 0 <= at < 1 << 40:
            os.pwrite(self._file(unit, stream), piece, at)

    def _file(self, unit: str, stream: str) -> int:
        if (unit, stream) not in self._files:
            path = self._folder / f"{unit}.{stream}"
            self._files[unit, stream] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._files[unit, stream]

    def close(self) -> None:
        """That was all."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
