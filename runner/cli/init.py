"""`circuit-run init [DIR]`: a small scenario that works, to start from."""

from pathlib import Path
from typing import Annotated

import typer

from runner.adapters.say import say


def command(directory: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")] = Path()) -> int:
    """Write a small scenario that works, and say how to run it."""
    from runner.model.scenario import template

    for path in template.write(directory):
        say(f"wrote {path}")
    say(f"run it:  circuit-run {directory}")
    return 0
