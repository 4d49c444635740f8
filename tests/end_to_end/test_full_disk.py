"""Runs on a disk that has next to no room: a small one of its own, in a namespace of mounts that ends with the test."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.scenarios import COMMAND, PATIENCE_S
from tests.support.small_disk import NAMESPACE, why_not

TOML = """
[scenario]
name = "chatter"
timeout = "30s"
[units.first]
entrypoint = "chatter:first"
[units.second]
entrypoint = "chatter:second"
after = ["first"]
service = false
[circuits.said]
path = ["first: said", "second: said"]
instances = 2000
"""
CODE = """
import probe

def first():
    probe.ready()
    for number in range(2000):
        probe.emit("said", key=number)

def second():
    for number in range(2000):
        probe.emit("said", key=number)
"""
SCRIPT = """
mount -t tmpfs -o size=1m tmpfs disk
cp chatter.toml chatter.py disk
cd disk
head -c $((1024 * 1024 - 8192 - {left} * 1024)) /dev/zero > filled
{command} -q chatter.toml > ../printed || code=$?
echo "exit code ${{code:-0}}" >&2
cat .circuit/runs/*/result.json 2> /dev/null || true
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended on such a disk. `result`: what was in result.json, "" where there was none."""

    said: str
    result: str


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    if reason := why_not():
        pytest.skip(reason)
    (tmp_path / "disk").mkdir()
    (tmp_path / "chatter.toml").write_text(TOML)
    (tmp_path / "chatter.py").write_text(CODE)
    return tmp_path


def run_with(left_kib: int, folder: Path) -> Ended:
    script = SCRIPT.format(left=left_kib, command=COMMAND)
    words = [*NAMESPACE, "sh", "-ec", script]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    return Ended(done.stderr, done.stdout)


@pytest.mark.parametrize("left_kib", [8, 16, 32, 48, 96])
def test_a_run_whose_disk_is_full_says_which_one_and_is_judged_as_far_as_it_went(
    left_kib: int, small_disk: Path
) -> None:
    run = run_with(left_kib, small_disk)
    assert "exit code 3" in run.said, run.said
    assert f"the disk mounted at {small_disk}/disk has " in run.said
    assert f"{small_disk}/disk/.circuit/runs/" in run.said
    assert "--runs DIR" in run.said
    assert "Traceback" not in run.said
    if run.result:
        assert json.loads(run.result)["verdict"] == "inconclusive"
    assert bool(run.result) == ("the result is in" in run.said)


def test_a_disk_with_enough_room_is_not_mentioned(small_disk: Path) -> None:
    run = run_with(900, small_disk)
    assert "exit code 0" in run.said, run.said
    assert json.loads(run.result)["verdict"] == "passed"
