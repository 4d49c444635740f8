"""How much of what units ask may be unanswered at once, so that a flood of asks costs bounded memory and has a name.

Belongs here: the bounds, and the count of what was beyond them. Must not know what is asked.
"""

from collections import Counter
from typing import Final

from probe.barrier import MOST_ASKS

MOST_OF_ALL: Final = 16 * MOST_ASKS
"""The same for all units of a run together."""
MOST_ANSWERS: Final = 1024
"""So often a unit is answered that it asks too much; after that it is only counted. Our SDK itself asks no more."""
LARGE_BYTES: Final = 1024
"""An ask with that much text in it counts as two, and so on; an honest one has less, unless it names many parties."""


class Quota:
    """Units ask and are answered; `admit` says whether one more may be kept until then."""

    def __init__(self) -> None:
        self.why = ""
        """Why the last ask was not kept, completing "<unit> ..."."""
        self.refused: Counter[str] = Counter()
        """Unit -> how many of its asks were not kept."""
        self._held: Counter[str] = Counter()
        self._held_by_all = 0

    def admit(self, unit: str, size: int) -> bool:
        """Whether `unit` may ask one more thing, with `size` bytes of text; it is held from now on. Else it is
        counted."""
        weight = _weight(size)
        if self._held[unit] + weight > MOST_ASKS:
            self.why = f"has {MOST_ASKS:,} waits and arrivals already that are not answered"
        elif self._held_by_all + weight > MOST_OF_ALL:
            self.why = f"asks one thing more than {MOST_OF_ALL:,} of all units together that are not answered"
        else:
            self._held[unit] += weight
            self._held_by_all += weight
            return True
        self.refused[unit] += 1
        return False

    def is_answered(self, unit: str) -> bool:
        """Whether the unit is still sent an answer to an ask that was not kept."""
        return self.refused[unit] <= MOST_ANSWERS

    def release(self, unit: str, size: int) -> None:
        """An ask of `unit` that was admitted with that size is answered."""
        weight = _weight(size)
        self._held_by_all -= weight
        self._held[unit] -= weight
        if not self._held[unit]:
            del self._held[unit]


def _weight(size: int) -> int:
    return 1 + size // LARGE_BYTES
