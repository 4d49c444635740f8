"""How the hosts of a run stood and how well their clocks were known, for its result.

Belongs here: adding up what was decided about hosts. Decides nothing.
"""

from collections.abc import Sequence
from typing import Final

from probe.message import Away, Back, Gone
from runner.clocks import Timeline
from runner.duration import span
from runner.orders import host_of, supervisor_of
from runner.scenario.model import LOCAL, Host
from runner.verifier.verdict import HostResult

LAST_NS: Final = 1 << 63
"""Later than anything that is known of a clock."""


class Standing:
    """The `hosts` of one run that have units, beside the runner's own."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        self._state: dict[str, str] = {}
        self._since_ns: dict[str, int] = {}
        self._away_ns: dict[str, int] = {}

    def changed(self, change: Away | Back | Gone, now_ns: int) -> None:
        """What the runner has decided about a host."""
        host = change.host
        if isinstance(change, Away):
            self._since_ns[host] = now_ns
        elif host in self._since_ns:
            self._away_ns[host] = self._away_ns.get(host, 0) + now_ns - self._since_ns.pop(host)
        self._state[host] = {Away: "away", Back: "here", Gone: "gone"}[type(change)]

    def results(self, timeline: Timeline) -> tuple[HostResult, ...]:
        """Each host, the runner's own first; none if there is no other. Clocks are told as they were known last, not
        as they are at this moment, which is another one when the run is judged again."""
        if not self._hosts:
            return ()
        found = [self._of(LOCAL, timeline)]
        return (*found, *(self._of(host.name, timeline) for host in self._hosts))

    def clock_errors(self, timeline: Timeline, now_ns: int) -> dict[str, int]:
        """Host -> how far stamps that it makes now may be off, for the live view; every host from the beginning."""
        found = dict.fromkeys((host.name for host in self._hosts), 0)
        for estimate in timeline.estimates(now_ns) if found else ():
            for unit in estimate.units:
                if (host := host_of(unit)) in found and host is not None:
                    found[host] = estimate.error_ns
        return found

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

    def _of(self, host: str, timeline: Timeline) -> HostResult:
        state, away_s = self._state.get(host, "here"), self._away_ns.get(host, 0) / 1e9
        supervisor = supervisor_of(host)
        for estimate in timeline.estimates(LAST_NS):
            if supervisor in estimate.units and estimate.offset_ns is not None:
                return HostResult(
                    host,
                    state,
                    estimate.worst_ns,
                    -estimate.offset_ns,
                    estimate.drift_ppm or 0.0,
                    estimate.rtt_ns or 0,
                    away_s,
                )
        return HostResult(host, state, away_s=away_s)
