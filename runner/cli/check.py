"""`circuit-run check PATH...`: read scenarios, say what is wrong with them, start nothing."""

from pathlib import Path
from typing import Annotated

import typer

from runner.adapters.say import say


def command(
    paths: Annotated[list[Path] | None, typer.Argument(help="Scenario files or folders; default: here.")] = None,
) -> int:
    """Say what is wrong with scenarios, and with which line, without starting anything."""
    from runner.core.report.quantity import plural
    from runner.model import scenario

    for found in scenario.discover(paths or [Path()]):
        size = f"{plural(len(found.units), 'unit')}, {plural(len(found.circuits), 'circuit')}"
        say(f"{found.name}: {size}, nothing wrong")
        for note in found.notes:
            say(f"  note: {note}")
    return 0
