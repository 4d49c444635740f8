"""Whole runs through the real command line: what a run that goes well leaves behind and says, and units that meet."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import EXAMPLES, Place, Run, place_in

HELLO = EXAMPLES / "hello"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


# --- a run that passes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """examples/hello, run once."""
    with place_in(tmp_path_factory.mktemp("hello")) as place:
        yield place.run(HELLO, expect=0)


LATENCY = {"count", "p50_ns", "p90_ns", "p99_ns", "max_ns", "error_ns"}


def test_every_field_of_the_result_is_there_and_adds_up(hello: Run) -> None:
    result = hello.result
    assert (result["schema"], result["run"], result["scenario"]) == (1, hello.folder.run, "hello")
    assert result["verdict"] == "passed"
    assert 0 < result["duration_s"] < 60
    receiver, sender = result["units"]
    for unit, events in ((receiver, 11), (sender, 10)):
        assert (unit["state"], unit["exit_code"], unit["host"], unit["events"]) == ("finished", 0, "local", events)
        assert unit["ready_s"] > 0
    (circuit,) = result["circuits"]
    assert (circuit["name"], circuit["verdict"]) == ("greeting", "passed")
    assert circuit["instances"] == {"started": 10, "complete": 10, "failed": 0, "open": 0, "inconclusive": 0}
    (hop,) = circuit["hops"]
    assert (hop["from"], hop["to"]) == ("sender: greeting-sent", "receiver: greeting-received")
    for latency in (hop, circuit["latency"]):
        assert latency.keys() >= LATENCY
        assert latency["count"] == 10
        assert 0 < latency["p50_ns"] <= latency["p90_ns"] <= latency["p99_ns"] <= latency["max_ns"]
        assert latency["error_ns"] == 0
    pairs = {"paired": 10, "orphan_sends": [], "orphan_receives": [], "duplicate_keys": []}
    assert result["pairs"].items() >= pairs.items()
    assert result["required"] == {"completed": [{"unit": "receiver", "step": "listening"}], "missing": []}
    assert result["findings"] == []
    evidence = {"emitted": 21, "received": 21, "recovered": 0, "duplicates_dropped": 0, "lost": []}
    assert result["evidence"].items() >= evidence.items()


def test_the_run_folder_is_complete_and_nothing_of_the_running_is_left_in_it(hello: Run) -> None:
    kept = {str(path.relative_to(hello.folder.path)) for path in hello.folder.path.rglob("*") if path.is_file()}
    outputs = {f"units/{unit}.{end}" for unit in ("sender", "receiver") for end in ("out", "err")}
    assert kept >= {"scenario.json", "events.log", "result.json", *outputs}
    assert not hello.folder.endpoint.exists()
    assert not any(hello.folder.journals.glob("*"))
    assert json.loads(hello.folder.scenario.read_text())["name"] == "hello"


def test_the_newest_run_is_linked_and_every_run_is_in_the_index(hello: Run) -> None:
    root = hello.folder.path.parent.parent
    assert (root / "latest").is_symlink()
    with sqlite3.connect(root / "history.db") as index:
        rows = index.execute("select * from runs").fetchall()
    index.close()
    (row,) = rows
    assert hello.folder.run in row
    assert "passed" in row


def test_piped_output_is_plain_lines(hello: Run) -> None:
    assert "\x1b" not in hello.text
    assert hello.err == ""
    for words in ("PASSED", "10 of 10 complete", "10 paired", "none lost"):
        assert words in hello.out


def test_show_prints_the_same_summary_again_and_the_story_of_one_key(tmp_path: Path, hello: Run) -> None:
    with place_in(tmp_path) as place:
        *again, kept_in = place.run("show", hello.folder.path, expect=0).out.strip().splitlines()
        assert "\n".join(again) in hello.out
        assert str(hello.folder.path) in kept_in
        story = place.run("show", hello.folder.path, "--key", "hello-3", expect=0).out
        everything = place.run("show", hello.folder.path, "--events", "--unit", "receiver", expect=0).out
    lines = [line for line in story.splitlines() if "hello-3" in line]
    assert len(lines) == 2
    assert "greeting-sent" in lines[0]
    assert "greeting-received" in lines[1]
    assert "hello-7" not in story
    assert everything.count("greeting-received") == 10
    assert "greeting-sent" not in everything


# --- options ----------------------------------------------------------------------------------------------------------


def test_json_to_standard_output_is_json_and_nothing_else(place: Place) -> None:
    run = place.run(HELLO, "--json", "-", expect=0)
    assert json.loads(run.out) == run.result
    assert run.err == ""


def test_several_scenarios_run_in_order_each_as_often_as_asked(place: Place) -> None:
    for name, code in (("first", 0), ("second", 1), ("third", 0)):
        place.write(f'[units.one]\ncommand = ["sh", "-c", "exit {code}"]\n', name=f"{name}/circuit.toml")
    run = place.run("first", "second", "third", "--less", "third", "--repeat", "2", "--quiet", "--json", "all.json")
    assert run.code == 1
    results = json.loads((place.folder / "all.json").read_text())
    assert [(r["scenario"], r["verdict"]) for r in results] == [("first", "passed")] * 2 + [("second", "failed")] * 2
    assert len(list((place.folder / ".circuit" / "runs").iterdir())) == 4
    assert run.out.count("FAILED") == 2
    assert "PASSED" not in run.out


def test_options_of_the_command_go_before_the_scenario(place: Place) -> None:
    place.write(
        """
        [scenario]
        timeout = "50s"
        env = { SECONDS_TO_SLEEP = "0" }
        [units.one]
        command = ["sh", "-c", "exec sleep $SECONDS_TO_SLEEP"]
        """
    )
    run = place.run(
        ".", "--timeout", "300ms", "-e", "SECONDS_TO_SLEEP=40", "--runs", "elsewhere", "--json", "result.json"
    )
    assert run.code == 1
    (finding,) = json.loads((place.folder / "result.json").read_text())["findings"]
    assert finding["message"] == "one still ran when the scenario's time of 300 ms was over"
    assert len(list((place.folder / "elsewhere" / "runs").iterdir())) == 1
    assert not (place.folder / ".circuit").exists()


def test_quiet_says_nothing_about_a_run_that_passes(place: Place) -> None:
    assert place.run(HELLO, "--quiet", expect=0).text == ""


def test_verbose_shows_what_units_print_with_their_names(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sh", "-c", "echo out of $WORD; echo oops >&2"]\n')
    run = place.run(".", "--verbose", "--env", "WORD=one", expect=0)
    for words in ("out of one", "oops"):
        (line,) = (line for line in run.out.splitlines() if words in line)
        assert "one" in line.split(words)[0]


def test_verbose_shows_the_last_words_of_a_unit_though_no_line_ends_them(place: Place) -> None:
    place.write('[units.one]\ncommand = ["printf", "last words"]\n')
    assert "last words" in place.run(".", "--verbose", expect=0).out


def test_a_scenario_that_init_wrote_passes(place: Place) -> None:
    printed = place.run("init", "mine", expect=0)
    assert "circuit-run mine" in printed.out
    assert place.run("check", "mine", expect=0).out.count("nothing wrong") == 1
    assert place.run("mine", expect=0).result["verdict"] == "passed"
    refused = place.run("init", "mine", expect=4)
    assert "circuit.toml" in refused.err


# --- probes from a shell script ---------------------------------------------------------------------------------------


def test_a_shell_script_emits_every_kind_with_keys_and_data(place: Place) -> None:
    place.write(
        """
        [units.script]
        command = ["sh", "-ec", '''
            circuit-run emit up --kind ready --data port=17
            circuit-run emit out --kind send --key k-1 --data size=3 --data name=three
            circuit-run emit in --kind receive --key k-1
        ''']
        ready = "up"
        [circuits.trip]
        path = [{ probe = "script: out", where = { size = 3, name = "three" } }, "script: in"]
        instances = 1
        """
    )
    run = place.run(".", expect=0)
    assert run.result["pairs"]["paired"] == 1
    assert run.units["script"]["events"] == 3


def test_emit_without_a_broker_does_nothing_and_with_one_needs_a_unit(place: Place) -> None:
    quiet = place.run("emit", "step", "--key", "k", expect=0)
    assert quiet.text == ""
    refused = place.run("emit", "step", expect=4, env={"CIRCUIT_BROKER": "ipc:///nowhere", "CIRCUIT_RUN": "r"})
    assert "--unit NAME" in refused.err
    wrong = place.run(
        "emit", "step", "--unit", "u", "-d", "rubbish", expect=4, env={"CIRCUIT_BROKER": "ipc:///x", "CIRCUIT_RUN": "r"}
    )
    assert "--data rubbish: expected NAME=VALUE" in wrong.err


# --- units that wait for each other -----------------------------------------------------------------------------------

MEETING = """
    import asyncio
    import probe

    def early():
        probe.emit("first", number=1)
        for n in range(5000):
            probe.emit("noise", key=f"k-{n}", n=n)
        probe.ready("done")
        probe.barrier("everybody", timeout=20)
        probe.emit("behind")

    def late():
        assert probe.wait("early: first", timeout=20).data == {"number": 1}
        event = probe.wait("early: noise", key="k-4321", timeout=20)
        assert (event.unit, event.step, event.key, event.data) == ("early", "noise", "k-4321", {"n": 4321}), event
        assert event.stamp_ns > 0
        probe.emit("passed")
        try:
            probe.wait("early: noise", key="k-none", timeout=0.05)
        except probe_errors.WaitTimeout as error:
            probe.emit("gave-up", why=str(error))
        probe.barrier("everybody", timeout=20)
        probe.emit("behind")

    def looped():
        async def main():
            event = await probe.wait_async("late: passed", timeout=20)
            assert event.unit == "late"
            ticks = asyncio.create_task(tick())
            await probe.barrier_async("everybody", timeout=20)
            ticks.cancel()
            probe.emit("behind")
        async def tick():
            while True:
                await asyncio.sleep(0)
        asyncio.run(main())

    def patient():
        try:
            probe.wait("short: never", timeout=20)
        except probe_errors.WaitBroken as error:
            probe.emit("broken", why=str(error))
        try:
            probe.barrier("pair", timeout=20)
        except probe_errors.BarrierBroken as error:
            probe.emit("barrier-broken", who=list(error.who), why=str(error))

    def short():
        probe.wait("early: first", timeout=20)

    from probe import errors as probe_errors
"""


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Run]]:
    """Five units that wait for each other in every way, run once."""
    with place_in(tmp_path_factory.mktemp("meeting")) as place:
        place.write(
            """
            [units.early]
            entrypoint = "units:early"
            ready = "done"
            [units.late]
            entrypoint = "units:late"
            expect = ["passed", "gave-up", "behind"]
            [units.looped]
            entrypoint = "units:looped"
            [units.patient]
            entrypoint = "units:patient"
            [units.short]
            entrypoint = "units:short"
            [barriers.everybody]
            parties = ["early", "late", "looped"]
            [barriers.pair]
            parties = ["patient", "short"]
            """,
            MEETING,
        )
        yield place, place.run(".")


def printed(place: Place, run: Run, step: str) -> str:
    return place.run("show", run.folder.path, "--step", step, expect=0).out


def test_units_find_probes_that_fired_long_ago_or_fire_later_and_pass_a_barrier_together(
    meeting: tuple[Place, Run],
) -> None:
    place, run = meeting
    assert run.code == 0, run.text
    assert {unit["state"] for unit in run.result["units"]} == {"finished"}
    assert printed(place, run, "behind").count("behind") == 3


def test_a_wait_that_ran_out_of_time_says_what_it_waited_for(meeting: tuple[Place, Run]) -> None:
    assert "'early: noise' with key 'k-none' did not fire within 0.05 s" in printed(*meeting, "gave-up")


def test_a_wait_for_a_unit_that_has_ended_and_a_barrier_without_it_break_by_name(meeting: tuple[Place, Run]) -> None:
    assert "'short: never' will not fire: short" in printed(*meeting, "broken")
    assert "barrier 'pair' is broken: short" in printed(*meeting, "barrier-broken")


# --- what it is busy with ---------------------------------------------------------------------------------------------

BUSY = """
import threading
from pathlib import Path


def until(name):
    while not Path(name).exists():
        threading.Event().wait(0.01)


def prepare():
    until("prepared")


def look(result):
    until("looked")


def work():
    pass
"""


def test_a_run_says_when_setup_and_check_hold_it_up_and_is_done_last(place: Place) -> None:
    place.write('[scenario]\nsetup = "units:prepare"\ncheck = "units:look"\n[units.a]\nentrypoint = "units:work"', BUSY)
    with place.start(".", "--plain") as living:
        living.until("  setup, 1 unit\n")
        (place.folder / "prepared").touch()
        living.until("  checking, 1 unit\n")
        (place.folder / "looked").touch()
        run = living.end()
    assert run.code == 0
    phases = [line.split()[3].strip(",") for line in run.out.splitlines() if line.endswith(", 1 unit")]
    assert (phases[0], phases[-2:]) == ("setup", ["checking", "done"])
