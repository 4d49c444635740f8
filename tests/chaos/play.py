"""One run of a plan: a real `circuit-run` and its units, struck as the plan says, until all of it is over.

Belongs here: processes, signals, folders. What came of it is judged in `judge`.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from broker import log
from broker.errors import LogError
from runner.adapters import process_tree
from runner.adapters.history.run_folder import RunFolder
from runner.model.errors import ExitCode
from tests.chaos import judge
from tests.chaos.judge import Ended, Fault, Judged, Wrong
from tests.chaos.plan import STEP, STOPPED, UNITS, Plan, Strike, Victim
from tests.chaos.report import Played
from tests.chaos.units import Tally
from tests.support.scenarios import COMMAND, Place, poll
from tests.support.small_disk import NAMESPACE, why_not

LONGEST_S: Final = 90.0
"""A run that takes longer hangs. The scenario itself gives up after 60 s."""
LEAVING_S: Final = 10.0
"""How long processes may take to end after the command has, or after its runner was killed. The contract is 2 s on a
machine that has nothing else to do."""
LOOK_S: Final = 0.0005
"""How often the tally is looked at."""
OUT: Final = "out"
WATCHED: Final = "watched"
BESIDE: Final = "beside"
"""Files in the folder of a run: what `circuit-run`, `circuit-run watch` and the run beside printed."""
BESIDE_EVENTS: Final = 2000
CLOCK: Final = "clock"
"""File with the seconds that every wall clock is ahead of the true time, and the name of the library that reads it."""
SMALL_DISK: Final = """
mount -t tmpfs -o size={kib}k tmpfs .circuit
code=0
"$@" || code=$?
cp -a .circuit kept
exit $code
"""


def play(plan: Plan, folder: Path) -> Played:
    """Run `plan` in `folder`, which must not exist yet and is kept."""
    begin_s = time.monotonic()
    if plan.disk_kib and why_not():
        plan = replace(plan, disk_kib=0)
    write(plan, folder)
    # not below the folder: the path of a socket must be short
    with tempfile.TemporaryDirectory(prefix="circuit-") as temporary, _tally(folder) as tally:
        place = _Place(folder, Path(temporary))
        played = Played(plan, folder)
        try:
            with _Run(place, tally, plan, played.struck) as run:
                finished = run.strike_and_wait()
            if not finished:
                played.faults = [Fault(Wrong.BROKEN, f"still ran after {LONGEST_S:g} s: {_living(place)}")]
            else:
                ended = _ended(plan, place, tally, run)
                played.faults = judge.faults(ended)
            children = {unit: tally.children(unit) for unit in UNITS}
            played.emitted = judge.emitted(plan, {unit: tally.lives(unit) for unit in UNITS}, children)
            played.children = sum(map(len, children.values()))
        finally:
            place.clear()
    played.seconds = time.monotonic() - begin_s
    return played


def write(plan: Plan, folder: Path) -> None:
    """The scenario of `plan`, as a user has one."""
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "units.py", folder / "units.py")
    copies = {plan.plant.unit: {plan.plant.number: plan.plant.copies}} if plan.plant is not None else {}
    orders = {
        "units": UNITS,
        "events": plan.events,
        "step": STEP,
        "pause_every": plan.pause_every,
        "copies": copies,
        "forks_every": plan.forks_every,
        "beside": BESIDE_EVENTS,
    }
    (folder / "orders.json").write_text(json.dumps(orders))
    units = [f'[units.{unit}]\nentrypoint = "units:work"\nrestart = "on-failure"\n' for unit in UNITS]
    elements = [f'  {{ probe = "{unit}: {STEP}", times = "1..{plan.most(unit)}" }},' for unit in UNITS]
    circuit = ["[circuits.chain]", f"instances = {plan.events}", "path = [", *elements, "]"]
    text = '[scenario]\nname = "chaos"\ntimeout = "60s"\n\n' + "\n".join([*units, *circuit]) + "\n"
    (folder / "circuit.toml").write_text(text)
    lone = f'[circuits.lone]\npath = ["lone: went"]\ninstances = {BESIDE_EVENTS}\n'
    (folder / "beside.toml").write_text(f'[units.lone]\nentrypoint = "units:beside"\n\n{lone}')
    (folder / ".circuit").mkdir()
    if any(strike.victim is Victim.CLOCK for strike in plan.strikes) and (compiler := shutil.which("cc")):
        (folder / CLOCK).write_bytes(bytes(8))
        source = Path(__file__).parent / "clock.c"
        words = [compiler, "-shared", "-fPIC", "-O", "-o", folder / f"{CLOCK}.so", source, "-ldl"]
        subprocess.run(words, check=True, capture_output=True)


class _Place(Place):
    """Where the processes live by a wall clock that can be set, and another run may take place, too."""

    def newest(self) -> RunFolder:
        runs = sorted((self.folder / ".circuit" / "runs").glob("*-chaos-*"))
        return RunFolder(runs[-1] if runs else self.folder / "none")

    def environment(self) -> dict[str, str]:
        clock = self.folder / CLOCK
        set_clock = {"LD_PRELOAD": f"{clock}.so", "CHAOS_CLOCK": str(clock)} if clock.exists() else {}
        return super().environment() | set_clock


@contextlib.contextmanager
def _tally(folder: Path) -> Iterator[Tally]:
    with contextlib.closing(Tally(folder / "tally", UNITS)) as tally:
        yield tally


def _living(place: Place) -> str:
    return "; ".join(f"{pid} {line}" for pid, line in place.processes().items()) or "nothing lives"


# --- what becomes of it -----------------------------------------------------------------------------------------------


def _ended(plan: Plan, place: Place, tally: Tally, run: "_Run") -> Ended:
    """Gather everything about a run whose command has ended."""
    runner_killed = run.code == -signal.SIGKILL
    poll(lambda: not place.processes(), LEAVING_S)
    kept = place.newest()
    if runner_killed and run.struck[Victim.BROKER] and _listed(kept.journals):
        place.run("recover", kept.path, expect=ExitCode.PASSED)  # nobody was left who could have started another broker
    left = [*place.left(), *(f"journal {path.name}" for path in _listed(kept.journals))]
    spoken, errors = _spoken(kept)
    errors += _cries(place.folder, kept)
    if run.beside:
        errors.append(f"the run beside ended with {run.beside}; see {BESIDE}")
    if run.watched not in (None, -signal.SIGKILL, ExitCode.PASSED, ExitCode.USAGE) and not runner_killed:
        errors.append(f"circuit-run watch ended with {run.watched}; see {WATCHED}")
    again = None
    if (runner_killed or plan.verified) and kept.log.exists():
        done = place.run("verify", kept.path, "--json", "again.json")
        again = Judged(done.code, _json(place.folder / "again.json"))
    lives = {unit: tally.lives(unit) for unit in UNITS}
    children = {unit: tally.children(unit) for unit in UNITS}
    live = Judged(run.code, _json(kept.result))
    return Ended(plan, lives, children, spoken, live, again, runner_killed, left, errors)


def _spoken(kept: RunFolder) -> tuple[list[judge.Spoken], list[str]]:
    """What the log has; and what is wrong with the log itself."""
    if not kept.log.exists():
        return [], []
    try:
        return judge.spoken_in(log.scan(kept.log)), []
    except LogError as error:
        return [], [f"a log that cannot be read: {error}"]


def _cries(folder: Path, kept: RunFolder) -> list[str]:
    """Tracebacks in what our own processes printed; units print nothing that is no error."""
    ours = [folder / OUT, folder / WATCHED, folder / BESIDE, *kept.path.glob("*.err"), *kept.units.glob("*.err")]
    said = {path.name: path.read_text(errors="replace") for path in ours if path.exists()}
    return [f"a traceback in {name}: {text[-400:]}" for name, text in said.items() if "Traceback" in text]


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _json(path: Path) -> dict[str, object] | None:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, object] = json.loads(path.read_text())
        return found
    return None


# --- while it runs ----------------------------------------------------------------------------------------------------


class _Run:
    """The command, a watcher beside it if one is to be killed, and who was struck already."""

    def __init__(self, place: Place, tally: Tally, plan: Plan, struck: Counter[Victim]) -> None:
        self._place = place
        self._plan = plan
        self._tally = tally
        self._due = list(plan.strikes)
        self.struck = struck
        self._seen_s: dict[int, float] = {}
        """Units that are starting -> when that was noticed."""
        self._dead: set[int] = set()
        """Victims: the next life has another pid."""
        self._watcher: subprocess.Popen[bytes] | None = None
        self._wants_watcher = any(strike.victim is Victim.WATCHER for strike in plan.strikes)
        self.code = 0
        self.watched: int | None = None
        """What the watcher ended with; None: there was none, or it lives."""
        self.beside: int | None = None
        """What the run beside ended with; None: there was none."""
        disk = [*NAMESPACE, "sh", "-ec", SMALL_DISK.format(kib=plan.disk_kib), "sh"] if plan.disk_kib else []
        self._runner = self._start(OUT, *disk, COMMAND, ".", "--plain")
        self._beside = self._start(BESIDE, COMMAND, "beside.toml", "--plain") if plan.beside else None

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._runner, self._watcher, self._beside):
            if process is not None:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def strike_and_wait(self) -> bool:
        """Strike when it is time, until the command has ended; whether it did so in time."""
        until_s = time.monotonic() + LONGEST_S
        while self._runner.poll() is None:
            if time.monotonic() > until_s:
                return False
            self._watch_along()
            self._due = [strike for strike in self._due if not (self._is_due(strike) and self._strike(strike))]
            time.sleep(LOOK_S if self._due else 0.01)
        self.code = self._runner.returncode
        if self._plan.disk_kib:
            (self._place.folder / ".circuit").rmdir()
            (self._place.folder / "kept").rename(self._place.folder / ".circuit")
        if self._beside is not None:
            self.beside = self._beside.wait(LONGEST_S)
        if self._watcher is not None:  # it sees the end of the run, or is a leftover
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.watched = self._watcher.wait(LEAVING_S)
        return True

    def _watch_along(self) -> None:
        if self._wants_watcher and (self._place.newest().endpoint).exists():
            self._wants_watcher = False
            self._watcher = self._start(WATCHED, COMMAND, "watch", "--plain")

    def _is_due(self, strike: Strike) -> bool:
        return not strike.count or self._tally.done(strike.unit) >= strike.count

    def _strike(self, strike: Strike) -> bool:
        """Find the victim and strike it. False: it is not there (yet)."""
        if strike.victim is Victim.CLOCK:
            return self._set_clock(strike.clock_s)
        pid = self._find(strike)
        if not pid or pid in self._dead:
            return False
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not _is_alive(pid) or not self._is_ours(pid):
                return False
            if (
                strike.age_ms
                and time.monotonic() < self._seen_s.setdefault(pid, time.monotonic()) + strike.age_ms / 1e3
            ):
                return False
            if strike.victim in STOPPED:
                signal.pidfd_send_signal(handle, signal.SIGSTOP)
                time.sleep(strike.stall_ms / 1e3)
                signal.pidfd_send_signal(handle, signal.SIGCONT)
            else:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                self._dead.add(pid)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        self.struck[strike.victim] += 1
        return True

    def _set_clock(self, ahead_s: int) -> bool:
        if (clock := self._place.folder / CLOCK).exists():
            with clock.open("r+b", buffering=0) as file:
                file.write(ahead_s.to_bytes(8, sys.byteorder, signed=True))
            self.struck[Victim.CLOCK] += 1
        return True

    def _find(self, strike: Strike) -> int:
        match strike.victim:
            case Victim.RUNNER | Victim.STOPPED_RUNNER:
                return self._runner.pid
            case Victim.WATCHER:
                return self._watcher.pid if self._watcher is not None else 0
            case Victim.BROKER | Victim.STALL:
                return self._started(lambda pid: " broker.__main__ " in process_tree.title(pid))
            case Victim.STOPPED_SUPERVISOR:
                return self._started(lambda pid: " runner.adapters.supervisor.supervisor " in process_tree.title(pid))
            case Victim.UNIT if not strike.count:
                return self._started(lambda pid: process_tree.variable(pid, "CIRCUIT_UNIT") == strike.unit)
            case Victim.UNIT | Victim.STOPPED_UNIT:
                return self._tally.pid(strike.unit)
            case Victim.CLOCK:
                return 0

    def _started(self, wanted: Callable[[int], bool]) -> int:
        return next((pid for pid in process_tree.descendants(self._runner.pid) if wanted(pid)), 0)

    def _is_ours(self, pid: int) -> bool:
        return pid in (self._runner.pid, self._watcher and self._watcher.pid) or (
            process_tree.variable(pid, "TMPDIR") == str(self._place.temporary)
        )

    def _start(self, printed: str, *words: str | Path) -> "subprocess.Popen[bytes]":
        with (self._place.folder / printed).open("wb") as out:
            return subprocess.Popen(
                words,
                cwd=self._place.folder,
                env=self._place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )


def _is_alive(pid: int) -> bool:
    """Whether it runs: one that has ended and waits to be noticed does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
