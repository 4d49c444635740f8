"""`circuit-run doctor [HOST...]`: is a machine fit to take part in runs?"""

import json as jsons
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from runner.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from runner.adapters.doctor import Machine
    from runner.model.checkup import Examined

_PYTHON: Final = "python3"


def command(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HOST",
            help="As ssh takes it, or one of the scenario; default: all of the scenario, or this machine.",
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--scenario", "-s", metavar="PATH", help="Look HOST up among the hosts of this.")
    ] = None,
    python: Annotated[
        str, typer.Option("--python", metavar="CMD", help="Python on the host. Default: the scenario's, or python3.")
    ] = "",
    join: Annotated[
        str, typer.Option("--join", metavar="tcp://HOST:PORT", help="Also see whether it gets into this broker.")
    ] = "",
    keys: Annotated[
        str,
        typer.Option(
            "--keys",
            metavar="FILE",
            help="With these keys: a file on the examined machine. Default: $CIRCUIT_KEYS here.",
        ),
    ] = "",
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="tcp://HOST:PORT", help="Where hosts are to reach this machine. Default: any free port."
        ),
    ] = "",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write what was found here; - is stdout.")
    ] = None,
) -> int:
    """Say whether machines are fit to take part in runs, and what to do about each that is not.

    Hosts are asked over ssh, which must not need a password; nothing is installed or left there. Exit code 1: there is
    a problem.
    """
    from probe import clock, environment
    from runner.adapters.doctor import CallbackPort, Join, ask, judge, wanted
    from runner.adapters.terminal import print_checkups

    if json is not None and not json.parent.is_dir():
        raise UsageError(f"--json {json}: there is no folder {json.parent}")
    if join and not hosts and against is None:
        keys = keys or environment.read().keys
    joining = Join(*(_address("--join", join) if join else ("", 0)), keys) if join or keys else None
    targets, joined_there = _targets(hosts or [], against, python, join)
    with CallbackPort.at(*_address("--listen", listen)) if listen else nullcontext() as callback:
        answers = ask(targets, joining, callback)
    ours, here = wanted(), clock.boot_id()
    found = [judge(target, said, ours, joining, here) for target, said in zip(targets, answers, strict=True)]
    found += joined_there
    if json is not None:
        _write(json, found)
    if json is None or str(json) != "-":
        print_checkups(found)
    return int(ExitCode.FAILED if any(machine.problems for machine in found) else ExitCode.PASSED)


def _targets(
    names: list[str], against: Path | None, python: str, join: str
) -> tuple[list["Machine"], list["Examined"]]:
    """Whom to ask; and what is to be said of those who cannot be asked from here."""
    from runner.adapters.doctor import Machine, not_from_here

    known = _hosts_of(against) if against is not None else {}
    if against is not None and not names and not known:
        raise UsageError(f"{against} has no hosts; say HOST, or leave --scenario out to examine this machine")
    if not names and not known:
        import shlex
        import socket

        return [Machine(f"this machine ({socket.gethostname()})", None, python or shlex.quote(sys.executable))], []
    targets, joined_there = [], []
    for name in dict.fromkeys(names or known):
        ssh, its_python = known.get(name, (name, _PYTHON))
        if ssh is None:
            where = join or "tcp://HOST:PORT"
            joined_there.append(not_from_here(name, f"circuit-run doctor --join {where} --keys FILE"))
            continue
        if not ssh or ssh.startswith("-") or not ssh.isprintable() or " " in ssh:
            raise UsageError(f"{ssh!r} is no destination for ssh; expected a host or user@host")
        targets.append(Machine(name, ssh, python or its_python))
    return targets, joined_there


def _hosts_of(path: Path) -> dict[str, tuple[str | None, str]]:
    """The hosts that a scenario declares: name -> (destination for ssh, or None; Python there)."""
    from runner.model import scenario

    hosts = getattr(scenario.load(path), "hosts", ())
    return {host.name: (host.ssh, host.python or _PYTHON) for host in hosts}


def _address(option: str, text: str) -> tuple[str, int]:
    """Host and port of an endpoint on TCP. Raises UsageError."""
    from broker import endpoints
    from broker.errors import BrokerError

    try:
        transport, address = endpoints.parse(text)
    except BrokerError as error:
        raise UsageError(f"{option} {error}") from None
    host, _, port = address.rpartition(":")
    if transport != "tcp" or (option == "--join" and int(port) == 0):
        raise UsageError(f"{option} {text}: expected tcp://HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _write(path: Path, found: list["Examined"]) -> None:
    from runner.model.checkup import as_json

    text = jsons.dumps(as_json(found), indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--json {path}: {error.strerror}") from None
