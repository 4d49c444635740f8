"""Which screen is chosen, and what the ones that do not move say."""

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.event import Event, Kind
from runner.adapters.terminal import choose, print_events, print_summary
from runner.adapters.terminal.live import LiveScreen
from runner.adapters.terminal.narrate import Narrator, output_line
from runner.adapters.terminal.output_stream import OutputStream, encodable, shows_colours
from runner.adapters.terminal.screen import animates
from runner.adapters.terminal.still import PlainScreen, QuietScreen
from runner.core.report.text import plain
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import State
from tests.support.clocks import Apart
from tests.support.runner_view_samples import FAILED, FOLDER, HOSTS, INCIDENTS, MISSING, RUNNING, STARTING, order

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("terminal", "environ", "moves"),
    [
        (True, XTERM, True),
        (True, XTERM | {"NO_COLOR": "1"}, True),
        (True, XTERM | {"CI": "false"}, True),
        (True, XTERM | {"CI": "true"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, XTERM, False),
        (False, XTERM | {"FORCE_COLOR": "1"}, False),
    ],
)
def test_the_view_moves_only_on_a_terminal(terminal: bool, environ: dict[str, str], moves: bool) -> None:
    assert animates(terminal, environ, "utf-8") is moves


def test_a_terminal_without_our_signs_gets_plain_lines() -> None:
    assert animates(True, XTERM, "latin-1") is False


@pytest.mark.parametrize(
    ("terminal", "environ", "colours"),
    [
        (True, XTERM, True),
        (True, XTERM | {"NO_COLOR": "1"}, False),
        (True, XTERM | {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, XTERM, False),
        (False, XTERM | {"FORCE_COLOR": "1"}, True),
        (False, XTERM | {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_follow_the_terminal_and_the_users_wish(terminal: bool, environ: dict[str, str], colours: bool) -> None:
    assert shows_colours(terminal, environ) is colours


class Tty(io.StringIO):
    """A stream that says it is a terminal; nothing is drawn on it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


def test_the_choice_obeys_the_users_wishes() -> None:
    def chosen(stream: io.StringIO, **wishes: Any) -> type:
        return type(choose(stream=stream, keyboard=io.StringIO(), environ=XTERM, **wishes))

    assert chosen(Tty()) is LiveScreen
    assert chosen(Tty(), plain=True) is PlainScreen
    assert chosen(Tty(), plain=True, quiet=True) is QuietScreen
    assert chosen(io.StringIO()) is PlainScreen


def narrated(*snapshots: Any) -> list[str]:
    narrator = Narrator()
    return [plain(line) for snapshot in snapshots for line in narrator.tell(snapshot)]


def test_plain_lines_tell_what_changed_and_nothing_twice() -> None:
    assert narrated(STARTING, STARTING) == [
        "  0.3 s  worker-1    starting",
        "  0.3 s  worker-2    ready",
        "  0.3 s  order-flow  starting, 3 units",
    ]
    later = narrated(STARTING, RUNNING, RUNNING)[3:]
    assert later[0] == " 12.4 s  auditor     failed: exited with code 1"
    assert " 12.4 s  order       first instance complete, in 3.10 ms" in later
    assert sum("✗ missing: order-17 stopped after" in line for line in later) == 1


def test_plain_lines_say_on_which_host_a_unit_is_where_there_are_several() -> None:
    lines = narrated(HOSTS, HOSTS)
    assert " 12.4 s  worker-1    running, on lab-1" in lines
    assert " 12.4 s  auditor     failed, on lab-2: exited with code 1" in lines
    assert sum("on lab-2" in line for line in lines) == 1
    assert not any(", on local" in line for line in narrated(RUNNING))


def test_plain_lines_say_times_with_their_error() -> None:
    assert " 12.4 s  order       first instance complete, in 3.10 ms ±0.09" in narrated(HOSTS)
    assert any("p50 3.10 ms ±0.09  p99 9.80 ms ±0.09  max 41.2 ms ±0.1" in line for line in narrated(HOSTS))


def test_plain_lines_say_when_all_that_was_asked_for_is_complete() -> None:
    done = replace(RUNNING, circuits=(order(1000, 0, 0),))
    assert sum("1,000 of 1,000 complete" in line for line in narrated(RUNNING, done, done)) == 1


def test_each_incident_is_reported_once_and_not_again_when_it_is_counted() -> None:
    (what, _), *rest = INCIDENTS.incidents
    later = replace(INCIDENTS, incidents=((what, 1300), *rest, ("pid 4712: left before it said HELLO", 1)))
    assert [line[9:] for line in narrated(INCIDENTS, INCIDENTS, later) if "incident" in line] == [
        "order-flow  ! incident: worker-1 (lab-3 at 10.0.0.7): refused, that unit belongs to another key ×1.2k",
        "order-flow  ! incident: 10.0.0.9: refused, unknown key ×12",
        "order-flow  ! incident: pid 4711: sent what is no message: �[31m",
        "order-flow  ! incident: pid 4712: left before it said HELLO",
    ]


def test_incidents_without_end_do_not_fill_the_log() -> None:
    snapshots = [replace(RUNNING, incidents=((f"10.0.0.{n}: refused, unknown key", 1),)) for n in range(200)]
    lines = [line for line in narrated(*snapshots) if "incident" in line]
    assert len(lines) == 51
    assert lines[-1].endswith("! incidents: more than is shown here; the summary counts them")


def test_plain_lines_tell_that_the_broker_is_away_and_when_it_is_back() -> None:
    snapshots = [replace(RUNNING, elapsed_s=n / 10, connected=not 20 <= n < 35) for n in range(40)]
    assert [line for line in narrated(*snapshots) if "broker" in line] == [
        "  2.0 s  order-flow  the broker is away: no connection",
        "  3.5 s  order-flow  the broker is back after 1.50 s",
    ]


def test_a_broker_that_stands_still_was_away_since_it_was_last_heard() -> None:
    snapshots = [replace(RUNNING, elapsed_s=n / 10, silent_s=(n - 10) / 10 if n < 60 else 0.1) for n in range(10, 64)]
    assert [line for line in narrated(*snapshots) if "broker" in line] == [
        "  4.0 s  order-flow  the broker is away: no answer",
        "  6.0 s  order-flow  the broker is back after 5.00 s",
    ]


def test_a_loss_that_grows_is_reported_once_for_each_unit() -> None:
    def losing(*losses: tuple[str, int]) -> Any:
        lost = tuple(
            Finding(FindingClass.LOST_EVIDENCE, f"{unit} lost events 7 to {last}", unit=unit, inconclusive=True)
            for unit, last in losses
        )
        return replace(RUNNING, findings=lost, finding_count=len(lost))

    lines = [
        line[9:] for line in narrated(losing(("api", 9)), losing(("api", 12)), losing(("api", 12), ("auditor", 9)))
    ]
    assert [line for line in lines if "lost-evidence" in line] == [
        "api         ? lost-evidence: api lost events 7 to 9",
        "auditor     ? lost-evidence: auditor lost events 7 to 9",
    ]


def test_progress_is_reported_every_few_seconds_only() -> None:
    snapshots = [replace(RUNNING, elapsed_s=tenths / 10) for tenths in range(160)]
    lines = narrated(*snapshots)
    assert [line[:7] for line in lines if "ev/s" in line] == ["  5.0 s", " 10.0 s", " 15.0 s"]
    assert "988 of 1k complete, 11 open, 1 failed   p50 3.10 ms  p99 9.80 ms  max 41.2 ms" in "\n".join(lines)
    assert "12 lost" in "\n".join(narrated(HOSTS))


def test_a_flood_of_findings_is_cut() -> None:
    flood = tuple(Finding(FindingClass.LATE, f"number {n}") for n in range(80))
    lines = narrated(replace(RUNNING, findings=flood, elapsed_s=0.1), replace(RUNNING, findings=flood, elapsed_s=0.2))
    assert sum("number" in line for line in lines) == 50
    assert sum("the summary counts them" in line for line in lines) == 1


def test_a_plain_screen_has_no_keys_and_names_the_unit_before_its_output() -> None:
    stream = io.StringIO()
    with choose(stream=stream, environ={}, keyboard=io.StringIO()) as screen:
        assert screen.fileno() is None
        assert screen.keys() == []
        screen.show(replace(STARTING, units=(replace(STARTING.units[1], state=State.STARTING),)))
        screen.unit_output("worker-1", "\x1b[31mready\x1b[0m\t[red]now")
    assert stream.getvalue().splitlines()[-2:] == ["worker-1 │ ready   [red]now", ""]
    assert "\x1b" not in stream.getvalue()


def test_a_quiet_screen_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with choose(quiet=True) as screen:
        screen.show(RUNNING)
        screen.unit_output("api", "hello")
    assert capsys.readouterr() == ("", "")


def test_a_stream_without_our_signs_gets_plain_ones() -> None:
    assert encodable("✗ a → b ≤ 3 µs …", "ascii") == "x a -> b <= 3 us ..."
    assert encodable("✗ 注", "latin-1") == "x ?"
    assert encodable("✗ 注", "utf-8") == "✗ 注"


def test_a_reader_that_has_gone_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = OutputStream(stream, {})
        output.write([])
        for _ in range(3):
            output.write(Narrator().tell(RUNNING))


def test_piped_lines_are_a_hundred_wide_unless_columns_says_otherwise() -> None:
    assert OutputStream(io.StringIO(), {}).width == 100
    assert OutputStream(io.StringIO(), {"COLUMNS": "80"}).width == 80
    assert OutputStream(io.StringIO(), {"COLUMNS": "900"}).width == 120
    assert OutputStream(io.StringIO(), {"COLUMNS": "wide"}).width == 100


def test_a_summary_is_printed_with_where_the_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    print_summary(FAILED, None, tmp_path / FOLDER, stream=stream, environ={})
    assert stream.getvalue().splitlines()[-1] == f"  kept in    {FOLDER}"


def test_the_summary_names_the_run_as_show_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept, elsewhere = tmp_path / ".circuit" / "runs" / "one", tmp_path / "a b" / "runs" / "two"
    kept.mkdir(parents=True)

    def hint(folder: Path) -> str:
        stream = io.StringIO()
        print_summary(FAILED, None, folder, stream=stream, environ={})
        return next(line.strip() for line in stream.getvalue().splitlines() if "show it" in line)

    assert hint(kept) == "show it:  circuit-run show one --key order-17"
    (tmp_path / ".circuit" / "latest").symlink_to(kept)
    assert hint(kept) == "show it:  circuit-run show latest --key order-17"
    assert hint(elsewhere) == "show it:  circuit-run show 'a b/runs/two' --key order-17"


def test_a_line_of_output_that_does_not_end_is_cut() -> None:
    assert plain(output_line("api", "x" * 5_000)).endswith("x… (5,000 characters)")


def test_events_are_printed_with_the_time_between_them() -> None:
    stream = io.StringIO()
    events = [
        Event("worker-1", 1, 7, 5_412_000, "order-received", Kind.RECEIVE, "order-17", {}),
        Event("api", 1, 3, 5_000_000, "order-sent", Kind.SEND, "order-17", {"n": 1}),
    ]
    print_events(events, stream=stream, environ={})
    assert stream.getvalue().splitlines() == [
        "    0 ns            api       order-sent      send  key order-17  n=1",
        "  412 µs   +412 µs  worker-1  order-received  receive  key order-17",
        "2 events in 412 µs",
    ]


def test_events_of_several_hosts_are_printed_with_the_error_of_the_time_between_them() -> None:
    stream = io.StringIO()
    events = [
        Event("api", 1, 3, 5_000_000, "order-sent", Kind.SEND, "order-17", {}),
        Event("worker-1", 1, 7, 5_412_000, "order-received", Kind.RECEIVE, "order-17", {}),
        Event("worker-1", 1, 8, 5_462_000, "row-written", Kind.DEFAULT, "order-17", {}),
        Event("api", 1, 4, 5_470_000, "answered", Kind.DEFAULT, "order-17", {}),
    ]
    print_events(events, Apart(lambda _: 90_000), stream=stream, environ={})
    assert stream.getvalue().splitlines() == [
        "    0 ns                    api       order-sent      send  key order-17",
        "  412 µs ±90   +412 µs ±90  worker-1  order-received  receive  key order-17",
        "  462 µs ±90  +50.0 µs      worker-1  row-written     key order-17",
        "  470 µs        <98 µs      api       answered        key order-17",
        "4 events in 470 µs",
    ]


def test_no_events_is_said() -> None:
    stream = io.StringIO()
    print_events([], stream=stream, environ={})
    assert stream.getvalue() == "no such events\n"


def test_a_finding_without_a_message_of_its_own_is_still_shown() -> None:
    assert any("order-17" in line for line in narrated(replace(RUNNING, findings=(replace(MISSING, message=""),))))
