"""User code that the runner calls: in a process of its own, with a clear answer whatever it does."""

import os
import time
from pathlib import Path

import pytest

from runner.adapters.launch import callback
from runner.adapters.launch.callback import Answer
from runner.adapters.start_orders import RunContext
from runner.model.scenario.model import Callback, Scenario
from tests.support.scenarios import poll

CODE = """
import asyncio, os, subprocess, sys, time

def fine(result=None):
    print("seen", result)

def false(result):
    return False

def none(result):
    assert result["verdict"] == "passed"

async def loop(result):
    await asyncio.sleep(0)
    return result["verdict"] == "passed"

def raises(result=None):
    raise KeyError("total")

def leaves(result):
    sys.exit(0)

def complains(result):
    sys.exit("totals differ")

def dies(result):
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)

def prints_and_dies(result):
    print(file=sys.stderr)
    print("last words", flush=True)
    os._exit(8)

def hangs(result):
    subprocess.Popen(["sleep", "1004"])
    time.sleep(1000)

def big(result):
    assert len(result["many"]) == 50_000
"""


def never() -> bool:
    return False


@pytest.fixture
def place(tmp_path: Path) -> RunContext:
    (tmp_path / "checks.py").write_text(CODE)
    return RunContext("ipc:///nowhere", "r", tmp_path)


def checked(place: RunContext, function: str, result: object = None, timeout_s: float = 20.0) -> Answer:
    scenario = Scenario(
        "s",
        str(place.folder),
        "circuit.toml",
        (),
        timeout_ns=int(timeout_s * 1e9),
        check=Callback(f"checks:{function}"),
    )
    return callback.check(scenario, place, result or {"verdict": "passed"}, never)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ["fine", "none", "loop", "leaves"])
def test_a_check_passes_unless_it_raises_or_returns_false(place: RunContext, function: str) -> None:
    assert checked(place, function) == Answer(True)


def test_what_it_prints_is_kept(place: RunContext) -> None:
    checked(place, "fine")
    assert (place.folder / "check.out").read_text() == "seen {'verdict': 'passed'}\n"


def test_a_check_that_does_not_pass_says_how(place: RunContext) -> None:
    assert checked(place, "false") == Answer(False, "returned False")
    raised = checked(place, "raises")
    assert raised.why == "raised KeyError: 'total'"
    assert raised.details[1] == f'  File "{place.folder}/checks.py", line 18, in raises'
    assert not any("runner" in line for line in raised.details)
    assert checked(place, "complains").why == "left with totals differ"
    assert checked(place, "dies") == Answer(False, "ended its process with code 7", ("last words",))
    (place.folder / "check.err").unlink()
    assert checked(place, "prints_and_dies") == Answer(False, "ended its process with code 8", ("last words",))
    misnamed = checked(place, "fien")
    assert "has no function 'fien'; did you mean 'fine'?" in misnamed.why


def test_a_large_result_reaches_it(place: RunContext) -> None:
    assert checked(place, "big", {"many": ["x" * 20] * 50_000}) == Answer(True)


def test_a_check_that_takes_too_long_is_ended_with_all_it_started(place: RunContext) -> None:
    started = time.monotonic()
    assert checked(place, "hangs", timeout_s=0.5) == Answer(False, "did not end within 0.5 s")
    assert time.monotonic() - started < 10
    assert poll(lambda: not _runs("sleep 1004"))  # the system takes a moment for a process that was killed


def test_user_code_can_be_stopped_from_outside(place: RunContext) -> None:
    scenario = Scenario("s", str(place.folder), "circuit.toml", (), check=Callback("checks:hangs"))
    assert callback.check(scenario, place, {}, lambda: _runs("sleep 1004")) == Answer(
        False, "was stopped", stopped=True
    )
    assert poll(lambda: not _runs("sleep 1004"))  # the system takes a moment for a process that was killed


def test_a_setup_may_be_a_function_or_a_command(place: RunContext) -> None:
    answers, printed = {}, ""
    for name, one in {
        "function": Callback("checks:fine"),
        "raising": Callback("checks:raises"),
        "command": Callback(command=("sh", "-c", "echo $MINE")),
        "failing": Callback(command=("sh", "-c", "echo no disk >&2; exit 4")),
        "missing": Callback(command=("no-such-program",)),
        "none": None,
    }.items():
        scenario = Scenario("s", str(place.folder), "circuit.toml", (), setup=one, env={"MINE": "yes"})
        answers[name] = callback.setup(scenario, place, never)
        printed += (place.folder / "setup.out").read_text() if one else ""
        for file in place.folder.glob("setup.*"):
            file.unlink()
    assert answers.pop("raising").why == "raised KeyError: 'total'"
    assert answers == {
        "function": Answer(True),
        "command": Answer(True),
        "failing": Answer(False, "exited with code 4", ("no disk",)),
        "missing": Answer(False, "cannot be started: No such file or directory: no-such-program"),
        "none": Answer(True),
    }
    assert "yes\n" in printed


def _runs(line: str) -> bool:
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip() == line.encode():
                return True
        except OSError:
            continue
    return False
