"""Marks of processes that keep no journal: each is found afterwards, once its process is gone."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe import environment, marks
from probe.marks import FILE, SIZE, SLOT_BYTES, SLOTS, Marks, Unkept
from runner.adapters.supervisor import unit_process

ONE = Unkept("run-1", "a/strange: unit", 1 << 62, 42, "boot", "it could keep no journal (No space left on device)")
LEAVE = """
import sys
from pathlib import Path
from probe.marks import Marks, Unkept
found = {how}
assert found.leave(Unkept("run", "unit", {incarnation}, {incarnation}, "boot", "why")) is not None
print("left", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Marks]:
    made = Marks.make(tmp_path)
    yield made
    made.close()


def leaver(how: str, incarnation: int = 7, **more: object) -> "subprocess.Popen[bytes]":
    """Another process that has left a mark, and lives."""
    code = LEAVE.format(how=how, incarnation=incarnation)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **more,  # type: ignore[call-overload]
    )
    assert process.stdout.readline() == b"left\n"
    found: subprocess.Popen[bytes] = process
    return found


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def test_a_mark_says_who_and_why_until_it_is_cleared(made: Marks) -> None:
    slot = made.leave(ONE)
    assert slot is not None
    assert list(made.left()) == [(slot, ONE)]
    made.clear(slot)
    assert list(made.left()) == []
    assert made.leave(ONE) == slot


def test_a_slot_is_taken_while_its_process_lives_and_no_longer(tmp_path: Path, made: Marks) -> None:
    living = leaver(f"Marks.make(Path({str(tmp_path)!r}))")
    ((slot, mark),) = made.left()
    assert (mark.incarnation, mark.why) == (7, "why")
    assert not made.take(slot)
    end(living)
    assert made.take(slot)
    made.clear(slot)
    assert not marks.any_in(tmp_path)


def test_a_process_that_cannot_reach_the_folder_leaves_its_mark_by_the_descriptor_that_it_inherited(
    made: Marks,
) -> None:
    found = os.fstat(made.fd)
    variable = f"{made.fd}:{found.st_dev}:{found.st_ino}"
    end(leaver(f"Marks.inherited({variable!r})", pass_fds=[made.fd]))
    ((_, mark),) = made.left()
    assert mark.unit == "unit"


def test_a_descriptor_that_has_become_something_else_is_not_written_to(tmp_path: Path, made: Marks) -> None:
    found = os.fstat(made.fd)
    with (tmp_path / "theirs").open("wb+") as theirs:
        theirs.truncate(SIZE)
        assert Marks.inherited(f"{theirs.fileno()}:{found.st_dev}:{found.st_ino}") is None
    for variable in ("", "x", f"{made.fd}", "-1:0:0", "9999:0:0"):
        assert Marks.inherited(variable) is None


def test_a_mark_takes_no_room_and_no_right_to_write_files(made: Marks) -> None:
    """Of the process that leaves it: the file is whole before it is needed."""
    assert os.fstat(made.fd).st_blocks * 512 >= SIZE
    if (pid := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        os._exit(0 if made.leave(ONE) is not None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    ((_, mark),) = made.left()
    assert mark == ONE


def test_a_child_does_not_have_the_slots_of_its_parent(made: Marks) -> None:
    slot = made.leave(ONE)
    if (pid := os.fork()) == 0:
        os._exit(0 if slot is not None and not made.take(slot) and made.leave(ONE) == slot + 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(made.left())) == 2


def test_when_all_slots_are_used_there_is_no_mark_and_one_that_is_free_again_is_used(made: Marks) -> None:
    slots = [made.leave(ONE) for _ in range(SLOTS)]
    assert slots == list(range(SLOTS))
    assert made.leave(ONE) is None
    made.clear(5)
    assert made.leave(ONE) == 5


def test_a_long_reason_is_cut_and_rubbish_is_no_mark(made: Marks) -> None:
    assert made.leave(ONE._replace(why="x" * 5000)) == 0
    ((_, mark),) = made.left()
    assert mark.unit == ONE.unit
    assert set(mark.why) == {"x"}
    for rubbish in (b"\0", b"\1", b"\xff"):
        os.pwrite(made.fd, (b"CIRCUITU" + rubbish * (SLOT_BYTES - 8)) * SLOTS, 0)
        assert list(made.left()) == []
    os.pwrite(made.fd, b"\xff" * SIZE, 0)
    assert list(made.left()) == []


def test_what_is_no_file_of_marks_is_none(tmp_path: Path) -> None:
    assert Marks.of(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"short")
    assert Marks.of(tmp_path) is None
    assert not marks.any_in(tmp_path)


def test_a_supervisor_makes_the_same_file_without_importing_any_of_this(tmp_path: Path) -> None:
    fd = unit_process.open_marks(str(tmp_path))
    try:
        assert (unit_process.MARKS, unit_process.MARKS_FILE, unit_process.MARKS_BYTES) == (
            environment.MARKS,
            FILE,
            SIZE,
        )
        assert Marks.of_fd(fd) is not None
        assert unit_process.open_marks(str(tmp_path / "gone")) == -1
        assert Marks.of_fd(-1) is None
    finally:
        os.close(fd)
