"""`circuit-run run PATH...`: run scenarios, one after the other, and say how they went."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.adapters.say import complain
from runner.cli.options import (
    Durable,
    Env,
    Inconclusive,
    Json,
    Keys,
    Lender,
    Less,
    Listen,
    Mapped,
    Plain,
    Quiet,
    Reach,
    Repeat,
    Runs,
    Timeout,
    Verbose,
    environment,
    pairs,
)
from runner.cli.results import exit_code, write_json
from runner.model.errors import UsageError
from runner.model.result.result import Verdict

if TYPE_CHECKING:
    from runner.adapters.terminal import Screen
    from runner.model.scenario.model import Scenario
    from runner.session.campaign import Settings


def command(
    paths: Annotated[list[Path] | None, typer.Argument(help="Scenario files or folders; default: here.")] = None,
    less: Less = None,
    verbose: Verbose = False,
    plain: Plain = False,
    quiet: Quiet = False,
    json: Json = None,
    timeout: Timeout = None,
    repeat: Repeat = None,
    env: Env = None,
    runs: Runs = None,
    durable: Durable = False,
    inconclusive: Mapped = None,
    listen: Listen = "",
    broker: Lender = "",
    keys: Keys = None,
    host: Reach = None,
) -> int:
    """Run scenarios and verify them while they run."""
    from runner.adapters.history import run_folder
    from runner.model import scenario
    from runner.session.campaign import Settings

    if broker and (listen or durable):
        raise UsageError(f"{'--listen' if listen else '--durable'} is for a broker of the run's own, not with --broker")
    if keys is not None and not (listen or broker):
        raise UsageError("--keys is of no use without --listen or --broker")
    if listen:
        from runner.adapters.launch import remote_access

        remote_access.check(listen)
    chosen = [
        scenario.override(
            found, timeout=timeout, repeat=repeat, env=environment(env), hosts=pairs(host, "--host", "NAME=WHERE")
        )
        for found in scenario.discover(paths or [Path()], tuple(less or ()))
    ]
    settings = Settings(
        runs.resolve() if runs else run_folder.home(),
        durable=durable,
        listen=listen,
        broker=broker,
        keys=keys,
        verbose=verbose,
    )
    return run_all(chosen, settings, plain=plain, quiet=quiet, json=json, inconclusive=inconclusive)


def run_all(
    scenarios: Sequence["Scenario"],
    settings: "Settings",
    *,
    plain: bool = False,
    quiet: bool = False,
    json: Path | None = None,
    inconclusive: Inconclusive | None = None,
) -> int:
    """Run `scenarios` in order, each as often as it says, and say how each went. The exit code of all together."""
    from runner.session.campaign import Campaign, NotRun

    to_stdout = json is not None and str(json) == "-"
    if json is not None and not json.parent.is_dir():  # better said before the run than after it
        raise UsageError(f"--json {json}: there is no folder {json.parent}")
    campaign = Campaign(scenarios, settings, _Terminal(plain=plain, quiet=quiet, silent=quiet or to_stdout))
    for one in campaign:
        if isinstance(one, NotRun):
            complain(f"{one.scenario.name} was not run: {one.why}")
        elif not to_stdout and not (quiet and one.result.verdict is Verdict.PASSED):
            from runner.adapters import terminal

            terminal.print_summary(one.result, one.scenario, one.folder.path)
    if json is not None:
        write_json(json, campaign.results)
    return exit_code(campaign.verdict, inconclusive, not_run=bool(campaign.not_run))


class _Terminal:
    """The process that started the command."""

    def __init__(self, *, plain: bool, quiet: bool, silent: bool) -> None:
        self._plain = plain
        self._quiet = quiet
        self._silent = silent

    def screen(self) -> "Screen":
        """The live view, plain lines, or nothing."""
        from runner.adapters import terminal

        return terminal.choose(plain=self._plain, quiet=self._silent)

    def invite(self, lines: Sequence[str]) -> None:
        """Say where units elsewhere join, and with which keys."""
        if not self._quiet:
            complain("\n".join(lines))
