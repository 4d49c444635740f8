"""Descriptors that we keep in a program that is not ours.

It may close every descriptor that it finds, as daemons do, and be given the same numbers again for files of its own:
what we then wrote or closed there would be its. So before one is used, ask whether it is still what it was.
Belongs here: that question. Must not know what a descriptor is for.
"""

import os
from typing import Final

from probe import handlers


class Descriptor:
    """One that is ours from now on. What it stands for must have an inode of its own; an eventfd has none."""

    __slots__ = ("_what", "fd")

    def __init__(self, fd: int) -> None:
        """Raises OSError when it is none."""
        self._what: Final = _what(fd)
        self.fd = fd

    @property
    def is_ours(self) -> bool:
        """Whether it is open, and nothing else."""
        try:
            return self.fd >= 0 and _what(self.fd) == self._what
        except OSError as error:
            if handlers.raised(error):
                raise
            return False

    def close(self) -> None:
        """Closes it, if it is ours. Twice is harmless."""
        if self.is_ours:
            os.close(self.fd)
        self.fd = -1


def _what(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
