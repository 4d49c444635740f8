"""However a run ends, whichever process is killed and whatever its units do: nothing of it lives or lies about
afterwards."""

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.scenarios import COMMAND, LEAVING_S, Living, Place, place_in, poll

BROKER, SUPERVISOR = "circuit_run broker.__main__ ", "circuit_run runner.adapters.supervisor.supervisor "
SCENARIO = """
    [scenario]
    timeout = "60s"
    [units.talker]
    entrypoint = "units:talker"
    [units.other]
    entrypoint = "units:talker"
    [units.deaf]
    entrypoint = "units:deaf"
    [units.shell]
    command = ["sh", "-c", "trap '' TERM; (trap '' HUP; sleep 1000) & sleep 1001"]
"""
UNITS = """
    import mmap, os, signal, struct
    import probe

    def talker():
        with open(f"{os.environ['CIRCUIT_UNIT']}.said", "w+b") as file:
            file.truncate(8)
            said = mmap.mmap(file.fileno(), 8)
        for number in range(1, 2_000_000):
            probe.emit("said", key=number % 1000)
            struct.pack_into("<Q", said, 0, number)  # survives us, and is never ahead of what was emitted

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            probe.emit("child-up")
        probe.emit("up")
        open("up", "w").close()
        while True:
            signal.pause()
"""
DAEMON = """
    import os, signal
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            kept = {"TMPDIR": os.environ["TMPDIR"]}
            os.execve("/bin/sh", ["sh", "-c", "echo > daemon; exec sleep 1002"], kept)
        os._exit(0)
    os.wait()
"""
"""Leaves its session, its parents and all that its environment said of the run; TMPDIR is how a test finds it."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        place.write(SCENARIO, UNITS)
        (place.folder / "daemon.py").write_text(textwrap.dedent(DAEMON))
        yield place


def under_way(place: Place, living: Living) -> None:
    living.until(lambda: said(place, "talker") > 2000 and said(place, "other") > 2000)
    living.until((place.folder / "up").exists)
    living.until(lambda: sum("sleep 100" in line for line in place.processes().values()) >= 2)


def said(place: Place, unit: str) -> int:
    """How often `emit` has returned in `unit`, by its own count."""
    path = place.folder / f"{unit}.said"
    if not path.exists() or path.stat().st_size < 8:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as words:
        return int(struct.unpack_from("<Q", words)[0])


def pid_of(place: Place, words: str) -> int:
    (pid,) = (pid for pid, line in place.processes().items() if words in f"{line} ")
    return pid


def nothing_lives(place: Place) -> bool:
    return poll(lambda: not place.processes(), LEAVING_S)


@contextmanager
def on_a_terminal_of_its_own(place: Place, *words: str) -> Iterator[Living]:
    """`circuit-run WORDS` as the leader of a terminal's session. SIGKILL for what lives here unplugs the terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", COMMAND, *words],
        cwd=place.folder,
        env=place.environment() | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        living = Living(process, [os.dup(process.stdout.fileno())], place)
        try:
            yield living
        finally:
            living.close()


# --- a process is killed ----------------------------------------------------------------------------------------------


def test_when_the_runner_is_killed_under_load_units_end_within_the_lease_and_all_they_emitted_is_in_the_log(
    place: Place,
) -> None:
    with place.start(".", "--plain") as living:
        under_way(place, living)
        living.signal(signal.SIGKILL)
        run = living.end()
    assert nothing_lives(place), place.processes()
    assert place.left() == []
    assert not any(run.folder.journals.iterdir())
    again = place.run("verify", "--json", "-")
    result = json.loads(again.out)
    assert result["verdict"] == "inconclusive", again.text  # a unit that the crash cut off did nothing wrong
    assert all(finding["inconclusive"] for finding in result["findings"]), result["findings"]
    assert result["evidence"]["lost"] == []
    events = {unit["name"]: unit["events"] for unit in result["units"]}
    for unit in ("talker", "other"):
        assert events[unit] - said(place, unit) in (0, 1)  # it may have been killed before it could count


@pytest.mark.parametrize(
    "victims", [[SUPERVISOR], [BROKER], [SUPERVISOR, BROKER]], ids=["supervisor", "broker", "both"]
)
def test_whichever_process_is_killed_together_with_the_runner_no_process_lives_on(
    place: Place, victims: list[str]
) -> None:
    with place.start(".", "--plain") as living:
        under_way(place, living)
        pids = [living.process.pid, *(pid_of(place, words) for words in victims)]
        for pid in pids:  # so that none has the time to end anything
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        run = living.end()
    assert nothing_lives(place), place.processes()
    assert place.run("verify", run.folder.run).code == 6
    place.write('[units.next]\ncommand = ["true"]\n')
    place.run(".", expect=0)
    assert list(place.temporary.iterdir()) == []  # what no process was left to remove


def test_what_left_its_unit_without_a_trace_is_found_when_the_supervisor_is_killed(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sh", "-c", "python3 daemon.py; sleep 1001"]\n')
    with place.start(".", "--plain") as living:
        living.until((place.folder / "daemon").exists)
        os.kill(pid_of(place, SUPERVISOR), signal.SIGKILL)
        run = living.end()
    assert run.code == 3
    assert "sleep 1002 (pid" in run.text
    assert "outlived the run and was ended" in run.text
    assert place.left() == []


def test_who_waited_for_what_the_run_has_ended_is_not_accused_in_its_place(place: Place) -> None:
    place.write(
        """
        [units.sys]
        entrypoint = "units:begin"
        [units.other]
        entrypoint = "units:follow"
        [circuits.way]
        path = ["sys: a", { probe = "sys: b", within = "30s" }, "other: c"]
        """,
        """
        import os, threading, probe
        def begin():
            if not os.fork():
                os.setsid()
                probe.emit("a", key="k")
                threading.Event().wait()
        def follow():
            try:
                probe.wait("sys: b")
                probe.emit("c", key="k")
            except Exception:
                probe.emit("gave-up")
        """,
    )
    run = place.run(".", expect=1)
    assert {finding["class"] for finding in run.result["findings"]} == {"leftover"}
    assert run.result["circuits"][0]["instances"]["open"] == 1


def test_a_daemon_that_is_ended_with_its_unit_is_not_accused_of_what_it_had_not_done_yet(place: Place) -> None:
    place.write(
        """
        [units.daemon]
        entrypoint = "units:begin"
        [units.client]
        entrypoint = "units:ask"
        after = ["daemon"]
        [circuits.served]
        path = ["client: asked", { probe = "daemon: served", within = "30s" }]
        [circuits.soon]
        path = ["client: asked", "daemon: never"]
        """,
        """
        import os, threading, probe
        def begin():
            if not os.fork():
                os.setsid()
                probe.receive("up")
                threading.Event().wait()
        def ask():
            probe.wait("daemon: up")
            probe.emit("asked", key="k")
        """,
    )
    run = place.run(".", expect=1)
    assert {finding["class"] for finding in run.result["findings"]} == {"leftover"}
    assert [circuit["instances"]["open"] for circuit in run.result["circuits"]] == [1, 1]
    again = json.loads(place.run("verify", "--json", "-", expect=1).out)
    assert again["findings"] == run.result["findings"]


# --- no process is killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        '[units.one]\ncommand = ["python3", "daemon.py"]\n',
        '[scenario]\nsetup = ["python3", "daemon.py"]\n[units.one]\ncommand = ["true"]\n',
    ],
    ids=["unit", "setup"],
)
def test_a_daemon_that_has_cleared_its_traces_is_ended_and_fails_the_run(place: Place, scenario: str) -> None:
    place.write(scenario)
    run = place.run(".", expect=1)
    (finding,) = run.result["findings"]
    assert finding["class"] == "leftover"
    assert finding["message"].startswith("sleep 1002 (pid ")
    assert finding["message"].endswith(" outlived the run and was ended")
    assert place.left() == []
    assert json.loads(place.run("verify", "--json", "-", expect=1).out)["findings"] == [finding]


def test_what_ran_before_in_the_shell_of_the_run_is_left_alone(place: Place) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    shell = subprocess.Popen(
        ["sh", "-c", f"sleep 1003 & (sleep 1004 &) ; exec {COMMAND} . --plain"],
        cwd=place.folder,
        env=place.environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        assert shell.wait() == 0
        assert sorted(place.processes().values()) == ["sleep 1003", "sleep 1004"]
    finally:
        place.clear()
    assert nothing_lives(place)


# --- the terminal goes ------------------------------------------------------------------------------------------------


def test_a_terminal_that_is_unplugged_stops_the_run_and_its_result_is_kept(place: Place) -> None:
    hurried = '    stop_timeout = "100ms"\n'
    place.write(SCENARIO.replace("    [units.shell]", f"{hurried}    [units.shell]") + hurried)
    with on_a_terminal_of_its_own(place, ".") as living:
        under_way(place, living)
        living.signal(signal.SIGKILL)
        run = living.end()
        assert poll(lambda: not place.processes())
    assert {unit["name"]: unit["state"] for unit in run.result["units"]}["talker"] == "stopped"
    assert not any(run.folder.journals.iterdir())


def test_a_terminal_that_is_unplugged_before_the_summary_costs_the_summary_only(place: Place) -> None:
    place.write(
        '[scenario]\ncheck = "units:check"\n[units.one]\ncommand = ["true"]\n',
        """
        import os
        def check(result):
            with open("checking.new", "w") as file:
                file.write(str(os.getppid()))
            os.rename("checking.new", "checking")
            with open("go") as pipe:
                pipe.read()
        """,
    )
    os.mkfifo(place.folder / "go")
    with on_a_terminal_of_its_own(place, ".") as living:
        living.until((place.folder / "checking").exists)
        runner = int((place.folder / "checking").read_text())
        os.kill(runner, signal.SIGSTOP)  # it hears of both when it wakes up: the answer, and the end of the terminal
        (place.folder / "go").write_text("on")
        living.signal(signal.SIGKILL)
        run = living.end()
        os.kill(runner, signal.SIGCONT)
        assert poll(lambda: not place.processes())
    assert run.result["verdict"] in ("passed", "interrupted"), "whichever it hears first"


def test_a_service_that_was_killed_before_it_was_ordered_to_end_is_accused_however_long_its_children_take(
    place: Place,
) -> None:
    place.write(
        """
        [units.service]
        entrypoint = "units:service"
        ready = "up"
        [units.client]
        entrypoint = "units:client"
        after = ["service"]
        """,
        """
        import multiprocessing, os, signal, time
        import probe

        def works():
            while time.process_time() < 1.0: pass

        def service():
            multiprocessing.Process(target=works).start()
            probe.ready("up", pid=os.getpid())
            time.sleep(60)

        def client():
            os.kill(probe.wait("service: up").data["pid"], signal.SIGTERM)
        """,
    )
    assert "service was killed by SIGTERM" in place.run(".", expect=1).text
