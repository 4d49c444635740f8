"""The runner for Python: `runner.load`, `runner.run` and `runner.verify`, for tests, notebooks and tools.

Belongs here: these functions. They print nothing, never leave the process, and raise `CircuitRunError`. Must not
know options or exit codes (those are `cli`), nor how a run goes (`session`).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.adapters.history import run_folder
from runner.model.errors import UsageError
from runner.model.result.result import Result
from runner.model.scenario import find
from runner.model.scenario.model import Scenario
from runner.session.campaign import Campaign, Settings

if TYPE_CHECKING:
    from runner.adapters.terminal import Screen


def load(path: str | os.PathLike[str]) -> Scenario:
    """The scenario at `path`: a TOML file, or a folder with a `circuit.toml`.

    Raises ScenarioError (a CircuitRunError) with every mistake in it; UsageError when there is nothing at `path`;
    NothingToRun when there is something else.
    """
    return find.load(Path(path))


def run(
    scenario: str | os.PathLike[str] | Scenario,
    *,
    timeout: str | None = None,
    env: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
    runs: str | os.PathLike[str] | None = None,
    listen: str = "",
    broker: str = "",
    keys: str | os.PathLike[str] | None = None,
    durable: bool = False,
) -> Result:
    """Run a scenario once, from starting its units to the verdict, and return the result. It is also kept in a run
    folder, whose name is `result.run`. No unit is alive when this returns.

    `scenario`: a path, or what `load` returned.
    `timeout`: in place of the scenario's own, e.g. "30s".
    `env`: variables for every unit; they win over the scenario's own.
    `hosts`: how hosts of the scenario are reached: an ssh destination, "agent" or "local" for each name.
    `runs`: the folder that keeps run folders; default: `.circuit` in the current folder.
    `listen`: `tcp://HOST:PORT` to let other hosts join; `keys` may be a keyring whose keys are good there, too.
    `broker`: `tcp://HOST:PORT` of a lab's broker, in place of one of the run's own; `keys` is the file of our keys.
    `durable`: the log is synced before anything is acknowledged.

    What units do wrong is in the result and no error. In the main thread SIGINT, SIGTERM and SIGHUP end the run in
    order: its verdict is `interrupted` then, and no KeyboardInterrupt is raised. In another thread they do what they
    did before.

    Raises CircuitRunError: ScenarioError and UsageError when it cannot be run as it is, BrokerFailed and
    SupervisorFailed when a process of ours failed, DiskFull.
    """
    if keys is not None and not (listen or broker):
        raise UsageError("keys are of no use without listen or broker")
    loaded = scenario if isinstance(scenario, Scenario) else load(scenario)
    chosen = find.override(loaded, timeout=timeout, repeat=1, env=env, hosts=hosts)
    settings = Settings(
        _root(runs), durable=durable, listen=listen, broker=broker, keys=None if keys is None else Path(keys)
    )
    campaign = Campaign([chosen], settings, _Nobody())
    for _ in campaign:
        pass
    return campaign.results[0]


def verify(
    run: str | os.PathLike[str] = run_folder.LATEST,
    scenario: str | os.PathLike[str] | Scenario | None = None,
    *,
    runs: str | os.PathLike[str] | None = None,
) -> Result:
    """Judge a recorded run again and return the result; nothing is written.

    `run`: a run folder, the id of a run or its end, or "latest".
    `scenario`: judge by this one; default: the one that was run.
    `runs`: the folder that keeps run folders; default: `.circuit` in the current folder.

    Raises RecordingError (a CircuitRunError) when there is no such run or it cannot be read; what `load` raises.
    """
    from runner.session import replay

    folder = run_folder.find(os.fspath(run), _root(runs))
    if scenario is None:
        judged_by = run_folder.scenario_of(folder)
    else:
        judged_by = scenario if isinstance(scenario, Scenario) else load(scenario)
    return replay.verify(judged_by, folder)


def _root(runs: str | os.PathLike[str] | None) -> Path:
    return run_folder.home() if runs is None else Path(runs).resolve()


class _Nobody:
    """The audience of a run that is not watched."""

    def screen(self) -> "Screen":
        from runner.adapters.terminal import choose  # takes as long as the processes take to come up

        return choose(quiet=True)

    def invite(self, lines: Sequence[str]) -> None:
        """Keys for other hosts are in the run folder."""
