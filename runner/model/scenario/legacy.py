"""The legacy folder shape as a `Scenario`: `config.toml`, `units/*.toml`, and Python files beside them.

Belongs here: the keys of that shape, read as data; nothing of the folder is imported. docs/circuit.md says what each
option does. Must not know how anything of it is run.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runner.model.errors import Mistake, ScenarioError
from runner.model.scenario import legacy_functions
from runner.model.scenario.dependencies import cycles, in_order
from runner.model.scenario.hints import did_you_mean, expected
from runner.model.scenario.model import SETUP_UNIT, Legacy, Scenario, Unit
from runner.model.scenario.names import entrypoint, means_units, name_of
from runner.model.scenario.quantity import seconds
from runner.model.scenario.toml_reader import (
    Keys,
    TomlValue,
    array_of,
    boolean,
    one_of,
    open_toml,
    string,
    table,
    whole,
)

CONFIG: Final = "config.toml"

_MODES: Final = ("DEBUG", "INFO", "WARNING", "EXCEPT")


def _all_or_modes(spot: TomlValue) -> tuple[str, ...] | None:
    if spot.value == "All":
        return _MODES
    if isinstance(spot.value, str):
        mode = one_of("All", *_MODES)(spot)
        return (mode,) if mode else None
    return array_of(one_of(*_MODES))(spot)


def _no_ai(spot: TomlValue) -> bool | None:
    if spot.value is True:
        spot.mistake("is true, and nothing here asks a language model; say use-ai = false")
        return None
    return boolean(spot)


CONFIG_KEYS: Final[Keys] = {
    "units": ("units", array_of(string)),
    "enabled": ("enabled", boolean),
    "timeout": ("timeout_ns", seconds),
    "repeat": ("repeat", whole(0, 10)),
    "debug-modes": ("debug_modes", array_of(one_of(*_MODES))),
    "test-modes": ("test_modes", _all_or_modes),
    "use-ai": ("use_ai", _no_ai),
    "diagnostics": ("diagnostics", boolean),
    "detect-bad-behavior": ("detect_bad_behavior", boolean),
    "save-resume": ("save_resume", boolean),
    "gen-metrics": ("gen_metrics", boolean),
    "save-metrics": ("save_metrics", boolean),
    "save-scores": ("save_scores", boolean),
}
UNIT_KEYS: Final[Keys] = {
    "init": ("init", whole(0, 1_000_000)),
    "enabled": ("enabled", boolean),
    "entrypoint": ("entrypoint", entrypoint),
    "ready_event": ("ready", string),
    "ready_timeout": ("ready_timeout_ns", seconds),
    "timeout": ("timeout_ns", seconds),
    "use_setup": ("use_setup", boolean),
    "in-except": ("in_except", one_of("Resume", "Reload", "Resume-ALL")),
    "unit_dependencies": ("after", array_of(string)),
    "events": ("expect", array_of(string)),
}
SPELLINGS: Final[Mapping[str, str]] = {
    "analitics": "gen-metrics",
    "save-analitics": "save-metrics",
    "save-performance": "save-scores",
    "unity_depencies": "unit_dependencies",
}
"""Spellings of earlier versions -> the key that means the same."""

_TIMEOUT_NS: Final = 30_000_000_000
_READY_TIMEOUT_NS: Final = 10_000_000_000


def is_group(folder: Path) -> bool:
    """Whether a folder has the legacy shape; a config.toml that cannot be parsed beside `units/` is taken for one."""
    if not ((folder / CONFIG).is_file() and (folder / "units").is_dir()):
        return False
    try:
        return "Configs" in tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True


def read(folder: Path) -> Scenario:
    """The scenario that the folder declares. Raises ScenarioError with every mistake in its files."""
    group = _Group(folder)
    scenario = group.scenario()
    if group.mistakes:
        raise ScenarioError(group.mistakes)
    return scenario


class _Group:
    """One folder while it is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mistakes: list[Mistake] = []
        self._roots = [open_toml(folder / CONFIG, str(folder / CONFIG))]
        self._notes: list[str] = []

    @property
    def mistakes(self) -> list[Mistake]:
        return [*(mistake for root in self._roots for mistake in root.source.in_order()), *self._mistakes]

    def scenario(self) -> Scenario:
        """The scenario, as far as it can be read."""
        configs = self._table(self._roots[0].at("Configs"), CONFIG_KEYS, needed=("units",))
        configs.pop("use_ai", None)
        python = legacy_functions.look(self._folder)
        self._mistakes += python.mistakes
        tables = self._unit_tables(configs.pop("units", ()))
        units, restart_all = self._units(tables, python.setup)
        if not (self.mistakes or python.tests or any(unit.entrypoint for unit in units)):
            self._roots[0].at("Configs").mistake(
                "starts nothing: no enabled unit has an entrypoint, and no test_* is there"
            )
        return Scenario(
            name=self._folder.resolve().name,
            folder=str(self._folder.absolute()),
            file=CONFIG,
            units=units,
            timeout_ns=configs.pop("timeout_ns", _TIMEOUT_NS),
            repeat=1 + configs.pop("repeat", 0),
            notes=(*self._notes, *python.notes),
            legacy=Legacy(tests=python.tests, restart_all=restart_all, **{**python.callbacks, **configs}),
        )

    # --- units --------------------------------------------------------------------------------------------------------

    def _unit_tables(self, names: Sequence[str]) -> dict[str, tuple[TomlValue, dict[str, Any]]]:
        """The table of every unit that the config names, with its fields."""
        listed = self._roots[0].at("Configs").at("units")
        found = {}
        for name in dict.fromkeys(names):
            path = self._folder / "units" / f"{name}.toml"
            if not path.is_file():
                files = (file.stem for file in path.parent.glob("*.toml"))
                listed.mistake(f'names "{name}", and there is no units/{name}.toml{did_you_mean(name, files)}')
                continue
            try:
                root = open_toml(path, str(path))
            except ScenarioError as error:
                self._mistakes += error.mistakes
                continue
            self._roots.append(root)
            if name not in root.value:
                root.mistake(f'has no table ["{name}"]{did_you_mean(name, root.value)}')
                continue
            name_of(root.at(name))
            found[name] = (root.at(name), self._table(root.at(name), UNIT_KEYS, needed=("init",)))
        return found

    def _units(
        self, tables: Mapping[str, tuple[TomlValue, dict[str, Any]]], setup: str | None
    ) -> tuple[tuple[Unit, ...], tuple[str, ...]]:
        """The units in the order in which they start, and those that say Resume-ALL."""
        self._check_places(tables)
        if setup and SETUP_UNIT in tables:
            tables[SETUP_UNIT][0].mistake("has the name under which setup.py runs; give the unit another one")
        enabled = {name: fields for name, (_, fields) in tables.items() if fields.pop("enabled", True)}
        needs = {name: fields.get("after", ()) for name, fields in enabled.items()}
        for name, needed in needs.items():
            spot = tables[name][0].at("unit_dependencies")
            for other in needed:
                if means_units(spot, other, list(tables)) and other not in enabled:
                    spot.mistake(f'names unit "{other}", which is disabled')
        for cycle in cycles(needs):
            arrows = " -> ".join((*cycle, cycle[0]))
            tables[cycle[0]][0].at("unit_dependencies").mistake(f"makes a cycle: {arrows}; none of them can start")
        by_init = sorted(enabled, key=lambda name: enabled[name].get("init", 0))
        units = [Unit(SETUP_UNIT, entrypoint=setup, service=True)] if setup else []
        restart_all = []
        before: tuple[str, ...] = ()
        for name in in_order(by_init, needs):
            fields = enabled[name]
            after = {
                other: None for other in (*fields.pop("after", ()), *before) if enabled.get(other, {}).get("entrypoint")
            }
            if fields.pop("use_setup", False) and setup:
                after[SETUP_UNIT] = None
            in_except = fields.pop("in_except", "Resume")
            restart_all += [name] * (in_except == "Resume-ALL")
            fields.pop("init", None)
            started = "entrypoint" in fields
            units.append(
                Unit(
                    name,
                    after=tuple(after) if started else (),
                    restart="on-failure" if in_except == "Reload" else "never",
                    service=False,
                    launcher="local" if started else "external",
                    **{"ready_timeout_ns": _READY_TIMEOUT_NS, **fields},
                )
            )
            if started:
                before = (name,)
        return tuple(units), tuple(restart_all)

    def _check_places(self, tables: Mapping[str, tuple[TomlValue, dict[str, Any]]]) -> None:
        taken: dict[int, str] = {}
        for name, (spot, fields) in tables.items():
            init = fields.get("init")
            if init in taken:
                spot.at("init").mistake(f'is {init}, which is the place of "{taken[init]}" already; give each its own')
            elif init is not None:
                taken[init] = name

    # --- tables -------------------------------------------------------------------------------------------------------

    def _table(self, spot: TomlValue, keys: Keys, needed: Sequence[str] = ()) -> dict[str, Any]:
        """As `toml_reader.table`, with earlier spellings, and with a note on a key that is not known: it is ignored."""
        if not isinstance(spot.value, dict):
            spot.mistake(expected("a table", spot.value) if spot.value is not None else "is missing")
            return {}
        spelt = {old: keys[new] for old, new in SPELLINGS.items() if new in keys}
        where = f"{Path(spot.source.name).relative_to(self._folder)}: {spot.key}"
        for key in spot.value:
            if key in spelt:
                self._notes.append(f"{where}.{key} is an earlier spelling; write {SPELLINGS[key]}")
            elif key not in keys:
                self._notes.append(f"{where}.{key} is not known and does nothing{did_you_mean(key, keys)}")
        known = {key: value for key, value in spot.value.items() if key in keys or key in spelt}
        return table(TomlValue(known, spot.path, spot.source), {**spelt, **keys}, needed)
