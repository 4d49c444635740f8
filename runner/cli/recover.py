"""`circuit-run recover`: publish what units wrote down and is in no log."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe import environment
from runner.adapters.say import complain, say
from runner.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from probe.recovery import Recovered
    from runner.session.recover import Rescue


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run folder, an id or its end; default: the newest run.")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", metavar="NAME", help="Only journals of this unit.")] = None,
    end: Annotated[bool, typer.Option("--end", help="First end what still lives of the run.")] = False,
    journals: Annotated[
        Path | None,
        typer.Option(
            "--journals",
            metavar="DIR",
            help="Of this folder, not of a run. With --broker the default is $CIRCUIT_JOURNAL, or the user's own.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--broker",
            metavar="ENDPOINT",
            help="Into a broker that runs, not into the log of a run. With --journals the default is $CIRCUIT_BROKER.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="With --broker or --journals: of which run. Default: $CIRCUIT_RUN."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds that the broker may take over a journal.")
    ] = 10.0,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where run folders are.")] = None,
) -> int:
    """Publish the journals of units that died unsupervised: of a run that lost its runner and supervisor, into its log;
    or, with --journals or --broker, of a folder, through a broker that runs. Living processes keep theirs."""
    from runner.adapters.history import run_folder
    from runner.session import recover

    found = environment.read()
    if journals is None and endpoint is None:
        kept = run_folder.find(name or run_folder.LATEST, runs.resolve() if runs else run_folder.home())
        rescue = recover.recover_run(kept, unit=unit, keys_file=found.keys, timeout_s=timeout, end=end)
        _say(rescue, f"run {kept.run}", "it can be ended with --end")
        say(f"judge the run: circuit-run verify {kept.display_name}")
    else:
        if name is not None or end:
            raise UsageError(f"{name or '--end'} is about a run; --journals and --broker are about units without one")
        if not (broker := endpoint or found.broker):
            raise UsageError(f"which broker takes the journals? Give --broker ENDPOINT or set {environment.BROKER}")
        place = journals or (Path(found.journal) if found.journal else None)
        rescue = recover.recover_folder(
            place, broker, run=run or found.run, unit=unit, keys_file=found.keys, timeout_s=timeout
        )
        _say(rescue, str(place or "the journals of this user"), "recover it when its process has ended")
    return int(ExitCode.FAILED if any(one.problem for one in rescue.journals) else ExitCode.PASSED)


def _say(rescue: "Rescue", place: str, advice: str) -> None:
    """What came of it, line by line; what could not be recovered to standard error."""
    for ended in rescue.ended:
        say(f"ended: {ended}")
    for one in rescue.journals:
        for line in _lines(one):
            (complain if one.problem else say)(line)
    for living in rescue.living:
        complain(f"still lives, and keeps its journal: {living}; {advice}")
    if not rescue.journals:
        say(f"nothing to recover in {place}")


def _lines(one: "Recovered") -> Iterator[str]:
    from runner.core.report.quantity import plural

    who = f"{one.unit} (incarnation {one.incarnation})"
    if one.problem:
        yield f"{who}: not recovered: {one.problem}"
        return
    if one.events or not one.unknown:
        yield f"{who}: {plural(one.events, 'event')} recovered" if one.events else f"{who}: nothing was missing"
    for lost in one.lost:
        yield f"{who}: lost events {lost.first:,} to {lost.last:,}: {lost.why}"
    if one.unknown:
        yield f"{who}: {one.unknown}, so it is not known what {'else ' if one.events else ''}it emitted"
