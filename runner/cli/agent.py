"""`circuit-run agent`: sit on this host and start what runs want here."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    join: Annotated[str, typer.Option("--join", metavar="tcp://HOST:PORT", help="The broker to wait on.")],
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="FILE", help="Our keys. Default: $CIRCUIT_KEYS.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What scenarios call this host. Default: the name of the key.")
    ] = "",
    lease: Annotated[
        str, typer.Option("--lease", metavar="TIME", help="How long units live here without a runner that is heard.")
    ] = "15s",
) -> int:
    """Wait on a broker for runs that have units on this host, and start them here. Runs until it is stopped."""
    from runner.adapters.say import say
    from runner.adapters.supervisor.agent import Agent
    from runner.model.errors import UsageError
    from runner.model.scenario.quantity import parse_duration

    lease_ns = parse_duration(lease)
    if not lease_ns:
        raise UsageError(f'--lease {lease}: expected a duration such as "15s" or "1m30s"')
    Agent(join, name, keys, lease_ns / 1e9, say).serve()
    return 0
