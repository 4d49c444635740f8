"""Boot ids, incarnation numbers, and stamps in programs of which a test has replaced the clocks."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probe import clock
from probe.event import Kind
from tests.support.scenarios import COMMAND, Place
from tests.support.small_broker import SmallBroker


def test_the_boot_id_is_always_the_same() -> None:
    assert clock.boot_id() == clock.boot_id() != ""


def test_a_time_namespace_has_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = clock._boot()
    monkeypatch.setattr(os, "readlink", lambda _: "time:[4026531834]")
    assert clock.boot_id.__wrapped__() == usual
    monkeypatch.setattr(os, "readlink", lambda _: "time:[4026532195]")
    assert clock.boot_id.__wrapped__() == f"{usual}/time:[4026532195]"


def test_drift_is_rounded_up_in_both_directions_of_time() -> None:
    assert [clock.drift_ns(ns) for ns in (0, 1, 2_000, 2_001, -1, -1_000_000)] == [0, 1, 1, 2, 1, 500]


def test_incarnations_differ_whatever_the_clock_says_and_carry_the_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    numbers = [clock.new_incarnation() for _ in range(1000)]
    assert len(set(numbers)) == 1000
    assert {number & 0x3FFFFF for number in numbers} == {os.getpid()}
    assert all(0 < number < 1 << 63 for number in numbers)


def test_children_of_one_process_do_not_share_an_incarnation() -> None:
    """Not even one that was forked in the middle of taking a number, and with the state of any pseudo-random source."""
    numbers = set()
    for _ in range(8):
        ours, theirs = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(theirs, b"%d" % clock.new_incarnation())
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(theirs)
        numbers.add(int(os.read(ours, 64)))
        os.close(ours)
    assert len(numbers) == 8


# --- clocks that a test has replaced ---

FREEZE = {
    "freezegun": "from freezegun import freeze_time as freeze",
    "time-machine": "from time_machine import travel as freeze",
    "a mock": """
import contextlib, time
from unittest import mock
@contextlib.contextmanager
def freeze(_):
    with mock.patch("time.monotonic_ns", lambda: 7), mock.patch("time.monotonic", lambda: 7.0):
        yield""",
}
EMITS = """
import threading
{before}
{freeze}
with freeze("{date}"):
    import probe
    from probe.errors import WaitTimeout
    probe.emit("first")
    other = threading.Thread(target=probe.emit, args=("from a thread",))
    other.start()
    other.join()
    try:
        probe.wait("absent: anything", timeout=0.05)  # its patience is measured, too
    except WaitTimeout as error:
        probe.emit(type(error).__name__)
"""


def environment(broker: SmallBroker, **more: str) -> dict[str, str]:
    place = {"CIRCUIT_BROKER": broker.endpoint, "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    return {**os.environ, **place, "CIRCUIT_JOURNAL": str(broker.home / "journal"), **more}


@pytest.mark.parametrize("date", ["2020-01-01", "2050-01-01"])  # the second is beyond 31 bits of seconds
@pytest.mark.parametrize("before", ["import probe", "import zmq"], ids=["probe comes first", "probe comes later"])
@pytest.mark.parametrize("freeze", FREEZE.values(), ids=FREEZE)
def test_stamps_are_those_of_the_host_in_a_program_whose_time_stands_still(
    freeze: str, before: str, date: str, broker: SmallBroker
) -> None:
    begun_ns = time.monotonic_ns()
    code = EMITS.format(freeze=freeze, before=before, date=date)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(broker), timeout=50)
    steps = ["first", "from a thread", "wait", "WaitTimeout"]
    records = broker.all_records()
    assert [record[2] for record in records] == steps
    stamps = [begun_ns, *(record[1] for record in records), time.monotonic_ns()]
    assert stamps == sorted(stamps)


SHIM = """
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t id, struct timespec *now) {{
    int code = (int)syscall(SYS_clock_gettime, id, now);
    if (!code && id == CLOCK_MONOTONIC) {{ {fake}; }}
    return code;
}}
"""
LATER = "now->tv_sec += 1000000"
STILL = "now->tv_sec = 1000000000; now->tv_nsec = 0"


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that tells every process it is preloaded into that it is eleven days later."""
    return _library(tmp_path_factory, LATER)


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One for which time stands still."""
    return _library(tmp_path_factory, STILL)


def _library(tmp_path_factory: pytest.TempPathFactory, fake: str) -> str:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a library that fakes clocks is compiled here: needs Linux and a C compiler, cc")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "clock.c").write_text(SHIM.format(fake=fake))
    library = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "clock.c"], check=True)
    return str(library)


def test_stamps_are_those_of_the_host_where_a_library_fakes_the_clocks_of_the_whole_process(
    shim: str, broker: SmallBroker
) -> None:
    begun_ns = time.monotonic_ns()
    code = "import time, probe; probe.emit('fired', shows=time.monotonic_ns())"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(broker, LD_PRELOAD=shim), timeout=50)
    faked, fired = broker.all_records()
    assert begun_ns < faked[1] < fired[1] < time.monotonic_ns() < fired[5]["shows"]
    assert (faked[2], faked[3], faked[5]) == ("clock-faked", Kind.STATE, {"by": shim})


def test_a_library_that_leaves_the_clocks_alone_costs_nothing_and_is_not_mentioned(broker: SmallBroker) -> None:
    code = "from probe import clock; print(type(clock.monotonic_ns).__name__, repr(clock.FAKED_BY))"
    preloaded = environment(broker, LD_PRELOAD="libpthread.so.0")
    said = subprocess.run([sys.executable, "-c", code], env=preloaded, stdout=subprocess.PIPE, text=True, check=True)
    assert said.stdout.split() == ["builtin_function_or_method", "''"]


PING = """
import probe

def pinger():
    probe.send("ping", key="1")
    probe.wait("ponger: pong")

def ponger():
    probe.wait("pinger: ping")
    probe.emit("pong", key="1")
"""
PING_TOML = """
[scenario]
name = "ping"
[units.pinger]
entrypoint = "units:pinger"
[units.ponger]
entrypoint = "units:ponger"
env = {{ LD_PRELOAD = "{shim}" }}
[circuits.ping]
path = ["pinger: ping", "ponger: pong"]
within = "30s"
instances = 1
"""


def test_a_unit_by_a_faked_clock_is_judged_by_the_hosts_and_the_run_says_so(shim: str, place: Place) -> None:
    place.write(PING_TOML.format(shim=shim), PING)
    (note,) = [note for note in place.run("circuit.toml", expect=0).result["notes"] if "faked" in note]
    assert note.startswith(f"the clocks of ponger are faked by LD_PRELOAD={shim}")


def test_a_unit_whose_whole_process_has_a_clock_that_stands_still_takes_part_as_ever(still: str, place: Place) -> None:
    code = PING.replace("probe.wait(", "[probe.emit('more') for _ in range(500)]; probe.wait(")
    place.write(PING_TOML.format(shim=still), code)
    result = place.run("circuit.toml", expect=0).result
    assert result["evidence"]["recovered"] == 0


def test_a_run_that_could_not_keep_time_does_not_begin(shim: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "run"], cwd=tmp_path, env={**os.environ, "LD_PRELOAD": shim}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert f"LD_PRELOAD={shim} fakes its clocks" in done.stderr
