"""The hosts of a scenario: their keys, which one a unit means, and where a unit goes that may run anywhere.

Belongs here: what `[hosts.NAME]` may say and how units refer to it. Must not know how a host is reached.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from runner.model.errors import UsageError
from runner.model.scenario.hints import did_you_mean
from runner.model.scenario.model import ANY, LOCAL, Host, Scenario, Unit
from runner.model.scenario.names import name_of
from runner.model.scenario.quantity import duration
from runner.model.scenario.toml_reader import Keys, TomlValue, array_of, boolean, string, strings_by_name, table, tables

_RESERVED: Final = {
    LOCAL: "it means the host where circuit-run runs",
    ANY: "it means whichever host is free",
    "runner": "the fabric needs this name",
    "watcher": "the fabric needs this name",
}


def host_keys() -> Keys:
    return {
        "ssh": ("ssh", _destination),
        "agent": ("agent", boolean),
        "python": ("python", string),
        "env": ("env", strings_by_name),
        "cwd": ("cwd", string),
        "lease": ("lease_ns", duration()),
        "ship": ("ship", array_of(string)),
        "speaks_for": ("speaks_for", array_of(_spoken)),
    }


def hosts(spot: TomlValue) -> tuple[Host, ...]:
    """All `[hosts.*]`."""
    return tuple(host for item in tables(spot) if (host := _host(item)) is not None)


def host_of(spot: TomlValue, known: Collection[str]) -> str | None:
    """The host that a unit names."""
    name = string(spot)
    if name is None or name in (LOCAL, ANY) or name in known:
        return name
    hint = did_you_mean(name, known)
    declared = hint if known else f"; declare it: [hosts.{name}] with ssh = ... or agent = true"
    spot.mistake(f'names host "{name}", which is not declared{declared}')
    return None


def external_is_nowhere(spot: TomlValue) -> None:
    """Records that an external unit runs wherever it is started."""
    spot.at("host").mistake("is of no use to an external unit, which runs wherever someone starts it; leave it out")


def spread(units: Sequence[Unit], declared: Sequence[Host]) -> tuple[Unit, ...]:
    """`units` with a place for those that may run anywhere: on the declared host that has the fewest units so far, the
    first of several; here if no host is declared."""
    load = Counter({host.name: 0 for host in declared})
    load.update(unit.host for unit in units if unit.host in load)
    placed = []
    for unit in units:
        if unit.host == ANY:
            chosen = min(load, key=load.__getitem__) if load else LOCAL
            load[chosen] += 1
            unit = msgspec.structs.replace(unit, host=chosen)
        placed.append(unit)
    return tuple(placed)


def reached(scenario: Scenario, given: Mapping[str, str]) -> tuple[Host, ...]:
    """The hosts of `scenario`, reached as `given` says by name (see `find.override`). Raises UsageError."""
    names = [host.name for host in scenario.hosts]
    for name, way in given.items():
        if name not in names:
            raise UsageError(f"--host {name}={way}: {scenario.name} has no host {name!r}{did_you_mean(name, names)}")
        if way.startswith("-") or len(way.split()) != 1:
            raise UsageError(f'--host {name}={way}: expected an ssh destination, "agent" or "local"')
    return tuple(_reached(host, given[host.name]) if host.name in given else host for host in scenario.hosts)


def _reached(host: Host, way: str) -> Host:
    if way == "agent":
        return msgspec.structs.replace(host, ssh=None, agent=True)
    return msgspec.structs.replace(host, ssh=way, agent=False)


def moved(unit: Unit, given: Mapping[str, str]) -> Unit:
    """`unit`, here if `given` says so of its host."""
    return msgspec.structs.replace(unit, host=LOCAL) if given.get(unit.host) == LOCAL else unit


def _host(spot: TomlValue) -> Host | None:
    name = name_of(spot)
    fields = table(spot, host_keys())
    if not isinstance(spot.value, dict):
        return None
    if name in _RESERVED:
        spot.mistake(f'may not be called "{name}"; {_RESERVED[name]}')
        return None
    if fields.get("agent") and "ssh" in spot.value:
        spot.at("agent").mistake("stands beside ssh; a host is reached in one way, keep one of them")
    elif not fields.get("agent") and "ssh" not in spot.value:
        spot.mistake('does not say how it is reached; write ssh = "user@host", or agent = true')
    if fields.get("agent") and "python" in spot.value:
        spot.at("python").mistake("is of no use where an agent runs, which has its own Python; leave it out")
    if fields.get("agent") and "lease" in spot.value:
        spot.at("lease").mistake("is the agent's to say: circuit-run agent --lease; leave it out")
    return Host(name, **fields) if name else None


def _spoken(spot: TomlValue) -> str | None:
    """A unit, or a pattern of units."""
    name = string(spot)
    if name is not None and (not name or name.startswith("@") or not name.isprintable()):
        spot.mistake(f'is no unit and no pattern of units: "{name}"')
        return None
    return name


def _destination(spot: TomlValue) -> str | None:
    """What ssh takes for a host. One that begins with a dash would be an option."""
    text = string(spot)
    if text is not None and (text.startswith("-") or len(text.split()) != 1):
        spot.mistake(f'is no destination of ssh: "{text}"; expected host, user@host or a name of your ~/.ssh/config')
        return None
    return text
