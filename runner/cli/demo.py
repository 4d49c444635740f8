"""`circuit-run demo`: the example `orders`, for a first look."""

from typing import Annotated

import typer

from runner.cli.options import Json, Plain, Runs, Verbose, environment
from runner.cli.run import run_all


def command(
    verbose: Verbose = False,
    plain: Plain = False,
    json: Json = None,
    runs: Runs = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="KEY=VALUE", help="Set this for every unit.")
    ] = None,
) -> int:
    """Start a small order system and watch 200 orders go through it, hop by hop."""
    from runner import demo
    from runner.adapters.history import run_folder
    from runner.model import scenario
    from runner.session.campaign import Settings

    chosen = scenario.override(scenario.load(demo.path()), env=environment(env))
    settings = Settings(runs.resolve() if runs else run_folder.home(), verbose=verbose)
    return run_all([chosen], settings, plain=plain, json=json)
