"""Whether a broker that was asked stands still.

Belongs here: when it was asked, when it last said or took anything, and for how long it has done neither. Times are
arguments, in nanoseconds of one clock. Must not know what is asked.
"""

from typing import Final

SILENT_NS: Final = 1_000_000_000
"""A broker that was asked and says nothing for so long stands still, however busy it is."""
GAP_NS: Final = 200_000_000
"""Of the time between two checks no more than this counts: in longer ones it may be us who stood still."""


class Liveness:
    """One broker's signs of life."""

    def __init__(self, now_ns: int) -> None:
        self.heard_ns = now_ns
        """When the broker last said anything."""
        self.asked_ns = 0
        """When it was last asked."""
        self.is_asked = False
        """Whether it is still to answer."""
        self._quiet_ns = 0
        """For how long it has given no sign of life, as far as was checked."""
        self._checked_ns = 0

    @property
    def is_silent(self) -> bool:
        return self.is_asked and self._quiet_ns > SILENT_NS

    def asked(self, now_ns: int) -> None:
        """It is asked; `now_ns` identifies the question."""
        self.asked_ns, self.is_asked, self._quiet_ns = now_ns, True, 0

    def answered(self, asked_ns: int) -> None:
        """It has answered the question of that time."""
        self.is_asked &= asked_ns != self.asked_ns

    def heard(self, now_ns: int) -> None:
        """It has said something."""
        self.heard_ns, self._quiet_ns = now_ns, 0

    def moved(self) -> None:
        """It has taken something that waited for it."""
        self._quiet_ns = 0

    def checked(self, now_ns: int) -> None:
        """Everything that it has said until now was heard."""
        self._quiet_ns += min(now_ns - self._checked_ns, GAP_NS)
        self._checked_ns = now_ns
