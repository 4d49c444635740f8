"""`circuit-run clocks [BROKER]`: how well the clocks of a run's hosts are known, live."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    endpoint: Annotated[
        str | None, typer.Argument(metavar="[BROKER|RUN]", help="Default: $CIRCUIT_BROKER, or the newest run here.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Which run. Default: $CIRCUIT_RUN, or the newest."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="Our keys for a broker on TCP. Default: $CIRCUIT_KEYS."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Say how it stands now, and stop.")] = False,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where run folders are.")] = None,
) -> int:
    """Show how far the clock of each host is ahead of the run's time, how exactly that is known, and how it drifts."""
    from runner.adapters.history import run_folder
    from runner.adapters.terminal.clocks import clock_lines
    from runner.adapters.terminal.repainter import Repainter
    from runner.session import attach, clockwatch

    target = attach.attachable(endpoint, run, keys, runs.resolve() if runs else run_folder.home())
    repainter = Repainter()
    clockwatch.clocks(
        target, lambda rows, reference: repainter.show(clock_lines(rows, reference, repainter.width)), once=once
    )
    return 0
