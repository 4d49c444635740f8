"""The broker as a process: how it begins, what keeps it from beginning, and what it leaves behind: nothing."""

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import log, service
from probe import message as m
from tests.support.broker_process import RUN, BrokerProcess, Peer

LOOPBACK = "tcp://127.0.0.1:0"


@pytest.fixture
def short() -> Iterator[Path]:
    """A private folder with a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def refused(*arguments: str) -> str:
    """The one line on standard error with which `python -m broker` gives up."""
    done = subprocess.run([sys.executable, "-m", "broker", *arguments], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_cleanly_on_a_signal(broker: BrokerProcess, number: signal.Signals) -> None:
    assert broker.endpoint.startswith("tcp://127.0.0.1:")
    assert not broker.endpoint.endswith((":0", ":*"))
    with Peer.unit(broker.endpoint) as unit:
        unit.emit(1, "a")
        unit.hear(m.Ack)
        broker.process.send_signal(number)
        assert broker.process.wait(10) == 0
    assert [entry.message.__class__ for entry in log.scan(broker.log)] == [m.Hello, m.Events]


def test_an_ipc_endpoint_gets_a_private_folder_that_is_gone_afterwards(short: Path) -> None:
    bus = short / "circuit" / "bus"
    broker = BrokerProcess(short / "run", listen=f"ipc://{bus}")
    assert broker.endpoint == f"ipc://{bus}"
    assert bus.parent.stat().st_mode & 0o777 == 0o700
    with Peer.unit(broker.endpoint) as unit:
        unit.emit(1, "a")
        assert unit.hear(m.Ack) == m.Ack(2)
    assert broker.stop() == 0
    assert [path.name for path in short.iterdir()] == ["run"]


def test_a_socket_left_by_a_killed_broker_is_taken_over_and_a_living_one_is_not(short: Path) -> None:
    listen = f"ipc://{short}/circuit/bus"
    broker = BrokerProcess(short / "run", listen=listen)
    assert "another process listens there already" in refused("--listen", listen, "--folder", str(short / "other"))
    broker.kill()
    broker.restart()
    with Peer.unit(broker.endpoint):
        pass
    broker.stop()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        line = refused("--listen", endpoint, "--folder", str(tmp_path), "--insecure")
    assert line == f"broker: {endpoint}: Address already in use; end who listens there, or choose port 0"


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("nonsense", "not an endpoint; expected tcp://127.0.0.1:PORT or ipc:///path"),
        ("udp://127.0.0.1:1", "not an endpoint"),
        ("tcp://127.0.0.1", "expected a host and a port"),
        ("tcp://127.0.0.1:99999", "expected a host and a port"),
        ("tcp://127.0.0.1:²", "expected a host and a port"),
        (
            "tcp://127.0.0.1:0",
            "any process that reaches the port could join; make keys with `circuit-run keys new",
        ),
        ("tcp://*:0", "and say --keys DIR, or say --insecure to let every process in"),
        ("ipc://relative/bus", "starts with /"),
        (f"ipc:///tmp/{'x' * 120}", "the system takes 103; choose a shorter folder"),
        ("ipc:///tmp/bus", "/tmp can be entered by others"),
        ("ipc:///nowhere/at/all/bus", "No such file or directory; choose a folder inside one that exists"),
    ],
)
def test_an_endpoint_that_will_not_do_is_one_clear_line(tmp_path: Path, listen: str, why: str) -> None:
    assert why in refused("--listen", listen, "--folder", str(tmp_path))


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for run in ([], ["--run", "r"]):
        line = refused("--listen", LOOPBACK, "--insecure", "--folder", str(tmp_path / "file" / "run"), *run)
        assert line.endswith("choose a folder that you may write to")
    assert "no id of a run" in refused("--listen", LOOPBACK, "--insecure", "--folder", str(tmp_path), "--run", "../up")


def test_a_damaged_log_is_one_clear_line_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b"this is no log at all")
    line = refused("--listen", LOOPBACK, "--insecure", "--folder", str(tmp_path), "--run", "r")
    assert line == f"broker: {path}: not a log of circuit-run"
    assert path.read_bytes() == b"this is no log at all"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--listen"],
        ["--listen", "x", "--colour", "red"],
        ["--listen", LOOPBACK, "--folder", "x", "--lease-fd", "two"],
        ["--listen", LOOPBACK, "--folder", "x", "--insecure", "--keys", "x"],
        ["--listen", LOOPBACK, "--folder", "x", "--keep-bytes", "10GiB"],
        ["--listen", LOOPBACK, "--folder", "x", "--run", "r", "--keep-bytes", "1"],
    ],
)
def test_a_wrong_command_line_shows_the_right_one(arguments: list[str]) -> None:
    assert refused(*arguments).startswith("usage: python -m broker --listen ENDPOINT [--listen")


# --- the lease ---


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "run", lease=True)
    yield broker
    broker.stop()


def test_a_broker_whose_lease_ends_with_no_peer_there_ends(leased: BrokerProcess) -> None:
    leased.end_lease()
    assert leased.process.wait(10) == 0


def test_after_the_lease_units_may_still_say_their_last_words(leased: BrokerProcess) -> None:
    with Peer.unit(leased.endpoint) as unit:
        unit.emit(1, "a")
        unit.hear(m.Ack)
        leased.end_lease()
        unit.emit(2, "b")
        while unit.hear(m.Ack).below < 3:
            pass
        unit.say(m.Final(2))
        for _ in range(10):  # it can be sure to be heard: a broker that leaves takes with it what is not read yet
            unit.hear(m.Ack)
    assert leased.process.wait(10) == 0
    assert [entry.message.__class__ for entry in log.scan(leased.log)] == [m.Hello, m.Events, m.Events, m.Final]


def test_a_broker_whose_starter_is_gone_when_it_listens_serves_all_the_same(tmp_path: Path) -> None:
    heard, said = os.pipe()
    lease, holder = os.pipe()
    argv = [sys.executable, "-m", "broker", "--listen", f"ipc://{tmp_path}/b/bus", "--folder", str(tmp_path)]
    os.close(heard)
    process = subprocess.Popen([*argv, "--run", RUN, "--lease-fd", str(lease)], stdout=said, pass_fds=(lease,))
    for fd in (said, lease):
        os.close(fd)
    with Peer.unit(f"ipc://{tmp_path}/b/bus"):
        pass
    os.close(holder)
    assert process.wait(10) == 0


def test_a_unit_that_has_left_without_a_last_word_is_not_waited_for(leased: BrokerProcess) -> None:
    with Peer.unit(leased.endpoint):
        pass
    leased.end_lease()
    assert leased.process.wait(10) == 0


def test_a_unit_that_never_ends_does_not_keep_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LEASE_LINGER_S", 0.1)
    endpoints: queue.Queue[str] = queue.Queue()
    lease_fd, holder_fd = os.pipe()
    serving = threading.Thread(
        target=service.serve,
        args=([LOOPBACK], tmp_path),
        kwargs={"run": RUN, "insecure": True, "lease_fd": lease_fd, "announce": endpoints.put},
    )
    serving.start()
    with Peer.unit(endpoints.get(timeout=10)):
        os.close(holder_fd)
        serving.join(10)
    os.close(lease_fd)
    assert not serving.is_alive()


def test_it_may_have_as_many_peers_as_the_system_has_files_for(broker: BrokerProcess) -> None:
    limits = Path(f"/proc/{broker.process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard
