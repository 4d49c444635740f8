"""A program may close every descriptor it finds, ours too, and use their numbers for files of its own."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from probe import marks
from probe.descriptor import Descriptor
from probe.marks import SIZE, Unkept
from probe.recovery import recover
from probe.wakeup import Wakeup
from tests.support.small_broker import SmallBroker

CLOSES_ALL = """
import os, sys, time, probe
from pathlib import Path
from probe.units import default

def sleeping():
    states = [Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()[0]
              for task in os.listdir("/proc/self/task") if task != str(os.getpid())]
    return default._idle and states and set(states) == {"S"}

probe.emit("begun")
looks = 0
while looks < 20:  # until the sender sleeps: in the middle of its work ZeroMQ would end the process
    looks = looks + 1 if sleeping() else 0
    time.sleep(0.001)
os.closerange(3, 256)
files = [os.open(f"file-{number}", os.O_RDWR | os.O_CREAT) for number in range(60)]
before = [os.fstat(file) for file in files]
for number in range(20_000):
    probe.emit("in-parent", text="x" * 100)
if not os.fork():
    for number in range(100):
        probe.emit("in-child")
    same = [os.path.samestat(os.fstat(file), stat) for file, stat in zip(files, before)]
    os._exit(0 if all(same) else 1)
child = os.waitstatus_to_exitcode(os.wait()[1])
assert default.close(0) is False
print(child, [file for file, stat in zip(files, before) if os.fstat(file) != stat])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_program_that_closes_all_descriptors_keeps_its_own_files_and_loses_no_event(
    broker: SmallBroker, tmp_path: Path
) -> None:
    journals = tmp_path / "journals"
    variables = {"CIRCUIT_BROKER": broker.endpoint, "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    found = subprocess.run(
        [sys.executable, "-c", CLOSES_ALL],
        env=os.environ | variables | {"CIRCUIT_JOURNAL": str(journals)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.stdout == "0 []\n", found.stderr
    assert "Traceback" not in found.stderr
    recover(journals, broker.endpoint)
    assert Counter(record[2] for record in broker.all_records()) == {"begun": 1, "in-parent": 20_000, "in-child": 100}


def test_what_has_become_a_file_of_the_program_is_neither_written_to_nor_closed(tmp_path: Path) -> None:
    wakeup = Wakeup()
    theirs = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    os.dup2(theirs, wakeup.fd)
    assert not wakeup.is_ours
    wakeup.set()
    number = wakeup.fd
    wakeup.close()
    assert os.path.samestat(os.fstat(number), os.fstat(theirs))
    assert os.fstat(theirs).st_size == 0
    os.close(number)
    os.close(theirs)


def test_a_wakeup_that_is_set_is_seen_once() -> None:
    wakeup = Wakeup()
    for _ in range(3):
        wakeup.set()
    assert wakeup.is_ours
    assert os.read(wakeup.fd, 8)
    wakeup.set()
    wakeup.clear()
    with pytest.raises(BlockingIOError):
        os.read(wakeup.fd, 8)
    wakeup.close()
    wakeup.close()
    assert not wakeup.is_ours


def test_a_descriptor_that_was_closed_already_is_not_closed_again(tmp_path: Path) -> None:
    ours = Descriptor(os.open(tmp_path, os.O_RDONLY))
    os.close(ours.fd)
    assert not ours.is_ours
    ours.close()


def test_no_mark_is_written_into_a_file_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_reached", None)
    one, two = (Unkept("run", "unit", number, os.getpid(), "boot", "why") for number in (1, 2))
    left = marks.leave("", tmp_path, one)
    assert left is not None
    theirs = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    os.write(theirs, b"\xff" * SIZE)
    os.dup2(theirs, left.marks.fd)
    left.clear()
    assert marks.leave("", None, two) is None
    assert (tmp_path / "theirs").read_bytes() == b"\xff" * SIZE
    os.close(left.marks.fd)
    os.close(theirs)
