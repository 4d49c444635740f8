"""Processes that can keep no journal: what they emit is in the log, or it is known that it is not known.

Each is a child of a unit that loses the means to write anything down before its first probe, emits, and is killed.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import Place, Run, place_in

SCENARIO = """
    [scenario]
    timeout = "30s"
    [units.main]
    entrypoint = "units:main"
    expect = ["over"]
    [circuits.job]
    path = ["main: begun", "main: worked"]
    instances = ">= 0"
"""
CODE = """
    import os, resource, shutil, signal, subprocess, sys
    import probe
    from probe import units

    def kill_itself():
        os.kill(os.getpid(), signal.SIGKILL)

    def in_child(unable, end=kill_itself):
        if (pid := os.fork()) == 0:
            try:
                unable()
                for n in range(50):
                    probe.emit("job", n=n)
                end()
            finally:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, -9)

    def no_folder():
        os.environ["CIRCUIT_JOURNAL"] = "/dev/null/journals"

    def another_program():
        code = "import os, probe, signal; probe.emit('job'); os.kill(os.getpid(), signal.SIGKILL)"
        os.execve(sys.executable, [sys.executable, "-c", code], {})
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def run(place: Place, body: str, expect: int) -> Run:
    lines = "".join(f"        {line}\n" for line in body.strip().splitlines())
    place.write(SCENARIO, f'{CODE}\n    def main():\n{lines}        probe.emit("over")\n')
    return place.run(".", expect=expect)


def assert_undecided(found: Run, why: str) -> None:
    """Each text that a person reads says that something may be lost, and why."""
    (finding,) = (f for f in found.result["findings"] if f["class"] == "lost-evidence")
    assert (finding["unit"], finding["inconclusive"]) == ("main", True)
    assert why in finding["message"]
    assert found.result["verdict"] == "inconclusive"
    assert "some may be lost" in found.out
    assert "none lost" not in found.out
    assert list(found.folder.journals.iterdir()) == []


@pytest.mark.parametrize(
    ("unable", "why"),
    [
        ("no_folder", "it could keep no journal (Not a directory)"),
        pytest.param("lambda: os.setuid(65534)", "it could keep no journal (Permission denied)", marks=needs_root),
        pytest.param("lambda: os.chroot('empty')", "it could keep no journal (No such file", marks=needs_root),
        ("lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))", "it could keep no journal (File too large)"),
        ("lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))", "it could keep no journal (Too many open files"),
        (
            "lambda: (os.closerange(3, 4096), resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))",
            "it could keep no journal (File too large)",
        ),
        ("another_program", "it was started without the variables of the run (CIRCUIT_BROKER and others)"),
    ],
    ids=[
        "no-folder",
        "another-user",
        "another-root",
        "no-large-files",
        "no-descriptors",
        "no-files-and-closed",
        "no-env",
    ],
)
def test_what_a_child_emits_that_can_keep_no_journal_and_is_killed_leaves_the_verdict_open(
    place: Place, unable: str, why: str
) -> None:
    (place.folder / "empty").mkdir()
    found = run(place, f"in_child({unable})", expect=6)
    assert_undecided(found, why)
    verified = json.loads(place.run("verify", "--json", "-", expect=6).out)
    assert [f["message"] for f in verified["findings"]] == [f["message"] for f in found.result["findings"]]


def test_it_is_reported_while_the_unit_lives_and_holds_nothing_back(place: Place) -> None:
    place.write(
        SCENARIO,
        CODE
        + """
    def main():
        in_child(no_folder)
        probe.emit("begun", key="k")
        probe.emit("worked", key="k")
        while not os.path.exists("end"):
            signal.sigtimedwait([], 0.01)
        probe.emit("over")
    """,
    )
    with place.start(".", "--plain") as living:
        living.until("? lost-evidence: main")
        living.until("first instance complete")
        (place.folder / "end").touch()
        assert living.end().code == 6


def test_one_that_comes_to_its_own_end_loses_nothing(place: Place) -> None:
    found = run(place, "in_child(no_folder, end=lambda: (units.close_all(20), os._exit(0)))", expect=0)
    assert found.result["evidence"]["unknown"] == []


def test_journals_whose_folder_was_removed_are_kept_in_a_new_one(place: Place) -> None:
    found = run(place, "shutil.rmtree(os.environ['CIRCUIT_JOURNAL'])\nin_child(lambda: None)", expect=0)
    assert found.result["evidence"]["recovered"] == 50
    assert found.result["evidence"]["unknown"] == []


def test_one_that_has_no_memory_for_a_journal_either_is_known(place: Place) -> None:
    """Not even memory is there for a journal."""
    unable = "lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))"
    assert_undecided(run(place, f"in_child({unable})", expect=6), "it could keep no journal (Cannot allocate memory)")


def test_many_processes_that_could_not_are_reported_once(place: Place) -> None:
    found = run(place, "for _ in range(5):\n    in_child(no_folder)", expect=6)
    assert_undecided(
        found, "main (5 incarnations) may have lost events, how many is not known: it could keep no journal"
    )


def test_a_program_that_is_ordered_to_be_silent_is(place: Place) -> None:
    code = "import probe; probe.emit('job')"
    body = f"subprocess.run([sys.executable, '-c', {code!r}], check=True, env={{'CIRCUIT_DISABLED': '1'}})"
    assert run(place, body, expect=0).result["evidence"]["unknown"] == []


def test_a_program_that_was_started_without_the_variables_of_the_run_says_so_once(place: Place) -> None:
    code = "import os, probe; [probe.emit('job') for _ in range(3)]; os.fork() or probe.emit('job'); os._exit(0)"
    body = f"subprocess.run([sys.executable, '-c', {code!r}], check=True, env={{}})"
    found = run(place, body, expect=6)
    assert_undecided(found, "it was started without the variables of the run")
    assert found.printed("main").count("was started without the variables of the run") == 1


DAEMON = """
left, right = os.pipe()
begin, let_begin = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os.read(begin, 1)
        {outputs}
        os.set_inheritable(right, True)
        os.execve(sys.executable, [sys.executable, "-c", "import probe; probe.emit('job')"], dict())
    os._exit(0)
os.wait()  # its supervisor has adopted the other one
os.close(right)
os.write(let_begin, b"x")
os.read(left, 1)
"""


def test_one_that_was_started_so_and_has_no_parents_is_known_by_where_it_writes(place: Place) -> None:
    found = run(place, DAEMON.format(outputs=""), expect=6)
    assert_undecided(found, "it was started without the variables of the run")
    assert "incidents" not in found.out


def test_one_of_which_nothing_tells_its_unit_disturbs_nothing(place: Place) -> None:
    outputs = "out = os.open('out', os.O_CREAT | os.O_RDWR); os.dup2(out, 1); os.dup2(out, 2)"
    found = run(place, DAEMON.format(outputs=outputs), expect=0)
    assert "incidents" not in found.out
    assert list(found.folder.journals.iterdir()) == []
    (output,) = place.folder.glob("**/out")
    assert "was started without the variables of the run" in output.read_text()


def test_one_that_says_hello_without_a_journal_and_is_killed_is_known_by_that(place: Place) -> None:
    """It has no descriptor and no folder to leave a mark with, so HELLO is all there is."""
    code = (
        "import os, probe, sys; probe.emit('job', key='first'); sys.stdin.read(); "
        "[probe.emit('job') for _ in range(1000)]; os.kill(os.getpid(), 9)"
    )
    body = f"""
env = dict(os.environ, CIRCUIT_JOURNAL="/dev/null/journals")
child = subprocess.Popen([sys.executable, "-c", {code!r}], env=env, stdin=subprocess.PIPE)
probe.wait("main: job", key="first", timeout=20)
child.stdin.close()
child.wait()
"""
    assert_undecided(run(place, body, expect=6), "it has not said its last word")


FOREIGN = """
    import os, signal, sys
    import zmq
    from probe import message as m, wire

    def main():
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.connect(os.environ["CIRCUIT_BROKER"])
        run, unit = os.environ["CIRCUIT_RUN"], os.environ["CIRCUIT_UNIT"]
        hello = m.Hello(m.VERSION, "unit", run, unit, 1, "boot", os.getpid())
        socket.send_multipart(wire.encode(hello))
        socket.recv_multipart()
        body = b"".join(wire.record_packer()([n, n, "job", 0, str(n), None]) for n in range(1, 101))
        socket.send_multipart(wire.encode(m.Events(1, 100, 100), body))
        if sys.argv[1] == "final":
            socket.send_multipart(wire.encode(m.Final(100)))
        while wire.decode(socket.recv_multipart())[0] != m.Ack(101):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    main()
"""


@pytest.mark.parametrize(("end", "code"), [("final", 0), ("killed", 6)])
def test_of_a_client_in_another_language_everything_is_known_only_if_it_says_final(
    place: Place, end: str, code: int
) -> None:
    place.write(
        f"""
        [units.foreign]
        command = ["python", "units.py", "{end}"]
        exit_codes = [-9]
        [circuits.jobs]
        path = ["foreign: job"]
        instances = {100 if code == 0 else 101}
        """,
        FOREIGN,
    )
    found = place.run(".", expect=code)
    assert [f["class"] for f in found.result["findings"]] == ([] if code == 0 else ["lost-evidence", "count"])
    assert all(f["inconclusive"] for f in found.result["findings"])
