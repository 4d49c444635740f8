"""What units on other hosts have written, put into the run folder as if it had been written there.

Belongs here: those files. What comes twice is written over itself.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from probe.event import Event
from runner.launch.outlet import MOST_BYTES, PIECE_BYTES

_STREAMS: Final = ("out", "err")
OUTPUT: Final = "output"
"""Step by which a supervisor tells what a unit has written."""


class Fetched:
    """The files `<unit>.out` and `<unit>.err` in `folder`. `hosts` says where each unit is; only that tells of it."""

    def __init__(self, folder: Path, hosts: Mapping[str, str]) -> None:
        self._folder = folder
        self._hosts = hosts
        self._files: dict[tuple[str, str], int] = {}

    def take(self, host: str, event: Event) -> None:
        """What the supervisor of `host` says: `output`, and `spawned`, from when on there are files. Whatever is
        neither is ignored, and so is what cannot be meant, as it comes from elsewhere."""
        unit = event.key or ""
        if self._hosts.get(unit) != host:
            return
        if event.step == "spawned":
            for stream in _STREAMS:
                self._file(unit, stream)
        elif event.step == OUTPUT:
            self._take(unit, event.data.get("stream"), event.data.get("at"), event.data.get("bytes"))

    def _take(self, unit: str, stream: object, at: object, piece: object) -> None:
        if not isinstance(stream, str) or stream not in _STREAMS or type(at) is not int or type(piece) is not bytes:
            return
        if 0 <= at <= MOST_BYTES and len(piece) <= PIECE_BYTES:
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
