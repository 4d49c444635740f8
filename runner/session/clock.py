"""The time of a run, for the parts that decide what is late.

Belongs here: when that time goes on. Pure: reads no clock; times are nanoseconds of CLOCK_MONOTONIC.
"""

from typing import Final

RESUME_NS: Final = 3_000_000_000
"""How long units may take to find a broker that is back, and to say what happened while it was away."""


STOOD_NS: Final = 5_000_000_000
"""A runner that did not set the clock for so long stood still itself: it was suspended, or its machine was."""


class Clock:
    """Says up to when everything has been heard, which is the time for the parts that decide. It stops while the
    broker is away or stands still, or the runner does, and until units that were cut off have had time to speak: no
    unit is late that we could not hear."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._told_ns = now_ns
        self._connection = 1
        self._heard = True
        self._resume_ns = 0
        self.away_ns = 0
        """For how long the broker has been away; 0: it is there."""

    def tell(self, now_ns: int, *, heard: bool, connection: int) -> bool:
        """It is `now_ns`; `heard` is whether the broker is there and speaks, and we know all that had happened before
        this `connection` to it, which are counted from 1. Whether it has just come back."""
        stood = now_ns - self._told_ns > STOOD_NS
        back = heard and (connection != self._connection or not self._heard or stood)
        self._told_ns = now_ns
        self._heard = heard
        self.away_ns = 0 if heard else now_ns - self.now_ns
        if back:
            self._connection = connection
            self._resume_ns = now_ns + RESUME_NS
        if heard and now_ns >= self._resume_ns:
            self.now_ns = now_ns
        return back
