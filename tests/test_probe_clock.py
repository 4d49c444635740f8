"""Boot ids and incarnation numbers."""

import os
import time

import pytest

from probe import clock


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
