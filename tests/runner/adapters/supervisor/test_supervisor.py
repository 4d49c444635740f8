"""The supervisor as a real process on a real bus: what it starts, what it reports, and that nothing outlives it."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from probe.event import Kind
from probe.message import Start, Stop
from runner.adapters import process_tree
from runner.adapters.supervisor import unit_process
from runner.adapters.supervisor.unit_process import NotStarted
from runner.model.errors import SupervisorFailed
from runner.model.orders import SUPERVISOR
from runner.model.result.unit_status import State
from runner.model.scenario.model import Unit
from tests.support.launch_stage import PATIENCE_S, Stage, python, shell, stage
from tests.support.scenarios import poll


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def exited(s: Stage, unit: str) -> dict[str, object]:
    event = s.said("exited", unit)
    assert event is not None, f"{unit} has not exited: {s.events}"
    return dict(event.data)


def test_a_command_runs_in_the_folder_with_its_environment_and_its_output_is_kept(tmp_path: Path) -> None:
    script = """
        pwd; echo "$MINE $BOTH $CIRCUIT_UNIT $CIRCUIT_RUN"
        command -v circuit-run >/dev/null && echo found
        echo no >&2; exit 3
    """
    (tmp_path / "helper.py").write_text("print('imported')")
    units = (
        shell("talker", script, env={"MINE": "m", "BOTH": "unit"}, exit_codes=(3,)),
        Unit("importer", command=("python", "-c", "import helper"), cwd="/"),
    )
    with stage(tmp_path, *units, env={"BOTH": "scenario"}) as s:
        end = s.play()
        assert s.out("talker") == f"{tmp_path}\nm unit talker {s.place.run}\nfound\n"
        assert (s.err("talker"), exited(s, "talker")["code"]) == ("no\n", 3)
        assert s.out("importer") == "imported\n"
        assert {status.state for status in end.values()} == {State.FINISHED}
        spawned = s.said("spawned", "talker")
        assert spawned is not None
        assert spawned.data["pid"] == end["talker"].pid


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("no program")
    (tmp_path / "text.txt").write_text("no program")
    (tmp_path / "text.txt").chmod(0o755)
    orders = {
        "missing": ("no-such-program", str(tmp_path), {}),
        "file": ("./nowhere", str(tmp_path), {}),
        "folder": ("true", str(tmp_path / "gone"), {}),
        "plain": ("./plain.txt", str(tmp_path), {}),
        "text": ("./text.txt", str(tmp_path), {}),
        "nul": ("tr\0ue", str(tmp_path), {}),
    }
    with stage(tmp_path, *(Unit(name, command=("true",), launcher="external") for name in orders)) as s:
        for name, (program, cwd, env) in orders.items():
            s.order(Start(name, (program,), cwd, env, str(tmp_path / "out"), str(tmp_path / "err")))
        s.order(Start("output", ("true",), str(tmp_path), {}, str(tmp_path / "gone" / "out"), str(tmp_path / "err")))
        s.order(Start("empty", (), str(tmp_path), {}, str(tmp_path / "out"), str(tmp_path / "err")))
        s.until(lambda: s.said("not-started", "empty"), lead=False)
        why = {e.key: e.data["why"].replace(str(tmp_path), "HERE") for e in s.events if e.step == "not-started"}
        assert why == {
            "missing": "command not found: no-such-program; is it installed, and on PATH?",
            "file": "command not found: there is no file ./nowhere in HERE",
            "folder": "its working directory HERE/gone does not exist",
            "plain": "./plain.txt may not be executed; chmod +x, or name its interpreter first",
            "text": "./text.txt is no program: its first line must name an interpreter (#!/bin/sh)",
            "nul": "tr\0ue: embedded null byte",
            "output": "its output cannot be written to HERE/gone/out: No such file or directory",
            "empty": "its command is empty",
        }


def test_a_python_unit_whose_folder_is_missing_did_not_start(tmp_path: Path) -> None:
    with stage(tmp_path, python("lost", cwd="gone"), code="def lost(): ...") as s:
        end = s.play()
        assert end["lost"].why == f"did not start: its working directory {tmp_path}/gone does not exist"
        assert [finding.message for finding in s.lifecycle.units.findings()] == [f"lost {end['lost'].why}"]


def test_an_environment_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    order = Start("big", ("true",), str(tmp_path), {"BIG": "x" * 140_000}, str(tmp_path / "out"), str(tmp_path / "err"))
    with pytest.raises(NotStarted, match="environment are larger than the system allows"):
        unit_process.start(order)


def test_a_flood_on_stderr_is_kept_in_the_file_and_not_in_memory(tmp_path: Path) -> None:
    flood = "head -c 100000000 /dev/zero >&2; printf '\\n\\377\\376 \\033[31mred\\033[0m \\a\\nlast\\n' >&2; exit 1"
    with stage(tmp_path, shell("flood", flood)) as s:
        end = s.play()
        assert (tmp_path / "run" / "units" / "flood.err").stat().st_size > 100_000_000
        tail = exited(s, "flood")["tail"]
        assert isinstance(tail, list)
        assert tail[-2:] == ["�� red ·", "last"]
        assert sum(len(line) for line in tail) <= 4096
        assert end["flood"].state is State.FAILED
        peak_kb = int(Path(f"/proc/{s.supervisor.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        assert peak_kb < 80_000


def test_a_unit_that_ignores_sigterm_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    unit = shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done", stop_timeout_ns=150_000_000)
    with stage(tmp_path, unit) as s:
        s.until(lambda: s.lifecycle.units.all_up and "up" in s.out("deaf"))
        s.lifecycle.stop("the test is over")
        end = s.play()
        silent = s.said("silent-end", "deaf")
        assert silent is not None
        assert silent.data["waited_ms"] >= 150
        assert exited(s, "deaf")["code"] == -9
        assert end["deaf"].why == "did not end within 150 ms of SIGTERM and had to be killed"


def test_stop_reaches_every_process_of_the_group(tmp_path: Path) -> None:
    with stage(tmp_path, shell("family", "sleep 1000 & sleep 1000 & echo up; wait")) as s:
        s.until(lambda: s.lifecycle.units.all_up and "up" in s.out("family"))
        pid = s.lifecycle.units.statuses()[0].pid
        assert pid is not None
        s.order(Stop("family", 5000))
        s.until(lambda: s.said("exited", "family"))
        assert not process_tree.in_group(pid)
        assert "leftover" not in exited(s, "family")


def test_what_a_unit_leaves_behind_is_ended_and_named(tmp_path: Path) -> None:
    code = """
import os, subprocess, sys

def group():
    subprocess.Popen(["sleep", "1001"])

def daemon():
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execvp("sleep", ["sleep", "1002"])

def deaf():
    subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], start_new_session=True)
"""
    with stage(tmp_path, python("group"), python("daemon"), python("deaf"), code=code) as s:
        s.play()
        left = {name: exited(s, name)["leftover"] for name in ("group", "daemon", "deaf")}
        assert [str(left[name]).partition(" (pid")[0] for name in left][:2] == ["['sleep 1001", "['sleep 1002"]
        assert "trap '' TERM" in str(left["deaf"])
        assert [finding.cls.value for finding in s.lifecycle.units.findings()] == ["leftover"] * 3
        assert process_tree.descendants(s.supervisor.pid) == []
        assert {status.state for status in s.lifecycle.units.statuses()} == {State.FINISHED}


@pytest.mark.parametrize(
    "works",
    [
        "import time\nwhile time.process_time() < 0.4: pass",
        """import threading, time
def work():
    while time.process_time() < 0.4: pass
threading.Thread(target=work).start()  # for which the first thread waits""",
    ],
    ids=["alone", "in-a-thread"],
)
def test_what_is_on_its_way_out_when_a_unit_ends_is_not_left_behind(tmp_path: Path, works: str) -> None:
    code = f"""
import subprocess, sys

def main():
    subprocess.Popen([sys.executable, "-c", {works!r}])
"""
    with stage(tmp_path, python("main"), code=code) as s:
        s.play()
        assert "leftover" not in exited(s, "main")


def test_who_is_dead_and_not_reaped_yet_is_not_left_behind() -> None:
    pid = os.fork()
    if not pid:
        os.setsid()
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    one = unit_process.UnitProcess(
        "unit", pid, unit_process.Written("", 0), unit_process.Written("", 0), process_tree.KillOnExit()
    )
    one.has_ended(0, now_s=0.0)
    assert any(one.is_gone([pid], doubtful=False, now_s=1.0) for _ in range(10))
    assert one.leftover == ()
    one.kill_on_exit.close()
    os.waitpid(pid, 0)


def test_when_a_unit_has_exited_everything_it_emitted_is_in_the_log(tmp_path: Path) -> None:
    code = """
import os, signal
import probe

def killed():
    for number in range(2000):
        probe.emit("did", number=number)
        if number == 1999:
            probe.unit("other-name").emit("also")
            os.kill(os.getpid(), signal.SIGKILL)
"""
    with stage(tmp_path, python("killed"), code=code) as s:
        end = s.play()
        assert end["killed"].why.startswith("was killed by SIGKILL")
        places = {(e.unit, e.step): index for index, e in enumerate(s.events)}
        assert s.steps("killed") == ["did"] * 2000
        assert places["killed", "did"] < places[SUPERVISOR, "exited"]
        assert places["other-name", "also"] < places[SUPERVISOR, "exited"]
        assert {"killed", "other-name"} <= s.closed
        assert list((tmp_path / "run" / "journals").glob("killed*")) == []


def test_a_second_life_goes_on_in_the_same_files(tmp_path: Path) -> None:
    script = "echo again; echo problem >&2; [ -e second ] && exit 0; touch second; exit 1"
    with stage(tmp_path, shell("phoenix", script, restart="on-failure")) as s:
        end = s.play()
        assert (end["phoenix"].state, s.lifecycle.units.findings()) == (State.FINISHED, ())
        assert s.out("phoenix") == "again\n--- started again ---\nagain\n"
        assert [e.data["tail"] for e in s.events if e.step == "exited"] == [["problem"], ["problem"]]


def test_the_last_words_are_those_on_stdout_where_nothing_else_was_written(tmp_path: Path) -> None:
    script = "echo first; echo; [ -e second ] && { echo 1 failed in 0.1s; exit 3; }; touch second; exit 1"
    with stage(tmp_path, shell("tests", script, restart="on-failure")) as s:
        s.play()
        reported = [(e.data["tail"], e.data["stream"]) for e in s.events if e.step == "exited"]
        assert reported[:2] == [(["first", ""], "out"), (["first", "", "1 failed in 0.1s"], "out")]
        (finding,) = s.lifecycle.units.findings()
        assert finding.details[-2:] == ("1 failed in 0.1s", f"whole output: {tmp_path}/run/units/tests.out")


def test_an_order_that_comes_twice_starts_one_process(tmp_path: Path) -> None:
    with stage(tmp_path, Unit("one", launcher="external")) as s:
        start = Start("one", ("sleep", "1000"), "/", {}, os.devnull, os.devnull)
        s.order(start)
        s.order(start)
        s.order(Stop("one", 1000))
        s.order(Stop("nobody", 1000))
        s.until(lambda: s.said("exited", "one"), lead=False)
        assert [e.step for e in s.events if e.key == "one"] == ["spawned", "stopping", "exited"]


def test_a_life_that_has_ended_is_not_begun_again_by_an_order_that_comes_late(tmp_path: Path) -> None:
    with stage(tmp_path, python("one"), code="def one(): ...") as s:
        s.play()  # it was started before there was a bus; the order for it comes on the bus, too
        start = Start("one", ("sh", "-c", "exit 7"), "/", {}, os.devnull, os.devnull)
        s.order(start)
        s.order(replace(start, argv=("true",), life=2))
        s.until(lambda: [e.step for e in s.events if e.key == "one"].count("exited") == 2, lead=False)
    assert [e.data["code"] for e in s.events if e.key == "one" and e.step == "exited"] == [0, 0]


# --- the end of the supervisor ----------------------------------------------------------------------------------------

TWO = """
import os, signal, threading
import probe

def polite():
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    probe.emit("up")
    asked.wait()
    probe.emit("polite-end")

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    probe.emit("up")
    threading.Event().wait()
"""


def test_when_the_lease_ends_everything_ends_and_what_was_said_is_in_the_log(tmp_path: Path) -> None:
    with stage(tmp_path, python("polite", ready="up"), python("deaf", ready="up"), code=TWO) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        pids = [status.pid for status in s.lifecycle.units.statuses()]
        s.supervisor.close()
        s.until(lambda: SUPERVISOR in s.closed, lead=False)
        assert not any(alive(pid) for pid in pids if pid is not None)
        assert s.steps("polite") == ["up", "polite-end"]
        assert (exited(s, "polite")["code"], exited(s, "deaf")["code"]) == (0, -9)
        assert s.lifecycle.units.over


def test_sigterm_to_the_supervisor_ends_everything_and_is_reported(tmp_path: Path) -> None:
    with stage(tmp_path, python("polite", ready="up"), code=TWO) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        os.kill(s.supervisor.pid, signal.SIGTERM)
        s.until(lambda: SUPERVISOR in s.closed, lead=False)
        assert exited(s, "polite")["code"] == 0
        assert s.supervisor.wait(PATIENCE_S)
        with pytest.raises(SupervisorFailed, match="it got SIGTERM"):
            s.supervisor.check()


def test_when_the_supervisor_is_killed_the_runner_ends_what_it_started(tmp_path: Path) -> None:
    with stage(tmp_path, python("polite", ready="up"), shell("sh", "sleep 1003"), code=TWO) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        pids = [status.pid for status in s.lifecycle.units.statuses()]
        os.kill(s.supervisor.pid, signal.SIGKILL)
        assert s.supervisor.wait(PATIENCE_S)
        s.supervisor.close()
        assert poll(lambda: not any(alive(pid) for pid in pids if pid is not None))


def test_state_events_name_the_unit_as_their_key(tmp_path: Path) -> None:
    with stage(tmp_path, shell("a", "exit 0")) as s:
        s.play()
        reported = [(e.step, e.key, e.kind) for e in s.events if e.unit == SUPERVISOR]
        assert reported == [("serving", None, Kind.STATE), ("spawned", "a", Kind.STATE), ("exited", "a", Kind.STATE)]
