"""`circuit-run keys new|list|revoke`: who may join a broker that listens on TCP."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from runner.adapters.say import say
from runner.model.errors import UsageError

FOLDER: Final = Path(".circuit/keys")
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called, e.g. the host it is for.")]
Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="The keyring.")]

app = typer.Typer(name="keys", help="Make, list and revoke the keys with which others join a broker on TCP.")


@app.command()
def new(
    name: Name,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="PATTERN", help="Unit it may speak as; repeatable. Default: NAME."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="unit, agent, runner or watcher (who only looks on); repeatable. Default: unit.",
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="PATTERN", help="Run it is for; repeatable. Default: every run."),
    ] = None,
    agent: Annotated[
        bool, typer.Option("--agent", help="For the agent of the host NAME, and whatever units it starts.")
    ] = False,
    runner: Annotated[
        bool, typer.Option("--runner", help="For who runs scenarios on this broker, and their own units.")
    ] = False,
    folder: Folder = FOLDER,
) -> int:
    """Make a key, and the keyring if there is none. Its secret is in a file that only you can read, and not shown."""
    from broker import keyring

    if (agent or runner) and (role or (agent and runner)):
        raise UsageError("--agent and --runner say which roles the key has; give one of them, or --role")
    roles = role or (["agent", "unit"] if agent else ["runner", "agent", "unit"] if runner else ["unit"])
    if agent or runner:
        unit = [*(unit or ["*"]), f"@{name}" if agent else "@*"]
    with _as_usage():
        keyring.create(folder)
        path = keyring.add(folder, name, roles=roles, units=_units(name, roles, unit), runs=run or ["*"])
    file = shlex.quote(str(path))
    there = shlex.quote(path.name)
    say(f"made the key {name}: {path}")
    say()
    say(f"  1. carry it to where it is used:   scp -p {file} HOST:")
    say(f"  2. use it there:                   {_said_there(roles, there)}")
    say(f"  3. delete it here:                 rm {file}")
    say()
    say(f"The broker: circuit-run broker --listen tcp://HOST:PORT --keys {shlex.quote(str(folder))}")
    return 0


@app.command("list")
def list_(folder: Folder = FOLDER) -> int:
    """Show every key that was made, and what it may do."""
    from broker import keyring

    with _as_usage():
        entries = keyring.listed(folder)
    if not entries:
        shown = shlex.quote(str(folder))
        say(f"there is no key in {folder} yet; make one with: circuit-run keys new NAME --folder {shown}")
    rows = [("key", "roles", "units", "runs", "")] if entries else []
    for _, grant in entries:
        here = (folder / f"{grant.name}.keys").exists()
        state = "revoked" if grant.revoked else "its file is still here: carry it away" if here else ""
        rows.append((grant.name, _listed(grant.roles), _listed(grant.units), _listed(grant.runs), state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


@app.command()
def revoke(name: Name, folder: Folder = FOLDER) -> int:
    """Make a key worthless. A broker that runs refuses it from now on; it need not be restarted."""
    from broker import keyring

    with _as_usage():
        keyring.revoke(folder, name)
    say(f"revoked the key {name}; every broker that uses {folder} refuses it from now on")
    return 0


def _units(name: str, roles: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """The units that a key may speak as; an agent is one itself, whose name begins with @."""
    if not {"unit", "agent"} & set(roles):
        return list(given or [])
    units = list(given or [name])
    if "agent" in roles and not any(unit.startswith("@") for unit in units):
        units.append(f"@{name}")
    return units


def _said_there(roles: Sequence[str], file: str) -> str:
    """The command that uses a key; units find it by themselves."""
    if "runner" in roles:
        return f"circuit-run PATH --broker tcp://HOST:PORT --keys {file}"
    if "agent" in roles:
        return f"circuit-run agent --join tcp://HOST:PORT --keys {file}"
    if list(roles) == ["watcher"]:
        return f"circuit-run watch tcp://HOST:PORT --keys {file}"
    return f"export CIRCUIT_KEYS=$PWD/{file}"


def _listed(words: Sequence[str]) -> str:
    return ", ".join("all" if word == "*" else word for word in words) or "-"


@contextmanager
def _as_usage() -> Iterator[None]:
    from broker.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise UsageError(str(error)) from None
