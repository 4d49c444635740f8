"""What the parts of `lab` share: runs on hosts that the lab's tests make, and what their logs say, with the truth.

Belongs here: playing a run, and reading its log both as the product does (`verify`) and as it was written. The hosts
are namespaces of one kernel, so that there is a true time; `tests/support/lab_hosts.py` makes them and sets their
clocks off.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from broker import log
from probe.event import USER_KINDS
from probe.message import Events, Hello
from probe.wire import unpack_records
from runner.adapters.history import log_file, run_folder
from runner.core.clocks import Timeline
from runner.session.replay import Replay
from tests.support.lab_hosts import HOME, HostClock, Lab, why_not
from tests.support.lab_runs import LabPlace
from tests.support.scenarios import COMMAND, Run, place_in

__all__ = ["COMMAND", "HOME", "Run", "Stage", "hosts_toml", "why_not"]

SECOND = 1_000_000_000
LONGEST_S = 170.0
"""No run takes so long."""
WRONG = {"lab-1": (-5 * SECOND, -200), "lab-2": (5 * SECOND, 200)}
"""How far the clocks of hosts are off, in nanoseconds, and how fast they drift, in millionths."""

Name = tuple[str, int, int]
"""Unit, incarnation and number of a record."""


def hosts_toml(*names: str) -> str:
    """Hosts that are reached by ssh, as a scenario declares them."""
    return "\n".join(f'[hosts.{name}]\nssh = "{name}"\npython = "{sys.executable}"\n' for name in names)


class Stage:
    """A place to run in: the desk of a lab, or just this machine (`lab` is None)."""

    def __init__(self, place: Any, lab: Lab | None) -> None:
        self.place = place
        self.lab = lab

    @classmethod
    @contextmanager
    def of_lab(cls, *, wrong: bool = True) -> Iterator["Stage"]:
        """A desk, lab-1 and lab-2; `wrong`: the clocks of these two are."""
        clocks = {name: HostClock(*how) for name, how in WRONG.items()} if wrong else {}
        with tempfile.TemporaryDirectory() as folder, Lab("lab-1", "lab-2", clocks=clocks) as lab:
            yield cls(LabPlace(lab, Path(folder)), lab)

    @classmethod
    @contextmanager
    def here(cls) -> Iterator["Stage"]:
        """This machine alone."""
        with tempfile.TemporaryDirectory() as folder, place_in(Path(folder)) as place:
            yield cls(place, None)

    def play(self, toml: str, code: str) -> "Played":
        """One run of a scenario, to its end; it has to pass."""
        self.place.write(toml, code)
        with self.place.start(".", "--plain") as living:
            try:
                living.process.wait(LONGEST_S)
            except subprocess.TimeoutExpired:
                raise SystemExit(f"the run did not end within {LONGEST_S:g} s:\n{living.out[-3000:]}") from None
            run = living.end()
        if run.code != 0:
            raise SystemExit(f"the run ended with {run.code}:\n{run.out[-3000:]}{run.err[-3000:]}")
        return self.played(run)

    def played(self, run: Run) -> "Played":
        """What came of a run that is over."""
        return Played(run, {host.name: host.clock for host in self.lab.hosts} if self.lab is not None else {})


@dataclass
class Played:
    """One run, judged again from its log."""

    run: Run
    clocks: dict[str, HostClock]
    """The truth about them, by host."""
    stamps: dict[Name, int] = field(default_factory=dict)
    """Every event of user code, as it was stamped."""
    moments: dict[Name, int] = field(default_factory=dict)
    """The same on the timeline, as the verifier got them."""
    events: dict[Name, tuple[str, str | None, dict[str, Any]]] = field(default_factory=dict)
    """Step, key and data of each."""
    went: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Opening of a barrier -> unit -> when it went on, as it was stamped and on the timeline."""

    def __post_init__(self) -> None:
        scenario = run_folder.scenario_of(self.run.folder)
        self.hosts = {unit.name: unit.host for unit in scenario.units}
        replay = Replay(scenario, 0)
        self._watch(replay)
        for entry in log_file.entries(self.run.folder.log):
            replay.take(entry)
        replay.dispatcher.close()
        self.timeline: Timeline = replay.dispatcher.timeline
        passed: dict[tuple[str, str], int] = {}
        self.lives: dict[str, int] = {}
        """Unit -> its newest incarnation."""
        for entry in log.scan(self.run.folder.log):
            if isinstance(entry.message, Hello):
                self.lives[entry.unit] = entry.incarnation
            if isinstance(entry.message, Events) and not entry.unit.startswith("@"):
                for seq, stamp_ns, step, kind, key, data in unpack_records(entry.body):
                    if kind in USER_KINDS:
                        name = entry.unit, entry.incarnation, seq
                        self.stamps[name], self.events[name] = stamp_ns, (step, key, data or {})
                    elif step == "passed":
                        passed[data["ask"], entry.unit] = data["went_ns"]
        for ask, units in self.went.items():
            for unit, (_, moment) in units.items():
                units[unit] = passed[ask, unit], moment

    def _watch(self, replay: Replay) -> None:
        """Look over the shoulder of the product: what it translates, and to what."""
        verifier, skews = replay.dispatcher.verifier, replay.dispatcher.skews
        batch, went = verifier.batch, skews.passed

        def watched_batch(unit: str, incarnation: int, records: list[Any], watermark_ns: int) -> None:
            for record in records:
                self.moments[unit, incarnation, record[0]] = record[1]
            batch(unit, incarnation, records, watermark_ns)

        def watched_passed(name: str, ask: str, unit: str, went_ns: int) -> None:
            self.went.setdefault(ask, {})[unit] = 0, went_ns
            went(name, ask, unit, went_ns)

        verifier.batch = watched_batch  # type: ignore[method-assign]
        skews.passed = watched_passed  # type: ignore[method-assign]

    def true_ns(self, unit: str, stamp_ns: int) -> int:
        """The real moment of a stamp of this unit."""
        clock = self.clocks.get(self.place_of(unit))
        return stamp_ns if clock is None else clock.real(stamp_ns)

    def place_of(self, unit: str) -> str:
        """The host of a unit, by its name where somebody else starts it: "lab-1.3" is on lab-1."""
        host = self.hosts[unit]
        return unit.partition(".")[0] if host == "local" else host

    def named(self, step: str) -> dict[str | None, Name]:
        """Key -> the only event of this step with it."""
        return {key: name for name, (found, key, _) in self.events.items() if found == step}


def share(part: float, whole: float) -> float:
    """In percent."""
    return 100 * part / whole if whole else 0.0


def quantile(values: list[int], percent: int) -> int:
    """The smallest value that so many percent are not above."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
