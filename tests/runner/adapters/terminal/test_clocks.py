"""The table of clocks: aligned, never wider than it may be, and honest about what is not known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.adapters.terminal.clocks import ClockRow, clock_lines
from runner.core.report.text import ALERT, plain
from runner.model.result.result import UNKNOWN

MS = 1_000_000
SECOND = 1000 * MS
LAB = ClockRow("lab-1", 5 * SECOND + 123_456, 210_000, 12.34, 1.2, 350_000, 180 * MS, "its supervisor")
FIELD = ClockRow("lab-2", -(3 * SECOND + 7), 90_000, -199.96, 0.44, 120_000, 0, "its supervisor")
NEW = ClockRow("of cam", None, UNKNOWN, None, 500.0, None, None, "cam")


def text(*rows: ClockRow, width: int, reference: str = "the broker's host") -> list[str]:
    return [plain(line) for line in clock_lines(rows, reference, width)]


def test_where_there_is_no_terminal_everything_is_there() -> None:
    assert text(LAB, FIELD, NEW, width=100) == [
        "the time of this run is the clock of the broker's host",
        "HOST                    AHEAD BY                       DRIFT  BEST TRIP    MEASURED  REPORTED BY",
        "lab-1               +5.000 123 s ±210 µs      +12.3 ppm ±1.2     350 µs  180 ms ago  its supervisor",
        "lab-2               -3.000 000 s ±90.0 µs    -200.0 ppm ±0.4     120 µs         now  its supervisor",
        "of cam                 not known                           –          –           –  cam",
    ]


def test_at_80_columns_the_reporter_and_the_best_trip_go_first() -> None:
    assert text(LAB, FIELD, NEW, width=79)[1:] == [
        "HOST                    AHEAD BY                       DRIFT    MEASURED",
        "lab-1               +5.000 123 s ±210 µs      +12.3 ppm ±1.2  180 ms ago",
        "lab-2               -3.000 000 s ±90.0 µs    -200.0 ppm ±0.4         now",
        "of cam                 not known                           –           –",
    ]


def test_at_60_columns_offset_error_and_drift_stay() -> None:
    assert text(LAB, FIELD, NEW, width=60)[1:] == [
        "HOST                    AHEAD BY                       DRIFT",
        "lab-1               +5.000 123 s ±210 µs      +12.3 ppm ±1.2",
        "lab-2               -3.000 000 s ±90.0 µs    -200.0 ppm ±0.4",
        "of cam                 not known                           –",
    ]


def test_a_drift_that_is_hardly_known_yet_is_not_cut() -> None:
    row = replace(LAB, error_ns=99_950 * MS, drift_ppm=-432.1, drift_error_ppm=500.0)
    assert "±1m 40s" in text(row, width=60)[-1]
    assert "-432.1 ppm ±500.0" in text(row, width=60)[-1]


@given(st.integers(20, 130), st.booleans())
def test_no_line_is_ever_wider_than_it_may_be(width: int, some: bool) -> None:
    rows = (LAB, FIELD, NEW, replace(LAB, host="h" * 90, offset_ns=10**18, error_ns=UNKNOWN, jumps=999)) if some else ()
    for line in text(*rows, width=width, reference="the broker's host, which is that of " + "unit, " * 10):
        assert len(line) <= width


def test_a_run_without_other_clocks_says_that_its_times_have_no_error() -> None:
    assert text(width=80) == [
        "the time of this run is the clock of the broker's host",
        "no unit of this run lives by another clock, so no time has an error",
    ]


@pytest.mark.parametrize(("age_ns", "stale"), [(0, False), (2 * SECOND, False), (2 * SECOND + 1, True), (None, True)])
def test_a_clock_that_is_not_measured_any_more_stands_out(age_ns: int | None, stale: bool) -> None:
    *_, line = clock_lines([replace(LAB, age_ns=age_ns)], "", 110)
    tones = {span.text.strip(): span.tone for span in line}
    assert (tones["+5.000 123 s"] == ALERT) is stale
    assert (tones["±210 µs"] == ALERT) is stale


def test_a_clock_that_has_jumped_says_how_often() -> None:
    assert text(replace(LAB, reporter="x", jumps=2), width=110)[-1].endswith("x, jumped ×2")


def test_a_host_cannot_draw_on_the_screen() -> None:
    assert not any("\x1b" in line for line in text(replace(LAB, host="\x1b[2Jlab"), width=110, reference="\x1b[2J"))
