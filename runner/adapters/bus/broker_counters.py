"""What the broker has counted for a run, over restarts of it.

Belongs here: adding up what each broker said in its PONGs. Must not know when it is asked.
"""

from collections import Counter

from probe import message as m


class BrokerCounters:
    """A broker that is restarted counts anew; what the ones before had counted is kept."""

    def __init__(self) -> None:
        self.pong: m.Pong | None = None
        """What the present broker last said; None: it has not said anything yet."""
        self._duplicates_before = 0
        self._incidents_before: Counter[str] = Counter()
        """What brokers had counted that are no more."""
        self._incidents_disregarded: Counter[str] = Counter()

    @property
    def duplicates(self) -> int:
        """How many sequence numbers brokers left out because they came again."""
        return self._duplicates_before + (self.pong.counters.get("duplicates", 0) if self.pong else 0)

    @property
    def incidents(self) -> Counter[str]:
        """What brokers have not let peers do, without what was disregarded: "who: what" -> how often."""
        return self._incidents_before + self._incidents_now - self._incidents_disregarded

    def take(self, pong: m.Pong) -> None:
        """The broker's newest answer; where it has counted less than before, it is another broker's."""
        if self.pong is not None and sum(pong.incidents.values()) < self._incidents_now.total():
            self._incidents_before += self._incidents_now
        self.pong = pong

    def disregard_incidents(self) -> None:
        """Leave out of `incidents` what was counted until now."""
        self._incidents_disregarded += self.incidents

    def begin_anew(self) -> None:
        """The broker is no more."""
        self._duplicates_before = self.duplicates
        self._incidents_before += self._incidents_now
        self.pong = None

    @property
    def _incidents_now(self) -> Counter[str]:
        return Counter(self.pong.incidents if self.pong else {})
