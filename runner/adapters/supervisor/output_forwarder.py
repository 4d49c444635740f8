"""What units on another host write, on its way to the runner: their output files as events of the supervisor.

Belongs here: how far each file was told. Must not know what becomes of it (`session.fetched`).
"""

import contextlib
from typing import Final, Protocol

OUTPUT: Final = "output"
"""Step by which a supervisor tells what a unit has written."""
PIECE_BYTES: Final = 32 * 1024
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of each file; what comes after that stays on its host and is removed with the run."""
_CUT: Final = f"\n--- cut here: {MOST_BYTES >> 20} MiB are fetched at most ---\n".encode()
AT_ONCE: Final = 32
"""Pieces of one file that are told in one go."""


class OutputReporter(Protocol):
    """Who tells it; `probe.units.Unit` is one."""

    def state(self, step: str, /, key: object = None, **data: object) -> None: ...


class OutputForwarder:
    """Follows the files of every unit that it was told of."""

    def __init__(self, voice: OutputReporter) -> None:
        self._voice = voice
        self._files: dict[tuple[str, str], str] = {}
        self._told: dict[tuple[str, str], int] = {}

    def follow(self, unit: str, out: str, err: str) -> None:
        """From now on what is written to the files of `unit` is told."""
        self._files[unit, "out"], self._files[unit, "err"] = out, err

    def tell(self, unit: str | None = None) -> None:
        """Tell what was written since; with `unit`, which has ended, all that is left of its files."""
        for (name, stream), path in list(self._files.items()):
            if unit is None:
                self._tell(name, stream, path, AT_ONCE)
            elif name == unit:
                self._tell(name, stream, path, MOST_BYTES // PIECE_BYTES + 1)
                del self._files[name, stream]

    def _tell(self, unit: str, stream: str, path: str, pieces: int) -> None:
        told = self._told.get((unit, stream), 0)
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.seek(told)
            for _ in range(pieces):
                if told == MOST_BYTES and file.read(1):
                    piece = _CUT
                else:
                    piece = file.read(min(PIECE_BYTES, max(0, MOST_BYTES - told)))
                if not piece:
                    break
                self._voice.state(OUTPUT, key=unit, stream=stream, at=told, bytes=piece)
                told += len(piece)
            self._told[unit, stream] = told
