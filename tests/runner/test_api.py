"""`import runner`: load, run and verify from Python, without a word on the terminal."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
from runner.adapters.terminal import Screen, choose
from runner.session.campaign import Campaign, Done, NotRun, Settings
from tests.support.scenarios import Place, place_in, poll

SCENARIO = """
[scenario]
name = "small"
timeout = "30s"

[units.one]
entrypoint = "units:main"

[circuits.there]
path = ["one: sent", "one: came"]
"""
CODE = """
import os, probe
def main():
    probe.emit("sent", key="k")
    if not os.environ.get("BROKEN"):
        probe.emit("came", key="k")
"""
WAITS = "import threading, probe\ndef main():\n    probe.emit('up')\n    threading.Event().wait()\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        monkeypatch.chdir(tmp_path)
        for name, value in place.environment().items():
            monkeypatch.setenv(name, value)
        yield place


def test_its_public_names_are_these() -> None:
    verdicts = {"CircuitRunError", "Finding", "Result", "Scenario", "Verdict", "load", "run", "verify"}
    public = verdicts | {"Conductor", "OrderError", "ProcessStarter", "TaskStarter", "ThreadStarter"}
    assert set(runner.__all__) == public
    assert all(hasattr(runner, name) for name in public)
    with pytest.raises(AttributeError, match="has no attribute 'loda'"):
        runner.loda  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, runner; print([name for name in sys.modules if name.startswith(('runner.', 'zmq', 'rich'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_run_returns_its_result_and_keeps_it_and_prints_nothing(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    path = place.write(SCENARIO, CODE)
    result = runner.run(path)
    assert (result.verdict, result.circuits[0].instances.complete) == (runner.Verdict.PASSED, 1)
    assert runner.verify(result.run) == runner.verify("latest", path) == runner.verify()
    assert runner.verify().verdict is runner.Verdict.PASSED
    assert capfd.readouterr() == ("", "")


def test_what_units_do_wrong_is_in_the_result(place: Place) -> None:
    result = runner.run(runner.load(place.write(SCENARIO, CODE)), env={"BROKEN": "1"}, timeout="20s")
    assert result.verdict is runner.Verdict.FAILED
    assert [(finding.cls.value, finding.step) for finding in result.findings] == [("missing", "came")]


def test_runs_are_kept_where_the_caller_says(place: Place) -> None:
    result = runner.run(place.write(SCENARIO, CODE), runs="elsewhere")
    assert (place.folder / "elsewhere" / "runs" / result.run / "result.json").exists()
    assert runner.verify(runs="elsewhere").run == result.run


def test_mistakes_are_errors_that_say_where(place: Place) -> None:
    with pytest.raises(runner.CircuitRunError, match="nowhere does not exist"):
        runner.run("nowhere")
    path = place.write(SCENARIO.replace("units:main", "units"), CODE)
    with pytest.raises(runner.CircuitRunError, match=r"units\.one\.entrypoint"):
        runner.load(path)
    with pytest.raises(runner.CircuitRunError, match="of no use without"):
        runner.run(place.write(SCENARIO, CODE), keys="some")
    with pytest.raises(runner.CircuitRunError, match="no run yet"):
        runner.verify()


def test_where_probes_are_switched_off_nothing_is_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUIT_DISABLED", "1")
    with pytest.raises(runner.CircuitRunError, match="CIRCUIT_DISABLED is set, so no probe"):
        runner.run(place.write(SCENARIO, CODE))
    assert not (place.folder / ".circuit").exists()


def test_a_signal_ends_it_in_order_and_the_handlers_of_before_are_back(place: Place) -> None:
    path = place.write('[scenario]\nname = "long"\n[units.one]\nentrypoint = "units:main"\n', WAITS)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def interrupt() -> None:
        poll(lambda: any(b"up" in log.read_bytes() for log in place.folder.glob(".circuit/runs/*/events.log")))
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    result = runner.run(path)
    waiting.join()
    assert result.verdict is runner.Verdict.INTERRUPTED
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_it_runs_in_a_thread_too_and_leaves_the_collector_as_it_was(place: Place) -> None:
    path = place.write(SCENARIO, CODE)
    results: list[runner.Result] = []
    before = gc.get_threshold()
    thread = threading.Thread(target=lambda: results.append(runner.run(path)))
    thread.start()
    thread.join()
    assert [result.verdict for result in results] == [runner.Verdict.PASSED]
    assert gc.get_threshold() == before


class Silent:
    def screen(self) -> Screen:
        return choose(quiet=True)

    def invite(self, lines: object) -> None:
        raise AssertionError(lines)


def test_several_scenarios_run_as_often_as_they_say_and_come_to_the_worst_of_them(place: Place) -> None:
    twice = runner.load(place.write(SCENARIO.replace('"small"', '"twice"\nrepeat = 2'), CODE, "twice/circuit.toml"))
    broken = runner.load(
        place.write(SCENARIO.replace('"small"', '"broken"\nenv = { BROKEN = "1" }'), CODE, "broken/circuit.toml")
    )
    unknown = runner.load(
        place.write(
            '[scenario]\nname = "lab"\n[hosts.h]\nssh = "no-such-host.invalid"\n'
            '[units.u]\nentrypoint = "units:main"\nhost = "h"\n',
            CODE,
            "lab/circuit.toml",
        )
    )
    campaign = Campaign([twice, unknown, broken], Settings(place.folder / ".circuit"), Silent())
    assert campaign.verdict is runner.Verdict.PASSED
    came = [(type(one), one.scenario.name) for one in campaign]
    assert came == [(Done, "twice"), (Done, "twice"), (NotRun, "lab"), (Done, "broken")]
    assert [result.verdict.value for result in campaign.results] == ["passed", "passed", "failed"]
    assert campaign.verdict is runner.Verdict.FAILED
    assert campaign.not_run == [unknown]
