"""The limit of open files: said at the start, and not reached by a crowd."""

import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import access, files
from probe import message as m
from tests.support.broker_process import BrokerProcess, Peer
from tests.support.scenarios import poll

NO_ROOM = "127.0.0.1: cut off, the broker has no room for more connections (its limit of open files)"


@contextlib.contextmanager
def limit(count: int) -> Iterator[None]:
    """Processes that are started meanwhile may have `count` open files, and cannot change it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    shell = f'ulimit -n {count}; exec {sys.executable} "$@"'
    with pytest.MonkeyPatch.context() as patch:
        real = subprocess.Popen
        patch.setattr(
            subprocess,
            "Popen",
            lambda argv, **options: real(["/bin/sh", "-c", shell, "sh", *argv[1:]], **options),
        )
        yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def started(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A broker that gives up at the start."""
    argv = [sys.executable, "-m", "broker", "--listen", "tcp://127.0.0.1:0", "--insecure", "--folder", str(folder)]
    return subprocess.run([*argv, *options], capture_output=True, text=True, timeout=30)


def test_a_broker_that_cannot_hold_who_is_expected_says_so_and_does_not_start(tmp_path: Path) -> None:
    with limit(1024):
        done = started(tmp_path, "--run", "r", "--expect-peers", "1000")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "broker: 1000 peers are expected, and this broker can hold about 975 connections: its limit of open files is "
        "1024; raise it with `ulimit -n`, or LimitNOFILE= in its unit file\n"
    )
    done = started(tmp_path, "--run", "r", "--expect-peers", "20000")
    assert done.returncode == 4
    assert "20000 peers are expected, and a broker holds at most 16384; spread them over several" in done.stderr


def test_a_low_limit_is_said_at_the_start_unless_it_is_known_to_be_enough(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with limit(1024):
        assert BrokerProcess(tmp_path).stop() == 0
        assert capfd.readouterr().err.startswith("broker: this broker can hold about 975 connections: its limit of")
        assert BrokerProcess(tmp_path, "--insecure", "--expect-peers", "900").stop() == 0
        assert capfd.readouterr().err == ""
    with limit(4096):
        assert BrokerProcess(tmp_path).stop() == 0
        assert capfd.readouterr().err == ""


def test_a_broker_of_many_runs_keeps_some_files_for_their_logs() -> None:
    assert files.room(4096, many_runs=False) == 4047
    assert files.room(4096, many_runs=True) == 3024
    assert files.room(1024, many_runs=True) == 720
    assert files.room(16, many_runs=False) == 0
    assert files.room(1 << 30, many_runs=True) > access.MAX_PEERS  # one too many hears so after its HELLO


def test_a_crowd_that_does_not_fit_is_cut_off_and_counted_and_who_is_there_is_served(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with limit(64):
        broker = BrokerProcess(tmp_path)
    try:
        host, _, port = broker.endpoint.removeprefix("tcp://").rpartition(":")
        with Peer.unit(broker.endpoint) as unit, contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection((host, int(port))))
            assert poll(lambda: unit.incidents().get(NO_ROOM, 0) >= 100 - files.room(64, many_runs=False))
            unit.emit(1, "fine")
            assert unit.hear(m.Ack) == m.Ack(2)
            held = Path(f"/proc/{broker.process.pid}/fd")
            assert poll(lambda: len(list(held.iterdir())) < 64)
        with Peer.unit(broker.endpoint, incarnation=2):
            pass  # there is room again
    finally:
        assert broker.stop() == 0
    assert "can hold about 15 connections" in capfd.readouterr().err
