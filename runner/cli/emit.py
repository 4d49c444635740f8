"""`circuit-run emit STEP`: one probe from a shell script."""

import json
import os
import shlex
from typing import Annotated, Literal

import typer

from probe import environment
from runner.model.errors import UsageError


def command(
    step: Annotated[str, typer.Argument(help="Name of the probe.")],
    key: Annotated[str | None, typer.Option("--key", "-k", help="Which journey the event belongs to.")] = None,
    kind: Annotated[
        Literal["default", "send", "receive", "error", "ready"], typer.Option("--kind", help="Kind of event.")
    ] = "default",
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", metavar="NAME=VALUE", help="Field; the value is JSON or text.")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Default: $CIRCUIT_UNIT.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait until the broker has it.")] = 5.0,
) -> int:
    """Emit one probe and wait until it is kept. Does nothing where no broker is named, like every probe."""
    settings = environment.read()
    if not settings.enabled:
        return 0
    name = unit or settings.unit
    if not name:
        raise UsageError(f"who emits {step!r}? Give --unit NAME or set {environment.UNIT}")
    os.environ[environment.UNIT] = name
    from probe import units

    speaker = units.Unit(name)
    fields = dict(_field(word) for word in data or ())
    {
        "default": speaker.emit,
        "send": speaker.send,
        "receive": speaker.receive,
        "error": speaker.error,
        "ready": speaker.ready,
    }[kind](step, key=key, **fields)
    if not speaker.close(timeout):
        whose = f"--unit {shlex.quote(name)} --run {shlex.quote(settings.run)}"
        unheard = f"the broker at {settings.broker} did not confirm {step!r} within {timeout:g} s"
        if speaker.kept is None:  # standard error says why
            raise UsageError(f"{unheard}, and it is in no journal: if the broker does not have it, it is lost")
        raise UsageError(
            f"{unheard}; the event is kept in the journal; the unit's supervisor publishes it, or you do:\n"
            f"  circuit-run recover {whose} --broker {settings.broker}"
            + (f" --journals {shlex.quote(settings.journal)}" if settings.journal else "")
        )
    return 0


def _field(word: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise UsageError(f"--data {word}: expected NAME=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
