"""What units on another host write, forwarded to the runner: their output files as events of the supervisor.

Belongs here: how far each file was forwarded. Must not know what becomes of it (`session.remote_output`).
"""

import contextlib
from typing import Final, Protocol

OUTPUT: Final = "output"
"""Step of the events that have what a unit has written."""
PIECE_BYTES: Final = 32 * 1024
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of each file; what comes after that stays on its host and is removed with the run."""
_CUT: Final = f"\n--- cut here: {MOST_BYTES >> 20} MiB are fetched at most ---\n".encode()
AT_ONCE: Final = 32
"""Pieces of one file that are forwarded in one go."""


class OutputReporter(Protocol):
    """Emits the events; `probe.units.Unit` is one."""

    def state(self, step: str, /, key: object = None, **data: object) -> None: ...


class OutputForwarder:
    """Forwards the files of each unit from `follow` on."""

    def __init__(self, reporter: OutputReporter) -> None:
        self._reporter = reporter
        self._files: dict[tuple[str, str], str] = {}
        self._sent: dict[tuple[str, str], int] = {}

    def follow(self, unit: str, out: str, err: str) -> None:
        """From now on what is written to the files of `unit` is forwarded."""
        self._files[unit, "out"], self._files[unit, "err"] = out, err

    def forward(self, unit: str | None = None) -> None:
        """Forward what was written since; with `unit`, which has ended, all that is left of its files."""
        for (name, stream), path in list(self._files.items()):
            if unit is None:
                self._send(name, stream, path, AT_ONCE)
            elif name == unit:
                self._send(name, stream, path, MOST_BYTES // PIECE_BYTES + 1)
                del self._files[name, stream]

    def _send(self, unit: str, stream: str, path: str, pieces: int) -> None:
        sent = self._sent.get((unit, stream), 0)
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.seek(sent)
            for _ in range(pieces):
                if sent == MOST_BYTES and file.read(1):
                    piece = _CUT
                else:
                    piece = file.read(min(PIECE_BYTES, max(0, MOST_BYTES - sent)))
                if not piece:
                    break
                self._reporter.state(OUTPUT, key=unit, stream=stream, at=sent, bytes=piece)
                sent += len(piece)
            self._sent[unit, stream] = sent
