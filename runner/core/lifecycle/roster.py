"""Which hosts of a run are there: heartbeats and the time in, what has changed out.

Belongs here: when a host counts as away, as back, as gone for good. Must not know processes, sockets or clocks: times
are arguments, in nanoseconds of the run's own time (`session.clock`), which stands still while nobody can be heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from probe.message import Away, Back, Gone
from runner.model.duration import span
from runner.model.scenario.model import Host

SILENT_NS: Final = 2_500_000_000
"""A supervisor that says nothing for so long is away; it reports its clock four times a second."""
COME_NS: Final = 30_000_000_000
"""How long a host may take until its supervisor serves."""
MARGIN_NS: Final = 3_000_000_000
"""How much longer than the lease is waited: for units that take their time to end, and for clocks that differ."""

Change: TypeAlias = Away | Back | Gone


class _Standing(Enum):
    AWAITED = "awaited"
    HERE = "here"
    AWAY = "away"
    CLOSED = "closed"
    """Its supervisor has said its last word; nothing more is expected, but another one may come."""
    OVER = "over"
    """Gone, or not needed any more: whatever comes from there, it stays so."""


_DONE: Final = (_Standing.CLOSED, _Standing.OVER)


@dataclass(slots=True)
class _Seen:
    host: Host
    heard_ns: int
    lease_ns: int
    standing: _Standing = _Standing.AWAITED
    trouble: str = ""
    """What is known to be wrong with it, in words that complete "lab-2 ..."."""
    hopeless: bool = False
    """It will not come by itself."""

    @property
    def patience_ns(self) -> int:
        """How long it may be silent until something is decided."""
        if self.standing is _Standing.AWAITED:
            return COME_NS
        return SILENT_NS if self.standing is _Standing.HERE else self.lease_ns + MARGIN_NS


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
        """Its supervisor has said something."""
        seen = self._seen.get(host)
        if seen is None or seen.standing is _Standing.OVER:
            return []
        seen.heard_ns, seen.trouble, seen.hopeless = now_ns, "", False
        before, seen.standing = seen.standing, _Standing.HERE
        return [Back(host)] if before is _Standing.AWAY else []

    def has_lease(self, host: str, lease_ns: int) -> None:
        """Its supervisor says how long it goes on without a runner."""
        self._seen[host].lease_ns = lease_ns

    def closed(self, host: str, now_ns: int) -> list[Change]:
        """Its supervisor has said its last word."""
        changes = self.heard(host, now_ns)
        if host in self._seen:
            self._seen[host].standing = _Standing.CLOSED
        return changes

    def troubled(self, host: str, why: str, *, hopeless: bool = False) -> None:
        """Something is wrong with it; `hopeless`: and it will not come (again) by itself."""
        seen = self._seen[host]
        seen.trouble, seen.hopeless = why, hopeless

    def stood_still(self, for_ns: int, now_ns: int) -> None:
        """Whoever listens to them did not for so long: silence in that time means nothing."""
        for seen in self._seen.values():
            seen.heard_ns = min(seen.heard_ns + for_ns, now_ns)

    def tick(self, now_ns: int, *, current: bool) -> list[Change]:
        """What is different now. `current`: everything that has been said up to now was heard; else nobody is blamed
        for silence."""
        changes: list[Change] = []
        for name, seen in self._seen.items():
            over = current and now_ns - seen.heard_ns > seen.patience_ns
            if seen.standing is _Standing.AWAITED and (seen.hopeless or over):
                seen.standing = _Standing.OVER
                changes.append(Gone(name, seen.trouble or _never_came(seen.host)))
            elif seen.standing is _Standing.HERE and (over or (current and seen.hopeless)):
                seen.standing = _Standing.AWAY
                changes.append(Away(name, seen.trouble or f"has not been heard for {span(SILENT_NS)}"))
            elif seen.standing is _Standing.AWAY and (over or self._hurried):
                seen.standing = _Standing.OVER
                changes.append(Gone(name, _away_too_long(seen) if over else _given_up(seen)))
        return changes

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do though nothing happens."""
        live = [seen for seen in self._seen.values() if seen.standing not in _DONE]
        return min((seen.heard_ns + seen.patience_ns + 1 for seen in live), default=None)

    @property
    def expected(self) -> tuple[str, ...]:
        """Hosts whose supervisor has yet to say its last word."""
        return tuple(name for name, seen in self._seen.items() if seen.standing not in _DONE)

    def hurry(self) -> None:
        """Nobody has the patience to wait for the lease of a host that is away."""
        self._hurried = True

    def finish(self) -> None:
        """The run is ending: who has not come yet need not come any more."""
        for seen in self._seen.values():
            if seen.standing is _Standing.AWAITED:
                seen.standing = _Standing.OVER


def _never_came(host: Host) -> str:
    if host.agent:
        return (
            f"has no agent that came within {span(COME_NS)}; start one there: circuit-run agent --join ENDPOINT "
            f"--keys FILE --name {host.name}"
        )
    return f"did not come within {span(COME_NS)}"


def _given_up(seen: _Seen) -> str:
    return seen.trouble or "was away when nobody wanted to wait for it any longer"


def _away_too_long(seen: _Seen) -> str:
    return seen.trouble or f"has not been heard since, and its lease of {span(seen.lease_ns)} is over"
