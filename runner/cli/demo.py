"""`circuit-run demo`: the example `orders`, for a first look."""

from typing import Annotated

import typer

from runner.cli.run import Json, Plain, Runs, Verbose, environment, run_all


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
    from runner.model import scenario

    chosen = scenario.override(scenario.load(demo.path()), env=environment(env))
    return run_all([chosen], verbose=verbose, plain=plain, json=json, runs=runs)
