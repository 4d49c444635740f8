"""Python units as real processes: what they may do, and how they tell what went wrong."""

import signal
from pathlib import Path

from probe.event import Kind
from probe.message import Stop
from runner.model.result.unit_status import State
from runner.model.scenario.model import Unit
from tests.support.launch_stage import python, shell, stage


def test_units_begin_in_order_and_their_events_and_output_are_kept(tmp_path: Path) -> None:
    code = """
import probe
import asyncio

def first():
    probe.emit("first-did", key="k")
    print("hello from first")

async def second():
    await asyncio.sleep(0)
    probe.emit("second-did")
"""
    with stage(
        tmp_path, python("first", ready="first-did", service=False), python("second", after=("first",)), code=code
    ) as s:
        end = s.play()
        assert [event.step for event in s.events if event.kind is Kind.DEFAULT] == ["first-did", "second-did"]
        assert {name: (status.state, status.exit_code) for name, status in end.items()} == {
            "first": (State.FINISHED, 0),
            "second": (State.FINISHED, 0),
        }
        assert s.out("first") == "hello from first\n"
        assert s.lifecycle.units.findings() == ()


def test_an_uncaught_exception_is_an_event_and_shows_the_users_frames_only(tmp_path: Path) -> None:
    code = """
def deep():
    raise ValueError("the cup is empty")

def plain():
    deep()

async def in_a_loop():
    deep()
"""
    with stage(tmp_path, python("plain"), python("in_a_loop"), code=code) as s:
        end = s.play()
        for name in ("plain", "in_a_loop"):
            lines = s.err(name).splitlines()
            assert lines[0] == "Traceback (most recent call last):"
            assert [line.rpartition(" in ")[2] for line in lines if line.startswith("  File")] == [name, "deep"]
            assert lines[-1] == "ValueError: the cup is empty"
            assert end[name].exit_code == 1
            (event,) = [e for e in s.events if e.unit == name and e.kind is Kind.EXCEPTION]
            assert (event.step, event.data["message"]) == ("ValueError", "the cup is empty")


def test_entrypoints_that_lead_nowhere_say_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def worker(:\n")
    (tmp_path / "needy.py").write_text("import not_installed_anywhere\n")
    units = {
        "module": "appp:worker",
        "function": "app:wroker",
        "constant": "app:NUMBER",
        "syntax": "wrong:worker",
        "import": "needy:worker",
    }
    found = {}
    for name, entrypoint in units.items():  # one at a time: the first that fails ends the run
        folder = tmp_path / name
        folder.mkdir()
        for file in ("wrong.py", "needy.py"):
            (folder / file).write_text((tmp_path / file).read_text())
        with stage(folder, Unit(name, entrypoint=entrypoint), code="NUMBER = 1\ndef worker(): ...\n") as s:
            end = s.play()
            assert (end[name].state, end[name].exit_code) == (State.FAILED, 1)
            found[name] = s.err(name).replace(str(folder), "HERE")
    assert found["module"] == "entrypoint 'appp:worker': there is no module 'appp' in HERE; did you mean 'app'?\n"
    assert found["function"] == (
        "entrypoint 'app:wroker': module 'app' (HERE/app.py) has no function 'wroker'; did you mean 'worker'?\n"
    )
    assert (
        found["constant"] == "entrypoint 'app:NUMBER': 'NUMBER' in module 'app' (HERE/app.py) is no function but int\n"
    )
    assert found["syntax"].splitlines()[0].strip() == 'File "HERE/wrong.py", line 1'
    assert "SyntaxError" in found["syntax"]
    assert "runner" not in found["import"]
    assert found["import"].splitlines()[1] == '  File "HERE/needy.py", line 1, in <module>'


def test_exit_codes_are_the_units_own(tmp_path: Path) -> None:
    code = """
import os, sys
def three(): sys.exit(3)
def text(): sys.exit("went wrong")
def hard(): os._exit(5)
"""
    with stage(tmp_path, python("three"), python("text"), python("hard"), code=code) as s:
        end = s.play()
        assert {name: status.exit_code for name, status in end.items()} == {"three": 3, "text": 1, "hard": 5}
        assert s.err("text") == "went wrong\n"


def test_sigterm_ends_a_python_unit_as_it_ends_any_program_and_all_that_it_emitted_is_kept(tmp_path: Path) -> None:
    code = """
import asyncio, atexit, threading
import probe

def threaded():
    atexit.register(probe.emit, "atexit")
    threading.Thread(target=threading.Event().wait).start()  # as a consumer that is no daemon
    for number in range(2000):
        probe.emit("did", key=number)
    probe.emit("threaded-up")
    try:
        threading.Event().wait()
    finally:
        probe.emit("finally")

async def loop():
    probe.emit("loop-up")
    try:
        await asyncio.Event().wait()
    finally:
        probe.emit("finally")
"""
    units = (python("threaded", ready="threaded-up"), python("loop", ready="loop-up"))
    with stage(tmp_path, *units, code=code) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        s.order(Stop("threaded", 20_000))
        s.order(Stop("loop", 20_000))
        end = s.play()
        assert {(status.state, status.exit_code) for status in end.values()} == {(State.STOPPED, -signal.SIGTERM)}
        assert s.steps("threaded") == ["did"] * 2000 + ["threaded-up"]
        assert s.steps("loop") == ["loop-up"]
        assert s.err("threaded") == s.err("loop") == ""
        assert s.lifecycle.units.findings() == ()


def test_a_python_unit_ends_as_its_own_handler_of_sigterm_says(tmp_path: Path) -> None:
    code = """
import asyncio, atexit, signal, sys, threading
import probe

def plain():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    atexit.register(probe.emit, "plain-atexit")
    probe.emit("plain-up")
    try:
        threading.Event().wait()
    finally:
        probe.emit("plain-finally")

async def loop():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    probe.emit("loop-up")
    await asked.wait()
    probe.emit("loop-drained")
"""
    with stage(tmp_path, python("plain", ready="plain-up"), python("loop", ready="loop-up"), code=code) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        s.order(Stop("plain", 20_000))
        s.order(Stop("loop", 20_000))
        end = s.play()
        assert {name: status.exit_code for name, status in end.items()} == {"plain": 143, "loop": 0}
        assert {status.state for status in end.values()} == {State.STOPPED}
        assert s.steps("plain") == ["plain-up", "plain-finally", "plain-atexit"]
        assert s.steps("loop") == ["loop-up", "loop-drained"]
        assert s.err("plain") == s.err("loop") == ""


def test_a_python_unit_that_blocks_sigterm_is_not_ended_before_it_lets_it_through(tmp_path: Path) -> None:
    code = """
import os, signal
import probe

def main():
    probe.emit("begins")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
    probe.emit("committed")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    probe.emit("too-late")
"""
    with stage(tmp_path, python("main"), code=code) as s:
        end = s.play()
        assert s.steps("main") == ["begins", "committed"]
        assert end["main"].exit_code == -signal.SIGTERM


def test_the_processes_of_a_unit_are_ended_by_their_parent_as_it_likes(tmp_path: Path) -> None:
    code = """
import os, signal, sys
import probe

def worker():
    end, going = os.pipe()
    if (child := os.fork()) == 0:
        os.close(going)
        os.read(end, 1)
        probe.emit("child-done")
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    probe.ready("up")
    signal.sigwait({signal.SIGTERM})
    os.write(going, b".")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) and 7)
"""
    with stage(tmp_path, python("worker", ready="up", exit_codes=(0,)), code=code) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        s.order(Stop("worker", 20_000))
        end = s.play()
        assert (end["worker"].exit_code, s.err("worker")) == (0, "")
        assert "child-done" in s.steps("worker")


def test_a_shell_that_waits_for_a_command_before_it_obeys_is_not_killed(tmp_path: Path) -> None:
    script = "trap 'circuit-run emit drained; exit 0' TERM; circuit-run emit up; sleep 1000"
    with stage(tmp_path, shell("box", script, ready="up", exit_codes=(0,))) as s:
        s.until(lambda: s.lifecycle.units.all_up)
        s.order(Stop("box", 4_000))
        end = s.play()
        assert (end["box"].exit_code, s.steps("box")) == (0, ["up", "drained"])
        assert s.lifecycle.units.findings() == ()


def test_processes_that_a_unit_starts_find_its_modules_and_end_as_any_process(tmp_path: Path) -> None:
    code = """
import multiprocessing, subprocess, sys, threading
import probe

def work(step):
    probe.emit(step)
    return step

def wait():
    threading.Event().wait()

def parent():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(work, ["spawned-did"]) == ["spawned-did"]
        pool.close()
        pool.join()
    child = multiprocessing.get_context("fork").Process(target=work, args=("forked-did",))
    child.start()
    child.join()
    waiting = multiprocessing.get_context("fork").Process(target=wait)
    waiting.start()
    waiting.terminate()
    waiting.join()
    assert waiting.exitcode == -15, waiting.exitcode
    subprocess.run([sys.executable, "-c", "import app; app.work('sub-did')"], check=True, cwd="/")
"""
    with stage(tmp_path, python("parent"), code=code) as s:
        end = s.play()
        assert (end["parent"].exit_code, s.err("parent")) == (0, "")
        assert sorted(s.steps("parent")) == ["forked-did", "spawned-did", "sub-did"]
        assert s.lifecycle.units.findings() == ()


def test_user_modules_may_have_the_names_of_ours(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("runner", "broker"):
        (tmp_path / f"{name}.py").write_text(f"import probe\ndef main(): probe.emit('{name}-did')\n")
    (tmp_path / "sub" / "deep.py").write_text("import app\ndef main(): app.emit_it()\n")
    units = (
        Unit("runner", entrypoint="runner:main"),
        Unit("broker", entrypoint="broker:main"),
        Unit("deep", entrypoint="deep:main", cwd="sub"),
    )
    with stage(tmp_path, *units, code="import probe\ndef emit_it(): probe.emit('deep-did')\n") as s:
        s.play()
        assert [s.steps(unit.name) for unit in units] == [["runner-did"], ["broker-did"], ["deep-did"]]
