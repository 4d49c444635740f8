"""Runs judged again from what they left, and watched from beside: the same answers as live."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.adapters.history import log_file, run_folder
from runner.adapters.history.run_folder import RunFolder
from runner.session.replay import Replay
from tests.support.scenarios import LEAVING_S, Place, place_in, poll

UNITS = """
    import os, signal, sys
    import probe, probe.errors

    def sender():
        for n in range(20):
            probe.send("sent", key=f"k-{n}")

    def receiver():
        for n in range(20):
            probe.wait("sender: sent", key=f"k-{n}", timeout=20)
            if n not in (3, 7):
                probe.receive("got", key=f"k-{n}")
        probe.receive("got", key="k-5")
        probe.receive("got", key="k-unknown")
        probe.barrier("end", timeout=20)

    def listener():
        for n in range(20):
            probe.wait("sender: sent", key=f"k-{n}", timeout=20)
            probe.receive("heard", key=f"k-{n}")

    def killed():
        for n in range(50):
            probe.emit("step", key=n)
        os.kill(os.getpid(), signal.SIGKILL)

    def flaky():
        probe.emit("tried")
        if not os.path.exists("tried-before"):
            open("tried-before", "w").close()
            sys.exit(1)

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        probe.ready("up")
        while True:
            signal.pause()

    def raises():
        raise ValueError("no")

    def hangs():
        probe.emit("hanging", key="h")
        signal.pause()

    def outlasts():
        try:
            probe.wait("hangs: never", timeout=20)
        except probe.errors.WaitBroken:
            probe.emit("went-on")

    def check(result):
        return False
"""

SCENARIOS = {
    "passed": """
        [units.sender]
        entrypoint = "units:sender"
        [units.listener]
        entrypoint = "units:listener"
        """,
    "failed": """
        [units.sender]
        entrypoint = "units:sender"
        [units.receiver]
        entrypoint = "units:receiver"
        [circuits.trip]
        path = ["sender: sent", { probe = "receiver: got", within = "300ms" }]
        instances = 19
        budget = { max = "1ns" }
        [barriers.end]
        parties = ["sender", "receiver"]
        """,
    "unit-failed": """
        [units.killed]
        entrypoint = "units:killed"
        [units.raises]
        entrypoint = "units:raises"
        [units.flaky]
        entrypoint = "units:flaky"
        restart = "on-failure"
        [units.deaf]
        entrypoint = "units:deaf"
        ready = "up"
        service = true
        stop_timeout = "50ms"
        [circuits.steps]
        path = ["killed: step", "raises: never"]
        """,
    "not-ready": """
        [units.hangs]
        entrypoint = "units:hangs"
        ready = "up"
        ready_timeout = "300ms"
        [units.later]
        command = ["true"]
        after = ["hangs"]
        """,
    "out-of-time": """
        [scenario]
        timeout = "400ms"
        [units.hangs]
        entrypoint = "units:hangs"
        [units.sender]
        entrypoint = "units:sender"
        [circuits.trip]
        path = ["hangs: hanging", "hangs: done"]
        """,
    "own-time": """
        [units.hangs]
        entrypoint = "units:hangs"
        timeout = "200ms"
        [units.outlasts]
        entrypoint = "units:outlasts"
        """,
    "checked": """
        [scenario]
        check = "units:check"
        [units.sender]
        entrypoint = "units:sender"
        """,
}


def judgement(result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same whenever a run is judged; lists in the order that they have."""
    words = ("class", "circuit", "key", "unit", "step", "message")
    return {
        "findings": [{word: finding[word] for word in words} for finding in result["findings"]],
        **{name: result[name] for name in ("run", "scenario", "verdict", "circuits", "pairs", "required", "evidence")},
        "units": [{k: unit[k] for k in ("name", "state", "exit_code", "host", "events")} for unit in result["units"]],
    }


def judged_again(place: Place, folder: RunFolder, *words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.run("verify", folder.path, "--json", "-", *words).out)
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_in(tmp_path_factory.mktemp("recorded")) as place:
        yield place


@pytest.fixture(scope="module")
def recorded(shared: Place) -> dict[str, dict[str, Any]]:
    """Every scenario, run once by one command."""
    for name, text in SCENARIOS.items():
        shared.write(text, UNITS, name=f"{name}/circuit.toml")
    shared.run(*SCENARIOS, "--quiet", "--json", "all.json", expect=1)
    return {result["scenario"]: result for result in json.loads((shared.folder / "all.json").read_text())}


def folder_of(place: Place, result: dict[str, Any]) -> RunFolder:
    return RunFolder(place.folder / ".circuit" / "runs" / result["run"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


# --- judged again -----------------------------------------------------------------------------------------------------


def test_the_recorded_runs_are_of_every_kind(recorded: dict[str, dict[str, Any]]) -> None:
    verdicts = {name: result["verdict"] for name, result in recorded.items()}
    assert {name for name, verdict in verdicts.items() if verdict == "passed"} == {"passed"}
    classes = {finding["class"] for result in recorded.values() for finding in result["findings"]}
    assert classes >= {"missing", "orphan", "duplicate", "count", "budget", "unit-failed", "not-ready", "check"}
    assert "exception" in classes


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recorded_run_gets_the_same_judgement_as_live(
    shared: Place, recorded: dict[str, dict[str, Any]], name: str
) -> None:
    live = recorded[name]
    again = judged_again(shared, folder_of(shared, live))
    assert judgement(again) == judgement(live)
    assert again["duration_s"] == live["duration_s"]


def test_a_recorded_run_can_be_judged_by_another_scenario(shared: Place, recorded: dict[str, dict[str, Any]]) -> None:
    other = shared.write(
        SCENARIOS["passed"]
        + '[circuits.lonely]\npath = ["sender: sent", "listener: answered"]\n'.replace("\n", "\n        "),
        name="other.toml",
    )
    folder = folder_of(shared, recorded["passed"])
    before = folder.result.read_bytes()
    run = shared.run("verify", folder.path, "--scenario", other, expect=1)
    assert "FAILED" in run.out
    assert "lonely" in run.out
    assert folder.result.read_bytes() == before


def test_what_a_run_folder_does_not_hold_any_more_is_named(shared: Place, recorded: dict[str, dict[str, Any]]) -> None:
    folder = folder_of(shared, recorded["own-time"])
    for path, command in ((folder.result, "show"), (folder.scenario, "verify"), (folder.log, "verify")):
        text = path.read_bytes()
        path.write_bytes(b"rubbish, and much of it, so that it is no torn end")
        damaged = shared.run(command, folder.path, expect=4)
        path.unlink()
        missing = shared.run(command, folder.path, expect=4)
        for run in (damaged, missing):
            assert "Traceback" not in run.err
            assert "circuit-run" in run.err or str(folder.path) in run.err
        path.write_bytes(text)


def test_an_interrupted_run_is_judged_as_it_was(place: Place) -> None:
    place.write(SCENARIOS["out-of-time"].replace("400ms", "60s"), UNITS)
    with place.start(".", "--plain") as living:
        living.until("running")
        living.signal(signal.SIGINT)
        run = living.end()
    assert (run.code, run.result["verdict"]) == (2, "interrupted")
    assert judgement(judged_again(place, run.folder)) == judgement(run.result)
    run.folder.result.unlink()
    assert judged_again(place, run.folder)["verdict"] == "interrupted"  # the log says it


def test_a_run_whose_runner_was_killed_leaves_nothing_running_and_can_still_be_judged(place: Place) -> None:
    place.write(SCENARIOS["out-of-time"].replace("400ms", "60s"), UNITS)
    with place.start(".", "--plain") as living:
        living.until("running")
        living.signal(signal.SIGKILL)
        run = living.end()
    assert run.code == -signal.SIGKILL
    assert poll(lambda: not place.processes(), LEAVING_S), place.processes()
    assert not run.folder.result.exists()
    assert f"what came until then is kept: circuit-run verify {run.folder.run}" in place.run("watch", expect=3).err
    assert "verify" in place.run("show", expect=4).err
    again = judged_again(place, run.folder)
    assert {unit["name"]: unit["events"] for unit in again["units"]} == {"hangs": 1, "sender": 20}
    assert again["verdict"] == "inconclusive"
    assert [found for found in again["findings"] if not found["inconclusive"]] == []
    assert again["evidence"]["lost"] == []
    for path in place.temporary.rglob("*"):  # the socket of a broker whose runner could not clear up
        if path.is_socket():
            path.unlink()


def test_what_only_the_broker_of_the_run_counted_is_kept(
    shared: Place, recorded: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    copy = RunFolder(shutil.copytree(folder_of(shared, recorded["passed"]).path, tmp_path / "copy"))
    result = json.loads(copy.result.read_text())
    counted = {"duplicates_dropped": 7, "incidents": {"lab-3: unknown key": 12}, "broker_restarts": 1}
    result["evidence"] |= counted
    copy.result.write_text(json.dumps(result))
    assert judged_again(shared, copy)["evidence"].items() >= counted.items()
    assert "lab-3: unknown key ×12" in shared.run("verify", copy.path, expect=0).out


@pytest.mark.parametrize(("rest", "at"), [(-7, r"[\d,]+"), (0, "0")])
def test_a_run_whose_log_is_torn_or_empty_is_never_a_pass_and_says_so(
    shared: Place, recorded: dict[str, dict[str, Any]], tmp_path: Path, rest: int, at: str
) -> None:
    copy = RunFolder(shutil.copytree(folder_of(shared, recorded["passed"]).path, tmp_path / "copy"))
    copy.log.write_bytes(copy.log.read_bytes()[:rest])
    again = judged_again(shared, copy)
    assert again["verdict"] == "inconclusive"
    assert re.fullmatch(f"the log is torn at byte {at}: what came after is not judged", again["notes"][-1])
    assert "torn" in shared.run("verify", copy.path, expect=6).out


def test_a_log_that_ends_before_its_run_did_is_never_a_pass(
    shared: Place, recorded: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    copy = RunFolder(shutil.copytree(folder_of(shared, recorded["passed"]).path, tmp_path / "copy"))
    first = next(iter(log_file.entries(copy.log)))
    copy.log.write_bytes(copy.log.read_bytes()[: first.end])
    again = judged_again(shared, copy)
    assert again["verdict"] == "inconclusive"
    cut = "the log ends before the run did: what came after is not judged"
    assert again["notes"] == [cut]
    (copy.journals / "sender-1").mkdir(parents=True)
    advice = f"what units wrote down last is not in the log; publish it with: circuit-run recover {copy.path}"
    assert judged_again(shared, copy)["notes"] == [cut, advice]


def test_what_was_not_published_is_found_though_the_log_is_whole(
    shared: Place, recorded: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    copy = RunFolder(shutil.copytree(folder_of(shared, recorded["passed"]).path, tmp_path / "copy"))
    assert judged_again(shared, copy)["verdict"] == "passed"
    (copy.journals / "sender-1").mkdir(parents=True)
    again = judged_again(shared, copy)
    (found,) = again["findings"]
    assert (again["verdict"], found["class"], found["inconclusive"]) == ("inconclusive", "lost-evidence", True)
    assert "what units wrote down last is not in the log (sender-1 in " in found["message"]


def test_what_is_said_to_do_next_works_for_a_run_that_is_kept_elsewhere(place: Place, tmp_path: Path) -> None:
    place.write(SCENARIOS["checked"], UNITS)
    kept = place.run(".", expect=1).folder
    moved = RunFolder(shutil.move(kept.path, tmp_path / "moved"))
    moved.result.unlink()
    assert place.run("show", moved.path, expect=4).err.endswith(f"Judge it: circuit-run verify {moved.path}\n")
    moved.scenario.unlink()
    said = place.run("verify", moved.path, expect=4).err
    assert said.endswith(f"circuit-run verify {moved.path} --scenario PATH\n")


def test_who_was_answered_from_the_past_is_not_seen_as_waiting_any_more(place: Place) -> None:
    place.write(
        """
        [units.first]
        entrypoint = "units:first"
        ready = "up"
        [units.second]
        entrypoint = "units:second"
        after = ["first"]
        """,
        """
        import probe
        def first():
            probe.ready("up")
            probe.wait("second: got", timeout=20)
        def second():
            probe.wait("first: up", timeout=20)
            probe.emit("got")
        """,
    )
    run = place.run(".", expect=0)
    replay = Replay(run_folder.scenario_of(run.folder), 0)
    blocked = []
    for entry in log_file.entries(run.folder.log):
        replay.take(entry)
        if replay.dispatcher.verifier.has_seen("second", "got"):
            blocked.append(replay.dispatcher.waits.blocked())
    assert blocked
    assert "second" not in blocked[0]


# --- watched ----------------------------------------------------------------------------------------------------------


def test_a_watcher_sees_units_and_circuits_until_the_run_ends(place: Place) -> None:
    place.write(
        """
        [units.first]
        entrypoint = "units:first"
        [units.second]
        entrypoint = "units:second"
        [circuits.trip]
        path = ["first: sent", "second: got"]
        instances = 3
        """,
        """
        import os, probe
        def first():
            for n in range(3):
                probe.send("sent", key=n)
        def second():
            for n in range(3):
                probe.wait("first: sent", key=str(n))
                probe.receive("got", key=n)
            with open("go") as pipe:  # opens when the test opens its end
                pipe.read()
        """,
    )
    os.mkfifo(place.folder / "go")
    with place.start(".", "--plain") as living:
        living.until("3 of 3 complete")
        with place.start("watch", "--plain") as watcher:
            watcher.until("3 of 3 complete")
            watcher.until("first")
            (place.folder / "go").write_text("on")
            watched = watcher.end()
        run = living.end()
    assert (run.code, watched.code) == (0, 0), run.text + watched.text
    assert "second" in watched.out
    assert "done" in watched.out
    assert f"run {run.folder.run} is over; see it with: circuit-run show" in watched.out
    over = place.run("watch", expect=4)
    assert f"run {run.folder.run} is over" in over.err


def test_watching_a_broker_that_is_not_there_is_an_error_that_names_it(place: Place) -> None:
    with place.start("watch", "ipc:///tmp/no-broker-here", "--run", "r", "--plain") as living:
        assert living.end().code == 3
        assert "no broker answers at ipc:///tmp/no-broker-here" in living.out


# --- a broker by itself -----------------------------------------------------------------------------------------------


def test_a_broker_prints_one_line_and_ends_on_sigterm_and_its_port_is_taken_meanwhile(place: Place) -> None:
    with place.start("broker", "--listen", "tcp://127.0.0.1:0", "--insecure") as broker:
        broker.until("\n")
        endpoint = broker.out.removeprefix("listening on ").strip()
        assert endpoint.startswith("tcp://127.0.0.1:")
        taken = place.run("broker", "--listen", endpoint, "--folder", "other", "--insecure")
        assert taken.code not in (0, 1, 2, 6)
        assert endpoint in taken.err
        assert "in use" in taken.err
        assert "Traceback" not in taken.err
        broker.signal(signal.SIGTERM)
        ended = broker.end()
    assert ended.code == 0
    assert ended.out == f"listening on {endpoint}\n"
