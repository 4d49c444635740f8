"""What units on other hosts have written, put into the run folder as if it had been written there.

Belongs here: those files. What comes twice is written over itself.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from probe.event import Event
from runner.adapters import files
from runner.adapters.supervisor.output_forwarder import MOST_BYTES, OUTPUT, PIECE_BYTES

_STREAMS: Final = ("out", "err")


class RemoteOutput:
    """The files `<unit>.out` and `<unit>.err` of `units` in `folder`. Of each unit its own supervisor tells, whose name
    stands beside it."""

    def __init__(self, folder: Path, units: Mapping[str, str]) -> None:
        self._folder = folder
        self._units = dict(units)

    def take(self, event: Event) -> None:
        """What a supervisor says: `output`, and `spawned`, from when on there are files. Whatever is neither is
        ignored, and so is what cannot be meant, as it comes from elsewhere."""
        unit = event.key
        if unit is None or self._units.get(unit) != event.unit:
            return
        if event.step == "spawned":
            for stream in _STREAMS:
                self._put(unit, stream, b"", 0)
        elif event.step == OUTPUT:
            self._take(unit, event.data.get("stream"), event.data.get("at"), event.data.get("bytes"))

    def _take(self, unit: str, stream: object, at: object, piece: object) -> None:
        if not isinstance(stream, str) or stream not in _STREAMS or type(at) is not int or type(piece) is not bytes:
            return
        if 0 <= at <= MOST_BYTES and len(piece) <= PIECE_BYTES:
            self._put(unit, stream, piece, at)

    def _put(self, unit: str, stream: str, piece: bytes, at: int) -> None:
        """The file is opened for each piece: those of a thousand units are more than a process may have open."""
        fd = files.opener(self._folder / f"{unit}.{stream}", os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(fd, piece, at)
        finally:
            os.close(fd)
