"""`circuit-run broker`: a broker by itself, for units and runners that come and go."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from runner.model.errors import UsageError

_DAY_S: Final = 86_400
_DAYS: Final = re.compile(r"(?:(\d{1,5})d)?(.*)", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?(KiB|MiB|GiB|TiB)", re.ASCII)
_SCALES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


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
    insecure: Annotated[bool, typer.Option("--insecure", help="Let all peers join that reach the TCP port.")] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Sync the log before anything is acknowledged: survives power failures.")
    ] = False,
    keep_for: Annotated[
        str | None,
        typer.Option(
            "--keep-for", metavar="TIME", help="Remove runs whose last entry is older, e.g. 7d or 12h. Default: never."
        ),
    ] = None,
    keep_bytes: Annotated[
        str | None,
        typer.Option(
            "--keep-bytes",
            metavar="SIZE",
            help="Remove the oldest runs of the key that has most while all have more, e.g. 10GiB. Default: never.",
        ),
    ] = None,
    expect_peers: Annotated[
        int,
        typer.Option("--expect-peers", metavar="N", min=0, help="End at once if so many connections are not possible."),
    ] = 0,
    quota: Annotated[
        list[str] | None,
        typer.Option(
            "--quota",
            metavar="NAME=N",
            help="How much of it one key may have, e.g. events=100000 or run-bytes=10GiB; may be repeated. The names "
            "and what they are by default: docs/access.md.",
        ),
    ] = None,
) -> int:
    """Run a broker until it is stopped. Prints `listening on ENDPOINT` when it can be used.

    TCP needs --keys, or --insecure. Runs in which a peer takes part are not removed, and none with files in its folder
    that the broker did not put there.
    """
    from broker.__main__ import main

    words = [word for endpoint in listen for word in ("--listen", endpoint)]
    words += ["--folder", str(keep)]
    words += [word for folder in keys or () for word in ("--keys", str(folder))]
    words += ["--insecure"] if insecure else []
    words += ["--expect-peers", str(expect_peers)] if expect_peers else []
    words += ["--durable"] if durable else []
    words += [word for each in quota or () for word in ("--quota", each)]
    words += ["--keep-for-s", str(_seconds(keep_for))] if keep_for is not None else []
    words += ["--keep-bytes", str(_bytes(keep_bytes))] if keep_bytes is not None else []
    return main(words)


def _seconds(text: str) -> float:
    """What "7d", "1d12h" and the durations of scenarios mean. Raises UsageError."""
    from runner.model.scenario.quantity import parse_duration

    match = _DAYS.fullmatch(text)
    days, rest = match.groups() if match else (None, text)
    nanoseconds = parse_duration(rest) if rest or not days else 0
    seconds = int(days or 0) * _DAY_S + (nanoseconds or 0) / 1e9
    if nanoseconds is None or not seconds:
        raise UsageError(f'--keep-for {text}: not a time; write it as "7d", "12h" or "1d12h"')
    return seconds


def _bytes(text: str) -> int:
    """What "10GiB" means. Raises UsageError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f'--keep-bytes {text}: not a size; write it as "500MiB" or "10GiB"')
    return round(float(match[1]) * _SCALES[match[2]])
