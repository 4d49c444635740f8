"""The words of the command line, and what several runs come to together."""

import signal
from pathlib import Path
from typing import Any

import pytest

from runner.cli import _complete, execute
from runner.cli.options import environment, spread_less
from runner.cli.results import exit_code
from runner.model.errors import ExitCode, UsageError
from runner.model.result.result import Verdict
from tests.support.scenarios import place_in


@pytest.mark.parametrize(
    ("verdict", "inconclusive", "code"),
    [
        (Verdict.PASSED, None, ExitCode.PASSED),
        (Verdict.FAILED, None, ExitCode.FAILED),
        (Verdict.INCONCLUSIVE, None, ExitCode.INCONCLUSIVE),
        (Verdict.INCONCLUSIVE, "fail", ExitCode.FAILED),
        (Verdict.INCONCLUSIVE, "pass", ExitCode.PASSED),
        (Verdict.INTERRUPTED, "pass", ExitCode.INTERRUPTED),
    ],
)
def test_the_exit_code_says_the_verdict(verdict: Verdict, inconclusive: Any, code: ExitCode) -> None:
    assert exit_code(verdict, inconclusive) == code


def test_one_that_could_not_be_run_among_others_is_worse_than_what_is_open_and_no_failure() -> None:
    for verdict, code in (
        (Verdict.PASSED, ExitCode.USAGE),
        (Verdict.INCONCLUSIVE, ExitCode.USAGE),
        (Verdict.FAILED, ExitCode.FAILED),
        (Verdict.INTERRUPTED, ExitCode.INTERRUPTED),
    ):
        assert exit_code(verdict, not_run=True) == code


def test_a_scenario_whose_hosts_are_not_known_here_keeps_no_other_from_being_run(tmp_path: Path) -> None:
    with place_in(tmp_path) as place:
        code = "def main():\n    import probe\n    probe.emit('up')\n"
        for name, hosts in (
            ("a-lab", '[hosts.h]\nssh = "no-such-host.invalid"\n[units.u]\nentrypoint = "units:main"\nhost = "h"'),
            ("b-here", '[units.u]\nentrypoint = "units:main"\nexpect = ["up"]'),
        ):
            place.write(hosts, code, name=f"{name}/circuit.toml")
        found = place.run(".", "--repeat", "2", expect=4)
        assert found.err.count("a-lab was not run: cannot tell by which address host h") == 1
        assert "--host h=local" in found.err
        assert found.out.count("b-here   PASSED") == 2
        assert "cannot tell" in place.run("a-lab", expect=4).err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["there"], ["run", "there"]),
        (["run", "there"], ["run", "there"]),
        (["--verbose", "run", "there"], ["run", "--verbose", "there"]),
        (["--less", "a", "run"], ["run", "--less", "a"]),
        (["check", "there"], ["check", "there"]),
        (["--help"], ["--help"]),
        ([], ["run"]),
    ],
)
def test_the_word_run_may_be_left_out_or_stand_behind_options(typed: list[str], meant: list[str]) -> None:
    assert _complete(typed) == meant


def test_less_takes_several_names_until_something_that_is_a_path(tmp_path: Path) -> None:
    typed = ["run", "--less", "a", "b", str(tmp_path), "--verbose"]
    assert spread_less(typed) == ["run", "--less", "a", "--less", "b", str(tmp_path), "--verbose"]


def test_env_words_are_name_and_value() -> None:
    assert environment(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    with pytest.raises(UsageError, match="--env A: expected KEY=VALUE"):
        environment(["A"])


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_run_has_a_durable_broker(tmp_path: Path, durable: bool) -> None:
    with place_in(tmp_path) as place:
        place.write('[units.one]\ncommand = ["sleep", "1000"]\n')
        with place.start(".", "--plain", *(["--durable"] if durable else [])) as living:
            living.until("running")
            (broker,) = (line for line in place.processes().values() if " broker.__main__ " in line)
            living.signal(signal.SIGINT)
            assert living.end().code == 2
    assert ("--durable" in broker) is durable


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--broker", "tcp://192.0.2.1:7000", "--listen", "tcp://192.0.2.2:0"],
            "--listen is for a broker of the run's own, not with --broker",
        ),
        (
            ["--broker", "tcp://192.0.2.1:7000", "--durable"],
            "--durable is for a broker of the run's own, not with --broker",
        ),
        (["--keys", "me.keys"], "--keys is of no use without --listen or --broker"),
        (["--listen", "ipc:///tmp/bus"], "--listen ipc:///tmp/bus: units elsewhere come over TCP"),
        (["--listen", "nowhere"], "--listen nowhere: not an endpoint"),
        (["--broker", "nowhere"], "--broker nowhere: not an endpoint"),
        (["--broker", "tcp://192.0.2.1:7000", "--keys", "me.keys"], "--keys: "),
    ],
)
def test_options_that_do_not_go_together_are_said_before_anything_is_started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circuit.toml").write_text('[units.one]\ncommand = ["true"]\n')
    assert execute(["run", *words]) == ExitCode.USAGE == 4
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["circuit.toml"], "there is no run"


def test_a_folder_that_does_not_exist_any_more_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert execute(["show"]) == ExitCode.USAGE
    monkeypatch.chdir(tmp_path)
    assert "the current folder does not exist any more" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["watch", "clocks"])
def test_what_is_no_address_of_a_broker_is_a_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute([command, "20261130-no-such-run"]) == ExitCode.USAGE
    assert "no run '20261130-no-such-run' in" in capsys.readouterr().err
