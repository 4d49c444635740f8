"""`circuit-run broker`: a broker by itself, for units and runners that come and go."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    listen: Annotated[
        list[str],
        typer.Option("--listen", metavar="ENDPOINT", help="tcp://HOST:PORT (0: any) or ipc://PATH; may be repeated."),
    ],
    keep: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the logs of runs go.")] = Path(
        ".circuit/broker"
    ),
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys",
            metavar="DIR",
            help="Who may join over TCP: a folder made by `circuit-run keys new`; may be repeated.",
        ),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let everybody join who reaches the TCP port.")] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Sync the log before anything is acknowledged: survives power failures.")
    ] = False,
) -> int:
    """Run a broker until it is told to stop. Prints `listening on ENDPOINT` when it can be used.

    TCP needs --keys, or --insecure.
    """
    from broker.__main__ import main

    words = [word for endpoint in listen for word in ("--listen", endpoint)]
    words += ["--folder", str(keep)]
    words += [word for folder in keys or () for word in ("--keys", str(folder))]
    words += ["--insecure"] if insecure else []
    words += ["--durable"] if durable else []
    return main(words)
