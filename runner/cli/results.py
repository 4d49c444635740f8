"""What a command makes of results: an exit code, and a file.

Belongs here: that, for every command that judges runs. Must not know how they were run.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.cli.options import Inconclusive
from runner.model.errors import ExitCode, UsageError
from runner.model.result import result_json
from runner.model.result.result import Result, Verdict


def exit_code(verdict: Verdict, inconclusive: Inconclusive | None = None, *, not_run: bool = False) -> int:
    """The exit code for a verdict. `not_run`: a scenario among others could not be run, which no pass makes good."""
    code = {
        Verdict.PASSED: ExitCode.PASSED,
        Verdict.FAILED: ExitCode.FAILED,
        Verdict.INTERRUPTED: ExitCode.INTERRUPTED,
        Verdict.INCONCLUSIVE: {None: ExitCode.INCONCLUSIVE, "fail": ExitCode.FAILED, "pass": ExitCode.PASSED}[
            inconclusive
        ],
    }[verdict]
    worse_than_not_run = (ExitCode.INTERRUPTED, ExitCode.FAILED)
    return int(ExitCode.USAGE if not_run and code not in worse_than_not_run else code)


def write_json(path: Path, results: Sequence[Result]) -> None:
    """The result of one run, or a list of several, to `path` ("-": standard output)."""
    texts = [result_json.dump(result) for result in results]
    text = texts[0] if len(texts) == 1 else "[" + ",\n".join(texts) + "]\n"
    if str(path) == "-":
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # a locale that has not all signs
            sys.stdout.write(json.dumps(json.loads(text), indent=2) + "\n")
        return
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"--json {path}: {error.strerror}") from None
