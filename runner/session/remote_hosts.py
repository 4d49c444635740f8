"""The other hosts of a live run: called, heard, given up, and spoken to in their own time.

Belongs here: joining the roster, the ssh processes, what is shipped, their output, and the timeline with the run.
Decides nothing itself: `core.lifecycle.roster` says which hosts are there.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from probe.event import Event
from probe.message import Begin, Finish, Order, Release
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.run_processes import RunProcesses
from runner.core.lifecycle.roster import Change, Roster
from runner.core.report.quantity import plural
from runner.model.orders import SUPERVISOR, Directed, patience_of, supervisor_of
from runner.model.scenario.model import LOCAL, Scenario
from runner.session.bundle import Bundle, packed
from runner.session.dispatcher import Dispatcher
from runner.session.remote_output import RemoteOutput

STOOD_NS: Final = 1_000_000_000
"""A runner that has not looked for so long was not listening either: the runner stood still, or could not hear the
broker."""


class RemoteHosts:
    """The hosts of one run beside the runner's own."""

    def __init__(
        self, scenario: Scenario, processes: RunProcesses, reader: LogReader, dispatcher: Dispatcher, units: Path
    ) -> None:
        """`units` is where the output of units is kept. Raises UsageError for a scenario that cannot be shipped."""
        hosts = scenario.used_hosts
        self.supervisors = tuple(supervisor_of(host.name) for host in hosts)
        """Their unit names."""
        self._reader = reader
        self._dispatcher = dispatcher
        self._processes = processes
        self._bundles = _packed(scenario, units.parent.parent)
        """Host -> what it is sent."""
        self._incarnations: dict[str, int] = {}
        """Host -> the incarnation of its supervisor."""
        self._roster = Roster(hosts, reader.now_ns())
        self._looked_ns = reader.now_ns()
        self.finishing = False
        """The supervisors have been ordered to finish."""
        self._remote_output = RemoteOutput(
            units, {unit.name: supervisor_of(unit.host) for unit in scenario.units if unit.host != LOCAL}
        )

    def begin(self, now_ns: int) -> None:
        """The run begins: call all hosts. Orders for supervisors wait for them at the broker."""
        host = self._reader.host
        self._reader.command(Begin(host), (SUPERVISOR, *self.supervisors), now_ns)
        for sent in dict.fromkeys(self._bundles.values()):
            self._ship(sent, tuple(supervisor_of(host) for host, its in self._bundles.items() if its == sent), now_ns)
        self._roster.begin(now_ns)
        if self.supervisors:
            self._processes.hosts.look(())

    @property
    def expected(self) -> tuple[str, ...]:
        """Hosts whose supervisor has yet to say its last word, and that are not given up."""
        return self._roster.expected

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        return self._roster.next_deadline_ns

    def heard(self, host: str, event: Event, now_ns: int) -> None:
        """The supervisor of `host` says something."""
        if supervisor_of(host) not in self.supervisors:
            return
        self._remote_output.take(event)
        if event.step == "serving":
            self._serves(host, event, now_ns)
        self._processes.hosts.heard(host)
        self._decide(self._roster.heard(host, now_ns), now_ns)

    def _serves(self, host: str, event: Event, now_ns: int) -> None:
        """A supervisor is there. If it is a new one, the orders to the one before are given again: they may have been
        lost with it."""
        if lease_s := patience_of(event.data.get("lease_s")):
            self._roster.has_lease(host, int(lease_s * 1e9))
        if self._incarnations.setdefault(host, event.incarnation) == event.incarnation:
            return
        self._incarnations[host] = event.incarnation
        its = (supervisor_of(host),)
        self._ship(self._bundles[host], its, now_ns)
        for again in self._dispatcher.lifecycle.repeat():
            if again.to == its:
                self._reader.command(again.order, its, now_ns)
        if self.finishing:
            self._order_to_finish(its, now_ns)

    def _ship(self, sent: Bundle, to: tuple[str, ...], now_ns: int) -> None:
        for piece in sent.pieces:
            self._reader.command(piece, to, now_ns)

    @property
    def sent(self) -> Iterator[tuple[str, str]]:
        """(host, what of the scenario's folder is sent there, in lines)."""
        for host, its in self._bundles.items():
            kib = sum(len(piece.data) for piece in its.pieces) / 1024
            yield host, f"is sent {plural(len(its.names), 'file')} of the scenario's folder, {kib:.3g} KiB packed"
            yield from ((host, f"is sent {name}") for name in its.names)

    def notes(self) -> tuple[str, ...]:
        """What to know of files that were not sent."""
        return tuple(
            f"not sent to host {host}, as it looks like a key: {', '.join(its.withheld)}; if it is wanted there: "
            f"hosts.{host}.ship = [{json.dumps(its.withheld[0])}]"
            for host, its in self._bundles.items()
            if its.withheld
        )

    def tick(self, now_ns: int) -> None:
        """See which hosts are there. No host is blamed for silence while the log has more than was read."""
        if not self.supervisors:
            return
        if now_ns - self._looked_ns > STOOD_NS:
            self._roster.stood_still(now_ns - self._looked_ns, now_ns)
        self._looked_ns = now_ns
        for host in self._roster.expected:
            if supervisor_of(host) in self._dispatcher.closed:
                self._decide(self._roster.closed(host, now_ns), now_ns)
        for host, why, hopeless in self._processes.hosts.look(self._roster.expected):
            self._roster.troubled(host, why, hopeless=hopeless)
        self._decide(self._roster.tick(now_ns, current=not self._reader.behind), now_ns)

    def in_their_time(self, directed: Directed) -> Iterator[tuple[Order, tuple[str, ...]]]:
        """An order and whom it is for; one that names moments goes to each clock with what it shows then."""
        order, timeline = directed.order, self._dispatcher.timeline
        if not isinstance(order, Release) or not (order.at_ns or order.stamp_ns) or timeline.one_clock:
            yield order, directed.to
            return

        def shown(boot: str, moment_ns: int) -> int:
            return max(timeline.to_host(boot, moment_ns), 1) if moment_ns else 0

        by_clock: dict[str, list[str]] = {}
        for unit in directed.to:
            by_clock.setdefault(timeline.newest_clock_of(unit), []).append(unit)
        for boot, units in by_clock.items():
            at_ns, stamp_ns = shown(boot, order.at_ns), shown(boot, order.stamp_ns)
            yield replace(order, at_ns=at_ns, stamp_ns=stamp_ns), tuple(units)

    def finish(self, now_ns: int) -> None:
        """The run is ending: hosts that have not come yet need not come any more."""
        self.finishing = True
        self._order_to_finish((SUPERVISOR, *self.supervisors), now_ns)
        self._roster.finish()

    def hurry(self) -> None:
        """A person wants it to end at once: a host that is away is given up."""
        self._roster.hurry()

    def _order_to_finish(self, supervisors: tuple[str, ...], now_ns: int) -> None:
        self._reader.command(Finish(grace_ms=0), supervisors, now_ns)

    def _decide(self, changes: list[Change], now_ns: int) -> None:
        for change in changes:
            self._dispatcher.host(change, now_ns)
            self._reader.command(change, (supervisor_of(change.host),), now_ns)


def _packed(scenario: Scenario, runs: Path) -> dict[str, Bundle]:
    """Host -> what it is sent; `runs` is where runs are kept. Raises UsageError."""
    bundles: dict[tuple[str, ...], Bundle] = {}
    for host in scenario.used_hosts:
        if host.ship not in bundles:
            bundles[host.ship] = packed(Path(scenario.folder), host.ship, without=runs)
    return {host.name: bundles[host.ship] for host in scenario.used_hosts}
