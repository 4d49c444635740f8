"""How far this process's clock is ahead of its broker's: what the runner needs to speak in the time of the run.

Belongs here: that one difference, from PINGs. What a host's clock is worth in a verdict is `clocks`' business.
"""

from probe.clock import drift_ns


class BrokerClock:
    """Bounds of the difference in nanoseconds, the newest best ones; no difference until there are any."""

    def __init__(self) -> None:
        self._low = self._high = 0
        self._at_ns: int | None = None

    def add(self, sent_ns: int, received_ns: int, answered_ns: int, returned_ns: int) -> None:
        """One PING and its PONG: stamps of ours, theirs, theirs, ours."""
        low, high = bounds = (  # of this moment; the lower one was measured when the PING left
            sent_ns - received_ns - drift_ns(returned_ns - sent_ns),
            returned_ns - answered_ns,
        )
        if self._at_ns is not None:
            aged = drift_ns(returned_ns - self._at_ns)
            low, high = max(low, self._low - aged), min(high, self._high + aged)
            if low > high:  # a clock was set back, or the machine slept
                low, high = bounds
        self._low, self._high, self._at_ns = low, high, returned_ns

    @property
    def ns(self) -> int:
        """The difference, in the middle of its bounds."""
        return (self._low + self._high) // 2
