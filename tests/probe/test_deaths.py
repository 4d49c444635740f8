"""However a process ends: every emit that returned is in the log exactly once, in order.

Each emitter (a thread, a process) counts in a word of its own of a mapped file, raised after each emit has returned; so
the count survives whatever happens to the process. All units die side by side, once under `circuit-run`, whose
supervisor publishes what they could not send, and once with nothing but `recover`.
"""

import mmap
import os
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe import wire
from probe.journal import folders
from probe.message import Events
from probe.recovery import recover
from runner.adapters.history import log_file
from tests.support.broker_process import BrokerProcess
from tests.support.scenarios import PATIENCE_S, place_in

COMMON = """
    import ctypes, faulthandler, mmap, multiprocessing, os, resource, signal, sys, threading, types
    import probe

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tally = open("tally", "r+b")
    words = memoryview(mmap.mmap(tally.fileno(), 0)).cast("Q")
    MANY = 3_000

    def work(slot, count=MANY):
        for number in range(count):
            probe.emit("step", key=str(slot), n=number)
            words[slot] = number + 1

    def for_ever(slot):
        work(slot, 1 << 40)

    def until_it_emits(slot):
        while words[slot] < 100:
            signal.sigtimedwait([], 0.001)

    def in_child(slot, death):
        pid = os.fork()
        if not pid:
            try:
                work(slot)
                death()
            finally:
                os._exit(99)
        return pid

    def kill_itself():
        os.kill(os.getpid(), signal.SIGKILL)

    def thread(target, *args):
        made = threading.Thread(target=target, args=args, daemon=True)
        made.start()
        return made
"""
DEATHS = {
    "killed by -9 in the next instruction": "work(slot); kill_itself()",
    "os._exit": "work(slot); os._exit(0)",
    "a segmentation fault": "work(slot); faulthandler._sigsegv()",
    "os.abort": "work(slot); os.abort()",
    "a C extension that aborts": "work(slot); ctypes.CDLL(None).abort()",
    "a C extension that exits": "work(slot); ctypes.CDLL(None)._exit(0)",
    "killed in the middle of emitting, from another thread": """
        thread(for_ever, slot), thread(for_ever, slot + 1)
        until_it_emits(slot), until_it_emits(slot + 1)
        kill_itself()
    """,
    "sys.exit in threads": """
        def leave(slot):
            work(slot)
            sys.exit(3)
        for one in [thread(leave, slot), thread(leave, slot + 1)]:
            one.join()
        work(slot + 2)
    """,
    "forked children that end by os._exit and by -9": """
        work(slot)
        for pid in [in_child(slot + 1, lambda: os._exit(0)), in_child(slot + 2, kill_itself)]:
            os.waitpid(pid, 0)
        work(slot + 3)
        os._exit(0)
    """,
    "a fork in the middle of another thread's emits, and both killed": """
        thread(for_ever, slot)
        until_it_emits(slot)
        os.waitpid(in_child(slot + 1, kill_itself), 0)
        os.waitpid(in_child(slot + 2, os.abort), 0)
        kill_itself()
    """,
    "an exception in a thread, and one in the main thread, while others emit": """
        def fail(slot):
            work(slot)
            raise RuntimeError("on purpose")
        threading.excepthook = lambda failed: None
        thread(for_ever, slot), thread(for_ever, slot + 1)
        thread(fail, slot + 2).join()
        until_it_emits(slot), until_it_emits(slot + 1)
        raise RuntimeError("on purpose")
    """,
    "a thread that emits while the interpreter shuts down": """
        thread(for_ever, slot)
        until_it_emits(slot)
    """,
    "a finalizer and threads that emit while the interpreter shuts down": """
        class Last:
            def __del__(self):
                work(slot + 3)
        keeper = sys.modules["keeper"] = types.ModuleType("keeper")  # no thread that is stopped holds on to it
        keeper.last = Last()
        for number in range(3):
            thread(for_ever, slot + number)
            until_it_emits(slot + number)
    """,
    "exec of another program": "work(slot); os.execvp('true', ['true'])",
    "exec of a program that is the same unit": """
        work(slot)
        code = f"import units; units.work({slot + 1}); import os; os._exit(0)"
        os.execv(sys.executable, [sys.executable, "-c", code])
    """,
    "terminated children of multiprocessing": """
        begun = []
        for number, method in enumerate(["spawn", "forkserver", "fork"]):
            child = multiprocessing.get_context(method).Process(target=for_ever, args=(slot + number,))
            child.start()
            begun.append(child)
        for number, child in enumerate(begun):
            until_it_emits(slot + number)
            child.terminate()
            child.join()
    """,
    "several units in one process": """
        one, other = probe.unit(os.environ["CIRCUIT_UNIT"] + "-one"), probe.unit(os.environ["CIRCUIT_UNIT"] + "-other")
        for number in range(MANY):
            one.emit("step", key=str(slot), n=number)
            words[slot] = number + 1
            other.emit("step", key=str(slot + 1), n=number)
            words[slot + 1] = number + 1
        kill_itself()
    """,
}
SLOTS = 4
"""Words of each unit."""
NAMES = {death: f"unit-{number}" for number, death in enumerate(DEATHS)}

deaths = pytest.mark.parametrize("death", DEATHS)


def _write(folder: Path) -> None:
    """The module `units`, with a function for each death, and the tally."""
    code = [textwrap.dedent(COMMON)]
    for number, body in enumerate(DEATHS.values()):
        code.append(
            f"def unit_{number}():\n    slot = {number * SLOTS}\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        )
    (folder / "units.py").write_text("\n".join(code))
    (folder / "tally").write_bytes(bytes(8 * SLOTS * len(DEATHS)))


def _counted(folder: Path) -> list[int]:
    with (folder / "tally").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with memoryview(mapped) as plain, plain.cast("Q") as words:
            return words.tolist()


Evidence = tuple[list[int], dict[int, list[int]]]
"""What each emitter counted, and what it said, in the order of the log: by slot."""


def _evidence(folder: Path, log: Path) -> Evidence:
    """A thread that goes on after its unit was closed is the next incarnation, whose way to the log is its own."""
    said: dict[int, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for entry in log_file.entries(log):
        if isinstance(entry.message, Events) and not entry.unit.startswith("@"):
            for record in wire.unpack_records(entry.body):
                if record[2] == "step":
                    said[int(record[4] or 0)][entry.incarnation].append((record[1], record[5]["n"]))
    in_order = {slot: [n for life in sorted(lives.values()) for _, n in life] for slot, lives in said.items()}
    return _counted(folder), in_order


def _check(evidence: Evidence, death: str) -> None:
    counted, said = evidence
    number = list(DEATHS).index(death)
    emitters = [slot for slot in range(number * SLOTS, (number + 1) * SLOTS) if counted[slot]]
    assert emitters, "it never emitted anything"
    for slot in emitters:
        there = said[slot]
        assert there == list(range(len(there))), f"emitter {slot % SLOTS}: not in order, or not once each"
        assert counted[slot] <= len(there) <= counted[slot] + 1, f"emitter {slot % SLOTS}: counted or kept too few"


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("supervised")
    _write(folder)
    units = [f'[units.unit-{number}]\nentrypoint = "units:unit_{number}"\n' for number in range(len(DEATHS))]
    with place_in(folder) as place:
        place.write('[scenario]\nname = "deaths"\ntimeout = "30s"\n' + "\n".join(units))
        run = place.run(".", "--plain")
        assert "timeout" not in run.text, run.text
        yield _evidence(folder, run.folder.log)


@pytest.fixture(scope="module")
def unsupervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("unsupervised")
    _write(folder)
    broker = BrokerProcess(folder / "run")
    journals = folder / "journals"
    try:
        settings = {"CIRCUIT_BROKER": broker.endpoint, "CIRCUIT_RUN": "run-1", "CIRCUIT_JOURNAL": str(journals)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", f"import units; units.unit_{number}()"],
                cwd=folder,
                env=os.environ | settings | {"CIRCUIT_UNIT": f"unit-{number}"},
                stderr=subprocess.DEVNULL,
            )
            for number in range(len(DEATHS))
        ]
        for process in processes:
            process.wait(PATIENCE_S)
        problems = [found.problem for found in recover(journals, broker.endpoint) if found.problem]
        assert problems == []
        assert list(folders(journals)) == []
        yield _evidence(folder, broker.log)
    finally:
        broker.stop()


@deaths
def test_under_a_supervisor_nothing_is_lost_or_said_twice_by(supervised: Evidence, death: str) -> None:
    _check(supervised, death)


@deaths
def test_without_a_supervisor_nothing_is_lost_or_said_twice_by(unsupervised: Evidence, death: str) -> None:
    _check(unsupervised, death)
