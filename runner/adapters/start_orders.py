"""What is started on this host: a unit of a scenario as the order that starts it.

Belongs here: command lines, environments and the places of files. Must not start anything.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import circuit_run
from probe import environment, private
from probe.message import Start
from runner.model.errors import Mistake, ScenarioError
from runner.model.scenario.model import LOCAL, Scenario, Unit
from runner.model.scenario.redaction import redacted_in

MAX_ENV_BYTES: Final = 48 * 1024
"""Largest `env` of one unit; the order that carries it has to fit into a message."""
SHIM: Final = Path(__file__).parent / "usercode" / "shim"
"""Put on the import path of user code of a legacy folder: what it imports from a package that is not installed."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """Where a run lives, as every process of it has to know. `folder` is the run folder; it exists."""

    broker: str
    """Endpoint."""
    run: str
    folder: Path
    keys: str = ""
    """File of the units' keys for a broker on TCP; "": there are none."""
    supervisor_keys: str = ""
    """The same for the supervisor."""

    @property
    def journals(self) -> Path:
        """Where units write down what they emit."""
        return self.folder / "journals"

    def environment(self, unit: str) -> dict[str, str]:
        """The variables that make a process `unit` of this run."""
        return self._environment(unit, self.keys)

    def for_supervisor(self) -> dict[str, str]:
        """The variables of its supervisor."""
        return self._environment("", self.supervisor_keys)

    def _environment(self, unit: str, keys: str) -> dict[str, str]:
        return {
            environment.BROKER: self.broker,
            environment.RUN: self.run,
            environment.UNIT: unit,
            environment.JOURNAL: str(self.journals),
            **({environment.KEYS: keys} if keys else {}),
        }


class Launcher:
    """Makes the order that starts a unit of `scenario`: `Launcher(scenario, context)(unit)`.

    Creates the folders for journals and output. Raises ScenarioError for an `env` that is too large to be sent.
    """

    def __init__(self, scenario: Scenario, context: RunContext) -> None:
        self.scenario = scenario
        self._context = context
        if mistakes := [mistake for unit in scenario.units for mistake in _too_large(scenario, unit)]:
            raise ScenarioError(mistakes)
        for folder in (context.journals, context.folder / "units"):
            private.ensure(folder)

    def first(self) -> list[Start]:
        """The orders for units that may be started before anything else is up: those that wait at the start gate. None
        while a `setup` has to run before. That they are given again later does no harm."""
        if self.scenario.setup is not None:
            return []
        here = [unit for unit in self.scenario.units if unit.launcher == "local" and unit.host == LOCAL]
        return [self(unit) for unit in here if unit.entrypoint]

    def __call__(self, unit: Unit) -> Start:
        """The order for `unit`, which has an entrypoint or a command."""
        scenario, context = self.scenario, self._context
        out, err = (str(context.folder / "units" / f"{unit.name}{ending}") for ending in (".out", ".err"))
        if unit.host != LOCAL:
            return _remote_start(scenario, unit, out, err)
        declared = {**scenario.env, **unit.env}
        return Start(
            unit=unit.name,
            argv=python_argv(unit.entrypoint, scenario.folder) if unit.entrypoint else unit.command or (),
            cwd=os.path.join(scenario.folder, unit.cwd or ""),
            env={**user_environment(scenario, os.environ, unit), **context.environment(unit.name)},
            out=out,
            err=err,
            private=redacted_in(scenario, declared),
        )


def _remote_start(scenario: Scenario, unit: Unit, out: str, err: str) -> Start:
    """The order for a unit on another host, whose supervisor completes it (see `Here.complete`)."""
    host = next(host for host in scenario.hosts if host.name == unit.host)
    env = {**scenario.env, **host.env, **unit.env}
    return Start(
        unit=unit.name,
        argv=() if unit.entrypoint else unit.command or (),
        entrypoint=unit.entrypoint or "",
        cwd=os.path.join(host.cwd or "", unit.cwd or ""),
        env=env,
        out=out,
        err=err,
        private=redacted_in(scenario, env),
    )


def python_argv(entrypoint: str, folder: str) -> tuple[str, ...]:
    """The command line of a Python unit."""
    return (*circuit_run.PROCESS, "runner.adapters.usercode.bootstrap", entrypoint, folder)


def user_environment(scenario: Scenario, base: Mapping[str, str], unit: Unit | None = None) -> dict[str, str]:
    """What user code of `scenario` finds beyond `base`: the scenario's `env` and the unit's, this Python and its
    scripts (`circuit-run emit`) on PATH, output unbuffered, and for programs the scenario's folder on the import path.
    """
    declared = {**scenario.env, **(unit.env if unit is not None else {})}
    imports = [scenario.folder] if unit is not None and unit.command is not None else []
    imports += [str(SHIM)] if scenario.legacy is not None else []
    return with_own_python(declared, base, imports)


def with_own_python(declared: Mapping[str, str], base: Mapping[str, str], imports: Sequence[str]) -> dict[str, str]:
    """`declared` variables and, beyond `base`, this Python and its scripts on PATH, `imports` first on the import path,
    output unbuffered."""
    scripts = os.path.dirname(sys.executable)
    paths = declared.get("PATH", base.get("PATH", os.defpath)).split(os.pathsep)
    imports = [*imports, *filter(None, [declared.get("PYTHONPATH", base.get("PYTHONPATH", ""))])]
    return {
        "PYTHONUNBUFFERED": "1",
        **declared,
        "PATH": os.pathsep.join(paths if scripts in paths else [scripts, *paths]),
        **({"PYTHONPATH": os.pathsep.join(imports)} if imports else {}),
    }


def _too_large(scenario: Scenario, unit: Unit) -> list[Mistake]:
    size = sum(len(os.fsencode(text)) for pair in {**scenario.env, **unit.env}.items() for text in pair)
    if size <= MAX_ENV_BYTES:
        return []
    message = f"has {size} bytes with the scenario's own; at most {MAX_ENV_BYTES} can be sent: put it in a file"
    return [Mistake(scenario.file, f"units.{unit.name}.env", message)]
