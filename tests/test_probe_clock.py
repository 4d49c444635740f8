"""Boot ids and incarnation numbers."""

import os
import time

from probe import clock


def test_the_boot_id_is_always_the_same() -> None:
    assert clock.boot_id() == clock.boot_id() != ""


def test_incarnations_are_unique_and_grow() -> None:
    numbers = [clock.new_incarnation() for _ in range(1000)]
    assert numbers == sorted(set(numbers))
    assert {number & 0xFFFF for number in numbers} == {os.getpid() & 0xFFFF}
    assert abs(numbers[0] - time.time_ns()) < 60e9
