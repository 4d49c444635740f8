"""What every test stands on: a leak check around each, and the real broker.

Belongs here: fixtures used by several test files. A test that leaves a thread, a process, a socket or an open file
behind fails, and is told what it left.
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from probe import units
from tests.support.broker_process import BrokerProcess, Peer
from tests.support.lab_hosts import Lab, why_not

GRACE_S = 2.0
"""How long a thread or process that is already on its way out may take; nothing sleeps this long when all is well."""

for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if (
        signal.getsignal(_number) is signal.SIG_IGN
    ):  # as in the background of a shell, and under nohup; children inherit it
        signal.signal(_number, _usual)

settings.register_profile("busy", deadline=None)  # an example is not wrong for a machine that is busy
settings.load_profile("busy")


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def _children() -> dict[int, str]:
    """Living processes whose parent is this one: pid -> command line."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
                found[int(pid)] = f"{Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ').strip()} ({state})"
            except OSError:
                continue
    return found


def _files() -> dict[int, str]:
    """Open file descriptors: number -> what they point at, without those the interpreter keeps for itself."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if not target.startswith(("/dev/urandom", "/dev/null")):
            found[int(name)] = target
    return found


def _left(before: tuple[set[threading.Thread], dict[int, str], dict[int, str]]) -> list[str]:
    threads, children, files = before
    return [
        *(f"thread {thread.name}" for thread in _threads() - threads),
        *(f"process {pid}: {line}" for pid, line in _children().items() if pid not in children),
        *(f"file {number}: {target}" for number, target in _files().items() if files.get(number) != target),
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with hosts of their own are skipped, with the reason, where there cannot be any."""
    lab = [item for item in items if item.get_closest_marker("lab")]
    if lab and (reason := why_not()):
        for item in lab:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def no_settings_of_an_earlier_test() -> None:
    """A process keeps to the broker that its first probe found, whatever becomes of its environment; a test is a new
    process to itself."""
    units._settings_at_start = None


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails the test that leaves a thread, a process, a socket or an open file."""
    before = (_threads(), _children(), _files())
    yield
    deadline = time.monotonic() + GRACE_S
    while left := _left(before):
        gc.collect()
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)
        threading.Event().wait(0.01)


@pytest.fixture
def real_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of its own for run "run-1", on a free port of loopback."""
    process = BrokerProcess(tmp_path / "run")
    yield process
    process.stop()


@pytest.fixture
def broker(real_broker: BrokerProcess) -> BrokerProcess:
    """The real one; where a folder of tests has another, its conftest says so."""
    return real_broker


@pytest.fixture
def unit(broker: BrokerProcess) -> Iterator[Peer]:
    """Unit "api", incarnation 1, welcomed."""
    with Peer.unit(broker.endpoint) as peer:
        yield peer


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A desk, lab-1 and lab-2, made for this test alone; for tests marked `lab`."""
    with Lab("lab-1", "lab-2") as hosts:
        yield hosts
