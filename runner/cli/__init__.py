"""The command line `circuit-run`: one file a command, errors -> exit codes.

Belongs here: joining the commands, and the one place where an exception becomes words and a number. Commands import
what they need when they run, so that `circuit-run --help` and short scenarios start quickly.
"""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from probe import clock, shortage
from runner.adapters import stuck_output
from runner.adapters.say import complain, say
from runner.cli import (
    agent,
    broker,
    check,
    clocks,
    demo,
    doctor,
    emit,
    init,
    keys,
    options,
    recover,
    run,
    show,
    verify,
    watch,
)
from runner.model.errors import CircuitRunError, ExitCode, UsageError

_TYPER_INTERRUPTED = 130
"""What typer makes of a Ctrl-C."""

app = typer.Typer(
    name="circuit-run",
    help="Prove that an event travelled through the whole system: start units, follow probes, judge circuits.",
    epilog="`circuit-run PATH...` is short for `circuit-run run PATH...`, and `circuit-run` alone runs what is here. "
    "Exit codes: 0 passed, 1 failed, 2 interrupted, 3 internal error, 4 usage or configuration, 5 nothing to run, "
    "6 inconclusive.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (run, init, check, demo, emit, broker, agent, watch, clocks, show, verify, recover, doctor):
    app.command(name=_command.__name__.rpartition(".")[2])(_command.command)
app.add_typer(keys.app)

_KEEP_TIME = ("run", "demo", "broker", "agent")
"""Commands that wait and measure: a process whose clocks stand still would never end."""

COMMANDS = (*(info.name for info in app.registered_commands if info.name), "keys")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"circuit-run {version('circuit-run')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
) -> None:
    """Only carries the options of `circuit-run` itself."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv` (default: the process's own) and leave with its exit code."""
    code = execute(list(sys.argv[1:] if argv is None else argv))
    gc.freeze()  # else the interpreter looks once more through all that a long run has left
    sys.exit(code)


def execute(argv: list[str]) -> int:
    """Run `argv`; returns the exit code, having printed whatever there is to say."""
    _have_somewhere_to_write()
    stuck_output.are_ours()
    try:
        words = _complete(argv)
        _have_somewhere_to_be()
        if clock.FAKED_BY and words[0] in _KEEP_TIME:
            raise UsageError(
                f"circuit-run {words[0]} cannot keep time here: LD_PRELOAD={clock.FAKED_BY} fakes its clocks. Start it "
                "without that, and give it to the units that need it: under [units.NAME], env = { LD_PRELOAD = ... }"
            )
        code = int(app(words, prog_name="circuit-run", standalone_mode=False) or 0)
        return int(ExitCode.INTERRUPTED) if code == _TYPER_INTERRUPTED else code
    except CircuitRunError as error:
        if why := _shortage_behind(error):  # it says what could not be done then, and is no mistake of the user
            complain(f"{error}; circuit-run {why}")
            return int(ExitCode.INTERNAL)
        complain(str(error))
        return int(error.exit_code)
    except TyperException as error:
        complain(f"circuit-run: {error.format_message()}")
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing can be said any more
        return int(ExitCode.INTERNAL)
    except UnicodeEncodeError as error:
        if not (text := _no_text(error)):
            complain(traceback.format_exc().rstrip())
            return int(ExitCode.INTERNAL)
        complain(f"circuit-run: {text} is not UTF-8, which every name and text has to be here")
        return int(ExitCode.USAGE)
    except Exception as error:
        if why := shortage.why(error):
            complain(f"circuit-run {why}")
        elif isinstance(error, OSError):  # a disk that is full, a file that has gone
            complain(f"circuit-run: {error}")
        else:  # a defect of ours is no verdict on a scenario
            complain(traceback.format_exc().rstrip())
        return int(ExitCode.INTERNAL)


def _no_text(error: UnicodeEncodeError) -> str:
    """The piece of a word, a path or a variable that is not text, as the system has handed it to us; "" if the error is
    about something else."""
    if not "\ud800" <= error.object[error.start] <= "\udfff":
        return ""
    return repr(error.object[max(0, error.start - 40) : error.start + 40])


def _shortage_behind(error: BaseException | None) -> str:
    """What there was too little of, if that is why `error` came about; "" if it is not."""
    while error is not None:
        if why := shortage.why(error):
            return why
        error = error.__cause__ or error.__context__
    return ""


def _have_somewhere_to_be() -> None:
    """Raises UsageError where the current folder was removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more; change to another one") from None


def _have_somewhere_to_write() -> None:
    """A stream that was closed before we began (`>&-`) is None; what is said there goes nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # for the life of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _complete(argv: list[str]) -> list[str]:
    """`argv` with what may be left out: the word `run`, and `--less` before each of several names."""
    if argv == ["keys"]:
        return ["keys", "--help"]
    if not argv or argv[0] not in (*COMMANDS, "--help", "--version"):
        position = next((i for i, word in enumerate(argv) if word == "run" and i > 0 and argv[i - 1] != "--less"), None)
        argv = ["run", *(argv if position is None else argv[:position] + argv[position + 1 :])]
    return options.spread_less(argv) if argv[:1] == ["run"] else argv
