"""From paths on a command line to scenarios.

Belongs here: what counts as a scenario, where to look, which to leave out, what a command line may override. Must not
know the keys inside a file.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from runner.model.errors import Mistake, NothingToRun, ScenarioError, UsageError
from runner.model.scenario import circuit_toml, hidden, legacy
from runner.model.scenario.hints import did_you_mean
from runner.model.scenario.hosts import moved, reached
from runner.model.scenario.model import Scenario
from runner.model.scenario.quantity import parse_duration

CIRCUIT: Final = "circuit.toml"
_SKIPPED: Final = frozenset({"node_modules", "__pycache__"})


def load(path: Path) -> Scenario:
    """The scenario at `path`: a TOML file, a folder with a `circuit.toml`, or a folder of the legacy shape.

    Raises ScenarioError with every mistake in it, UsageError when there is nothing at `path`, NothingToRun when there
    is something else.
    """
    place = _place(path)
    if place is None:
        raise NothingToRun(f"{path} is no scenario: it needs a {CIRCUIT}, which `circuit-run init {path}` writes")
    return _read(place)


def discover(paths: Sequence[Path], less: Sequence[str] = ()) -> list[Scenario]:
    """All scenarios at and below `paths`, in the order given and sorted below each, without those named in `less`.

    A scenario goes by its name and by its folder's. Hidden folders, virtual environments, `node_modules` and groups
    with `enabled = false` are skipped. Raises ScenarioError with the mistakes of all of them together, UsageError for
    a path or a name in `less` that does not exist, NothingToRun when none is left.
    """
    places = list(dict.fromkeys(place for path in paths for place in _below(path)))
    for place in places:
        _check_text(str(place.absolute()), "the path of a scenario", "rename it")
    names = {place: _names(place) for place in places}
    known = {name for found in names.values() for name in found}
    if unknown := [name for name in less if name not in known]:
        raise UsageError(f"--less {unknown[0]}: no scenario has this name{did_you_mean(unknown[0], known)}")
    scenarios: list[Scenario] = []
    mistakes: list[Mistake] = []
    for place in places:
        if names[place] & set(less):
            continue
        try:
            scenarios.append(_read(place))
        except ScenarioError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ScenarioError(mistakes)
    enabled = [scenario for scenario in scenarios if scenario.legacy is None or scenario.legacy.enabled]
    if not enabled:
        raise NothingToRun(_nothing(paths, places, scenarios))
    return enabled


def _check_text(text: str, what: str, remedy: str) -> None:
    """Raises UsageError for what is not UTF-8, which neither travels on the bus nor can be written down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text}: {what} has to be UTF-8; {remedy}") from None


def override(
    scenario: Scenario,
    *,
    timeout: str | None = None,
    repeat: int | None = None,
    env: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
) -> Scenario:
    """The scenario with what a command line says in place of what its file says.

    `env` wins over the scenario's and its units' own; `hosts` says of hosts how they are reached: an ssh destination,
    "agent", or "local". Raises UsageError for a `timeout` that is no duration, and for hosts that it does not have.
    """
    timeout_ns = scenario.timeout_ns
    if timeout is not None:
        parsed = parse_duration(timeout)
        if not parsed:
            raise UsageError(f'--timeout {timeout}: expected a duration such as "30s" or "1m30s"')
        timeout_ns = parsed
    given = dict(env or {})
    for name, value in given.items():
        _check_text(f"{name}={value}", "what --env says", "encode it otherwise")
    units = tuple(
        msgspec.structs.replace(unit, env={**unit.env, **{key: given[key] for key in given if key in unit.env}})
        for unit in scenario.units
    )
    return msgspec.structs.replace(
        scenario,
        timeout_ns=timeout_ns,
        repeat=scenario.repeat if repeat is None else repeat,
        env={**scenario.env, **given},
        units=tuple(moved(unit, hosts or {}) for unit in units),
        hosts=reached(scenario, hosts or {}),
    )


def _read(place: Path) -> Scenario:
    try:
        found = legacy.read(place) if place.is_dir() else circuit_toml.read(place)
    except RecursionError:
        raise ScenarioError([Mistake(str(place), "", "is nested too deep to be read")]) from None
    also = hidden.notes(Path(found.folder), os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return msgspec.structs.replace(found, notes=(*found.notes, *also)) if also else found


def _place(path: Path) -> Path | None:
    """What holds the scenario at `path`: a TOML file, or the folder itself when it has the legacy shape."""
    if path.is_dir():
        if (path / CIRCUIT).is_file():
            return path / CIRCUIT
        return path if legacy.is_group(path) else None
    if not path.exists():
        raise UsageError(f"{path} does not exist{did_you_mean(path.name, _siblings(path))}")
    if path.suffix != ".toml":
        raise UsageError(f"{path} is no scenario; give a {CIRCUIT}, or a folder that has one")
    return path.parent if path.name == legacy.CONFIG and legacy.is_group(path.parent) else path


def _siblings(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _below(path: Path) -> Iterator[Path]:
    """The place of the scenario at `path`, else of every one below it; what stands below a scenario belongs to it."""
    if place := _place(path):
        yield place
        return
    try:
        inner = sorted(entry for entry in path.iterdir() if entry.is_dir() and not _is_skipped(entry))
    except PermissionError:
        return
    for folder in inner:
        yield from _below(folder)


def _is_skipped(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _SKIPPED or folder.is_symlink()
    return hidden or (folder / "pyvenv.cfg").is_file()


def _names(place: Path) -> set[str]:
    """What the scenario at `place` goes by; with mistakes in it, as much of that as can be read."""
    folder = (place if place.is_dir() else place.parent).resolve().name
    try:
        declared = {} if place.is_dir() else tomllib.loads(place.read_text(encoding="utf-8")).get("scenario", {})
    except (OSError, ValueError, RecursionError):
        return {folder}
    name = declared.get("name") if isinstance(declared, dict) else None
    stem = set() if place.is_dir() or place.name == CIRCUIT else {place.stem}
    return {folder, *stem, *({name} if isinstance(name, str) else ())}


def _nothing(paths: Sequence[Path], places: Sequence[Path], left: Sequence[Scenario]) -> str:
    """Why there is nothing to run, and what to do."""
    where = "here or below" if paths == [Path()] else f"at or below {', '.join(str(path) for path in paths)}"
    if not places:
        return (
            f"no scenario {where}: there is no {CIRCUIT}; `circuit-run init` writes a first one, "
            "`circuit-run PATH` runs one elsewhere, `circuit-run --help` lists the commands"
        )
    if not left:
        return f"--less leaves out every scenario {where}; name fewer"
    disabled = ", ".join(scenario.name for scenario in left)
    return f"every scenario left is disabled ({disabled}); say enabled = true in its {legacy.CONFIG}"
