"""Runs that a person stops, at any moment and in any way: exit code 2, everything ended, the run folder complete."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner.adapters import process_tree
from tests.support.scenarios import COMMAND, PATIENCE_S, Living, Place, Run, place_in, poll

SCENARIO = """
    [scenario]
    timeout = "60s"
    [units.api]
    entrypoint = "units:api"
    ready = "up"
    [units.client]
    entrypoint = "units:client"
    after = ["api"]
    [units.shell]
    command = ["sh", "-c", "sleep 1000 & sleep 1001"]
    [circuits.order]
    path = ["client: sent", "api: got"]
    instances = 2
    [circuits.ping]
    path = ["client: ping", "api: pong"]
"""
UNITS = """
    import os, signal
    import probe

    def api():
        if not os.path.exists("go"):
            signal.pause()
        probe.ready("up")
        probe.wait("client: sent", timeout=50)
        signal.pause()

    def client():
        probe.emit("sent", key="k-1")
        with open("client", "w") as file:
            file.write(str(os.getpid()))
        if os.path.exists("slow-to-leave"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            probe.emit("deaf")
        while True:
            signal.pause()
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        place.write(SCENARIO, UNITS)
        (place.folder / "go").touch()
        yield place


def has_begun(place: Place, living: Living) -> None:
    living.until((place.folder / "client").exists)


def check_stopped(place: Place, run: Run) -> None:
    """What holds whenever a run was interrupted. Nothing is running: `place_in` sees to that too, without patience."""
    assert run.code == 2, run.text
    assert place.processes() == {}
    assert "INTERRUPTED" in run.text
    assert "Traceback" not in run.text
    assert run.result["verdict"] == "interrupted"
    assert run.result["evidence"]["lost"] == []
    assert all(f["inconclusive"] or f["class"] == "unit-failed" for f in run.result["findings"]), run.result["findings"]
    assert not run.folder.endpoint.exists()
    assert not any(run.folder.journals.glob("*"))
    for unit in run.units.values():
        assert unit["state"] in ("stopped", "finished", "failed"), unit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["sigint", "sigterm", "sighup"])
def test_a_signal_while_units_run_stops_them_in_order(place: Place, number: int) -> None:
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        living.signal(number)
        run = living.end()
    check_stopped(place, run)
    assert {name: unit["state"] for name, unit in run.units.items()} == dict.fromkeys(run.units, "stopped")
    order, ping = run.result["circuits"]
    assert (order["instances"]["started"], order["instances"]["open"]) == (1, 1)
    assert ping["instances"]["started"] == 0
    assert order["verdict"] == ping["verdict"] == "inconclusive"


def test_who_looks_at_an_interrupted_run_later_learns_so_and_not_that_it_failed(place: Place) -> None:
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        living.signal(signal.SIGINT)
        run = living.end()
    assert run.result["findings"] == []  # neither a client that has not sent enough yet, nor a ping that never came
    line = run.text[run.text.index("   INTERRUPTED   in ") :].splitlines()[0]
    assert "    1 instance" in line  # still open; the line may be cut
    for command, code in (("show", 0), ("verify", 2)):
        assert "   INTERRUPTED   in " in place.run(command, run.folder.path, expect=code).out
    with closing(sqlite3.connect(place.folder / ".circuit" / "history.db")) as database:
        assert database.execute("select verdict, findings from runs").fetchall() == [("interrupted", 0)]


def test_what_was_wrong_before_an_interruption_stands_beside_it(place: Place) -> None:
    place.write(
        """
        [units.api]
        entrypoint = "units:api"
        [circuits.order]
        path = ["api: sent", { probe = "api: got", within = "1ms" }]
        """,
        """
        import signal, time
        import probe

        def api():
            probe.emit("sent", key="k-1")
            time.sleep(0.1)
            probe.emit("got", key="k-1")
            probe.emit("sent", key="k-2")
            signal.pause()
        """,
    )
    with place.start(".", "--plain") as living:
        living.until("missing: k-2")
        living.signal(signal.SIGTERM)
        run = living.end()
    check = [(found["class"], found["key"], found["inconclusive"]) for found in run.result["findings"]]
    assert check == [("missing", "k-2", False), ("late", "k-1", False)]
    assert (run.code, run.result["verdict"]) == (2, "interrupted")
    assert "INTERRUPTED" in run.text
    assert [c["verdict"] for c in run.result["circuits"]] == ["failed"]


def test_a_signal_while_a_unit_is_awaited_stops_the_run(place: Place) -> None:
    (place.folder / "go").unlink()
    with place.start(".", "--plain") as living:
        living.until("api")
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)
    assert run.units["client"]["events"] == 0


@pytest.mark.parametrize("moment", ["", "scenario.json", "events.log", "broker", "units/api.out", "units/client.out"])
def test_a_signal_at_any_moment_of_the_start_stops_the_run(place: Place, moment: str) -> None:
    with place.start(".", "--plain") as living:
        runs = place.folder / ".circuit" / "runs"
        living.until(lambda: any(runs.glob(f"*/{moment}")))
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)


def test_a_second_signal_ends_a_unit_that_takes_its_time(place: Place) -> None:
    (place.folder / "slow-to-leave").touch()
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        living.until(lambda: (place.newest().path / "events.log").read_bytes().find(b"deaf") > 0)
        living.signal(signal.SIGINT)
        living.until("stopping")
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)
    assert run.units["client"]["exit_code"] == -signal.SIGKILL  # its own patience would have let it leave by itself


def test_an_interruption_ends_the_command_and_not_only_the_scenario(place: Place) -> None:
    with place.start(".", "--plain", "--repeat", "3") as living:
        has_begun(place, living)
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)
    assert len(list((place.folder / ".circuit" / "runs").iterdir())) == 1


@pytest.mark.parametrize("what", ["setup", "check"])
def test_user_code_that_the_runner_calls_can_be_interrupted(place: Place, what: str) -> None:
    place.write(
        f'[scenario]\n{what} = "units:callback"\n[units.one]\ncommand = ["true"]\n',
        "import signal\ndef callback(*_):\n    open('called', 'w').close()\n    signal.pause()\n",
    )
    with place.start(".", "--plain") as living:
        living.until((place.folder / "called").exists)
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)
    assert run.result["run"] == run.folder.run
    assert [f["message"] for f in run.result["findings"]] == [f"{what} units:callback was stopped"]
    assert "   INTERRUPTED   in " in place.run("verify", run.folder.path, expect=2).out


def test_a_check_is_not_called_with_a_run_that_was_interrupted_before(place: Place) -> None:
    place.write(
        """
        [scenario]
        check = "units:callback"
        [units.one]
        command = ["sleep", "60"]
        """,
        "def callback(result):\n    open('called', 'w').close()\n",
    )
    with place.start(".", "--plain") as living:
        living.until("running")
        living.signal(signal.SIGINT)
        run = living.end()
    check_stopped(place, run)
    assert not (place.folder / "called").exists()
    assert run.result["findings"] == []


def test_q_in_the_live_view_stops_the_run(place: Place) -> None:
    with place.terminal(".") as (living, press):
        has_begun(place, living)
        living.until("client")
        press("q")
        run = living.end()
    check_stopped(place, run)
    assert "\x1b[?25h" in run.out  # the cursor is back


def test_ctrl_c_on_the_terminal_stops_the_run_once(place: Place) -> None:
    with place.terminal(".") as (living, _):
        has_begun(place, living)
        living.until("client")
        os.killpg(living.process.pid, signal.SIGINT)  # what a terminal does: to everything in the foreground
        run = living.end()
    check_stopped(place, run)
    assert {unit["state"] for unit in run.units.values()} == {"stopped"}


def test_a_supervisor_that_dies_ends_the_run_with_an_error(place: Place) -> None:
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        (victim,) = (
            pid for pid, line in place.processes().items() if " runner.adapters.supervisor.supervisor " in line
        )
        os.kill(victim, signal.SIGKILL)
        run = living.end()
    assert run.code == 3, run.text
    assert "the supervisor ended with code -9" in run.text
    assert "Traceback" not in run.text
    assert place.processes() == {}
    assert f"what came until then is kept: circuit-run verify {run.folder.run}\n" in run.text
    assert place.run("verify", run.folder.run).code != 0


@pytest.mark.parametrize("who", [" broker.__main__ ", " runner.adapters.supervisor.supervisor "])
def test_a_person_who_insists_is_obeyed_though_broker_or_supervisor_stands_still(place: Place, who: str) -> None:
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        (part,) = (pid for pid in process_tree.children(living.process.pid) if who in process_tree.title(pid))
        os.kill(part, signal.SIGSTOP)
        living.signal(signal.SIGINT)
        living.until("stopping")
        living.signal(signal.SIGINT)
        run = living.end()
    assert run.code == 2, run.text
    assert "had ended 3 s after the second interruption" in run.text
    assert "circuit-run verify" in run.text
    assert place.processes() == {}


def test_a_supervisor_that_was_ended_is_no_success_of_the_run(place: Place) -> None:
    with place.start(".", "--plain") as living:
        has_begun(place, living)
        (supervisor,) = (
            pid for pid in process_tree.children(living.process.pid) if ".supervisor" in process_tree.title(pid)
        )
        os.kill(supervisor, signal.SIGTERM)
        run = living.end()
    assert run.code == 3, run.text
    judged = place.run("verify")
    assert judged.code != 0, judged.text
    assert "the log ends before the run did" in judged.text


def test_an_interruption_while_the_command_is_still_loading_is_one(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import signal\nprint('loading', flush=True)\nsignal.pause()\n")
    with subprocess.Popen(
        [sys.executable, str(COMMAND)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (2, b"")


def test_an_output_that_is_not_read_does_not_delay_an_interruption(place: Place) -> None:
    """As a pager does that has not been scrolled."""
    place.write('[units.flood]\ncommand = ["yes", "on and on"]\n', "")
    reader, writer = os.pipe()
    full = select.poll()
    full.register(writer, select.POLLOUT)
    command = [COMMAND, ".", "--verbose", "--plain"]
    with subprocess.Popen(command, cwd=place.folder, env=place.environment(), stdout=writer, stderr=writer) as run:
        try:
            assert poll(lambda: not full.poll(0)), "there is more to say than is read"
            run.send_signal(signal.SIGINT)
            assert run.wait(PATIENCE_S) == 2
        finally:
            run.kill()
            os.close(writer)
            os.close(reader)
    assert '"verdict": "interrupted"' in place.newest().result.read_text()
