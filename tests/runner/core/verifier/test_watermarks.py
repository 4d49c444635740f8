"""How far the evidence of a unit is complete, through its incarnations; and queues of deadlines."""

from math import inf

from runner.core.verifier import deadlines
from runner.core.verifier.deadlines import Deadlines
from runner.core.verifier.watermarks import Horizon, Watermarks


def test_a_declared_unit_has_no_mark_until_it_says_one() -> None:
    marks = Watermarks(["api"])
    assert marks.marks == {"api": -inf}
    marks.join("api", 1)
    assert marks.marks["api"] == -inf
    marks.advance("api", 1, 5)
    marks.advance("api", 1, 3)
    assert marks.marks["api"] == 5


def test_the_slowest_living_incarnation_decides() -> None:
    marks = Watermarks(["api"])
    for incarnation, stamp in ((1, 50), (2, 30)):
        marks.join("api", incarnation)
        marks.advance("api", incarnation, stamp)
    assert marks.marks["api"] == 30
    marks.join("api", 3)
    assert marks.marks["api"] == -inf
    marks.final("api", 3)
    marks.final("api", 2)
    assert marks.marks["api"] == 50


def test_between_two_lives_a_unit_holds_everything_back_and_ended_nothing() -> None:
    marks = Watermarks(["api"])
    marks.join("api", 1)
    marks.advance("api", 1, 50)
    marks.final("api", 1)
    assert marks.marks["api"] == -inf
    marks.end("api")
    assert marks.marks["api"] == inf
    marks.join("api", 1)  # said again: it stays final
    assert marks.marks["api"] == inf
    marks.join("api", 2)
    assert marks.marks["api"] == -inf


def test_what_a_unit_would_have_emitted_is_known_up_to_the_moment_at_which_it_was_stopped() -> None:
    marks = Watermarks(["api", "worker"])
    marks.end("api")
    assert marks.horizon(["api"]) == Horizon(inf, True)
    marks.end("worker", 30)
    assert (marks.low(["api", "worker"]), marks.horizon(["api", "worker"])) == (inf, Horizon(30, True))
    assert [marks.horizon(["worker"]).decides(due) for due in (30, 31, None)] == [True, False, True]
    assert marks.horizon(["worker"], margin_ns=2) == Horizon(28, True)
    marks.join("worker", 2)  # after all
    assert marks.horizon(["worker"]) == Horizon(-inf, False)
    marks.end("worker")
    assert marks.horizon(["worker"]) == Horizon(inf, True)


def test_what_a_unit_that_was_cut_off_would_have_emitted_without_a_deadline_is_not_known() -> None:
    marks = Watermarks(["api", "worker"])
    marks.end("api")
    marks.end("worker", 30, cut_off=True)
    assert [marks.horizon(["api", "worker"]).decides(due) for due in (30, 31, None)] == [True, False, False]
    assert (marks.over(["api"]), marks.over(["api", "worker"]), marks.over([])) == (True, False, False)


def test_a_mark_does_not_pass_the_last_listing_of_the_hosts_where_the_unit_may_be() -> None:
    marks = Watermarks(["api", "db"])
    marks.place("api", ["@local", "@lab"])
    marks.join("api", 1)
    marks.advance("api", 1, 50)
    assert marks.marks["api"] == 50, "no supervisor lists anything yet, as in a run of an earlier version"
    marks.listed("@local", 30)
    assert marks.marks["api"] == 30
    marks.listed("@local", 20)  # comes again
    marks.listed("@lab", 40)
    assert marks.marks["api"] == 30
    marks.listed("@local", 60)
    assert marks.marks["api"] == 40
    marks.advance("api", 1, 70)
    marks.join("db", 1)
    marks.advance("db", 1, 70)
    assert marks.marks == {"api": 40, "db": 70}
    marks.end("api")
    assert marks.marks["api"] == inf


def test_those_are_behind_who_have_to_say_more() -> None:
    marks = Watermarks(["api", "db"])
    for unit in ("api", "db"):
        marks.place(unit, ["@local"])
        marks.join(unit, 1)
        marks.advance(unit, 1, 50)
    assert marks.behind(["api", "db"], 50) == set()
    assert marks.behind(["api"], 51) == {"api"}
    marks.listed("@local", 40)
    assert marks.behind(["api", "db"], 50) == {"@local"}
    assert marks.behind(["api", "db"], 51) == {"@local", "api", "db"}
    marks.listed("@local", 60)
    marks.join("api", 2)  # it was listed: who has said nothing may be dead
    assert marks.behind(["api", "db"], 50) == {"@local", "api"}


def test_the_low_mark_of_no_units_is_below_everything() -> None:
    assert Watermarks([]).low([]) == -inf
    assert Watermarks(["api"]).low(["api", "stranger"]) == -inf


def test_deadlines_come_up_by_place_and_time_and_only_for_what_is_open() -> None:
    closed: set[str] = set()
    queue: Deadlines[str] = Deadlines(2, lambda item: item not in closed)
    queue.push(30, 0, ["a", "b"])
    queue.push(20, 1, ["c"])
    queue.push(10, 0, ["d"])
    assert queue.next_ns() == 10
    assert sorted(queue.waiting(25)) == [(10, 0), (20, 1)]
    closed.add("d")
    assert queue.next_ns() == 20
    assert queue.due([30, 19], 9) == ["a", "b"]
    assert queue.next_ns() == 20
    closed.add("c")
    assert queue.next_ns() is None
    assert not queue


def test_closed_items_do_not_pile_up() -> None:
    closed: set[int] = set()
    queue: Deadlines[int] = Deadlines(1, lambda item: item not in closed)
    for n in range(300):
        items = list(range(n * 1000, n * 1000 + 1000))
        queue.push(10**9 + n, 0, items)
        closed.update(items[:-1])
    kept = sum(len(items) for heap in queue._heaps for _, _, items in heap)
    assert kept <= 2 * 300 + deadlines.SLACK + 1000
    assert sorted(queue.due([2 * 10**9], 1_000)) == [n * 1000 + 999 for n in range(300)]
