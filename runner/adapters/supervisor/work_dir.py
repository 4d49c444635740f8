"""What a supervisor on another host knows of that host: where the run's files are, and how a unit is started there.

Belongs here: the work folder of one run, the scenario's folder as it is shipped into it, and completing orders. Must
not start anything, nor know the bus.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from broker import access
from probe import journal, private
from probe import keys as key_files
from probe.clock import monotonic
from probe.message import Ship, Start
from runner.adapters import files
from runner.adapters.start_orders import RunContext, python_argv, with_own_python
from runner.adapters.supervisor.unit_process import NotStarted
from runner.adapters.supervisor.unpack import MOST_NAME_BYTES, MOST_PACKED_BYTES, unpack
from runner.model.orders import supervisor_of

BROKER: Final = "broker"
"""The file of a work folder that says which broker its evidence is for."""
LOOK_S: Final = 0.05
"""How often a work folder is tried that another process holds."""
WORK: Final = "circuit-run"
"""Name of the folder, among the user's state, that has a work folder for each run."""


class Occupied(Exception):
    """Another supervisor lives in that work folder."""


def home() -> Path:
    """Where work folders are: `$XDG_STATE_HOME/circuit-run`, else `~/.local/state/circuit-run`."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / WORK


class WorkDir:
    """The work folder of `run` as `host`, locked while a supervisor uses it. Raises Occupied, or OSError."""

    def __init__(self, broker: str, run: str, host: str, keys: str, patience_s: float = 0.0) -> None:
        """`keys` is the text of the supervisor's file of keys, "" where the broker wants none. `patience_s` is how long
        to wait for the process that holds the folder."""
        self.root: Final = home() / f"{run}@{host}"
        self.folder: Final = self.root / "scenario"
        """The scenario's folder, once it was shipped."""
        until_s = monotonic() + patience_s
        while (lock := _held(self.root)) is None:
            if monotonic() >= until_s:
                raise Occupied(f"a supervisor of run {run} lives on {host} already")
            time.sleep(LOOK_S)
        self._lock = lock
        self.units_key = ours = its_units = ""
        """Public key of the units that are started here; "" where the broker wants none."""
        if keys:
            made = key_files.made(access.units_of(supervisor_of(host)), key_files.parse(keys, "its config").broker)
            self.units_key = made.public
            ours, its_units = self._kept("keys", keys), self._kept("units.keys", made.text())
        self.context: Final = RunContext(broker, run, self.root, its_units, ours)
        private.ensure(self.context.journals)
        private.ensure(self.root / "units")
        files.write(self.root / BROKER, broker + "\n")
        self._pieces: list[bytes] = []
        self._known = 0
        """Bytes of the shipped folder that have come."""
        self._trouble = ""
        """Why it could not be unpacked."""

    def ship(self, piece: Ship) -> str:
        """Take a piece of the scenario's folder; what is wrong with the whole, "" if nothing is."""
        if piece.offset != self._known or self.folder.exists():
            return ""
        if max(piece.size, self._known + len(piece.data)) > MOST_PACKED_BYTES:
            self._trouble = f"the scenario's folder has more than {MOST_PACKED_BYTES >> 20} MiB, packed"
            return self._trouble
        self._pieces.append(piece.data)
        self._known += len(piece.data)
        if self._known < piece.size:
            return ""
        unpacked = self.root / "unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            unpack(b"".join(self._pieces), unpacked)
            unpacked.rename(self.folder)
        except Exception as error:  # it comes from another host, and any fault of it has to be reported
            self._trouble = f"the scenario's folder could not be unpacked into {self.root}: {error}"
            self._known = 0  # it may be sent again
            shutil.rmtree(unpacked, ignore_errors=True)
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
            env={**with_own_python(order.env, base, imports), **self.context.environment(order.unit)},
            out=self._output(order.out),
            err=self._output(order.err),
        )

    def _output(self, ordered: str) -> str:
        """The file on this host for what the order sends to the file `ordered`. Raises NotStarted."""
        name = os.path.basename(ordered)
        if name in ("", ".", "..") or "\0" in name or len(os.fsencode(name)) > MOST_NAME_BYTES:
            raise NotStarted(f"{name[:80]!r} cannot be the name of a file for its output")
        return str(self.root / "units" / name)

    def variables(self) -> dict[str, str]:
        """What the environment of the supervisor itself has to say."""
        return self.context.for_supervisor()

    def _kept(self, name: str, keys: str) -> str:
        files.write(self.root / name, keys)
        return str(self.root / name)

    def close(self, *, began: bool = True) -> bool:
        """Release the folder, and remove what is not needed any more. Evidence that is not published yet stays, with
        all that is needed to publish it; whether there is any. Where no unit has begun, the supervisor's own journal is
        not counted."""
        try:
            left = len(journal.left(self.context.journals)) > (0 if began else 1)
            if not left:
                shutil.rmtree(self.root, ignore_errors=True)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.root.parent.rmdir()  # the last one
            return left
        finally:
            os.close(self._lock)


def unpublished(broker: str) -> Iterator[Path]:
    """Work folders of runs on `broker` that no supervisor of this user uses and that still hold evidence. Each is held
    until the next one is asked for, so that no supervisor begins in a folder that is about to be removed."""
    for folder in sorted(home().glob("*@*")):
        try:
            lock = _held(folder, make=False)
        except OSError:  # not ours, or just removed
            continue
        if lock is None:
            continue
        try:
            with contextlib.suppress(OSError, UnicodeError):
                if (folder / BROKER).read_text(encoding="utf-8").strip() == broker:
                    yield folder
        finally:
            os.close(lock)


def _held(folder: Path, *, make: bool = True) -> int | None:
    """A file descriptor that holds `folder` until it is closed. None: another process holds it, or has just removed it.
    Raises OSError if it cannot be made, or is not private: what lies there is run."""
    try:
        if make:
            private.ensure(folder.parent)
            with contextlib.suppress(FileExistsError):
                private.make(folder)
        why = private.why_not_safe(folder.parent.resolve()) or private.why_not(folder)
    except FileNotFoundError:
        return None
    if why:
        raise PermissionError(errno.EACCES, f"{why}; set XDG_STATE_HOME to a folder that is yours alone")
    lock = None
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.lstat(folder)):
            return lock
    except OSError:  # BlockingIOError, FileNotFoundError
        pass
    if lock is not None:
        os.close(lock)
    return None


def discard(folder: Path) -> None:
    """Remove a work folder whose evidence is published."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
