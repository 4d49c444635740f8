"""Forks: whatever runs first in a child, its events are the child's, and so is its clock."""

import ctypes
import os
import subprocess
import sys

import pytest

from probe import message as m
from tests.support.small_broker import SmallBroker


def run(broker: SmallBroker, code: str) -> list[list[str]]:
    """What each incarnation of the program `code` has said, in the order of their first words."""
    found = broker.environment()
    variables = {"CIRCUIT_BROKER": found.broker, "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    environ = {**os.environ, **variables, "CIRCUIT_JOURNAL": found.journal}
    finished = subprocess.run([sys.executable, "-c", code], env=environ, timeout=60, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    return sorted([record[2] for record in records] for records in broker.records.values())


EARLY = """
import os

def hook():
    import probe
    {what}

os.register_at_fork({when}=hook)
import probe
from probe.units import close_all
probe.emit("before")
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        probe.emit("child")
        assert close_all(10)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
probe.emit("after")
"""


@pytest.mark.parametrize(
    "what",
    ["probe.emit('hook')", "probe.emit('hook', odd=object)", "probe.error('hook')", "probe.unit('unit').emit('hook')"],
)
def test_what_a_hook_of_the_program_emits_in_a_child_is_the_childs(broker: SmallBroker, what: str) -> None:
    """One that was registered before probes were imported runs before ours."""
    found = run(broker, EARLY.format(what=what, when="after_in_child"))
    assert found == [["before", "after"], *[["hook", "child"]] * 3]


@pytest.mark.parametrize("when", ["before", "after_in_parent"])
def test_what_a_hook_of_the_program_emits_in_the_parent_is_the_parents(broker: SmallBroker, when: str) -> None:
    found = run(broker, EARLY.format(what="probe.emit('hook')", when=when))
    assert found == [["before", "hook", "hook", "hook", "after"], *[["child"]] * 3]


def test_a_hook_may_emit_in_a_child_while_threads_of_the_parent_emit_and_fork(broker: SmallBroker) -> None:
    found = run(
        broker,
        """
import os, threading

def hook():
    import probe
    probe.emit("hook")

os.register_at_fork(after_in_child=hook)
import probe
from probe.units import close_all
stop = threading.Event()

def emit():
    while not stop.is_set():
        probe.emit("parent")

def fork():
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            assert close_all(10)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

emitters = [threading.Thread(target=emit) for _ in range(2)]
forkers = [threading.Thread(target=fork) for _ in range(3)]
for thread in emitters + forkers: thread.start()
for thread in forkers: thread.join()
stop.set()
for thread in emitters: thread.join()
assert "lock" in vars(probe.emit.__self__) and type(probe.emit.__self__).__base__.__name__ == "Recorder"
""",
    )
    assert found[:15] == [["hook"]] * 15
    assert [set(said) for said in found[15:]] == [{"parent"}]


CLONE_NEWTIME = 0x80


def may_make_time_namespaces() -> bool:
    """Asked in a child: a process that asks has one for its children afterwards."""
    if (pid := os.fork()) == 0:
        os._exit(ctypes.CDLL(None).unshare(CLONE_NEWTIME) != 0)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(sys.platform != "linux" or not may_make_time_namespaces(), reason="needs the right to unshare time")
def test_a_child_in_another_time_namespace_has_another_clock(broker: SmallBroker) -> None:
    run(
        broker,
        """
import ctypes, os, probe
from probe.units import close_all
probe.emit("before")
assert ctypes.CDLL(None).unshare(0x80) == 0
with open("/proc/self/timens_offsets", "w") as offsets:
    offsets.write("monotonic 100000 0\\n")
pid = os.fork()
if pid == 0:
    probe.emit("child")
    assert close_all(10)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    )
    hosts = {hello.incarnation: hello.host for hello in broker.heard(m.Hello)}
    assert len(set(hosts.values())) == len(hosts) == 2


def test_a_copy_of_the_package_that_the_program_has_thrown_away_goes_on_in_a_child(broker: SmallBroker) -> None:
    found = run(
        broker,
        """
import os, sys, probe
from probe.units import close_all
def go(say, close):
    pid = os.fork()
    if pid == 0:
        say("child")
        assert close(10)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
probe.emit("before")
for name in [name for name in sys.modules if name.partition(".")[0] == "probe"]:
    del sys.modules[name]
go(probe.emit, close_all)
import probe as other
assert other.emit.__self__ is not probe
other.emit("other")
from probe.units import close_all as close_others
go(probe.emit, close_all)
go(other.emit, close_others)
""",
    )
    assert found == [["before"], ["child"], ["child"], ["child"], ["other"]]
