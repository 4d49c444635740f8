"""`circuit-run broker`: a broker by itself, for units and runners that come and go."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    listen: Annotated[
        str, typer.Option("--listen", metavar="ENDPOINT", help="tcp://HOST:PORT (0: any) or ipc://PATH.")
    ],
    keep: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the logs of runs go.")] = Path(
        ".circuit/broker"
    ),
) -> int:
    """Run a broker until it is told to stop. Prints one line, `listening on ENDPOINT`, when it can be used."""
    from broker.__main__ import main

    return main(["--listen", listen, "--folder", str(keep)])
