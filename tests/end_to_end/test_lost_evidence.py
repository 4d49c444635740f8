"""A broker that stands still, a disk that is full: no unit blocks, and what is lost is known exactly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from probe import wire
from probe.journal import SMALLEST_BOUND
from probe.message import Events, Gap
from runner.adapters import process_tree
from runner.adapters.history import log_file
from tests.support.broker_process import RUN, BrokerProcess
from tests.support.scenarios import PATIENCE_S, Place, place_in, poll

SCENARIO = """
    [scenario]
    timeout = "30s"
    [units.worker]
    entrypoint = "units:worker"
    expect = ["begun", "over"]
    [units.worker.env]
    CIRCUIT_JOURNAL_BYTES = "{bound}"
    COUNT = "{count}"
"""
UNITS = """
    import os, pathlib, signal
    import probe

    def until(word):
        while not pathlib.Path(word).exists():
            signal.sigtimedwait([], 0.005)

    def worker():
        probe.emit("begun")
        until("stopped")
        for number in range(int(os.environ["COUNT"])):
            probe.emit("step", n=number)
        pathlib.Path("emitted").touch()
        while not pathlib.Path("end").exists():  # there is room again as soon as the first acknowledgement has come
            probe.emit("over")
            signal.sigtimedwait([], 0.005)
"""
TOO_MANY = SMALLEST_BOUND // 20
"""So many events do not fit; each takes more than 20 bytes."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


@dataclass(frozen=True)
class Kept:
    """What a log has of a unit."""

    numbers: list[int]
    """Of its steps, in order."""
    steps: list[str]
    gaps: list[tuple[int, int]]


def kept(log: Path) -> Kept:
    numbers, steps, gaps = [], [], []
    for entry in log_file.entries(log) if log.exists() else ():
        match entry.message:
            case Gap(first, last):
                gaps.append((first, last))
            case Events() if not entry.unit.startswith("@"):
                for record in wire.unpack_records(entry.body):
                    steps.append(record[2])
                    numbers += [record[5]["n"]] if record[2] == "step" else []
    return Kept(numbers, steps, gaps)


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def run_with_a_stall(place: Place, count: int, code: int) -> None:
    """A run whose broker stands still while its unit emits `count` events."""
    place.write(SCENARIO.format(bound=SMALLEST_BOUND, count=count), UNITS)
    with place.start(".", "--plain") as living:
        living.until(lambda: "begun" in kept(place.newest().log).steps)
        (broker,) = (
            pid for pid in process_tree.children(living.process.pid) if " broker.__main__ " in process_tree.title(pid)
        )
        with standing_still(broker):
            (place.folder / "stopped").touch()
            living.until((place.folder / "emitted").exists)
        living.until(lambda: "over" in kept(place.newest().log).steps)
        (place.folder / "end").touch()
        run = living.end()
    assert run.code == code, run.text


def test_what_a_stalled_broker_makes_a_unit_lose_is_named_exactly_and_leaves_the_verdict_open(place: Place) -> None:
    run_with_a_stall(place, TOO_MANY, code=6)
    first, last = the_hole(kept(place.newest().log))
    result = json.loads(place.newest().result.read_text())
    (finding,) = result["findings"]
    assert (finding["class"], finding["unit"]) == ("lost-evidence", "worker")
    assert f"lost events {first:,} to {last:,}: dropped: the journal was full, or" in finding["message"]
    assert result["verdict"] == "inconclusive"
    assert result["evidence"]["emitted"] == result["evidence"]["received"] + last - first + 1
    place.run("verify", expect=6)
    place.run("verify", "--inconclusive", "fail", expect=1)
    place.run("verify", "--inconclusive", "pass", expect=0)


def the_hole(found: Kept) -> tuple[int, int]:
    """First and last sequence number that are lost: all that is missing, and nothing else is."""
    assert found.numbers == list(range(len(found.numbers)))
    assert all(after[0] == before[1] + 1 for before, after in pairwise(found.gaps)), "one hole, however often reported"
    first, last = found.gaps[0][0], found.gaps[-1][1]
    assert first == found.steps.index("step") + len(found.numbers) + 1
    assert last - first + 1 >= TOO_MANY - len(found.numbers)  # the unit may have said `over` in vain
    return first, last


def test_within_the_bound_a_stalled_broker_costs_nothing(place: Place) -> None:
    run_with_a_stall(place, TOO_MANY // 4, code=0)
    found = kept(place.newest().log)
    assert (found.numbers, found.gaps) == (list(range(TOO_MANY // 4)), [])


@contextmanager
def lonely(folder: Path, *before: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """The same unit, without a supervisor."""
    (folder / "units.py").write_text(textwrap.dedent(UNITS))
    variables = {"CIRCUIT_RUN": RUN, "CIRCUIT_UNIT": "worker", "CIRCUIT_JOURNAL": str(folder / "journal")} | settings
    with subprocess.Popen(
        [*before, sys.executable, "-c", "import units; units.worker()"],
        cwd=folder,
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            (folder / "end").touch()
            process.wait(PATIENCE_S)


def test_a_broker_that_comes_later_gets_everything(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/bus"
    (tmp_path / "stopped").touch()
    with lonely(tmp_path, CIRCUIT_BROKER=endpoint, COUNT="30_000") as unit:
        assert poll((tmp_path / "emitted").exists)
        broker = BrokerProcess(tmp_path / "run", listen=endpoint)
        try:
            assert poll(lambda: "over" in kept(broker.log).steps)
            (tmp_path / "end").touch()
            assert unit.wait(PATIENCE_S) == 0
            found = kept(broker.log)
            assert (found.numbers, found.gaps) == (list(range(30_000)), [])
        finally:
            broker.stop()


def in_a_small_disk(folder: Path) -> list[str]:
    """Words before a command that give it a disk of one megabyte, gone with it; none where that is not allowed."""
    (folder / "journal").mkdir()
    unshare = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount", "sh", "-c"]
    words = [*unshare, f'mount -t tmpfs -o size=1m none {folder}/journal && exec "$@"', "sh"]
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return words if allowed else []


def test_a_full_disk_neither_blocks_nor_harms_a_unit_and_what_is_lost_is_known(tmp_path: Path) -> None:
    before = in_a_small_disk(tmp_path)
    if not before:
        pytest.skip("file systems may not be mounted here")
    broker = BrokerProcess(tmp_path / "run", listen=f"ipc://{tmp_path}/bus")
    try:
        with lonely(tmp_path, *before, CIRCUIT_BROKER=broker.endpoint, COUNT=str(TOO_MANY)) as unit:
            assert poll(lambda: "begun" in kept(broker.log).steps)
            with standing_still(broker.process.pid):
                (tmp_path / "stopped").touch()
                assert poll((tmp_path / "emitted").exists)
            assert poll(lambda: "over" in kept(broker.log).steps)
            (tmp_path / "end").touch()
            assert unit.wait(PATIENCE_S) == 0
            assert unit.stderr is not None
            assert unit.stderr.read() == ""
        found = kept(broker.log)  # there may be several holes: an acknowledgement that was on its way makes room
        lost = {seq for first, last in found.gaps for seq in range(first, last + 1)}
        first = found.steps.index("step") + 1
        assert lost
        assert [first + number for number in found.numbers] == sorted(set(range(first, first + TOO_MANY)) - lost)
    finally:
        broker.stop()
