"""What is over, printed: a result, recorded events, an examination of machines.

Belongs here: joining the pure parts with a stream, for commands. Must not know layout.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from probe.event import Event
from runner.adapters.terminal.checkup import checkups
from runner.adapters.terminal.output_stream import OutputStream
from runner.core.report.story import story
from runner.core.report.summary import Summary, summary
from runner.model.checkup import Examined
from runner.model.result.clocks import ONE_CLOCK, Clocks
from runner.model.result.result import Result
from runner.model.scenario.model import Scenario


def print_summary(
    result: Result,
    scenario: Scenario | None,
    folder: Path,
    *,
    everything: bool = False,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """How a run ended, on `stream` (default: standard output), with a choice of its findings or `everything`. `folder`
    is where it is kept."""
    here = Path.cwd()
    kept = str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
    show = f"circuit-run show {_name(folder, here, kept)}"
    output = _output(stream, environ)
    name = str(Path(".circuit", "latest")) if show.endswith(" latest") else kept
    shorter = ((str(folder), name), (f"{here}{os.sep}", ""))
    output.write(summary(result, Summary(scenario, kept, show, everything, shorter), output.width))


def print_events(
    events: Iterable[Event],
    clocks: Clocks = ONE_CLOCK,
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Recorded events, one line each, with the time since the one before. Their stamps are on one timeline, as exactly
    as `clocks` says."""
    output = _output(stream, environ)
    output.write(story(events, clocks))


def print_checkups(
    machines: Sequence[Examined], *, stream: TextIO | None = None, environ: Mapping[str, str] | None = None
) -> None:
    """What was found on machines that were looked at."""
    output = _output(stream, environ)
    output.write(checkups(machines, output.width))


def _name(folder: Path, here: Path, kept: str) -> str:
    """The shortest word by which `circuit-run show` finds the run."""
    home = here / ".circuit"
    if folder.parent != home / "runs":
        return shlex.quote(kept)
    latest = home / "latest"
    return "latest" if latest.exists() and latest.samefile(folder) else folder.name


def _output(stream: TextIO | None, environ: Mapping[str, str] | None) -> OutputStream:
    return OutputStream(stream or sys.stdout, os.environ if environ is None else environ)
