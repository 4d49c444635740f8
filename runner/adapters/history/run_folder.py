"""The run folder: where everything about one run is kept.

Belongs here: names of files, how a folder is made and found again, and the scenario that it was made for. Must not know
what a scenario or a log says.

    .circuit/
      history.db                            index of runs
      latest -> runs/<newest>
      runs/<UTC time>-<scenario>-<id>/
        scenario.json  events.log  result.json  units/<name>.out  units/<name>.err  journals/  (while units live)
"""

import os
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from probe import disk, private
from runner.adapters import files
from runner.model.errors import DiskFull, RecordingError, UsageError
from runner.model.scenario import restore
from runner.model.scenario.model import Scenario

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run folder; `path` is absolute and its last part is the id of the run, unless it was renamed (see
    `log_file.run_of`)."""

    path: Path

    @property
    def run(self) -> str:
        """The id of the run that it was made for, unique among all runs of all hosts."""
        return self.path.name

    @property
    def display_name(self) -> str:
        """How it is named on a command line in this folder: its id, or its path if it is not kept where runs are looked
        for."""
        return self.run if self.path.parent == home() / "runs" else shlex.quote(str(self.path))

    @property
    def log(self) -> Path:
        """Everything the broker accepted, in order."""
        return self.path / "events.log"

    @property
    def result(self) -> Path:
        """The verdict; written last, so its absence means the run did not come to its end."""
        return self.path / "result.json"

    @property
    def scenario(self) -> Path:
        """What was run, as values."""
        return self.path / "scenario.json"

    @property
    def units(self) -> Path:
        """Standard output and standard error of every unit."""
        return self.path / "units"

    @property
    def journals(self) -> Path:
        """What units have emitted and the broker has not confirmed."""
        return self.path / "journals"

    @property
    def endpoint(self) -> Path:
        """While the run lives: the broker's address, one line."""
        return self.path / "broker"


def home(start: Path | None = None) -> Path:
    """The `.circuit` folder below `start` (default: the current folder). It need not exist."""
    return (start or Path.cwd()).resolve() / ".circuit"


def create(root: Path, scenario: str, now: datetime | None = None) -> RunFolder:
    """A new run folder below `root` (a `.circuit` folder), with `latest` pointing to it. Nothing is ever overwritten,
    and only this user can enter it.

    Raises UsageError when the folder cannot be made, or another user could exchange it; DiskFull if it has no room.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", scenario).strip("-.")[:60] or "run"
    folder = RunFolder(root / "runs" / f"{stamp}-{name}-{os.urandom(2).hex()}")
    try:
        private.ensure(folder.path.parent)
        if why := private.why_not_kept(root) or private.why_not_kept(folder.path.parent):
            raise UsageError(f"{why}, so runs are not kept there; choose another with --runs")
        _keep_out_of_git(root)
        for made in (folder.path, folder.units, folder.journals):
            private.make(made)
        _point(root / LATEST, folder.path)
    except OSError as error:
        if isinstance(error, FileExistsError) and folder.path.is_dir():
            return create(root, scenario, now)  # the id was taken
        failed = DiskFull if disk.is_full(error) else UsageError
        raise failed(
            f"cannot make the run folder {folder.path}: {disk.why(error, folder.path)}; choose another with --runs"
        ) from None
    return folder


def find(name: str, root: Path) -> RunFolder:
    """The run that `name` means: a path, "latest", an id, or the end of an id.

    Raises RecordingError when there is none or more than one.
    """
    path = Path(name)
    if path.is_dir() and (path / "events.log").exists():
        return RunFolder(path.resolve())
    runs = root / "runs"
    if name == LATEST:
        if (root / LATEST).exists():
            return RunFolder((root / LATEST).resolve())
        if (root / LATEST).is_symlink():
            raise RecordingError(
                f"the newest run, {os.readlink(root / LATEST)}, is not in {root} any more; say which run, or its folder"
            )
        raise RecordingError(f"there is no run yet in {root}; run a scenario first: circuit-run PATH")
    matches = sorted(entry for entry in runs.iterdir() if entry.name.endswith(name)) if runs.is_dir() else []
    if len(matches) == 1:
        return RunFolder(matches[0])
    if matches:
        raise RecordingError(
            f"{name!r} means {len(matches)} runs: {', '.join(m.name for m in matches[:5])}; give more of it"
        )
    if path.is_dir():
        raise RecordingError(f"{name} is a folder without events.log, so it is not a recorded run")
    raise RecordingError(f"no run {name!r} in {runs}; `latest` means the newest")


def scenario_of(folder: RunFolder) -> Scenario:
    """The scenario that was run. Raises RecordingError when the folder does not tell any more."""
    try:
        return restore(folder.scenario.read_bytes())
    except (OSError, RecordingError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RecordingError(
            f"{folder.scenario}: {why}; judge the run by a scenario that you have: "
            f"circuit-run verify {folder.display_name} --scenario PATH"
        ) from None


def _point(link: Path, target: Path) -> None:
    """Makes `link` point to `target` in one step, whatever it pointed to before."""
    fresh = link.with_name(f".latest-{os.urandom(4).hex()}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _keep_out_of_git(root: Path) -> None:
    """A run folder is not for version control; the folder says so itself, so no project has to."""
    ignore = root / ".gitignore"
    if not ignore.exists():
        files.write(ignore, "*\n")
