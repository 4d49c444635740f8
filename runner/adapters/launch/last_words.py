"""Standard error of a process of ours, as the runner takes it: through a pipe, for a disk that is full takes nothing.

Belongs here: the pipe, the last of what came out of it, and a copy in a file as far as its disk takes one. Must not
know whose words they are.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from runner.adapters import files

KEPT_BYTES: Final = 4096
_CHUNK: Final = 65536


class LastWords:
    """One such stream. `theirs` is the end that the process gets; close it here once it has."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        self._kept = b""

    def take(self) -> None:
        """Take what has come. To be called now and then: a process whose pipe is full stands still. Never waits."""
        while self._ours >= 0:
            try:
                came = os.read(self._ours, _CHUNK)
            except BlockingIOError:
                return
            if not came:
                return
            self._kept = (self._kept + came)[-KEPT_BYTES:]
            with contextlib.suppress(OSError), open(self._file, "ab", opener=files.opener) as copy:
                copy.write(came)

    @property
    def text(self) -> str:
        """The last of it."""
        self.take()
        return self._kept.decode(errors="replace").strip()

    def close(self) -> None:
        """Whatever comes later is lost. Twice is harmless."""
        self.take()
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
