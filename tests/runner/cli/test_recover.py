"""`circuit-run recover`: what units wrote down and was not published comes into the log after all."""

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe import wire
from probe.message import Events
from runner.adapters import process_tree
from runner.adapters.history import log_file, run_folder
from tests.support.broker_process import BrokerProcess
from tests.support.scenarios import PATIENCE_S, Place, place_in, poll

SCENARIO = """
    [scenario]
    timeout = "30s"
    [units.worker]
    entrypoint = "units:worker"
    [circuits.order]
    path = ["worker: began", "worker: late"]
    instances = 1
"""
UNITS = """
    import os, pathlib, signal
    import probe

    def worker():
        probe.emit("began", key="k")
        if pathlib.Path("leaves-a-daemon").exists() and os.fork() == 0:
            os.setsid()  # out of reach of whatever ends the unit's group
            work("daemon")
        work("worker")

    def work(name):
        while not pathlib.Path("go").exists():
            signal.sigtimedwait([], 0.005)
        for number in range(100):
            probe.emit("late", key="k" if number == 0 else None)
        pathlib.Path(name).write_text(str(os.getpid()))
        while True:
            signal.pause()
"""
DYING = "import os, probe\nfor number in range({count}): probe.emit('step', n=number)\nos._exit(1)"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def lose_all_processes(place: Place, *last_words: str) -> None:
    """A run whose broker stalls, whose units emit then, and whose runner, supervisor and broker are killed."""
    place.write(SCENARIO, UNITS)
    with place.start(".", "--plain") as living:
        living.until(lambda: _steps(place.newest().log) if place.newest().log.exists() else [])
        ours = {process_tree.title(pid): pid for pid in process_tree.children(living.process.pid)}
        (broker,) = (pid for title, pid in ours.items() if " broker.__main__ " in title)
        (supervisor,) = (pid for title, pid in ours.items() if ".supervisor" in title)
        os.kill(broker, signal.SIGSTOP)
        (place.folder / "go").touch()
        living.until(lambda: all((place.folder / word).exists() for word in last_words))
        for pid in (living.process.pid, supervisor, broker):
            os.kill(pid, signal.SIGKILL)
    assert poll(lambda: len(place.processes()) == len(last_words) - 1)


def _steps(log: Path) -> list[str]:
    bodies = (entry for entry in log_file.entries(log) if isinstance(entry.message, Events) and entry.unit[0] != "@")
    return [record[2] for entry in bodies for record in wire.unpack_records(entry.body) if record[3] == 0]


def die(place: Place, unit: str, count: int, **settings: str) -> None:
    """A unit without a supervisor emits, and is gone."""
    env = place.environment() | settings | {"CIRCUIT_UNIT": unit}
    subprocess.run([sys.executable, "-c", DYING.format(count=count)], env=env, timeout=PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path / "broker", listen=f"ipc://{tmp_path}/bus", run=None)
    yield process
    process.stop()


def test_a_run_that_lost_all_its_processes_gets_its_evidence_and_can_be_judged(place: Place) -> None:
    lose_all_processes(place, "worker")
    run = place.run("recover", expect=0)
    assert "): 100 events recovered\n" in run.out
    assert run.out.endswith(f"judge the run: circuit-run verify {run.folder.run}\n")
    assert _steps(run.folder.log) == ["began", *["late"] * 100]
    assert list(run.folder.journals.iterdir()) == []
    assert not run.folder.endpoint.exists()
    assert f"nothing to recover in run {run.folder.run}\n" in place.run("recover", "latest", expect=0).out
    judged = place.run("verify", expect=6)
    assert "100 recovered from journals, none lost" in judged.out
    assert "the log ends before the run did" in judged.out


@pytest.mark.parametrize("move", [Path.rename, shutil.copytree])
def test_a_run_folder_that_was_moved_or_copied_gets_its_evidence_and_can_be_judged(
    place: Place, move: Callable[[Path, Path], object]
) -> None:
    lose_all_processes(place, "worker")
    kept = place.newest()
    there = place.folder / "archive" / "a run of mine"
    there.parent.mkdir()
    move(kept.path, there)
    run = place.run("recover", there, expect=0)
    assert "): 100 events recovered\n" in run.out
    assert run.err == ""
    assert list((there / "journals").iterdir()) == []
    judged = place.run("verify", there, "--json", "-", expect=6)
    assert json.loads(judged.out)["run"] == kept.run
    assert json.loads(judged.out)["evidence"]["recovered"] == 100


def test_what_still_lives_of_a_run_whose_folder_was_moved_is_named(place: Place) -> None:
    (place.folder / "leaves-a-daemon").touch()
    lose_all_processes(place, "worker", "daemon")
    pid = (place.folder / "daemon").read_text()
    there = place.folder / "moved"
    place.newest().path.rename(there)
    run = place.run("recover", there, expect=0)
    assert run.out.count("): 100 events recovered\n") == 1
    assert f"(pid {pid}); it can be ended with --end" in run.err
    run = place.run("recover", there, "--end", expect=0)
    assert run.out.count("): 100 events recovered\n") == 1
    assert place.processes() == {}


def test_the_newest_run_that_is_not_there_any_more_is_named(place: Place) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    kept = place.run(".", expect=0).folder
    kept.path.rename(place.folder / "moved")
    run = place.run("recover", expect=4)
    assert f"the newest run, runs/{kept.run}, is not in " in run.err


def test_a_journal_whose_bits_have_flipped_makes_the_verdict_inconclusive_and_fails_no_unit(place: Place) -> None:
    lose_all_processes(place, "worker")
    (segment,) = place.newest().journals.glob("worker-*/*.segment")
    assert poll(lambda: _summed_up(segment)), "the sender looks while the broker says nothing"
    content = bytearray(segment.read_bytes())
    content[content.index(b"late") + 1] ^= 4  # lete
    segment.write_bytes(content)
    run = place.run("recover", expect=0)
    assert "its journal is damaged, so it is not known what it emitted" in run.out
    assert "lete" not in _steps(run.folder.log)
    judged = json.loads(place.run("verify", "--json", "-", expect=6).out)
    assert {f["class"] for f in judged["findings"]} >= {"lost-evidence"}
    assert all(f["inconclusive"] for f in judged["findings"])


def _summed_up(segment: Path) -> bool:
    with segment.open("rb") as file:
        words = struct.unpack("=9Q", file.read(72))
    return words[6] & 0xFFFFFFFF == words[0]


def test_a_second_command_that_recovers_the_run_is_refused_and_says_why(place: Place) -> None:
    lose_all_processes(place, "worker")
    kept = place.newest()
    kept.endpoint.unlink()
    with kept.log.open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # as the broker does that was opened for the recovery
        run = place.run("recover", expect=4)
    assert f"another process recovers run {kept.run}" in run.text
    assert "): 100 events recovered\n" in place.run("recover", expect=0).out


def test_what_still_lives_of_a_run_is_named_and_ended_only_when_asked(place: Place) -> None:
    (place.folder / "leaves-a-daemon").touch()
    lose_all_processes(place, "worker", "daemon")
    pid = (place.folder / "daemon").read_text()
    run = place.run("recover", expect=0)
    assert run.out.count("): 100 events recovered\n") == 1
    assert f"(pid {pid}); it can be ended with --end" in run.err
    assert int(pid) in place.processes()
    run = place.run("recover", "--end", expect=0)
    assert f"(pid {pid})\n" in run.out
    assert run.out.count("): 100 events recovered\n") == 1
    assert run.err == ""
    assert place.processes() == {}
    assert _steps(run.folder.log).count("late") == 200


def test_the_broker_of_a_run_that_still_answers_takes_the_journals(place: Place) -> None:
    kept = run_folder.create(place.folder / ".circuit", "mine")
    die(place, "worker", 5, CIRCUIT_BROKER="ipc:///nowhere", CIRCUIT_RUN=kept.run, CIRCUIT_JOURNAL=str(kept.journals))
    broker = BrokerProcess(kept.path, listen=f"ipc://{place.temporary}/bus", run=kept.run)
    try:
        kept.endpoint.write_text(f"{broker.endpoint}\n")
        assert "): 5 events recovered\n" in place.run("recover", expect=0).out
        assert kept.endpoint.exists()
        assert not (kept.path / "broker.err").exists()
        assert _steps(kept.log) == ["step"] * 5
    finally:
        broker.stop()


def test_journals_of_units_without_a_supervisor_go_to_the_broker_that_is_named(
    place: Place, broker: BrokerProcess
) -> None:
    journals = str(place.folder / "journals")
    away = {"CIRCUIT_BROKER": "ipc:///nowhere", "CIRCUIT_RUN": "long", "CIRCUIT_JOURNAL": journals}
    for unit, count in (("one", 1), ("two", 2)):
        die(place, unit, count, **away)
    run = place.run("recover", "--journals", journals, "--broker", broker.endpoint, "--unit", "two", expect=0)
    assert [line.split()[0] for line in run.out.splitlines()] == ["two"]
    variables = {"CIRCUIT_BROKER": broker.endpoint, "CIRCUIT_JOURNAL": journals}
    run = place.run("recover", "--broker", broker.endpoint, env=variables, expect=0)
    assert [line.split()[0] for line in run.out.splitlines()] == ["one"]
    assert "): 1 event recovered\n" in run.out
    assert (
        place.run("recover", "--journals", journals, env=variables, expect=0).out
        == f"nothing to recover in {journals}\n"
    )
    assert _steps(broker.folder / "long" / "events.log") == ["step"] * 3


def test_journals_of_another_run_are_not_mixed_into_this_one(place: Place, broker: BrokerProcess) -> None:
    journals = str(place.folder / "journals")
    for run in ("mine", "other"):
        die(place, "one", 1, CIRCUIT_BROKER="ipc:///nowhere", CIRCUIT_RUN=run, CIRCUIT_JOURNAL=journals)
    words = ("recover", "--journals", journals, "--broker", broker.endpoint)
    asked = place.run(*words, expect=4)
    assert "has journals of 2 runs: mine, other; say which one with --run ID" in asked.err
    assert "): 1 event recovered\n" in place.run(*words, "--run", "mine", expect=0).out
    assert not (broker.folder / "other").exists()
    assert "): 1 event recovered\n" in place.run(*words, expect=0, env={"CIRCUIT_RUN": "other"}).out


def test_an_emit_that_was_not_confirmed_and_could_keep_no_journal_does_not_say_that_it_is_kept(place: Place) -> None:
    variables = {"CIRCUIT_BROKER": "ipc:///nowhere", "CIRCUIT_RUN": "long", "CIRCUIT_JOURNAL": "/dev/null/journals"}
    run = place.run("emit", "backed-up", "--unit", "cron", "--timeout", "0.05", env=variables, expect=4)
    assert "its events are in memory only" in run.err
    assert "it is in no journal: if the broker does not have it, it is lost" in run.err
    assert "kept in" not in run.err
    assert "recover" not in run.err


def test_a_journal_that_cannot_be_published_stays_and_says_why(place: Place) -> None:
    journals = place.folder / "journals"
    die(place, "one", 1, CIRCUIT_BROKER="ipc:///nowhere", CIRCUIT_RUN="long", CIRCUIT_JOURNAL=str(journals))
    run = place.run("recover", "--journals", journals, "--broker", "ipc:///nowhere", "--timeout", "0.05", expect=1)
    assert "): not recovered: the broker at ipc:///nowhere" in run.err
    assert len(list(journals.iterdir())) == 1


def test_an_emit_that_was_not_confirmed_names_the_command_that_publishes_it(place: Place, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/bus"
    variables = {
        "CIRCUIT_BROKER": endpoint,
        "CIRCUIT_RUN": "long",
        "CIRCUIT_JOURNAL": str(place.folder / "my journals"),
    }
    run = place.run("emit", "backed-up", "--unit", "the cron job", "--timeout", "0.05", env=variables, expect=4)
    command = run.err.splitlines()[-1].strip()
    assert command.startswith("circuit-run recover ")
    broker = BrokerProcess(tmp_path / "broker", listen=endpoint, run=None)
    try:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, shell=True, env=place.environment() | {"PATH": path}, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert _steps(broker.folder / "long" / "events.log") == ["backed-up"]
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is no run yet"),
        (("latest", "--broker", "ipc:///nowhere"), "latest is about a run"),
        (("--end", "--broker", "ipc:///nowhere"), "--end is about a run"),
        (("--journals", "."), "which broker takes the journals? Give --broker ENDPOINT or set CIRCUIT_BROKER"),
        (("--journals", "nowhere", "--broker", "ipc:///nowhere"), "nowhere is no folder"),
    ],
)
def test_what_makes_no_sense_is_reported_why(place: Place, words: tuple[str, ...], said: str) -> None:
    run = place.run("recover", *words, expect=4)
    assert said in run.err
    assert "Traceback" not in run.err
