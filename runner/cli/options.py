"""Options that several commands share, and what their words mean.

Belongs here: names, help texts, and words -> values. Must not know what a command does with them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.model.errors import UsageError

Inconclusive = Literal["fail", "pass"]

Less = Annotated[
    list[str] | None, typer.Option("--less", metavar="NAME...", help="Leave these scenarios or groups out.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what units print, live, each line with its unit.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but what went wrong.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result here; - is stdout.")]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="In place of the scenario's own, e.g. 30s.")
]
Repeat = Annotated[int | None, typer.Option("--repeat", min=1, help="In place of the scenario's own number of runs.")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="KEY=VALUE", help="Set this for every unit.")]
Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Keep run folders here instead of ./.circuit.")
]
Durable = Annotated[
    bool,
    typer.Option("--durable", help="Sync the log before anything is acknowledged; it then survives a power failure."),
]
Listen = Annotated[
    str,
    typer.Option("--listen", metavar="tcp://HOST:PORT", help="Let other hosts and units elsewhere join here, by key."),
]
Reach = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="NAME=WHERE", help="Where a host of the scenario is: an ssh destination, agent, or local."
    ),
]
Lender = Annotated[
    str, typer.Option("--broker", metavar="tcp://HOST:PORT", help="Use the broker of a lab, not one of the run's own.")
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="PATH",
        help="With --listen: a keyring whose keys are good there, too. With --broker: the file of our keys.",
    ),
]
Mapped = Annotated[
    Inconclusive | None, typer.Option("--inconclusive", help="What an inconclusive run counts as; else exit code 6.")
]


def environment(words: Sequence[str] | None) -> dict[str, str]:
    """What `--env` says."""
    return pairs(words, "--env", "KEY=VALUE")


def pairs(words: Sequence[str] | None, option: str, form: str) -> dict[str, str]:
    """Words with an equals sign as a mapping. Raises UsageError for a word without one."""
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {word}: expected {form}")
        found[name] = value
    return found


def spread_less(argv: list[str]) -> list[str]:
    """`--less a b` as `--less a --less b`: names follow until the next option or something that is a path."""
    spread: list[str] = []
    naming = False
    for word in argv:
        if naming and spread[-1] != "--less" and not word.startswith("-") and not Path(word).exists():
            spread.append("--less")
        elif word.startswith("-") or (naming and spread[-1] != "--less"):
            naming = word == "--less"
        spread.append(word)
    return spread
