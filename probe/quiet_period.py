"""The moments after a release, in which the events of the released units do not wake the sender.

All units of a barrier go on at the moment that their release names. Sending what the first of them emit would hold up
those that have not had the processor yet. Belongs here: when that is. Times are arguments, in seconds of one clock.
"""

from typing import Final

QUIET_S: Final = 0.03
"""So long after the moment of a release its units do not wake the sender."""


class QuietPeriod:
    """At most one at a time; the earlier one counts."""

    def __init__(self) -> None:
        self.until_s: float | None = None
        """When it ends; None: there is none."""

    def begin(self, release_s: float) -> None:
        """Units go on at `release_s`."""
        until_s = release_s + QUIET_S
        self.until_s = until_s if self.until_s is None else min(until_s, self.until_s)

    def is_on(self, now_s: float) -> bool:
        """Whether the moment of the release has come."""
        return self.until_s is not None and self.until_s - QUIET_S <= now_s

    def ends(self, now_s: float) -> bool:
        """Whether it has ended since the last call."""
        if self.until_s is None or now_s < self.until_s:
            return False
        self.until_s = None
        return True
