"""How far apart the parties of a barrier went on, as they report it."""

import pytest

from runner.core.lockstep import skews as module
from runner.core.lockstep.skews import Skews

MS = 1_000_000


def exact(*_: object) -> int:
    return 0


def test_a_round_is_as_wide_as_from_the_first_to_the_last_that_went_on() -> None:
    skews = Skews()
    for unit, went in (("a", 5 * MS), ("b", 2 * MS), ("c", 9 * MS), ("d", 4 * MS)):
        skews.passed("go", "barrier/go/1", unit, went)
    (result,) = skews.results(exact)
    assert (result.name, result.rounds) == ("go", 1)
    assert result.skew_max_ns == 7 * MS


def test_rounds_count_apart_and_barriers_come_by_name() -> None:
    skews = Skews()
    for barrier, width in (("stop", 1), ("go", 2), ("go", 4), ("go", 6)):
        ask = f"barrier/{barrier}/{width}"
        skews.passed(barrier, ask, "a", 1000 * MS)
        skews.passed(barrier, ask, "b", (1000 + width) * MS)
    go, stop = skews.results(exact)
    assert (go.name, go.rounds, go.skew_max_ns) == ("go", 3, 6 * MS)
    assert 2 * MS <= go.skew_p50_ns <= go.skew_p99_ns <= go.skew_max_ns
    assert (stop.name, stop.rounds, stop.skew_max_ns) == ("stop", 1, MS)


def test_its_error_is_that_of_its_first_and_its_last_and_the_largest_of_all_rounds() -> None:
    asked = []

    def error(first: str, first_ns: int, last: str, last_ns: int) -> int:
        asked.append((first, first_ns, last, last_ns))
        return {"b": 3 * MS, "c": 8 * MS}[last]

    skews = Skews()
    for last, number in (("b", 1), ("c", 2)):
        skews.passed("go", f"barrier/go/{number}", last, 20)
        skews.passed("go", f"barrier/go/{number}", "a", 10)
    (result,) = skews.results(error)
    assert asked == [("a", 10, "b", 20), ("a", 10, "c", 20)]
    assert result.error_ns == 8 * MS


def test_one_that_went_alone_has_no_skew() -> None:
    skews = Skews()
    skews.passed("go", "barrier/go/1", "a", 7)
    (result,) = skews.results(exact)
    assert (result.rounds, result.skew_max_ns) == (1, 0)


def test_a_barrier_that_never_opened_has_no_result() -> None:
    assert Skews().results(exact) == ()


def test_of_very_many_rounds_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", 10)
    skews = Skews()
    for number in range(25):
        skews.passed("go", f"barrier/go/{number}", "a", 0)
        skews.passed("go", f"barrier/go/{number}", "b", number)
    (result,) = skews.results(exact)
    assert (result.rounds, result.skew_max_ns) == (10, 24)
