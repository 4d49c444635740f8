"""The lease of a supervisor on another host: how long it goes on without a runner that is heard.

Belongs here: that one clock. Local supervisors have a pipe instead (see `daemon`).
"""

import time

from probe.message import Pong


class Lease:
    """Runs out `seconds` after it was last renewed. May be renewed from any thread."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until_s = time.monotonic() + seconds

    def heard(self, pong: Pong) -> None:
        """The broker has answered: if it knows a runner of the run, the lease begins anew."""
        if pong.counters.get("runners", 0):
            self._until_s = time.monotonic() + self._seconds

    @property
    def left_s(self) -> float:
        """How long it lasts yet; 0: it is over."""
        return max(0.0, self._until_s - time.monotonic())
