"""The end of a run in words."""

import shlex
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from runner.core.report.budgets import budget_uses
from runner.core.report.summary import Summary, summary
from runner.core.report.text import ALERT, GOOD, plain
from runner.model.result.result import (
    UNKNOWN,
    CircuitResult,
    Evidence,
    Finding,
    FindingClass,
    Hop,
    InstanceCounts,
    Latency,
    Pairs,
    Quantiles,
    Result,
    UnitResult,
    Verdict,
)
from runner.model.scenario.model import Budget
from tests.support.runner_view_samples import (
    FAILED,
    FOLDER,
    LAB,
    MANY,
    MISSING,
    MS,
    NOT_READY,
    PASSED,
    SCENARIO,
    UNDECIDED,
    assert_same_screen,
    latency,
    order,
    within,
)

RESULTS = {"passed": PASSED, "failed": FAILED, "many": MANY, "not-ready": NOT_READY, "undecided": UNDECIDED, "lab": LAB}
ABOUT = Summary(SCENARIO, FOLDER)
ABOUT_P99 = Budget(p99_ns=20 * MS)


def texts(result: Result, width: int = 79, about: Summary = ABOUT) -> list[str]:
    return [plain(line) for line in summary(result, about, width)]


def test_a_file_of_the_scenario_is_called_the_same_on_every_host() -> None:
    there = (
        '  File "/home/me/.local/state/circuit-run/20261125T185008Z-lab-0d87@lab-1/scenario/units.py", line 3, in work'
    )
    finding = Finding(FindingClass.UNIT_FAILED, "worker exited with code 1", unit="worker", details=(there,))
    assert any('  File "units.py", line 3, in work' in line for line in texts(replace(FAILED, findings=(finding,))))


def test_everything_is_shown_where_the_others_refer_to() -> None:
    everything = texts(MANY, about=replace(ABOUT, everything=True))
    assert [line for line in everything if "more" in line and ABOUT.show in line] == []
    assert [f for f in MANY.findings if f.key and not any(f.key in line for line in everything)] == []
    assert len(everything) > len(texts(MANY))


@pytest.mark.parametrize("width", range(34, 120))
def test_the_quantiles_of_a_table_begin_in_one_column(width: int) -> None:
    circuit = replace(PASSED.circuits[0], hops=(replace(PASSED.circuits[0].hops[0], target="b: short"),))
    rows = [
        line for line in texts(replace(PASSED, circuits=(circuit,)), width) if "p50" in line and "budget" not in line
    ]
    assert len({line.index("p50") for line in rows}) == 1


@pytest.mark.parametrize("width", range(34, 120, 3))
def test_no_quantile_is_parted_from_its_unit_and_its_error(width: int) -> None:
    lines = texts(LAB, width)
    for figure in ("p50 3.10 ms ±0.31", "p99 19.9 ms ±0.4", "max 8.00 ms ±0.31", "p50 <140 µs", "max 212 µs ±90"):
        assert any(figure in line for line in lines), figure


@pytest.mark.parametrize(("columns", "width"), [(40, 39), (80, 79), (200, 120)])
@pytest.mark.parametrize("name", RESULTS)
def test_the_summary_looks_as_it_was_kept(name: str, columns: int, width: int) -> None:
    assert_same_screen(f"summary-{name}-{columns}", summary(RESULTS[name], ABOUT, width))


def test_the_first_line_says_the_verdict_and_the_most_telling_reason() -> None:
    assert texts(PASSED)[0] == "order-flow   PASSED   in 14.1 s"
    assert texts(FAILED)[0] == "order-flow   FAILED   in 14.1 s    order: 1 of 1,000 did not arrive"
    assert texts(NOT_READY)[0] == "order-flow   FAILED   in 400 ms    worker-2 did not get ready"
    assert texts(UNDECIDED)[0] == "order-flow   INCONCLUSIVE   in 14.1 s    50 events lost"


def test_an_interrupted_run_says_so_and_what_was_surely_wrong_till_then() -> None:
    def first(result: Result) -> str:
        return texts(replace(result, verdict=Verdict.INTERRUPTED))[0]

    assert first(PASSED) == "order-flow   INTERRUPTED   in 14.1 s"
    assert first(FAILED) == "order-flow   INTERRUPTED   in 14.1 s    order: 1 of 1,000 did not arrive"
    undecided = Finding(FindingClass.COUNT, "order was not started as often as it should", inconclusive=True)
    assert first(replace(PASSED, findings=(undecided,))) == "order-flow   INTERRUPTED   in 14.1 s"


def test_a_failure_explains_itself_in_its_first_ten_lines() -> None:
    head = "\n".join(texts(FAILED)[:10])
    for fact in ("order-17 stopped after worker-1: order-received", "next expected", "was running", "near miss"):
        assert fact in head
    assert "circuit-run show latest --key order-17" in head


def test_findings_that_are_alike_are_shown_once_and_counted() -> None:
    text = "\n".join(texts(MANY))
    assert text.count("next expected") == 1
    assert "and 12 more like this: circuit-run show latest" in text


def test_causes_come_before_consequences_and_certain_before_doubtful() -> None:
    doubtful = Finding(FindingClass.NOT_READY, "api may not have been ready", unit="api", inconclusive=True)
    lines = texts(replace(MANY, findings=(doubtful, *MANY.findings)))
    marks = [line.split()[:2] for line in lines if line.startswith(("  ✗ ", "  ? "))]
    assert marks == [["✗", "exception"], ["✗", "missing"], ["✗", "late"], ["✗", "budget"], ["?", "not-ready"]]


def test_only_the_verdict_of_a_pass_is_green() -> None:
    def green(result: Result, about: Summary = ABOUT) -> list[str]:
        return [span.text for line in summary(result, about, 79) for span in line if span.tone == GOOD]

    assert green(PASSED) == ["PASSED"]
    assert green(FAILED) == green(UNDECIDED) == green(replace(PASSED, verdict=Verdict.INTERRUPTED)) == []


def test_a_broken_budget_stands_out_below_its_circuit() -> None:
    slow = replace(PASSED, circuits=(replace(order(1000, 0, 0), latency=latency(3, 31.2, 40)),))
    alarmed = [span.text for line in summary(slow, ABOUT, 79) for span in line if span.tone == ALERT]
    assert alarmed == [
        "budget p99 ≤ 20 ms        156 % of it used",
        "  budget p50 ≤ 1 ms       220 % of it used",
    ]


def test_a_budget_that_the_clocks_leave_open_stands_out_and_says_so() -> None:
    def used(error_ns: int, p99_ms: float, budget: Budget = ABOUT_P99) -> list[tuple[str, bool, bool]]:
        found = budget_uses(budget, within(latency(3, p99_ms, 40), error_ns))
        return [(use.used, use.broken, use.undecided) for use in found]

    assert used(100_000, 19) == [("95 % of it used", False, False)]
    assert used(300_000, 19.9) == [("98 % to 101 % of it used: undecided", False, True)]
    assert used(300_000, 20.4) == [("102 % of it used", True, False)]
    assert used(1_000_000, 0.5) == [("up to 8 % of it used", False, False)]
    assert used(30_000_000, 0.5) == [("up to 152 % of it used: undecided", False, True)]
    assert used(0, 0) == [("0 % of it used", False, False)]


def test_a_budget_on_clocks_that_do_not_relate_is_open_unless_it_is_surely_broken() -> None:
    nothing = Latency(unknown=3, low=Quantiles(*(-UNKNOWN,) * 4), high=Quantiles(*(UNKNOWN,) * 4))
    (use,) = budget_uses(ABOUT_P99, nothing)
    assert (use.used, use.broken, use.undecided) == ("not known: its clocks do not relate", False, True)
    some = replace(latency(3, 31, 40), low=Quantiles(MS, 30 * MS, 30 * MS, 40 * MS), high=Quantiles(*(UNKNOWN,) * 4))
    (use,) = budget_uses(ABOUT_P99, some)
    assert (use.used, use.broken, use.undecided) == ("surely broken", True, False)
    assert use.word == "broken"


def test_a_limit_that_the_clocks_leave_open_comes_before_one_that_is_kept() -> None:
    found = budget_uses(Budget(p50_ns=30 * MS, p99_ns=20 * MS), within(latency(29, 19.9, 40), 200_000))
    assert [(use.name, use.word) for use in found] == [("p99", "undecided"), ("p50", "ok")]


def test_hosts_are_shown_with_their_clocks_and_barriers_with_their_skew() -> None:
    lines = texts(LAB, 119)
    assert "  hosts      desk, lab-1 ±84 µs, lab-2 ±91 µs (away 4.2 s), lab-3 (gone, clock not known)" in lines
    assert "  barriers   go, 100 releases, skew p50 <140 µs  p99 180 µs ±90  max 212 µs ±90" in lines
    assert not any("hosts" in line or "barriers" in line for line in texts(PASSED))


def test_none_lost_says_that_a_missing_event_was_never_emitted() -> None:
    assert "none lost: the event was never emitted" in "\n".join(texts(FAILED))
    assert "none lost: " not in "\n".join(texts(PASSED))
    assert "lost: worker-1, numbers 101 to 150 (its journal was full)" in "\n".join(texts(UNDECIDED))


def test_that_an_event_was_never_emitted_is_said_only_where_the_end_of_every_unit_was_seen() -> None:
    elsewhere = replace(FAILED.units[0], exit_code=None)
    text = "\n".join(texts(replace(FAILED, units=(elsewhere, *FAILED.units[1:]))))
    assert "none lost" in text
    assert "never emitted" not in text


def test_incidents_are_shown_below_the_evidence_and_counted_when_they_are_many() -> None:
    refused = {
        "worker-1 (lab-3 at 10.0.0.7): refused, that unit belongs to another key": 1204,
        "10.0.0.9: refused, unknown key": 1,
    }
    many = {f"10.0.0.{n}: refused, unknown key": 2 for n in range(20)}
    few = texts(replace(PASSED, evidence=replace(PASSED.evidence, incidents=refused)), 99)
    assert "  incidents   worker-1 (lab-3 at 10.0.0.7): refused, that unit belongs to another key ×1,204" in few
    assert "              10.0.0.9: refused, unknown key" in few
    crowd = texts(replace(PASSED, evidence=replace(PASSED.evidence, incidents=many)))
    assert "              and 15 more, 30 times: result.json has them" in crowd


def test_a_path_and_a_key_can_be_copied() -> None:
    odd = replace(FAILED, findings=(replace(MISSING, key="order 'x'; rm", message="it stopped", details=()),))
    text = "\n".join(texts(odd, 120))
    (command,) = (line.partition("show it:  ")[2] for line in text.splitlines() if "show it" in line)
    assert shlex.split(command)[-1] == "order 'x'; rm"
    assert texts(odd, 20, replace(ABOUT, folder="/a/long/path" * 9))[-1].endswith("/a/long/path" * 9)


@pytest.mark.parametrize(
    "key", ["plain-1", "", "tab\there", "it's\na \\ line", "$HOME `x` !!", "\u202eodd é\ufe0f", "\x1b[31m"]
)
def test_the_command_gives_a_shell_the_very_key(key: str) -> None:
    odd = replace(FAILED, findings=(replace(MISSING, key=key, message="it stopped", details=()),))
    (command,) = (line.partition("--key ")[2] for line in texts(odd) if "show it" in line)
    said = subprocess.run(["bash", "-c", f"printf %s {command}"], capture_output=True, check=True)
    assert said.stdout.decode() == key


def test_a_key_that_no_shell_can_say_gets_no_command() -> None:
    for key in ("a\0b", "\ud800"):
        odd = replace(FAILED, findings=(replace(MISSING, key=key, message="it stopped", details=()),))
        assert not any("show it" in line for line in texts(odd))


TRACEBACK = (
    "Traceback (most recent call last):",
    *(line for n in range(6) for line in (f'  File "/a/long/path/to/app.py", line {n}, in step', f"    step({n})")),
    '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode',
    '    raise JSONDecodeError("Expecting value", s, err.value) from None',
    "    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "whole output: /home/me/.circuit/runs/x/units/worker-1.err",
)
CRASHED = replace(
    FAILED,
    units=(UnitResult("worker-1", "failed", 1, "local", 3, None),),
    findings=(
        MISSING,
        Finding(FindingClass.UNIT_FAILED, "worker-1 exited with code 1 after 2 s", unit="worker-1", details=TRACEBACK),
        Finding(
            FindingClass.EXCEPTION,
            "worker-1 reported JSONDecodeError: Expecting value: line 1 column 1 (char 0) (decoder.py:355)",
            unit="worker-1",
            step="JSONDecodeError",
        ),
    ),
)


def test_a_crash_is_shown_once_and_what_did_not_arrive_is_seen_at_a_glance() -> None:
    lines = texts(CRASHED)
    assert lines[0].endswith("worker-1 exited with code 1")
    assert not any("exception" in line for line in lines)
    head = "\n".join(lines[:10])
    for fact in ("in raw_decode", "JSONDecodeError: Expecting value", "whole output", "order: order-17 stopped after"):
        assert fact in head


def test_an_exception_that_was_not_the_end_of_its_unit_is_shown() -> None:
    (missing, failed, raised) = CRASHED.findings
    for other in (replace(raised, message="worker-1 reported JSONDecodeError: no"), replace(raised, key="order-3")):
        assert any("✗ exception" in line for line in texts(replace(CRASHED, findings=(missing, failed, other))))


def test_of_a_long_traceback_the_innermost_frame_and_the_exception_stay() -> None:
    text = "\n".join(texts(replace(CRASHED, findings=CRASHED.findings[1:])))
    assert "Traceback" in text
    assert "in raw_decode" in text
    assert "json.decoder.JSONDecodeError: Expecting value" in text


def test_paths_in_details_are_said_as_short_as_they_can_be_copied() -> None:
    about = replace(ABOUT, shorter=(("/home/me/.circuit/runs/x", ".circuit/latest"),))
    assert any(line.endswith("whole output: .circuit/latest/units/worker-1.err") for line in texts(CRASHED, 79, about))


def test_the_code_of_a_unit_that_was_stopped_is_no_reason() -> None:
    hung = "b still ran when the scenario's time of 8 s was over"
    result = replace(
        NOT_READY,
        units=(UnitResult("b", "failed", 143, "local", 3, None),),
        findings=(Finding(FindingClass.UNIT_FAILED, hung, unit="b"), MISSING),
    )
    assert texts(result, 120)[0].endswith(f"   {hung}, and 1 finding more")
    assert "143" not in texts(result, 60)[0]


def test_an_orphan_is_shown_beside_the_instances_that_began() -> None:
    orphan = Finding(FindingClass.ORPHAN, "order-71 turned up at worker-1", circuit="order", key="order-71")
    circuit = replace(order(), instances=InstanceCounts(started=3, complete=2, failed=2))
    both = replace(FAILED, circuits=(circuit,), findings=(MISSING, orphan))
    assert texts(both, 120)[0].endswith("   order: 1 of 3 did not arrive, and 1 orphan")
    alone = replace(circuit, instances=InstanceCounts(started=3, complete=3, failed=1))
    assert texts(replace(both, circuits=(alone,), findings=(orphan,)))[0].endswith("   order: 1 orphan")


def test_a_finding_about_a_circuit_is_not_put_on_a_unit() -> None:
    sentence = "order never began; the scenario asks for exactly 20"
    lines = texts(replace(NOT_READY, findings=(Finding(FindingClass.COUNT, sentence, circuit="order", unit="client"),)))
    assert lines[0].endswith("   order never began")
    assert lines[2] == f"  ✗ count   {sentence}"


def test_a_command_that_a_finding_shows_is_not_shown_twice() -> None:
    with_command = replace(MISSING, details=("show it:  circuit-run show latest --key order-17",))
    assert "\n".join(texts(replace(FAILED, findings=(with_command,)))).count("--key order-17") == 1


def test_many_kinds_of_findings_are_cut_and_counted() -> None:
    findings = tuple(Finding(FindingClass.CHECK, f"check {n} failed", step=str(n)) for n in range(30))
    lines = texts(replace(NOT_READY, findings=findings))
    assert lines[0].endswith("   check 0 failed, and 29 findings more")
    assert any("and 20 findings more: circuit-run show latest" in line for line in lines)
    assert len(lines) < 24


def test_what_was_quoted_once_is_not_quoted_again() -> None:
    quoted = ("worker-2 exited with code 1", "    sqlite3.OperationalError: disk I/O error")
    findings = (
        Finding(FindingClass.UNIT_FAILED, "worker-2 exited with code 1", unit="worker-2", details=quoted),
        Finding(FindingClass.EXCEPTION, "worker-2 reported OperationalError", unit="worker-2", details=quoted),
    )
    units = (UnitResult("worker-2", "failed", 1, "local", 3, None),)
    lines = texts(replace(NOT_READY, findings=findings, units=units))
    assert lines[0].endswith("   worker-2 exited with code 1")
    assert "\n".join(lines).count("disk I/O error") == 1


def test_a_circuit_that_never_started_is_one_line() -> None:
    silent = CircuitResult("order", Verdict.FAILED, InstanceCounts(), Latency(), tuple(Hop("a", "b") for _ in range(4)))
    lines = texts(replace(NOT_READY, circuits=(silent,)))
    assert "  order      never started" in lines
    assert not any("nothing measured" in line for line in lines)


def test_the_word_of_a_class_is_not_shown_twice() -> None:
    check = Finding(FindingClass.CHECK, "check checks:look returned False", step="check")
    lines = texts(replace(NOT_READY, findings=(check,)))
    assert lines[0].endswith("   check checks:look returned False")
    assert lines[2] == "  ✗ check   checks:look returned False"


def test_the_latency_of_pairs_has_a_line_of_its_own_where_no_circuit_shows_it() -> None:
    pairs = Pairs(3, orphan_sends=("k",), duplicate_keys=("l",), latency=latency(1, 2, 3))
    lines = texts(replace(PASSED, circuits=(), pairs=pairs))
    assert "  pairs      3 paired   p50 1.00 ms   p99 2.00 ms   max 3.00 ms" in lines
    assert "             1 sent and never received (k), 1 more than once (l)" in lines
    beside = texts(replace(PASSED, pairs=pairs))
    assert "  pairs      3 paired, 1 sent and never received (k), 1 more than once (l)" in beside


def test_between_an_event_and_itself_nothing_is_measured() -> None:
    alone = CircuitResult("order", Verdict.PASSED, InstanceCounts(2, 2), Latency(2), ())
    lines = texts(replace(PASSED, circuits=(alone,)))
    assert "  order      2 of 2 complete      nothing measured" in lines
    assert "             budget p99 ≤ 20 ms   nothing measured" in lines
    assert not any("0 ns" in line for line in lines)


def test_a_number_of_instances_is_never_cut() -> None:
    many = replace(PASSED, circuits=(order(300_000, 0, 0),))
    assert any("300,000 of 300,000 complete" in plain(line) for line in summary(many, ABOUT, 79))


words = st.text(st.characters(), max_size=12)
names = st.none() | words
explanations = st.lists(words, max_size=3).map(tuple)
findings = st.builds(Finding, st.sampled_from(FindingClass), words, names, names, names, details=explanations)


@settings(max_examples=40, deadline=None)
@given(st.lists(findings, max_size=12), words, st.integers(20, 130))
def test_any_result_fits_any_width(found: list[Finding], name: str, width: int) -> None:
    result = replace(FAILED, scenario=name, findings=tuple(found), notes=(name,), evidence=Evidence(1, 1))
    lines = [plain(line) for line in summary(result, replace(ABOUT, folder=""), width)]
    # A long word stays whole, and a command does, so that a path or a key can be copied.
    assert [
        line for line in lines[1:] if cell_len(line) > width and len(line.split()) > 2 and "show it" not in line
    ] == []
