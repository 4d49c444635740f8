"""What a result says of the hosts of its run."""

from typing import Any

import pytest

from probe.message import Away, Back, Gone
from runner.core.clocks import Timeline
from runner.core.clocks.remote_clock import STEP_NS
from runner.model.scenario.model import Host
from runner.session.host_results import HostResults

SECOND = 1_000_000_000
LAB, FIELD = Host("lab", ssh="lab"), Host("field", agent=True)
AWAY, BACK, GONE = Away("lab", "is silent"), Back("lab"), Gone("lab", "is silent")


def host_results(*changes: tuple[Any, float]) -> HostResults:
    found = HostResults((LAB, FIELD))
    for change, at_s in changes:
        found.changed(change, int(at_s * SECOND))
    return found


def lab(found: HostResults, now_s: float = 100) -> tuple[str, float]:
    results = {result.name: result for result in found.results(Timeline("desk"), int(now_s * SECOND))}
    return results["lab"].state, results["lab"].away_s


def test_a_run_on_one_host_says_nothing_of_hosts() -> None:
    assert HostResults(()).results(Timeline("desk"), 0) == ()
    assert HostResults(()).notes() == ()


def test_the_runners_own_host_comes_first() -> None:
    hosts = host_results()
    hosts.heard("lab")
    results = hosts.results(Timeline("desk"), 0)
    assert [(result.name, result.state, result.away_s) for result in results] == [
        ("local", "here", 0.0),
        ("lab", "here", 0.0),
        ("field", "awaited", 0.0),
    ]


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ([(AWAY, 10), (BACK, 13)], ("here", 3.0)),
        ([(AWAY, 10), (BACK, 13), (AWAY, 20), (BACK, 20.5)], ("here", 3.5)),
        ([(AWAY, 10), (GONE, 28)], ("gone", 18.0)),
        ([(GONE, 30)], ("gone", 0.0)),
        ([(AWAY, 10), (BACK, 13), (AWAY, 95)], ("away", 8.0)),
    ],
)
def test_how_long_a_host_was_away_is_added_up(changes: list[tuple[Any, float]], stands: tuple[str, float]) -> None:
    assert lab(host_results(*changes)) == stands


def test_a_host_that_came_back_is_worth_a_note_and_one_that_is_gone_is_a_finding_already() -> None:
    assert host_results((AWAY, 10), (BACK, 13)).notes() == (
        "host lab was away for 3 s, and came back; what its units emitted meanwhile has arrived and counts",
    )
    assert host_results((AWAY, 10), (BACK, 13), (AWAY, 20)).notes() == (
        "host lab was away for 3 s, came back, and went away again",
    )
    assert host_results((AWAY, 10), (BACK, 13), (AWAY, 20), (GONE, 40)).notes() == ()
    assert host_results((GONE, 30)).notes() == ()


def test_what_is_known_of_a_hosts_clock_is_reported() -> None:
    timeline = Timeline("desk")
    timeline.join("@lab", 1, "its-boot")
    for stamp in range(STEP_NS, 8 * STEP_NS, STEP_NS):
        bounds = {"low": [[stamp, 5 * SECOND - 100]], "high": [[stamp, 5 * SECOND + 100]], "rtt_ns": 300}
        timeline.report("@lab", 1, stamp + 1, bounds)
    own, other, third = host_results().results(timeline, 0)
    assert (other.offset_ns, other.rtt_ns) == (-5 * SECOND, 300)
    assert 100 <= other.clock_error_ns < 200_000
    assert (own.clock_error_ns, third.clock_error_ns) == (0, 0)
