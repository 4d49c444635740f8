"""A run that lets units from elsewhere join: what it says is all that they need, and its keys do not outlive it."""

import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.adapters import openssh
from runner.adapters.launch import remote_access
from runner.model.errors import UsageError
from tests.support.scenarios import Living, Place, place_in, poll

FAR = """\
[scenario]
name = "far"
timeout = "30s"
[units.here]
entrypoint = "units:here"
[units."far away"]
launcher = "external"
[circuits.call]
path = ["here: asked", "far away: answered"]
instances = 1
"""
CODE = """\
import probe

def here():
    probe.emit("asked", key="1")
    probe.wait("far away: answered", key="1", timeout=30)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def said(run: Living, start: str) -> list[str]:
    """The words behind `start` in the line of the run's output that begins so."""
    pattern = re.compile(rf"^{re.escape(start)}(.*)\n", re.MULTILINE)
    assert poll(lambda: pattern.search(run.out)), run.out
    return shlex.split(pattern.findall(run.out)[0])


def emit(place: Place, env: dict[str, str], unit: str = "") -> "subprocess.CompletedProcess[str]":
    """Another program, on another host as it were, that emits one probe."""
    code = "import probe; probe.emit('answered', key='1')"
    environ = (
        place.environment()
        | {"CIRCUIT_JOURNAL": str(place.folder / "journal")}
        | env
        | ({"CIRCUIT_UNIT": unit} if unit else {})
    )
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30)


def test_only_a_unit_that_has_what_the_run_says_joins_from_another_host(place: Place) -> None:
    place.write(FAR, CODE)
    with place.start("run", ".", "--plain", "--listen", "tcp://127.0.0.1:0") as run:
        env = dict(word.split("=", 1) for word in said(run, "far away joins with: "))
        keys = Path(env["CIRCUIT_KEYS"]).parent
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        assert "may not speak as 'here'" in emit(place, env, unit="here").stderr
        assert poll(lambda: "lets in only who has a key" in emit(place, {**env, "CIRCUIT_KEYS": ""}).stderr), (
            "a broker that hangs up before its reason was read is tried again, and the unit may be over by then"
        )
        with place.start(*said(run, "to look on: circuit-run "), "--plain") as watch:
            watch.until("watching")
            assert emit(place, env).stderr == ""
            assert watch.end().code == 0
        assert run.end().code == 0, run.out
    assert not keys.exists()
    result = place.newest()
    assert '"verdict": "passed"' in result.result.read_text()


def test_keys_of_a_run_whose_runner_was_killed_are_gone_with_its_broker(place: Place) -> None:
    place.write(FAR, CODE)
    with place.start("run", ".", "--plain", "--listen", "tcp://127.0.0.1:0") as run:
        env = dict(word.split("=", 1) for word in said(run, "far away joins with: "))
        keys = Path(env["CIRCUIT_KEYS"]).parent
        assert keys.exists()
        run.signal(signal.SIGKILL)
        run.end()
        assert poll(lambda: not place.processes())
    assert not keys.exists()


@pytest.mark.parametrize("listen", ["nonsense", "ipc:///tmp/x/bus", "tcp://nowhere"])
def test_an_address_that_cannot_be_reached_is_reported_before_anything_starts(listen: str) -> None:
    with pytest.raises(UsageError, match=f"--listen {listen}"):
        remote_access.check(listen)


def test_who_listens_everywhere_is_reached_by_the_name_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "lab-1")
    assert openssh.seen_from("tcp://0.0.0.0:5000", "") == "tcp://lab-1:5000"
    assert openssh.seen_from("tcp://[::]:5000", "") == "tcp://lab-1:5000"
    assert openssh.seen_from("tcp://10.0.0.7:5000", "") == "tcp://10.0.0.7:5000"
