"""Which hosts of a run are there: heartbeats and the time in, what has changed out.

Belongs here: when a host counts as away, as back, as gone for good. Must not know processes, sockets or clocks: times
are arguments, in nanoseconds of the run's own time (`session.clock`), which stops while no host can be heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from probe.message import Away, Back, Gone
from runner.model.duration import span
from runner.model.scenario.model import Host

SILENT_NS: Final = 2_500_000_000
"""A supervisor that sends nothing for so long is away; it reports its clock four times a second."""
COME_NS: Final = 30_000_000_000
"""How long a host may take until its supervisor serves."""
MARGIN_NS: Final = 3_000_000_000
"""How much longer than the lease is waited: for units that take their time to end, and for clocks that differ."""

Change: TypeAlias = Away | Back | Gone


class _HostPhase(Enum):
    AWAITED = "awaited"
    HERE = "here"
    AWAY = "away"
    CLOSED = "closed"
    """Its supervisor has sent its last message; nothing more is expected, but another supervisor may come."""
    OVER = "over"
    """Gone, or not needed any more: whatever comes from there, it stays so."""


_DONE: Final = (_HostPhase.CLOSED, _HostPhase.OVER)


@dataclass(slots=True)
class _Seen:
    host: Host
    heard_ns: int
    lease_ns: int
    phase: _HostPhase = _HostPhase.AWAITED
    trouble: str = ""
    """What is known to be wrong with it, in words that complete "lab-2 ..."."""
    hopeless: bool = False
    """It will not come by itself."""

    @property
    def patience_ns(self) -> int:
        """How long it may be silent until something is decided."""
        if self.phase is _HostPhase.AWAITED:
            return COME_NS
        return SILENT_NS if self.phase is _HostPhase.HERE else self.lease_ns + MARGIN_NS


class Roster:
    """The hosts of one run, which are awaited from `now_ns` on."""

    def __init__(self, hosts: Sequence[Host], now_ns: int) -> None:
        self._seen = {host.name: _Seen(host, now_ns, host.lease_ns) for host in hosts}
        self._hurried = False

    def begin(self, now_ns: int) -> None:
        """Their time to come counts from now on."""
        for seen in self._seen.values():
            seen.heard_ns = max(seen.heard_ns, now_ns)

    def heard(self, host: str, now_ns: int) -> list[Change]:
        """Its supervisor has sent something."""
        seen = self._seen.get(host)
        if seen is None or seen.phase is _HostPhase.OVER:
            return []
        seen.heard_ns, seen.trouble, seen.hopeless = now_ns, "", False
        before, seen.phase = seen.phase, _HostPhase.HERE
        return [Back(host)] if before is _HostPhase.AWAY else []

    def has_lease(self, host: str, lease_ns: int) -> None:
        """Its supervisor reports how long it goes on without a runner."""
        self._seen[host].lease_ns = lease_ns

    def closed(self, host: str, now_ns: int) -> list[Change]:
        """Its supervisor has sent its last message."""
        changes = self.heard(host, now_ns)
        if host in self._seen:
            self._seen[host].phase = _HostPhase.CLOSED
        return changes

    def troubled(self, host: str, why: str, *, hopeless: bool = False) -> None:
        """Something is wrong with it; `hopeless`: and it will not come (again) by itself."""
        seen = self._seen[host]
        seen.trouble, seen.hopeless = why, hopeless

    def stood_still(self, for_ns: int, now_ns: int) -> None:
        """The runner did not listen for so long: silence in that time means nothing."""
        for seen in self._seen.values():
            seen.heard_ns = min(seen.heard_ns + for_ns, now_ns)

    def tick(self, now_ns: int, *, current: bool) -> list[Change]:
        """What is different now. `current`: everything that was sent up to now has been read; else the silence
        of a host means nothing."""
        changes: list[Change] = []
        for name, seen in self._seen.items():
            over = current and now_ns - seen.heard_ns > seen.patience_ns
            if seen.phase is _HostPhase.AWAITED and (seen.hopeless or over):
                seen.phase = _HostPhase.OVER
                changes.append(Gone(name, seen.trouble or _never_came(seen.host)))
            elif seen.phase is _HostPhase.HERE and (over or (current and seen.hopeless)):
                seen.phase = _HostPhase.AWAY
                changes.append(Away(name, seen.trouble or f"has not been heard for {span(SILENT_NS)}"))
            elif seen.phase is _HostPhase.AWAY and (over or self._hurried):
                seen.phase = _HostPhase.OVER
                changes.append(Gone(name, _away_too_long(seen) if over else _given_up(seen)))
        return changes

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do though nothing happens."""
        live = [seen for seen in self._seen.values() if seen.phase not in _DONE]
        return min((seen.heard_ns + seen.patience_ns + 1 for seen in live), default=None)

    @property
    def expected(self) -> tuple[str, ...]:
        """Hosts whose supervisor has not sent its last message yet."""
        return tuple(name for name, seen in self._seen.items() if seen.phase not in _DONE)

    def hurry(self) -> None:
        """The lease of a host that is away is not waited for."""
        self._hurried = True

    def finish(self) -> None:
        """The run is ending: hosts that have not come yet are not awaited any more."""
        for seen in self._seen.values():
            if seen.phase is _HostPhase.AWAITED:
                seen.phase = _HostPhase.OVER


def _never_came(host: Host) -> str:
    if host.agent:
        return (
            f"has no agent that came within {span(COME_NS)}; start one there: circuit-run agent --join ENDPOINT "
            f"--keys FILE --name {host.name}"
        )
    return f"did not come within {span(COME_NS)}"


def _given_up(seen: _Seen) -> str:
    return seen.trouble or "was away when the run did not wait for it any longer"


def _away_too_long(seen: _Seen) -> str:
    return seen.trouble or f"has not been heard since, and its lease of {span(seen.lease_ns)} is over"
