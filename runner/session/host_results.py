"""How the hosts of a run stood and how well their clocks were known, for its result.

Belongs here: adding up what was decided about hosts. Decides nothing.
"""

from collections.abc import Sequence

from probe.message import Away, Back, Gone
from runner.core.clocks import Timeline
from runner.model.duration import span
from runner.model.orders import host_of, supervisor_of
from runner.model.result.result import HostResult
from runner.model.scenario.model import LOCAL, Host, Unit


class HostResults:
    """The `hosts` of one run that have units, beside the runner's own."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        self._state: dict[str, str] = dict.fromkeys((host.name for host in hosts), "awaited")
        self._why: dict[str, str] = {}
        self._since_ns: dict[str, int] = {}
        self._away_ns: dict[str, int] = {}

    def heard(self, host: str) -> None:
        """Its supervisor says something."""
        if self._state.get(host) == "awaited":
            self._state[host] = "here"

    def changed(self, change: Away | Back | Gone, now_ns: int) -> None:
        """What the runner has decided about a host."""
        host = change.host
        if isinstance(change, Away):
            self._since_ns[host] = now_ns
        elif host in self._since_ns:
            self._away_ns[host] = self._away_ns.get(host, 0) + now_ns - self._since_ns.pop(host)
        if not isinstance(change, Back):
            self._why[host] = change.why
        self._state[host] = {Away: "away", Back: "here", Gone: "gone"}[type(change)]

    def results(self, timeline: Timeline, now_ns: int) -> tuple[HostResult, ...]:
        """Each host, the runner's own first; none if there is no other."""
        if not self._hosts:
            return ()
        found = [self._of(LOCAL, timeline, now_ns)]
        return (*found, *(self._of(host.name, timeline, now_ns) for host in self._hosts))

    def clock_errors(self, timeline: Timeline, now_ns: int) -> dict[str, int]:
        """Host -> how far stamps that it makes now may be off, for the live view; every host from the beginning."""
        found = dict.fromkeys((host.name for host in self._hosts), 0)
        for estimate in timeline.estimates(now_ns) if found else ():
            for unit in estimate.units:
                if (host := host_of(unit)) in found and host is not None:
                    found[host] = estimate.error_ns
        return found

    def away(self, units: Sequence[Unit]) -> tuple[str, ...]:
        """Each host that is away now or gone, why, and which of `units` it had, in words."""
        lost = [host.name for host in self._hosts if self._state.get(host.name) in ("away", "gone")]
        return tuple(
            f"{host} {self._why[host]}: {', '.join(unit.name for unit in units if unit.host == host)}" for host in lost
        )

    def notes(self) -> tuple[str, ...]:
        """What to know of hosts that were away and came back."""
        return tuple(
            f"host {host} was away for {span(self._away_ns[host])}, {self._later(host)}"
            for host in self._away_ns
            if self._state[host] != "gone"
        )

    def _later(self, host: str) -> str:
        if self._state[host] == "away":
            return "came back, and went away again"
        return "and came back; what its units emitted meanwhile has arrived and counts"

    def _of(self, host: str, timeline: Timeline, now_ns: int) -> HostResult:
        state, away_ns = self._state.get(host, "here"), self._away_ns.get(host, 0)
        if host in self._since_ns:
            away_ns += now_ns - self._since_ns[host]
        away_s = away_ns / 1e9
        supervisor = supervisor_of(host)
        for estimate in timeline.estimates(timeline.measured_ns):  # so that `verify` says the same
            if supervisor in estimate.units and estimate.offset_ns is not None:
                return HostResult(
                    host,
                    state,
                    estimate.worst_ns,
                    -estimate.offset_ns,
                    estimate.drift_ppm,
                    estimate.rtt_ns,
                    away_s,
                )
        return HostResult(host, state, away_s=away_s)
