"""What a supervisor on another host knows of that host: where the run's files are, and how a unit is started there.

Belongs here: the work folder of one run, the scenario's folder as it is shipped into it, and completing orders. Must
not start anything, nor know the bus.
"""

import contextlib
import fcntl
import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from probe.message import Ship, Start
from runner.launch.charge import NotStarted
from runner.launch.local import Place, python_argv, with_own_python

WORK: Final = "circuit-run"
"""Name of the folder, among the user's state, that has a work folder for each run."""


class Occupied(Exception):
    """Another supervisor lives in that work folder."""


def home() -> Path:
    """Where work folders are: `$XDG_STATE_HOME/circuit-run`, else `~/.local/state/circuit-run`."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / WORK


class Here:
    """The work folder of `run` as `host`, locked while a supervisor uses it. Raises Occupied, or OSError."""

    def __init__(self, broker: str, run: str, host: str, keys: str) -> None:
        """`keys` is the text of a file of keys, "" where the broker wants none."""
        self.root: Final = home() / f"{run}@{host}"
        self.folder: Final = self.root / "scenario"
        """The scenario's folder, once it was shipped."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Occupied(f"a supervisor of run {run} lives on {host} already") from None
        if not self.root.is_dir():  # somebody has removed it in this very moment, who had published what was in it
            os.close(self._lock)
            raise Occupied(f"the work folder of run {run} on {host} was just removed")
        key_file = self.root / "keys"
        if keys:
            with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(keys)
        self.place: Final = Place(broker, run, self.root, str(key_file) if keys else "")
        self.place.journals.mkdir(mode=0o700, exist_ok=True)
        (self.root / "units").mkdir(exist_ok=True)
        self._pieces: list[bytes] = []
        self._known = 0
        """Bytes of the shipped folder that have come."""
        self._trouble = ""
        """Why it could not be unpacked."""

    def ship(self, piece: Ship) -> str:
        """Take a piece of the scenario's folder; what is wrong with the whole, "" if nothing is."""
        if piece.offset != self._known or self.folder.exists():
            return ""
        self._pieces.append(piece.data)
        self._known += len(piece.data)
        if self._known < piece.size:
            return ""
        unpacked = self.root / "unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            with gzip.open(io.BytesIO(b"".join(self._pieces))) as file:
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    archive.extractall(unpacked, filter="data")
                while file.read(1 << 20):  # to its end, where the checksum is
                    pass
            unpacked.rename(self.folder)
        except Exception as error:  # it comes from elsewhere, and whatever is wrong with it is to be told
            self._trouble = f"the scenario's folder could not be unpacked into {self.root}: {error}"
        finally:
            self._pieces.clear()
        return self._trouble

    def complete(self, order: Start, base: Mapping[str, str]) -> Start:
        """`order` with all that only this host can know; `base` is the supervisor's environment. Raises NotStarted."""
        if not self.folder.is_dir():
            raise NotStarted(self._trouble or "the scenario's folder has not come to this host")
        folder = str(self.folder)
        imports = [] if order.entrypoint else [folder]
        return replace(
            order,
            argv=python_argv(order.entrypoint, folder) if order.entrypoint else order.argv,
            cwd=os.path.join(folder, os.path.expanduser(order.cwd)),
            env={**with_own_python(order.env, base, imports), **self.place.environment(order.unit)},
            out=str(self.root / "units" / os.path.basename(order.out)),
            err=str(self.root / "units" / os.path.basename(order.err)),
        )

    def variables(self) -> dict[str, str]:
        """What the environment of the supervisor itself has to say."""
        return self.place.environment("")

    def close(self) -> bool:
        """Let go, and remove what is not needed any more. Evidence that nobody has got yet stays, with all that is
        needed to publish it; whether there is any."""
        try:
            left = any(self.place.journals.iterdir())
            if not left:
                shutil.rmtree(self.root, ignore_errors=True)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.root.parent.rmdir()  # the last one
            return left
        finally:
            os.close(self._lock)


def unpublished() -> list[Path]:
    """Work folders of this user that no supervisor uses and that still hold evidence."""
    found = []
    for folder in sorted(home().glob("*@*")):
        with contextlib.suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(folder)
            finally:
                os.close(fd)
    return found


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Nobody else may use that work folder meanwhile; whether it is ours and still there. So a supervisor that comes
    for the same run does not have it taken from under its feet."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield folder.is_dir()
    finally:
        os.close(fd)


def discard(folder: Path) -> None:
    """Remove a work folder whose evidence is published."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
