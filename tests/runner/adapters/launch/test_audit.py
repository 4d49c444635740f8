"""What the audit takes for a run's, and what it does about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe.environment import JOURNAL, RUN
from runner.adapters import process_tree
from runner.adapters.launch.audit import Audit, belonging
from runner.adapters.process_tree import KillOnExit, Process
from tests.support.scenarios import poll

RUNNER, SHELL = 100, 90
"""The runner, and the session that it and what was started in its shell belong to."""
OF_THE_RUN = f"HOME=/\0{RUN}=r1\0{JOURNAL}=/runs/r1/journals\0".encode()


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        ([Process(1, 0, 1), Process(RUNNER, 1, SHELL), Process(7, 1, 7)], []),
        ([Process(RUNNER, 1, SHELL, OF_THE_RUN)], []),  # a run inside of a run
        ([Process(7, RUNNER, 7), Process(8, 7, 7), Process(9, 8, 9)], [7, 8, 9]),  # with all that is below it
        ([Process(7, 1, 7, OF_THE_RUN)], [7]),  # it has another parent now
        ([Process(7, 1, 7, f"{RUN}=r1\0".encode())], []),  # another user's run of the same name
        ([Process(7, 1, 7, OF_THE_RUN.replace(b"=r1\0", b"=r11\0"))], []),
        ([Process(7, 1, 7, b"X=" + OF_THE_RUN.replace(b"\0", b" "))], []),  # it only speaks of it
        ([Process(5, RUNNER, 5), Process(6, 5, 6)], []),  # children that the runner had before
        ([Process(7, RUNNER, SHELL)], []),  # of the shell that became the runner
    ],
)
def test_a_process_is_of_the_run_by_its_environment_or_by_its_parents(
    processes: list[Process], found: list[int]
) -> None:
    assert belonging(processes, "r1", Path("/runs/r1/journals"), RUNNER, SHELL, frozenset({5})) == found


def test_processes_are_seen_with_parent_session_and_environment() -> None:
    child = subprocess.Popen(["sleep", "1010"], env={"A": "b"}, start_new_session=True)
    try:
        assert poll(lambda: Path(f"/proc/{child.pid}/environ").read_bytes() != b"", 5), "its program has begun"
        (seen,) = (process for process in process_tree.processes() if process.pid == child.pid)
        assert (seen.parent, seen.session) == (os.getpid(), child.pid)
        assert seen.was_given("A", "b")
        assert not seen.was_given("A", "")
        assert (seen.variable("A"), seen.variable("B")) == ("b", "")
    finally:
        child.kill()
        child.wait()
    assert child.pid not in [process.pid for process in process_tree.processes()]


def test_what_is_left_is_named_and_ended_or_removed_and_evidence_is_kept(tmp_path: Path) -> None:
    journals, temporary = tmp_path / "journals", tmp_path / "temporary"
    audit = Audit("r1", journals, "r1")
    audit.must_go(temporary)
    (journals / "api-17").mkdir(parents=True)
    temporary.mkdir()
    (temporary / "bus").touch()
    orphan = "import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', ['sleep', '1011'])"
    subprocess.run([sys.executable, "-c", orphan], start_new_session=True, check=True)
    process, folder, journal = audit.over()
    assert process.sentence.startswith("sleep 1011 (pid ")
    assert process.sentence.endswith("outlived the run and was ended")
    assert folder.sentence == f"{temporary} was left behind and was removed"
    assert not temporary.exists()
    assert journal.evidence
    assert "api-17" in journal.sentence
    assert "circuit-run recover r1" in journal.sentence
    assert (journals / "api-17").exists()
    assert [left.evidence for left in (process, folder)] == [False, False]
    assert Audit("r1", tmp_path / "none", "r1").over() == ()


def test_recover_is_not_advised_for_what_it_cannot_publish(tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    (journals / "api-17").mkdir(parents=True)
    (journals / "api-17" / "000001.segment").write_bytes(b"rubbish" * 1000)
    (journals / "notes").write_text("mine")
    (left,) = Audit("r1", journals, "r1").over()
    assert left.evidence
    assert f"what cannot be read is left of journals (api-17, notes in {journals}); delete it" in left.sentence
    assert "circuit-run recover" not in left.sentence


def test_a_group_that_is_bound_ends_with_its_pipe_and_with_the_process_that_holds_it() -> None:
    script = "trap '' TERM HUP; sleep 1012 & sleep 1013"
    kill_on_exit = KillOnExit()
    child = subprocess.Popen(["sh", "-c", script], pass_fds=kill_on_exit.inherited, start_new_session=True)
    kill_on_exit.bind(child.pid)
    assert poll(lambda: len(process_tree.children(child.pid)) == 2)
    assert child.poll() is None
    kill_on_exit.close()
    kill_on_exit.close()
    assert child.wait() == -9
    assert poll(lambda: all_dead(child.pid))

    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, signal; from runner.adapters.process_tree import KillOnExit; bond = KillOnExit();"
            "child = subprocess.Popen(sys.argv[1:], pass_fds=bond.inherited, start_new_session=True);"
            "bond.bind(child.pid); print(child.pid, flush=True); signal.pause()",
            "sh",
            "-c",
            script,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    with holder.stdout:
        group = int(holder.stdout.readline())
        assert not all_dead(group)
        holder.kill()
        holder.wait()
    assert poll(lambda: all_dead(group))


def all_dead(group: int) -> bool:
    return not any(process.session == group for process in process_tree.processes())
