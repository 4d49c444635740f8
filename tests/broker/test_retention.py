"""Old runs are removed, by age and by size, and nothing else is."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import log, retention, runs
from broker.retention import Kept, Retention
from broker.runs import Runs
from probe import message as m
from tests.support.broker_process import BrokerProcess, KeyedBroker, Peer, records
from tests.support.scenarios import poll

DAY_S = 86_400.0


def record(folder: Path, *names: str, age_s: float = 0.0, size: int = 0) -> None:
    """Runs as a broker leaves them, the last one written `age_s` ago, those before it a minute earlier each."""
    kept = Runs(folder)
    for name in names:
        kept.open(name)
    kept.close()
    for number, name in enumerate(reversed(names)):
        log = folder / name / "events.log"
        os.truncate(log, max(size, log.stat().st_size))
        then = time.time() - age_s - number * 60
        os.utime(log, (then, then))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def started(folder: Path, *options: str) -> Iterator[list[str]]:
    """What a broker that was started says on standard error; ended afterwards."""
    said: list[str] = []
    argv = [sys.executable, "-m", "broker", "--listen", "tcp://127.0.0.1:0", "--insecure", "--folder", str(folder)]
    broker = subprocess.Popen([*argv, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert broker.stdout is not None
    assert broker.stderr is not None
    broker.stdout.readline()
    yield said
    broker.terminate()
    said += broker.communicate(timeout=10)[1].splitlines()
    assert broker.returncode == 0


def test_runs_whose_last_entry_is_too_old_are_removed_at_the_start(tmp_path: Path) -> None:
    record(tmp_path, "old", age_s=8 * DAY_S)
    record(tmp_path, "young", age_s=6 * DAY_S)
    with started(tmp_path, "--keep-for-s", str(7 * DAY_S)) as said:
        pass
    assert names(tmp_path) == {"young"}
    assert said == ["broker: removed the run old: its last entry is 8 days old, 7 days are kept"]


def test_the_oldest_runs_are_removed_while_all_together_are_too_large(tmp_path: Path) -> None:
    record(tmp_path, "one", "two", "three", "four", size=1 << 20)
    with started(tmp_path, "--keep-bytes", str(2 << 20)) as said:
        pass
    assert names(tmp_path) == {"three", "four"}
    assert said == [
        "broker: removed the run one: it is the oldest of 4 MiB, 2 MiB are kept",
        "broker: removed the run two: it is the oldest of 3 MiB, 2 MiB are kept",
    ]


def kept(*runs: tuple[str, str, int]) -> list[Kept]:
    """(name, key, size) of each, the oldest first."""
    return [Kept(name, size, float(age), key) for age, (name, key, size) in enumerate(runs)]


BOB_AND_CAM = kept(("b1", "bob", 2), ("b2", "bob", 2), ("c1", "cam", 10), ("c2", "cam", 20), ("b3", "bob", 2))


def test_the_key_that_has_most_loses_its_oldest_run_first() -> None:
    removable = {run.name for run in BOB_AND_CAM}
    going = retention.too_much(BOB_AND_CAM, removable, 30)
    assert [(run.name, why) for run, why in going] == [
        ("c1", "it is the oldest of the key 'cam', which has 30 bytes of 36 bytes, 30 bytes are kept")
    ]
    assert [run.name for run, _ in retention.too_much(BOB_AND_CAM, removable, 20)] == ["c1", "c2"]
    assert [run.name for run, _ in retention.too_much(BOB_AND_CAM, removable, 5)] == ["c1", "c2", "b1"]


def test_runs_of_a_key_that_has_its_fair_part_stay_however_much_another_has_in_use() -> None:
    in_use = {"c1", "c2"}
    finished = {run.name for run in BOB_AND_CAM} - in_use
    assert retention.too_much(BOB_AND_CAM, finished, 12) == []
    assert [run.name for run, _ in retention.too_much(BOB_AND_CAM, finished, 8)] == ["b1"], "four bytes for each"


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 200))
def test_what_is_fair_is_as_much_as_there_is(sizes: list[int], most: int) -> None:
    level = retention.fair_level(sizes, most)
    if sum(sizes) <= most:
        assert all(size <= level for size in sizes)
    else:
        assert sum(min(size, level) for size in sizes) == pytest.approx(most)


def test_whose_a_run_is_stands_in_its_log_and_counts_also_for_a_broker_that_was_started_again(tmp_path: Path) -> None:
    lab = KeyedBroker(tmp_path, "--keep-bytes", str(1 << 20))
    try:
        for key, size in (("bob", 100), ("cam", 400)):
            keys = lab.key(key)
            for number in range(3):
                with lab.welcomed(keys, f"{key}-{number}") as unit:
                    unit.say(m.Events(1, 1, 0), records(1, "x" * size * 1024))
                    unit.hear(m.Ack)
        assert log.first(lab.runs / "bob-0" / "events.log").message == m.Names({}, "bob")
        lab.broker.kill()
        for number, name in enumerate(("bob-0", "bob-1", "bob-2", "cam-0", "cam-1", "cam-2")):
            os.utime(lab.runs / name / "events.log", (1000.0 + number, 1000.0 + number))
        lab.broker.restart()
        assert {path.name for path in lab.runs.iterdir() if path.is_dir()} == {"bob-0", "bob-1", "bob-2", "cam-2"}
    finally:
        lab.broker.stop()


def test_a_peer_that_writes_the_first_words_of_a_log_cannot_give_the_run_to_another_key(tmp_path: Path) -> None:
    lab = KeyedBroker(tmp_path)
    try:
        with lab.welcomed(lab.key("anna", "runner"), role="runner") as anna:
            anna.say(m.Names({"api": "@local"}, "bob"))
            anna.pong()
    finally:
        lab.broker.stop()
    assert [entry.message for entry in lab.log()] == [m.Names({}, "anna"), m.Names({"api": "@local"})]


def test_without_limits_everything_stays(tmp_path: Path) -> None:
    record(tmp_path, "old", age_s=8000 * DAY_S, size=1 << 30)
    with started(tmp_path) as said:
        pass
    assert (names(tmp_path), said) == ({"old"}, [])


def test_what_the_broker_did_not_make_stays(tmp_path: Path) -> None:
    record(tmp_path, "gone", "with-notes", "linked", age_s=DAY_S)
    (tmp_path / "with-notes" / "notes.txt").write_text("the one with the bug")
    (tmp_path / "linked").rename(tmp_path / ".elsewhere")
    (tmp_path / "linked").symlink_to(tmp_path / ".elsewhere")
    (tmp_path / "no-run").mkdir()
    (tmp_path / "events.log").write_text("")
    (tmp_path / "file").write_text("")
    with started(tmp_path, "--keep-for-s", "1", "--keep-bytes", "1") as said:
        pass
    assert names(tmp_path) == {"with-notes", "linked", ".elsewhere", "no-run", "events.log", "file"}
    assert (tmp_path / "with-notes" / "events.log").exists()
    assert len(said) == 1


def test_a_run_whose_log_another_broker_holds_stays(tmp_path: Path) -> None:
    record(tmp_path, "free", "held", age_s=DAY_S)
    other = BrokerProcess(tmp_path, run=None)
    try:
        with Peer.unit(other.endpoint, run="held"):
            os.utime(tmp_path / "held" / "events.log", (1.0, 1.0))
            with started(tmp_path, "--keep-for-s", "1"):
                pass
            assert names(tmp_path) == {"held"}
    finally:
        other.stop()


def test_what_a_killed_broker_was_removing_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".expired-run-0011").write_bytes(b"x")
    with started(tmp_path, "--keep-for-s", "1") as said:
        pass
    assert (names(tmp_path), said) == (set(), [])


def test_a_run_in_use_survives_and_goes_when_no_peer_has_used_it_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SWEEP_S", 0.0)
    said: list[str] = []
    kept = Runs(tmp_path)
    run = kept.open("r")
    run.users = 1
    os.utime(run.log.path, (1.0, 1.0))
    limits = Retention(tmp_path, 1.0, 0)
    limits.sweep(kept, said.append)
    run.users = 0
    limits.sweep(kept, said.append)  # it was in use a moment ago
    assert names(tmp_path) == {"r"}
    assert said == []
    monkeypatch.setattr(Runs.in_use, "__defaults__", (0.0,))
    limits.sweep(kept, said.append)
    assert len(said) == 1
    assert poll(lambda: names(tmp_path) == set(), 10)
    assert kept.find("r") is None
    assert list(kept.newest()) == []
    kept.open("r").ordered([b"COMMAND", b"\x80"])  # a peer that comes now begins anew
    kept.close()
    assert names(tmp_path) == {"r"}
    for thread in threading.enumerate():
        if thread.name == "expiry":
            thread.join()


def test_a_run_that_a_peer_takes_part_in_survives_the_start_of_its_broker(tmp_path: Path) -> None:
    """It is checked before any peer can come, and a minute later they are there."""
    broker = BrokerProcess(tmp_path, "--insecure", "--keep-bytes", "0", run=None)
    try:
        with Peer.unit(broker.endpoint, run="r") as unit:
            unit.emit(1, "a")
            unit.hear(m.Ack)
            assert names(tmp_path) == {"r"}
    finally:
        broker.stop()


def test_a_run_that_rests_is_removed_too(tmp_path: Path) -> None:
    kept = Runs(tmp_path)
    os.utime(kept.open("r").log.path, (1.0, 1.0))
    kept.rest(0.0)
    said: list[str] = []
    Retention(tmp_path, 1.0).sweep(kept, said.append)
    assert len(said) == 1
    assert poll(lambda: names(tmp_path) == set(), 10)
    kept.close()


def test_it_says_what_is_kept_in_the_words_of_people() -> None:
    assert [retention._time(seconds) for seconds in (1.5, 90.0, 150.0, 7200.0, 36 * 3600.0, 7 * DAY_S)] == [
        "1.5 seconds",
        "90 seconds",
        "2.5 minutes",
        "2 hours",
        "36 hours",
        "7 days",
    ]
    assert [retention._size(count) for count in (5, 2048, 3 << 20, 10 << 30)] == ["5 bytes", "2 KiB", "3 MiB", "10 GiB"]
    assert runs.REST_S == retention.SWEEP_S
