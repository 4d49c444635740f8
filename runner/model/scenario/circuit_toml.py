"""A `circuit.toml` as a `Scenario`.

Belongs here: the keys of a scenario and what they must agree on; docs/circuit.md describes each. Defaults stand in the
model alone. Must not know how scenarios are found or run.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runner.model.errors import ScenarioError
from runner.model.scenario import hosts
from runner.model.scenario.dependencies import cycles
from runner.model.scenario.elements import PathReader
from runner.model.scenario.hints import expected
from runner.model.scenario.model import LOCAL, Barrier, Budget, Callback, Circuit, Element, Probe, Scenario, Unit
from runner.model.scenario.names import entrypoint, is_entrypoint, matching, means_units, name_of, step
from runner.model.scenario.path import element_names, hop_names
from runner.model.scenario.quantity import duration, instances
from runner.model.scenario.toml_reader import (
    Keys,
    TomlValue,
    array_of,
    boolean,
    one_of,
    open_toml,
    string,
    strings_by_name,
    table,
    tables,
    whole,
)


def read(path: Path) -> Scenario:
    """The scenario that the file declares. Raises ScenarioError with every mistake in it."""
    root = open_toml(path, str(path))
    folder = path.absolute().parent
    fields = table(root, root_keys(_names_in(root, "units"), _names_in(root, "hosts")), needed=("units",))
    if root.source.mistakes:
        raise ScenarioError(root.source.in_order())
    fields["units"] = hosts.spread(fields["units"], fields.get("hosts", ()))
    name = folder.name if path.name == "circuit.toml" else path.stem
    own: dict[str, Any] = {"name": name, **fields.pop("scenario", {})}
    return Scenario(**own, **fields, folder=str(folder), file=path.name)


def _names_in(root: TomlValue, key: str) -> list[str]:
    """The names of the tables below `key`."""
    found = root.value.get(key)
    return list(found) if isinstance(found, dict) else []


# --- the keys ---------------------------------------------------------------------------------------------------------


def root_keys(units: Sequence[str], known: Sequence[str] = ()) -> Keys:
    """The tables of a file whose units are `units` and whose hosts are `known`."""
    return {
        "scenario": ("scenario", lambda spot: table(spot, scenario_keys())),
        "units": ("units", lambda spot: _units(spot, units, known)),
        "circuits": ("circuits", lambda spot: _named(spot, lambda item: _circuit(item, units))),
        "barriers": ("barriers", lambda spot: _named(spot, lambda item: _barrier(item, units))),
        "hosts": ("hosts", hosts.hosts),
    }


def scenario_keys() -> Keys:
    return {
        "name": ("name", string),
        "timeout": ("timeout_ns", duration()),
        "settle": ("settle_ns", duration(zero=True)),
        "repeat": ("repeat", whole(1, 1_000)),
        "env": ("env", strings_by_name),
        "redact": ("redact", array_of(string)),
        "setup": ("setup", _setup),
        "check": ("check", _check),
    }


def unit_keys(units: Sequence[str], known: Sequence[str] = ()) -> Keys:
    return {
        "entrypoint": ("entrypoint", entrypoint),
        "command": ("command", command),
        "ready": ("ready", step),
        "ready_timeout": ("ready_timeout_ns", duration()),
        "after": ("after", array_of(lambda spot: _unit_name(spot, units))),
        "expect": ("expect", array_of(step)),
        "env": ("env", strings_by_name),
        "cwd": ("cwd", string),
        "timeout": ("timeout_ns", duration()),
        "stop_timeout": ("stop_timeout_ns", duration(zero=True)),
        "exit_codes": ("exit_codes", _exit_codes),
        "restart": ("restart", one_of("never", "on-failure")),
        "service": ("service", boolean),
        "host": ("host", lambda spot: hosts.host_of(spot, known)),
        "launcher": ("launcher", _launcher),
        "expect_within": ("expect_within_ns", duration()),
    }


def circuit_keys(units: Sequence[str]) -> Keys:
    paths = PathReader(units)
    return {
        "path": ("path", paths.path),
        "within": ("within_ns", duration()),
        "instances": ("instances", instances),
        "budget": ("budget", _budget),
        "hop_budgets": ("hop_budgets", _hop_budgets),
        "never": ("never", array_of(paths.forbidden)),
    }


def barrier_keys(units: Sequence[str]) -> Keys:
    return {
        "parties": ("parties", array_of(lambda spot: _party(spot, units))),
        "timeout": ("timeout_ns", duration()),
        "at": ("at_ns", duration()),
    }


BUDGET_KEYS: Final[Keys] = {quantile: (f"{quantile}_ns", duration()) for quantile in ("p50", "p90", "p99", "max")}


# --- units ------------------------------------------------------------------------------------------------------------


def _units(spot: TomlValue, names: Sequence[str], known: Sequence[str]) -> tuple[Unit, ...]:
    if isinstance(spot.value, dict) and not spot.value:
        spot.mistake("declares no unit; a scenario has at least one")
    units = [(item, _unit(item, names, known)) for item in tables(spot)]
    after = {unit.name: unit.after for _, unit in units if unit}
    for cycle in cycles(after):
        arrows = " -> ".join((*cycle, cycle[0]))
        spot.at(cycle[0]).at("after").mistake(f"makes a cycle: {arrows}; each waits for the next, so none can start")
    return tuple(unit for _, unit in units if unit)


def _unit(spot: TomlValue, names: Sequence[str], known: Sequence[str]) -> Unit | None:
    name = name_of(spot)
    fields = table(spot, unit_keys(names, known))
    if not isinstance(spot.value, dict):
        return None
    ways = [key for key in ("entrypoint", "command") if key in spot.value]
    if fields.get("launcher") == "external":
        if ways:
            spot.at(ways[0]).mistake(
                "is of no use to an external unit, which someone else starts; leave one of them out"
            )
        if fields.get("host", LOCAL) != LOCAL:
            hosts.external_is_nowhere(spot)
    elif not ways and "launcher" not in spot.value:
        spot.mistake('has neither entrypoint nor command; write entrypoint = "module:function" or command = [...]')
    elif len(ways) == 2:
        spot.at("command").mistake("stands beside entrypoint; a unit is started in one way, keep one of them")
    if "expect_within" in spot.value and fields.get("launcher") != "external":
        spot.at("expect_within").mistake('is for units with launcher = "external"; say ready_timeout for others')
    return Unit(name, **fields) if name else None


def command(spot: TomlValue) -> tuple[str, ...] | None:
    """A command line: an array of words, or a string split as a shell would."""
    if isinstance(spot.value, list):
        words = array_of(_word)(spot)
    elif isinstance(spot.value, str):
        try:
            words = tuple(shlex.split(spot.value))
        except ValueError as error:
            spot.mistake(f"cannot be split into words: {error}")
            return None
    else:
        spot.mistake(expected('a command such as ["node", "server.js"] or "node server.js"', spot.value))
        return None
    if not spot.value or not words or not words[0].strip():
        spot.mistake("is empty; its first word is the program")
        return None
    return words


def _word(spot: TomlValue) -> str | None:
    if isinstance(spot.value, str):
        return spot.value
    spot.mistake(expected("a string", spot.value))
    return None


def _exit_codes(spot: TomlValue) -> tuple[int, ...] | None:
    codes = array_of(whole(-64, 255))(spot)
    if codes or spot.value != []:
        return codes
    spot.mistake("is empty, so the unit could never end well; leave it out for [0]")
    return None


def _launcher(spot: TomlValue) -> str | None:
    if spot.value == "ssh":
        spot.mistake("is ssh; say how the host is reached in [hosts.NAME], and host = NAME here")
        return None
    chosen: str | None = one_of("local", "external")(spot)
    return chosen


def _unit_name(spot: TomlValue, units: Sequence[str]) -> str | None:
    name = string(spot)
    if name and {"*", "?"} & set(name):
        spot.mistake(f'has the pattern "{name}", and names are needed here; write each unit')
        return None
    return name if name and means_units(spot, name, units) else None


# --- circuits, barriers and callbacks ---------------------------------------------------------------------------------


def _named(spot: TomlValue, reader: Any) -> tuple[Any, ...]:
    return tuple(value for item in tables(spot) if (value := reader(item)) is not None)


def _circuit(spot: TomlValue, units: Sequence[str]) -> Circuit | None:
    name = name_of(spot)
    fields = table(spot, circuit_keys(units), needed=("path",))
    if name is None or "path" not in fields:
        return None
    if "hop_budgets" in fields:
        fields["hop_budgets"] = _by_hop(spot.at("hop_budgets"), fields["hop_budgets"], fields["path"])
    circuit = Circuit(name, **fields)
    for index, forbidden in enumerate(circuit.never):
        if any(_overlap(forbidden, element, units) for element in circuit.path):
            spot.at("never").at(index).mistake(f'forbids "{forbidden}", which the path asks for')
    return circuit


def _overlap(forbidden: Probe, element: Element, units: Sequence[str]) -> bool:
    return (
        isinstance(element, Probe)
        and not forbidden.where
        and element.step == forbidden.step
        and bool(matching(element.unit, units) & matching(forbidden.unit, units))
    )


def _budget(spot: TomlValue) -> Budget:
    return Budget(**table(spot, BUDGET_KEYS))


def _hop_budgets(spot: TomlValue) -> dict[str, Budget]:
    return {" ".join(item.key.split()): _budget(item) for item in tables(spot)}


def _by_hop(spot: TomlValue, written: Mapping[str, Budget], path: Sequence[Element]) -> dict[str, Budget]:
    """The budgets by the names of the hops that are meant."""
    known = hop_names(path)
    budgets: dict[str, Budget] = {}
    for hop, budget in written.items():
        meant = known.get(hop, ())
        if not meant:
            listed = _listed(element_names(path)[1:]) or "none, for this path has one element"
            spot.mistake(f'has "{hop}", which ends no hop of the path; hops end at {listed}')
        elif len(meant) > 1:
            spot.mistake(f'has "{hop}", which ends several hops of the path; write {_listed(meant, " or ")}')
        elif meant[0] in budgets:
            spot.mistake(f'has "{hop}" for the hop to "{meant[0]}", which has a budget already; keep one')
        else:
            budgets[meant[0]] = budget
    return budgets


def _listed(names: Sequence[str], between: str = ", ") -> str:
    return between.join(f'"{name}"' for name in names)


def _barrier(spot: TomlValue, units: Sequence[str]) -> Barrier | None:
    name = name_of(spot)
    fields = table(spot, barrier_keys(units))
    return Barrier(name, **fields) if name else None


def _party(spot: TomlValue, units: Sequence[str]) -> str | None:
    name = string(spot)
    return name if name and means_units(spot, name, units) else None


def _setup(spot: TomlValue) -> Callback | None:
    if isinstance(spot.value, str) and is_entrypoint(spot.value):
        return Callback(entrypoint=spot.value)
    words = command(spot)
    return Callback(command=words) if words else None


def _check(spot: TomlValue) -> Callback | None:
    called = entrypoint(spot)
    return Callback(entrypoint=called) if called else None
