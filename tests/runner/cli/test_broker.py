"""`circuit-run broker`: what it understands under times and sizes, and that it passes them on."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.broker import _bytes, _seconds
from runner.model.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604_800), ("1d12h", 129_600), ("12h", 43_200), ("1m30s", 90), ("1.5s", 1.5), ("0d1s", 1)],
)
def test_a_time_may_have_days(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "0d", "0s", "-1d", "7days", "1d2d", "²d", "d7"])
def test_what_is_no_time_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(UsageError, match='not a time; write it as "7d"'):
        _seconds(text)


@pytest.mark.parametrize(
    ("text", "count"), [("10GiB", 10 << 30), ("1.5 MiB", 3 << 19), ("1KiB", 1024), ("2TiB", 2 << 40), ("0GiB", 0)]
)
def test_a_size_has_its_unit(text: str, count: int) -> None:
    assert _bytes(text) == count


@pytest.mark.parametrize("text", ["", "10", "10GB", "GiB", "-1GiB", "1e3KiB", "10 gib"])
def test_what_is_no_size_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(UsageError, match='not a size; write it as "500MiB"'):
        _bytes(text)


def test_old_runs_go_when_the_command_says_so(tmp_path: Path) -> None:
    old = tmp_path / "runs" / "old" / "events.log"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * 2048)
    words = ["--listen", "tcp://127.0.0.1:0", "--insecure", "--folder", str(tmp_path / "runs")]
    argv = [sys.executable, "-m", "runner", "broker", *words, "--keep-for", "7d", "--keep-bytes", "1KiB"]
    broker = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert broker.stdout is not None
    broker.stdout.readline()
    broker.terminate()
    _, said = broker.communicate(timeout=10)
    assert said == "broker: removed the run old: it is the oldest of 2 KiB, 1 KiB are kept\n"
    assert not old.parent.exists()
    assert broker.returncode == 0


def test_a_quota_that_is_none_is_refused_with_the_right_form(tmp_path: Path) -> None:
    words = ["--listen", "tcp://127.0.0.1:0", "--insecure", "--folder", str(tmp_path / "runs"), "--quota", "evnets=5"]
    done = subprocess.run(
        [sys.executable, "-m", "runner", "broker", *words], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 4
    assert done.stderr.startswith("broker: 'evnets=5' is no quota; write NAME=NUMBER as in events=100000")
    assert not (tmp_path / "runs").exists()
