"""The log of a run whose broker keeps it on another host, written down here as it is read.

Belongs here: that file. It is the same, byte by byte, as the broker's up to where it was read.
"""

from pathlib import Path

from broker import log
from runner.adapters import files


class Copy:
    """A new file at `path`, from the first entry on."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb", buffering=0, opener=files.opener)  # noqa: SIM115  # until `close`
        self._file.write(log.HEADER)

    def append(self, entries: bytes) -> None:
        """The next whole entries."""
        self._file.write(entries)

    def close(self) -> None:
        """That was all."""
        self._file.close()
