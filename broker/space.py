"""Room on the disk of a shared broker: some of it is kept back, and who fills the rest has to stop.

That is a run, or a key that writes into the run of another one.

What is kept back is for the other runs. It is halved with each run that is stopped, so that those which are left go on
as long as they can; when there is room again it is what it was.

Belongs here: how much that is, and which run it is. Must not know what a run is, nor how it is stopped.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

MOST_BYTES: Final = 256 << 20
PART: Final = 16
"""So much is kept back, but no larger part of the disk than one in so many."""
AGAIN_BYTES: Final = 16 << 20
"""There is room again when so much more than twice that is free: a run is stopped over several MiB at once."""
HALF_LIFE_S: Final = 30.0
"""What a run has written counts half so long later, for who fills the disk."""


class Writer(NamedTuple):
    """A run, a key, and how many bytes it has written there lately."""

    run: str
    key: str
    lately: float


class Space:
    """What is left of one disk. `measure` gives (bytes that are free, bytes that there are)."""

    def __init__(self, measure: Callable[[], tuple[int, int]]) -> None:
        self._measure = measure
        self._free, size = measure()
        self._whole = self.kept_back = min(MOST_BYTES, size // PART)
        """Bytes that are kept back: with room enough, and now."""

    def check(self) -> bool:
        """See what is free by now. Whether there is room again for those who were stopped."""
        self._free = self._measure()[0]
        if self._free < 2 * self._whole + AGAIN_BYTES:
            return False
        self.kept_back = self._whole
        return True

    def fits(self, size: int) -> bool:
        """Whether so many bytes may be written."""
        if self._free - size < self.kept_back:
            self._free = self._measure()[0]  # others write, too, and remove
        return self._free - size >= self.kept_back

    def is_low(self) -> bool:
        """Whether there is too little for a run that begins."""
        return not self.fits(0) or self.kept_back < self._whole

    def wrote(self, size: int) -> None:
        """So many bytes were written."""
        self._free -= size

    def give(self) -> None:
        """A run was stopped: half of what is kept back is for the others."""
        self.kept_back //= 2


def who_fills(writers: Sequence[Writer]) -> Writer:
    """Who has to stop: the key that has written most lately, in the run where it has."""
    of_key: dict[str, float] = defaultdict(float)
    for writer in writers:
        of_key[writer.key] += writer.lately
    return max(writers, key=lambda writer: (of_key[writer.key], writer.lately))


def free_bytes(folder: Path) -> tuple[int, int]:
    """Bytes of its disk: those that this user may still write, and all."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
