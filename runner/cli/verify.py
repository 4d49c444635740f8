"""`circuit-run verify RUN`: judge a recorded run again, by its own scenario or another."""

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.run import Json, Mapped, exit_code


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
    from runner import session
    from runner.adapters import terminal
    from runner.adapters.history import origin, run_folder
    from runner.cli.run import write_json
    from runner.model import scenario

    kept = run_folder.find(name, runs.resolve() if runs else run_folder.home())
    judged_by = scenario.load(against) if against else origin.scenario_of(kept)
    outcome = session.verify(judged_by, kept)
    if json is not None:
        write_json(json, [outcome])
    if json is None or str(json) != "-":
        terminal.print_summary(outcome.result, judged_by, kept.path)
    return exit_code([outcome], inconclusive)
