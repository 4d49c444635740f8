"""`circuit-run run PATH...`: run scenarios, one after the other, and say how they went."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from runner.adapters.say import complain
from runner.model.errors import (
    BrokerFailed,
    BrokerFull,
    DiskFull,
    ExitCode,
    RecordingError,
    SupervisorFailed,
    UsageError,
)

if TYPE_CHECKING:
    from runner.adapters.history.run_folder import RunFolder
    from runner.adapters.launch.audit import Audit
    from runner.model.scenario.model import Scenario
    from runner.session import Outcome

ROOM: Final = "free some room there, or keep runs on another disk with --runs DIR"
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


def command(
    paths: Annotated[list[Path] | None, typer.Argument(help="Scenario files or folders; default: here.")] = None,
    less: Less = None,
    verbose: Verbose = False,
    plain: Plain = False,
    quiet: Quiet = False,
    json: Json = None,
    timeout: Timeout = None,
    repeat: Repeat = None,
    env: Env = None,
    runs: Runs = None,
    durable: Durable = False,
    inconclusive: Mapped = None,
    listen: Listen = "",
    broker: Lender = "",
    keys: Keys = None,
    host: Reach = None,
) -> int:
    """Run scenarios and verify them while they run."""
    from runner.model import scenario

    if broker and (listen or durable):
        raise UsageError(f"{'--listen' if listen else '--durable'} is for a broker of the run's own, not with --broker")
    if keys is not None and not (listen or broker):
        raise UsageError("--keys is of no use without --listen or --broker")
    if listen:
        from runner.adapters.launch import remote_access

        remote_access.check(listen)
    chosen = [
        scenario.override(
            found, timeout=timeout, repeat=repeat, env=environment(env), hosts=pairs(host, "--host", "NAME=WHERE")
        )
        for found in scenario.discover(paths or [Path()], tuple(less or ()))
    ]
    return run_all(
        chosen,
        verbose=verbose,
        plain=plain,
        quiet=quiet,
        json=json,
        runs=runs,
        durable=durable,
        inconclusive=inconclusive,
        listen=listen,
        broker=broker,
        keys=keys,
    )


def run_all(
    scenarios: Sequence["Scenario"],
    *,
    verbose: bool = False,
    plain: bool = False,
    quiet: bool = False,
    json: Path | None = None,
    runs: Path | None = None,
    durable: bool = False,
    inconclusive: Inconclusive | None = None,
    listen: str = "",
    broker: str = "",
    keys: Path | None = None,
) -> int:
    """Run `scenarios` in order, each as often as it says; returns the exit code of all together."""
    from probe import disk
    from runner.adapters.history import run_folder
    from runner.adapters.launch.audit import Audit
    from runner.adapters.launch.external_broker import ExternalBroker
    from runner.adapters.launch.run_processes import RunProcesses
    from runner.adapters.signals import Signals

    root = runs.resolve() if runs else run_folder.home()
    outcomes: list[Outcome] = []
    not_run: list[Scenario] = []
    to_stdout = json is not None and str(json) == "-"
    if json is not None and not json.parent.is_dir():  # better said before the run than after it
        raise UsageError(f"--json {json}: there is no folder {json.parent}")
    lent = ExternalBroker(broker, keys) if broker else None
    keyring = keys if listen else None
    with Signals() as signals:  # held until a run is kept, so that no folder stays without its result
        for scenario in (each for each in scenarios for _ in range(each.repeat)):
            if scenario in not_run:  # nor once more
                continue
            kept = run_folder.create(root, scenario.name)
            name = kept.run if runs is None else shlex.quote(str(kept.path))
            audit = Audit(kept.run, kept.journals, name)
            try:
                with RunProcesses(
                    scenario, kept.path, kept.run, durable=durable, listen=listen, keyring=keyring, lent=lent
                ) as fabric:
                    if lent is None:
                        audit.must_go(Path(fabric.endpoint.removeprefix("ipc://")).parent)
                    if fabric.key_folder is not None:
                        audit.must_go(fabric.key_folder)
                    if listen and not quiet:
                        complain("\n".join(fabric.invitations()))
                    from runner import session
                    from runner.adapters import files, terminal  # takes as long as the fabric takes to come up
                    from runner.adapters.history.keep import keep

                    with terminal.choose(plain=plain, quiet=quiet or to_stdout) as screen:
                        outcome = session.run(scenario, kept, fabric, screen, signals, verbose=verbose)
            except (BrokerFailed, SupervisorFailed) as error:
                lines = [str(error), *_what_is_left(kept, audit, name)]
                if isinstance(error, DiskFull) or (isinstance(error, BrokerFull) and _came(kept)):
                    lines += _as_far_as_it_went(root, scenario, kept)
                if isinstance(error, DiskFull):
                    lines.append(ROOM)
                raise type(error)("\n".join(lines)) from error
            except UsageError as error:
                audit.over()
                if len(scenarios) == 1:
                    raise
                complain(f"{scenario.name} was not run: {error}")
                not_run.append(scenario)
                continue
            except BaseException as error:
                audit.over()
                if isinstance(error, OSError) and disk.is_full(error):
                    place = error.filename or kept.path
                    raise DiskFull(f"run {kept.run} ended early: {place}: {disk.why(error, place)}; {ROOM}") from None
                raise
            outcome = outcome.audited(audit.over())
            unkept = keep(root, kept, outcome.result)
            outcomes.append(outcome)
            if scenario.legacy is not None and scenario.legacy.save_resume:
                with open(kept.path / "resume.txt", "w", encoding="utf-8", opener=files.opener) as resume:
                    terminal.print_summary(outcome.result, scenario, kept.path, stream=resume)
            if not to_stdout and not (quiet and outcome.exit_code == ExitCode.PASSED):
                terminal.print_summary(outcome.result, scenario, kept.path)
            if unkept:
                raise DiskFull(f"the result of run {kept.run} is written nowhere: {unkept}; {ROOM}")
            if outcome.interrupted:
                break
    if json is not None:
        write_json(json, outcomes)
    return exit_code(outcomes, inconclusive, not_run=bool(not_run))


def _as_far_as_it_went(root: Path, scenario: "Scenario", kept: "RunFolder") -> list[str]:
    """Of a run whose disk is full, in lines: the verdict on what came until then, which is written down if it fits."""
    from runner import session
    from runner.adapters.history.keep import keep

    with contextlib.suppress(RecordingError):
        result = session.verify(scenario, kept).result
        where = "is not kept, for it does not fit" if keep(root, kept, result) else f"is in {kept.result}"
        return [f"as far as it went it is {result.verdict}; the result {where}"]
    return []


def _came(kept: "RunFolder") -> bool:
    """Whether anything came of a run."""
    from broker import log
    from probe.message import Names

    return kept.log.exists() and any(not isinstance(entry.message, Names) for entry in log.scan(kept.log))


def _what_is_left(kept: "RunFolder", audit: "Audit", name: str) -> list[str]:
    """For a run that has no result, in lines: what was left behind, and how to judge what is kept. Where the broker has
    never let us in, and only the supervisor wrote something down, that is nothing."""
    came = _came(kept)
    wrote = came or (kept.journals.is_dir() and any(not path.name.startswith("_") for path in kept.journals.iterdir()))
    lines = [left.sentence for left in audit.over() if wrote or not left.evidence]
    if came:
        lines.append(f"what came until then is kept: circuit-run verify {name}")
    return lines


def exit_code(outcomes: Sequence["Outcome"], inconclusive: Inconclusive | None, *, not_run: bool = False) -> int:
    """One exit code for several runs: the worst of them, an interruption before all. `not_run`: a scenario among others
    could not be run, which no pass makes good."""
    mapped = {None: ExitCode.INCONCLUSIVE, "fail": ExitCode.FAILED, "pass": ExitCode.PASSED}[inconclusive]
    codes = {mapped if o.exit_code == ExitCode.INCONCLUSIVE else o.exit_code for o in outcomes}
    codes |= {ExitCode.USAGE} if not_run else set()
    worst = (ExitCode.INTERRUPTED, ExitCode.INTERNAL, ExitCode.FAILED, ExitCode.USAGE, ExitCode.INCONCLUSIVE)
    severity = (*worst, ExitCode.PASSED)
    return int(next(code for code in severity if code in codes))


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


def write_json(path: Path, outcomes: Sequence["Outcome"]) -> None:
    """The result of one run, or a list of several, to `path` ("-": standard output)."""
    from runner.model.result import result_json

    texts = [result_json.dump(outcome.result) for outcome in outcomes]
    text = texts[0] if len(texts) == 1 else "[" + ",\n".join(texts) + "]\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"--json {path}: {error.strerror}") from None
