"""Scenarios as a user has them: written into a folder, run by the real command line, and what came of it.

Belongs here: a place to run in, one finished run, one run that still lives. Knows nothing of any one test.
"""

import json
import os
import pty
import selectors
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.adapters.history.run_folder import RunFolder

COMMAND = Path(sys.executable).parent / "circuit-run"
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 90.0
"""No test waits so long unless something is broken."""
LEAVING_S = 3.0
"""How long processes of a run whose runner was killed may take to end: two seconds by contract, and a busy machine."""


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    code: int
    out: str
    err: str
    folder: RunFolder
    """The newest run where it ran; its path need not exist."""

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def result(self) -> dict[str, Any]:
        """result.json."""
        found: dict[str, Any] = json.loads(self.folder.result.read_text())
        return found

    @property
    def units(self) -> dict[str, dict[str, Any]]:
        return {unit["name"]: unit for unit in self.result["units"]}

    def findings(self, unit: str | None = None) -> list[tuple[str, str | None]]:
        """(class, unit) of every finding, or those of one unit."""
        return [(f["class"], f["unit"]) for f in self.result["findings"] if unit in (None, f["unit"])]

    def finding(self, unit: str) -> dict[str, Any]:
        """The only finding about `unit`."""
        (found,) = (f for f in self.result["findings"] if f["unit"] == unit)
        return dict(found)

    def printed(self, unit: str) -> str:
        """What `unit` wrote to standard output and standard error."""
        return "".join((self.folder.units / f"{unit}{end}").read_text(errors="replace") for end in (".out", ".err"))


class Living:
    """A command that still runs. Its output is collected while it does, from two pipes or from a terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", sources: Sequence[int], place: "Place") -> None:
        self.process = process
        self.out = ""
        self._place = place
        self._sources = list(sources)
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="reads the command's output")
        self._reader.start()

    def until(self, reached: str | Callable[[], object]) -> None:
        """Wait for a text in the output, or until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        with self._grown:
            while not (reached in self.out if isinstance(reached, str) else reached()):
                over = time.monotonic() > deadline or (self.process.poll() is not None and not self._reader.is_alive())
                assert not over, f"waited in vain for {reached}: {self.out}"
                self._grown.wait(0.02)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> Run:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return Run(code, self.out, "", self._place.newest())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE_S)
        for fd in self._sources:
            os.close(fd)

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for fd in self._sources:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    try:
                        data = os.read(key.fd, 65536)
                    except OSError:  # a terminal whose last user has gone
                        data = b""
                    if not data:
                        selector.unregister(key.fd)
                    with self._grown:
                        self.out += data.decode(errors="replace")
                        self._grown.notify_all()


class Place:
    """An empty folder to run in. `temporary` holds whatever runs here create outside of it, and marks every process
    that belongs to them."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    def write(self, toml: str, code: str = "", name: str = "circuit.toml") -> Path:
        """A scenario file, with the module `units.py` beside it; returns the scenario's path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(toml))
        if code:
            (path.parent / "units.py").write_text(textwrap.dedent(code))
        return path

    def run(
        self, *words: str | Path, expect: int | None = None, env: dict[str, str] | None = None, umask: int = -1
    ) -> Run:
        """`circuit-run WORDS` to its end; with `expect`, that must be its exit code."""
        done = subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env=self.environment() | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            umask=umask,
        )
        assert expect in (None, done.returncode), f"exit code {done.returncode}:\n{done.stdout}{done.stderr}"
        return Run(done.returncode, done.stdout, done.stderr, self.newest())

    @contextmanager
    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> Iterator[Living]:
        """`circuit-run WORDS`, still running."""
        process = subprocess.Popen(
            [COMMAND, *words],
            cwd=self.folder,
            env=self.environment() | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            living = Living(process, [os.dup(process.stdout.fileno()), os.dup(process.stderr.fileno())], self)
            try:
                yield living
            finally:
                living.close()

    @contextmanager
    def terminal(self, *words: str | Path) -> Iterator[tuple[Living, Callable[[str], None]]]:
        """`circuit-run WORDS` on a terminal of its own; the second value presses keys."""
        ours, theirs = pty.openpty()
        env = self.environment() | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        env.pop("NO_COLOR", None)
        env.pop("CI", None)
        process = subprocess.Popen(
            [COMMAND, *words], cwd=self.folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, process_group=0
        )
        os.close(theirs)
        living = Living(process, [ours], self)
        try:
            yield living, lambda keys: void(os.write(ours, keys.encode()))
        finally:
            living.close()

    def newest(self) -> RunFolder:
        return RunFolder((self.folder / ".circuit" / "latest").resolve())

    def processes(self) -> dict[int, str]:
        """Everything that lives and was started, directly or not, by a command here: pid -> command line."""
        mark, found = f"TMPDIR={self.temporary}\0".encode(), {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
        return found

    def left(self) -> list[str]:
        """Processes and files that are still there though every command has ended."""
        return [*self.processes().values(), *(str(path) for path in self.temporary.rglob("*") if not path.is_dir())]

    def clear(self) -> None:
        """End what a failed test left."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        """What commands here find in their environment."""
        ours = {"TMPDIR": str(self.temporary), "XDG_RUNTIME_DIR": str(self.temporary), "NO_COLOR": "1"}
        return {name: value for name, value in os.environ.items() if not name.startswith("CIRCUIT_")} | ours


@contextmanager
def place_in(folder: Path) -> Iterator[Place]:
    """A place in `folder`; nothing that was started there may live, and no file outside of it be left, at the end."""
    # Not below the test's folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="circuit-") as temporary:
        place = Place(folder, Path(temporary))
        try:
            yield place
            poll(lambda: not place.processes(), LEAVING_S)  # of a busy machine: on their way out
            assert place.left() == []
        finally:
            place.clear()


def poll(reached: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Whether something came true in time; for what sends no event when it does."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def void(_value: object) -> None:
    """For a call whose result is of no use."""
