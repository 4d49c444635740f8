"""Which key may speak as which unit of a run: the names that run on each host, and the keys that are made for them.

Belongs here: what the broker has to know about that, as values, and the files of keys that stay on this host. Must not
know sockets, nor how anything is started. A key that lasts stays where its owner keeps it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker import access, log
from probe import keys, private, wire
from probe.keys import Keys
from probe.message import Issue, Names
from runner.model.orders import RUNNER, SUPERVISOR, supervisor_of
from runner.model.scenario.model import LOCAL, Host, Scenario

AT_ONCE: Final = 100
"""Names in one message: those of any length fit."""


def spoken_on(scenario: Scenario, host: Host) -> tuple[str, ...]:
    """As what the processes on `host` may speak, as patterns: the units that run there, and what else it says."""
    there = tuple(unit.name for unit in scenario.units if unit.host == host.name and unit.launcher == "local")
    return (*map(access.escaped, there), *host.speaks_for)


def names_of(scenario: Scenario) -> tuple[Names, ...]:
    """Whose each name of the run is: that of a unit which the run starts is its supervisor's, and so is its own."""
    owners = {supervisor_of(host): supervisor_of(host) for host in (LOCAL, *(h.name for h in scenario.used_hosts))}
    owners |= {unit.name: supervisor_of(unit.host) for unit in scenario.units if unit.launcher == "local"}
    pairs = list(owners.items())
    return tuple(Names(dict(pairs[at : at + AT_ONCE])) for at in range(0, len(pairs), AT_ONCE))


def write_down(names: Sequence[Names], path: Path) -> None:
    """Begin the log at `path` with `names`: so its broker knows them before it listens. Raises LogError."""
    own = log.Log(path)
    try:
        own.append(wire.encode_entry(RUNNER, 0, wire.encode(each)) for each in names)
    finally:
        own.close()


class RunKeys:
    """The keys of one run on an external broker, made from nothing but its public key. Those for this
    host are in the private folder `folder`."""

    def __init__(self, broker: str, scenario: Scenario, folder: Path) -> None:
        """`broker` is the broker's public key."""
        self._hosts = {
            host.name: keys.made(supervisor_of(host.name), broker)
            for host in scenario.used_hosts
            if host.ssh is not None
        }
        ours, units = keys.made(SUPERVISOR, broker), keys.made(access.units_of(SUPERVISOR), broker)
        self.folder: Final = folder
        private.make(folder)
        self.files: Final = (_written(folder / "units.keys", units), _written(folder / "supervisor.keys", ours))
        """The files of keys for the units and for the supervisor here."""
        self.issues: Final = (
            Issue(ours.name, ours.public, "agent", (SUPERVISOR, "*")),
            Issue(units.name, units.public, "unit", ("*",)),
            *(
                Issue(
                    self._hosts[host.name].name,
                    self._hosts[host.name].public,
                    "agent",
                    (access.escaped(supervisor_of(host.name)), *spoken_on(scenario, host)),
                )
                for host in scenario.used_hosts
                if host.name in self._hosts
            ),
        )
        """The messages that introduce them to the broker. Only names that no other user owns are in them."""

    def of(self, host: str) -> str:
        """The text of a file of keys for the supervisor of `host`, which is reached over ssh."""
        return self._hosts[host].text()


def _written(path: Path, made: Keys) -> str:
    keys.write(path, made)
    return str(path)
