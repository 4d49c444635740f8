"""The live view: what stands where, at any width."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from runner.adapters.terminal.rows import Page, histogram, rows
from runner.adapters.terminal.snapshot import Snapshot
from runner.core.report.text import ALERT, GOOD, Line, plain
from runner.model.result.result import (
    UNKNOWN,
    CircuitResult,
    Finding,
    FindingClass,
    Hop,
    InstanceCounts,
    Latency,
    Quantiles,
    Verdict,
)
from runner.model.result.unit_status import State, UnitStatus
from tests.support.runner_view_samples import (
    CROWDED,
    HOPS,
    HOSTS,
    INCIDENTS,
    MISSING,
    MS,
    NOW,
    RUNNING,
    STARTING,
    assert_same_screen,
    latency,
    order,
    unit,
    within,
)

SNAPSHOTS = {"starting": STARTING, "running": RUNNING, "hosts": HOSTS, "crowded": CROWDED, "incidents": INCIDENTS}


def texts(snapshot: Snapshot, width: int = 79, height: int = 40, **more: object) -> list[str]:
    return [plain(line) for line in rows(snapshot, width, height, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_view_looks_as_it_was_kept(name: str, width: int) -> None:
    assert_same_screen(f"board-{name}-{width}", rows(SNAPSHOTS[name], width - 1, 23 if width < 200 else 49))


@pytest.mark.parametrize("page", [Page.FINDINGS, Page.HELP])
def test_a_page_looks_as_it_was_kept(page: Page) -> None:
    assert_same_screen(f"board-{page.value}-80", rows(RUNNING, 79, 23, page=page))


def test_a_wider_terminal_only_adds_to_the_right() -> None:
    narrow, wide = texts(RUNNING, 79), texts(RUNNING, 119)
    for before, after in zip(narrow[2:7], wide[2:7], strict=True):
        assert after[:59] == before[:59]
    assert wide[2].endswith("HOST")
    assert [line[:62] for line in narrow[8:12]] == [line[:62] for line in wide[8:12]]


def test_a_changing_number_moves_nothing() -> None:
    units = tuple(replace(u, events=u.events * 200, last_stamp_ns=NOW - 412 * MS) for u in RUNNING.units)
    busier = replace(RUNNING, units=units, events=9_999_999, events_per_s=500_123.0, elapsed_s=99.9)
    for before, after in zip(texts(RUNNING), texts(busier), strict=True):
        assert len(after) >= 60 or len(after) == len(before)
        assert after[:20] == before[:20] or "ev/s" in after


def test_a_paused_view_says_so_and_how_far_it_is_behind() -> None:
    first, *_, last = texts(RUNNING, behind_s=3.24)
    assert "paused, 3.2 s behind" in first
    assert "p go on" in last


def test_a_snapshot_that_does_not_fit_shows_the_failing_first_and_counts_the_rest() -> None:
    lines = texts(CROWDED, height=23)
    assert len(lines) == 23
    assert lines[3].startswith("✗ unit-177")
    assert any(line.startswith("… and 296 more: ") for line in lines)
    assert next(line for line in lines if line.startswith("circuit-")).startswith("circuit-33")
    assert any("more findings" in line for line in lines)


def test_only_what_needs_attention_has_the_accent_and_nothing_is_green_before_the_end() -> None:
    calm = replace(RUNNING, units=RUNNING.units[:2], circuits=(order(988, 0, 12),), findings=(), finding_count=0)
    assert not {span.tone for line in rows(calm, 79, 40) for span in line} & {ALERT, GOOD}
    alarmed = [span.text.strip() for line in rows(HOSTS, 79, 40) for span in line if span.tone == ALERT]
    assert {"✗ auditor", "exit 1", "1", "p99 ≤ 5 ms", "12 lost"} <= set(alarmed)


def test_a_time_that_may_be_zero_is_said_by_its_upper_end_and_no_time_is_below_zero() -> None:
    short = (within(latency(0.03, 0.2, 0.4), 90_000), within(latency(-0.05, 0.001, 2), 90_000))
    hops = tuple(replace(hop, latency=found) for hop, found in zip(HOPS, short, strict=False))
    lines = texts(replace(HOSTS, circuits=(order(hops=hops),)))
    assert [line.split("  ", 3)[-1].split() for line in lines[10:12]] == [
        ["<120", "µs", "200", "µs", "400", "µs", "±90", "µs"],
        ["<40", "µs", "<91", "µs", "2.00", "ms", "±90", "µs"],
    ]
    wide = texts(replace(HOSTS, circuits=(order(hops=hops),)), 119)
    assert "<120 µs         200 µs ±90     400 µs ±90 " in wide[10]


def test_a_time_of_clocks_that_do_not_relate_is_a_question_mark() -> None:
    found = replace(HOPS[0].latency, low=Quantiles(*(-UNKNOWN,) * 4), high=Quantiles(*(UNKNOWN,) * 4), unknown=900)
    circuits = (order(hops=(Hop("a: x", "b: y", found),)),)
    lines = texts(replace(HOSTS, circuits=circuits, clock_errors={"lab-1": UNKNOWN}), 119)
    assert lines[10].split() == ["→", "y", "?", "?", "?", "▃█▄▂"]
    assert "unknown" in lines[4]


def test_errors_have_their_place_before_there_are_any() -> None:
    exact = replace(HOSTS, circuits=(order(),))
    for before, after in zip(texts(exact, 119)[8:12], texts(HOSTS, 119)[8:12], strict=True):
        assert before.index("ms" if "ms" in before else "p50") == after.index("ms" if "ms" in after else "p50")
        assert len(before.rstrip()) == len(after.rstrip()) or "slowest" not in after


def test_what_is_old_is_dim() -> None:
    snapshot = replace(RUNNING, units=(unit("api", State.RUNNING, 1, "order-sent", 60_000),))
    assert [span.tone for span in rows(snapshot, 79, 40)[3]][3:5] == ["dim", "dim"]


def test_lost_events_are_said_where_none_lost_stood() -> None:
    assert "41,203 events, none lost" in texts(RUNNING)[-1]
    assert "41,203 events, 12 lost" in texts(HOSTS)[-1]


def test_only_the_hop_with_the_longest_median_is_marked() -> None:
    marked = [line for line in texts(RUNNING) if "slowest" in line]
    assert len(marked) == 1
    assert "row-written" in marked[0]


def test_hops_to_the_same_step_of_several_units_are_distinguished() -> None:
    hops = (Hop("a: sent", "b: got", HOPS[0].latency), Hop("b: got", "c: got", HOPS[1].latency))
    lines = texts(replace(RUNNING, circuits=(order(hops=hops),)))
    assert any(line.startswith("  → b: got") for line in lines)
    assert any(line.startswith("  → c: got") for line in lines)


def test_a_unit_killed_by_a_signal_says_which() -> None:
    snapshot = replace(
        RUNNING, units=(unit("api", State.FAILED, exit_code=-9), unit("worker", State.FAILED, exit_code=-31))
    )
    lines = texts(snapshot)
    assert "SIGKILL" in lines[3]
    assert "SIGSYS" in lines[4]


def test_a_finding_is_not_introduced_by_a_key_that_it_names_itself() -> None:
    nameless = replace(MISSING, message="it stopped")
    lines = texts(replace(RUNNING, findings=(MISSING, nameless), finding_count=2))
    assert lines[-4].startswith("✗ missing     order-17 stopped")
    assert lines[-3].startswith("✗ missing     order-17: it stopped")


def test_without_keys_the_last_line_names_none() -> None:
    assert texts(RUNNING, keys=False)[-1].endswith("Ctrl-C stops")


def test_a_broker_that_is_away_or_silent_stands_where_the_phase_stood() -> None:
    assert "no connection   12.4 s" in texts(replace(RUNNING, connected=False), 39)[0]
    assert "no answer   12.4 s" in texts(replace(RUNNING, silent_s=3.1))[0]
    assert "running   12.4 s" in texts(replace(RUNNING, silent_s=1.1))[0]


def test_many_incidents_take_three_lines_of_the_view_and_more_of_the_page() -> None:
    many = replace(RUNNING, incidents=tuple((f"10.0.0.{n}: refused, unknown key", 100 - n) for n in range(60)))
    snapshot = [line for line in texts(many) if "incident" in line or "times" in line]
    assert snapshot[0] == "! incident    10.0.0.0: refused, unknown key ×100"
    assert snapshot[3:] == ["… and 57 more, 3,933 times"]
    (line,) = (line for line in texts(many, height=20) if "incident" in line)
    assert line == "! incident    4,230 times; f shows whose"
    page = texts(many, page=Page.FINDINGS)
    assert len([line for line in page if line.startswith("! incident")]) == 11
    assert page[2].startswith("✗ missing"), "findings come first"
    nothing = replace(many, findings=(), finding_count=0)
    assert texts(nothing, page=Page.FINDINGS)[2] == "No findings so far."


def test_escape_sequences_and_markup_in_names_are_shown_not_obeyed() -> None:
    evil = unit("[red]w\x1b[2J", State.RUNNING, 1, "\x1b]0;x\x07step", 1)
    text = "\n".join(texts(replace(RUNNING, units=(evil,))))
    assert "\x1b" not in text
    assert "[red]w�[2J" in text


def test_a_histogram_fills_its_width_and_never_hides_a_bucket() -> None:
    assert histogram((1, 3, 7, 5, 2, 1), 8) == "▂▄█▆▃▂  "
    assert histogram((0, 1000, 1), 6) == " █▁   "
    assert histogram((1,) * 12, 6) == "██████"
    assert histogram((), 3) == histogram((0, 0), 3) == "   "


# --- any snapshot at any size
# ------------------------------------------------------------------------------------------

words = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["注文サービス", "\U0001f469\u200d\U0001f467", "a" * 200, "[red]", "\x1b[2J", "e\u0301", "❤\ufe0f"]
)
number = st.integers(0, 10**12)
bounds = st.integers(-(10**13), 10**13) | st.sampled_from((-UNKNOWN, UNKNOWN))
latencies = st.builds(
    Latency,
    count=number,
    p50_ns=st.integers(-(10**9), 10**13),
    p99_ns=number,
    max_ns=number,
    error_ns=number,
    bars=st.lists(number, max_size=20).map(tuple),
    unknown=st.integers(0, 3),
    low=st.none() | st.builds(Quantiles, bounds, bounds, bounds, bounds),
    high=st.none() | st.builds(Quantiles, bounds, bounds, bounds, bounds),
)
units = st.builds(
    UnitStatus,
    words,
    st.sampled_from(State),
    words,
    exit_code=st.none() | st.integers(-70, 255),
    why=words,
    blocked_on=words,
    events=number,
    last_step=words,
    last_stamp_ns=st.none() | number,
)
circuits = st.builds(
    CircuitResult,
    words,
    st.sampled_from(Verdict),
    st.builds(InstanceCounts, number, number, number, number, number),
    latencies,
    st.lists(st.builds(Hop, words, words, latencies), max_size=3).map(tuple),
)
findings = st.builds(
    Finding,
    st.sampled_from(FindingClass),
    words,
    key=st.none() | words,
    details=st.lists(words, max_size=3).map(tuple),
    inconclusive=st.booleans(),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    shown = tuple(draw(st.lists(findings, max_size=4)))
    listed = tuple(draw(st.lists(circuits, max_size=3)))
    return Snapshot(
        scenario=draw(words),
        phase=draw(words),
        elapsed_s=draw(st.floats(0, 1e6)),
        now_ns=draw(number),
        units=tuple(draw(st.lists(units, max_size=4))),
        circuits=listed,
        expected={circuit.name: draw(number) for circuit in listed[:2]},
        budgets={circuit.name: draw(words) for circuit in listed},
        findings=shown,
        finding_count=len(shown) + draw(st.integers(0, 1000)) * bool(shown),
        events=draw(number),
        events_per_s=draw(st.floats(0, 1e9)),
        lost=draw(number),
        incidents=tuple(draw(st.lists(st.tuples(words, number), max_size=6))),
        connected=draw(st.booleans()),
        silent_s=draw(st.floats(0, 1e6)),
        clock_errors=draw(st.dictionaries(words, number, max_size=2)),
    )


def too_wide(lines: list[Line], width: int) -> list[str]:
    return [plain(line) for line in lines if cell_len("".join(span.text for span in line)) > width]


@settings(max_examples=60, deadline=None)
@given(snapshots(), st.integers(20, 220), st.integers(1, 60), st.sampled_from(Page), st.none() | st.floats(0, 1e5))
def test_any_snapshot_fits_any_terminal(
    snapshot: Snapshot, width: int, height: int, page: Page, behind_s: float | None
) -> None:
    lines = rows(snapshot, width, height, page=page, behind_s=behind_s)
    assert len(lines) <= height
    assert too_wide(lines, width) == []


def test_a_host_that_is_away_is_named_with_its_units_at_any_width() -> None:
    away = replace(HOSTS, away=("lab-1 has not been heard for 2.5 s: worker-1, worker-2",))
    for width in (40, 80, 200):
        shown = [plain(line) for line in rows(away, width, 30)]
        (line,) = (line for line in shown if line.startswith("✗ host lab-1 has not been heard"))
        assert cell_len(line) <= width
    assert not any("host lab-1" in plain(line) for line in rows(HOSTS, 80, 30))
