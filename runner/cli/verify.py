"""`circuit-run verify RUN`: judge a recorded run again, by its own scenario or another."""

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.options import Json, Mapped
from runner.cli.results import exit_code, write_json


def command(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, an id or its end, or `latest`.")] = "latest",
    against: Annotated[
        Path | None, typer.Option("--scenario", "-s", metavar="PATH", help="Judge by this scenario instead.")
    ] = None,
    json: Json = None,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where run folders are.")] = None,
    inconclusive: Mapped = None,
) -> int:
    """Judge a recorded run again, by its own scenario or another."""
    from runner import api
    from runner.adapters import terminal
    from runner.adapters.history import run_folder

    kept = run_folder.find(name, runs.resolve() if runs else run_folder.home())
    judged_by = api.load(against) if against else run_folder.scenario_of(kept)
    result = api.verify(kept.path, judged_by)
    if json is not None:
        write_json(json, [result])
    if json is None or str(json) != "-":
        terminal.print_summary(result, judged_by, kept.path)
    return exit_code(result.verdict, inconclusive)
