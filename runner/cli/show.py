"""`circuit-run show [RUN]`: the summary of a run that is over, or the story of one key in it."""

from pathlib import Path
from typing import Annotated

import typer

from runner.model.errors import RecordingError


def command(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, an id or its end, or `latest`.")] = "latest",
    key: Annotated[str | None, typer.Option("--key", "-k", help="Show every event with this key, in order.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Only events of this unit.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="Only events of this probe.")] = None,
    events: Annotated[bool, typer.Option("--events", help="Show all events.")] = False,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where run folders are.")] = None,
) -> int:
    """Show a run again: its summary with every finding, or its events."""
    from runner.adapters import terminal
    from runner.adapters.history import log_file, run_folder
    from runner.model.result import result_json
    from runner.session import clockwatch

    kept = run_folder.find(name, runs.resolve() if runs else run_folder.home())
    if events or key is not None or unit is not None or step is not None:
        clocks = clockwatch.timeline_of(kept.log)
        chosen = log_file.story(kept.log, key=key, unit=unit, step=step)
        terminal.print_events(clockwatch.on_the_timeline(chosen, clocks), clocks)
        return 0
    if not kept.result.exists():
        raise RecordingError(
            f"{kept.path} has no result: the run did not come to its end. "
            f"Judge it: circuit-run verify {kept.display_name}"
        )
    result = result_json.load(kept.result.read_text(encoding="utf-8", errors="replace"), str(kept.result))
    terminal.print_summary(result, run_folder.scenario_of(kept), kept.path, everything=True)
    return 0
