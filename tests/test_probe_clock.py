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


def test_incarnations_are_unique_and_grow() -> None:
    numbers = [clock.new_incarnation() for _ in range(1000)]
    assert numbers == sorted(set(numbers))
    assert {number & 0xFFFF for number in numbers} == {os.getpid() & 0xFFFF}
    assert abs(numbers[0] - time.time_ns()) < 60e9
