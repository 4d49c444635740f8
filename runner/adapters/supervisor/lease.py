"""The lease of a supervisor on another host: how long it goes on without a runner.

Belongs here: that one clock. Local supervisors have a pipe instead (see `adapters/launch/leased_process`).
"""

from typing import Final

from probe.clock import monotonic
from probe.message import Pong

RUNNERLESS_S: Final = 3.0
"""How long the broker may say that it knows no runner of the run: one that lost its broker is back sooner."""


class Lease:
    """Over `seconds` after the broker was last heard to know a runner; sooner if it says that there is none. `heard`
    may be called from any thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until_s = monotonic() + seconds
        self._runnerless = False

    def heard(self, pong: Pong) -> None:
        """The broker has answered a PING."""
        now_s = monotonic()
        if pong.counters.get("runners", 0):
            self._until_s, self._runnerless = now_s + self.seconds, False
        elif not self._runnerless:
            self._until_s, self._runnerless = min(self._until_s, now_s + RUNNERLESS_S), True

    @property
    def left_s(self) -> float:
        """How long it lasts yet; 0: it is over."""
        return max(0.0, self._until_s - monotonic())
