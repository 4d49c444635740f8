"""`circuit-run watch [BROKER]`: the live view of a run that another process drives."""

from pathlib import Path
from typing import Annotated

import typer

from runner.adapters.say import say
from runner.cli.options import Plain


def command(
    endpoint: Annotated[
        str | None, typer.Argument(metavar="[BROKER|RUN]", help="Default: $CIRCUIT_BROKER, or the newest run here.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Which run. Default: $CIRCUIT_RUN, or the newest."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--scenario", "-s", metavar="PATH", help="Follow the circuits of this scenario.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="Our keys for a broker on TCP. Default: $CIRCUIT_KEYS."),
    ] = None,
    plain: Plain = False,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where run folders are.")] = None,
) -> int:
    """Attach the live view to a running broker. Watching disturbs nothing; `q` ends the watching, not the run."""
    from runner.adapters import terminal
    from runner.adapters.history import run_folder
    from runner.model import scenario
    from runner.session import attach

    target = attach.attachable(endpoint, run, keys, runs.resolve() if runs else run_folder.home())
    chosen = scenario.load(against) if against else target.scenario
    with terminal.choose(plain=plain) as screen:
        last_word = attach.watch(target, chosen, screen)
    if last_word:
        say(last_word)
    return 0
