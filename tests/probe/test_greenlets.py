"""Probes in programs whose threads have become greenlets, whenever they became it.

Each program runs in a process of its own: replacing threads cannot be undone. One that stands still fails by its time.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from probe import message as m
from probe.recovery import recover
from tests.support.scenarios import PATIENCE_S, place_in
from tests.support.small_broker import SmallBroker

LIBRARIES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
SPAWN = {"gevent": "import gevent; spawn = gevent.spawn", "eventlet": "import eventlet; spawn = eventlet.spawn"}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def start(broker: SmallBroker, code: str) -> "subprocess.Popen[str]":
    settings = broker.environment()
    variables = {"CIRCUIT_BROKER": settings.broker, "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    environ = {**os.environ, **variables, "CIRCUIT_JOURNAL": settings.journal, "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=environ, stderr=subprocess.PIPE, text=True
    )


def run(broker: SmallBroker, code: str) -> str:
    """The program, to its end; what it wrote to standard error."""
    process = start(broker, code)
    try:
        _, complaints = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, complaints
    return complaints


MOMENTS = {
    "before the import of probe": ["patch", "import", "first"],
    "after the import of probe": ["import", "patch", "first"],
    "after the first probe": ["import", "first", "patch"],
}


@pytest.mark.parametrize("order", MOMENTS.values(), ids=MOMENTS.keys())
def test_threads_may_become_greenlets_at_any_moment(broker: SmallBroker, library: str, order: list[str]) -> None:
    lines = {"patch": LIBRARIES[library], "import": "import probe", "first": 'probe.emit("first")'}
    begin = "\n".join(lines[each] for each in order)
    rest = f"""
import json.tool, os, threading, time  # an import that is under way when the locks are replaced has to end, too
{SPAWN[library]}
def work(name):
    for number in range(20):
        probe.emit(name)
        time.sleep(0.001)
greenlets = [threading.Thread(target=work, args=(name,)) for name in ("one", "other")]
for greenlet in greenlets: greenlet.start()
for greenlet in greenlets: greenlet.join()
pid = os.fork()
probe.emit("parent" if pid else "child")
if not pid:
    from probe.units import close_all
    os._exit(0 if close_all(10) else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
    assert run(broker, begin + rest) == ""
    found = sorted(sorted(record[2] for record in records) for records in broker.records.values())
    assert found == [["child"], ["first", *["one"] * 20, *["other"] * 20, "parent"]]
    assert len(broker.heard(m.Final)) == 2


def test_a_call_that_blocks_leaves_the_other_greenlets_alone(broker: SmallBroker, library: str) -> None:
    code = f"""
{LIBRARIES[library]}
{SPAWN[library]}
import time
import probe
passed = []
def one():
    passed.append(probe.barrier("go"))
    passed.append(probe.wait("other: b").step)
    try:
        probe.wait("other: c", timeout=0.01)
    except probe.errors.WaitTimeout:
        passed.append("gave up")
    probe.emit("done", passed=passed)
import probe.errors
greenlet = spawn(one)
while len(passed) < 3:
    probe.emit("meanwhile")
    time.sleep(0.01)
"""
    process = start(broker, code)
    try:
        for ask, answer in (("go", m.Release("barrier/go/1")), ("wait", None)):
            broker.until(lambda ask=ask: ask in broker.steps())
            before = broker.steps().count("meanwhile")
            broker.until(lambda before=before: broker.steps().count("meanwhile") > before)  # while `one` is blocked
            if answer is None:
                (record,) = (record for record in broker.all_records() if record[2] == "wait")
                answer = m.Release(record[5]["ask"], "other", "b")
            broker.order("unit", answer)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()
    assert [record[5]["passed"] for record in broker.all_records() if record[2] == "done"] == [[None, "b", "gave up"]]


def test_where_pyzmq_cannot_be_loaded_the_journal_has_the_events_and_no_caller_is_kept_waiting(
    broker: SmallBroker,
) -> None:
    complaints = run(
        broker,
        """
        import sys
        sys.modules["zmq"] = None
        import probe, probe.errors
        probe.emit("a")
        try:
            probe.barrier("go")
        except probe.errors.BarrierBroken as broken:
            probe.emit("b", why=broken.why)
        """,
    )
    assert complaints.count("\n") == 1
    assert "unit 'unit' cannot send its events while it lives (ModuleNotFoundError: " in complaints
    (found,) = recover(broker.environment().journal, broker.endpoint, timeout_s=PATIENCE_S)
    assert (found.events, found.problem) == (3, "")
    assert broker.steps() == ["a", "go", "b"]


GREEN = """
from gevent import monkey; monkey.patch_all()
import gevent, probe

def prepare():
    gevent.sleep(0)

def server():
    probe.ready("up")
    probe.wait("client: asked", key="k")
    gevent.spawn(probe.emit, "answered", key="k").join()

def client():
    probe.emit("asked", key="k")

def agree(result):
    gevent.sleep(0)
    return result["verdict"] == "passed"
"""
TOML = """
    [scenario]
    setup = "units:prepare"
    check = "units:agree"

    [units.server]
    entrypoint = "units:server"
    ready = "up"

    [units.client]
    entrypoint = "units:client"
    after = ["server"]

    [circuits.answer]
    path = ["client: asked", "server: answered"]
    instances = 1
"""


def test_the_module_of_an_entrypoint_may_replace_threads_while_it_is_imported(tmp_path: Path) -> None:
    with place_in(tmp_path) as place:
        place.write(TOML, GREEN)
        run = place.run("run", "--plain", expect=0)
        assert run.findings() == []
        assert run.result["evidence"]["lost"] == []
