"""Processes that run out of memory, descriptors or threads: said in a sentence, and no program ends for its probes."""

import errno
import os
import resource
import shutil
import subprocess
import sys

import pytest

from probe import shortage
from tests.support.scenarios import COMMAND, PATIENCE_S, Place, poll
from tests.support.small_broker import SmallBroker


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "no memory left"),
        (OSError(errno.ENOMEM, "x"), "no memory left"),
        (OSError(errno.EMFILE, "x"), "no more files (`ulimit -n` is"),
        (OSError(errno.ENFILE, "x"), "the system has too many open"),
        (BlockingIOError(errno.EAGAIN, "x"), "no more threads or processes"),
        (RuntimeError("can't start new thread"), "no more threads or processes"),
        (RuntimeError("something else"), ""),
        (FileNotFoundError(errno.ENOENT, "x"), ""),
    ],
)
def test_what_there_is_too_little_of_is_said_with_its_limit(error: Exception, words: str) -> None:
    assert words in shortage.why(error)
    assert bool(words) == bool(shortage.why(error))


def test_asking_takes_nothing() -> None:
    before = os.listdir("/proc/self/fd")
    shortage.ask_for_a_bus()
    assert os.listdir("/proc/self/fd") == before


LIMITED = """
import os, resource, sys
import probe
{limit}
for number in range(10):
    probe.emit("step", key=number)
print("went on")
"""
FILES = """
taken = [os.open("/dev/null", os.O_RDONLY) for _ in range({taken})]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + {spare},) * 2)
"""
MEMORY = """
import probe.link, zmq, threading
threading.stack_size(64 << 20)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (24 << 20),) * 2)
"""


@pytest.mark.parametrize(
    "limit",
    [*(FILES.format(taken=taken, spare=spare) for taken, spare in ((0, 3), (40, 8), (0, 14))), MEMORY],
    ids=["no file at all", "hardly a file", "too few for the bus", "no thread"],
)
def test_a_program_at_its_limits_goes_on_and_hears_what_becomes_of_its_events(limit: str, broker: SmallBroker) -> None:
    variables = {
        "CIRCUIT_BROKER": broker.endpoint,
        "CIRCUIT_UNIT": "unit",
        "CIRCUIT_JOURNAL": str(broker.home / "journal"),
    }
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(limit=limit)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    assert "probe: " in done.stderr
    assert "Traceback" not in done.stderr
    if "cannot send its events while it lives" in done.stderr and "in memory only" not in done.stderr:
        assert "`ulimit" in done.stderr
        assert list((broker.home / "journal").glob("unit-*/*.segment"))


@pytest.mark.parametrize("descriptors", [8, 12, 16, 24, 40])
def test_a_run_that_may_open_too_few_files_says_so(descriptors: int, place: Place) -> None:
    place.write('[scenario]\nname = "few"\n[units.one]\ncommand = ["true"]\n')
    done = subprocess.run(
        [COMMAND, "-q", "circuit.toml"],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
    )
    assert done.returncode == 3
    assert "ulimit -n" in done.stderr or "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


SQUEEZED = """
import os, resource
import probe

def one():
    probe.wait("two: up")
    supervisor = os.getppid()
    runner = int(open(f"/proc/{supervisor}/stat").read().rpartition(")")[2].split()[1])
    {limit}
    probe.emit("squeezed")

def two():
    probe.ready("up")
    probe.wait("one: squeezed")
"""
LIMITS = {
    "memory": "resource.prlimit(runner, resource.RLIMIT_AS, "
    "(int(open(f'/proc/{runner}/statm').read().split()[0]) * resource.getpagesize(),) * 2)",
    "files": "resource.prlimit(runner, resource.RLIMIT_NOFILE, (len(os.listdir(f'/proc/{runner}/fd')),) * 2)",
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_runner_that_is_squeezed_in_the_middle_of_a_run_ends_with_a_sentence(what: str, place: Place) -> None:
    units = '[units.one]\nentrypoint = "units:one"\n[units.two]\nentrypoint = "units:two"\nready = "up"\n'
    check = 'check = "units:check"\n'
    place.write(f'[scenario]\nname = "squeezed"\n{check}{units}', SQUEEZED.replace("{limit}", LIMITS[what]))
    run = place.run("circuit.toml")
    by_libc = "cannot allocate memory for thread-local data: ABORT"  # which ends the process, and does not ask
    assert run.code in (0, 1, 3, 6) or (run.code == 127 and by_libc in run.text), run.text
    if run.code == 127:  # ended as by SIGKILL: the next run here sweeps its folder
        assert poll(lambda: not place.processes())
        for path in place.temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "Traceback" not in run.err
    if run.code == 3:
        assert "ulimit" in run.err or "memory" in run.err or "Too many open files" in run.text
