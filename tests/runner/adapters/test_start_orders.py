"""What is started for a unit, and the two processes a run has beside its units."""

import contextlib
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

import circuit_run
from broker import keyring
from probe import private
from runner.adapters.launch.leased_process import Broker, LeasedProcess, private_endpoint
from runner.adapters.launch.run_processes import Deaths
from runner.adapters.start_orders import SHIM, Launcher, RunContext, user_environment
from runner.model.errors import BrokerFailed, ScenarioError, SupervisorFailed
from runner.model.scenario.model import Legacy, Scenario, Unit


def scenario(folder: Path, *units: Unit, **options: object) -> Scenario:
    return Scenario("s", str(folder), "circuit.toml", units, **options)  # type: ignore[arg-type]


def test_a_python_unit_is_started_by_the_bootstrap_and_a_command_as_it_stands(tmp_path: Path) -> None:
    python = Unit("a", entrypoint="app:a", env={"MINE": "1"})
    command = Unit("b", command=("./b.sh", "--fast"), cwd="sub")
    launch = Launcher(scenario(tmp_path, python, command), RunContext("ipc:///bus", "r1", tmp_path / "run"))
    start = launch(python)
    assert start.argv == (*circuit_run.PROCESS, "runner.adapters.usercode.bootstrap", "app:a", str(tmp_path))
    assert (start.cwd, start.out, start.err) == (
        f"{tmp_path}/",
        f"{tmp_path}/run/units/a.out",
        f"{tmp_path}/run/units/a.err",
    )
    variables = {name: value for name, value in start.env.items() if name.startswith(("CIRCUIT", "MINE"))}
    assert variables == {
        "MINE": "1",
        "CIRCUIT_BROKER": "ipc:///bus",
        "CIRCUIT_RUN": "r1",
        "CIRCUIT_UNIT": "a",
        "CIRCUIT_JOURNAL": f"{tmp_path}/run/journals",
    }
    assert (launch(command).argv, launch(command).cwd) == (("./b.sh", "--fast"), f"{tmp_path}/sub")
    assert (tmp_path / "run" / "units").is_dir()


def test_the_scenarios_folder_and_the_older_names_are_on_the_import_path(tmp_path: Path) -> None:
    command, python = Unit("c", command=("x",)), Unit("p", entrypoint="a:b")
    base = {"PYTHONPATH": "/theirs", "PATH": "/bin"}
    new, old = scenario(tmp_path), scenario(tmp_path, legacy=Legacy())
    assert user_environment(new, base, command)["PYTHONPATH"] == f"{tmp_path}:/theirs"
    assert user_environment(new, base, python)["PYTHONPATH"] == "/theirs"
    assert user_environment(old, base, command)["PYTHONPATH"] == f"{tmp_path}:{SHIM}:/theirs"
    assert user_environment(old, {}, python)["PYTHONPATH"] == str(SHIM)
    assert "PYTHONPATH" not in user_environment(new, {}, python)
    assert user_environment(new, base, command)["PATH"] == f"{os.path.dirname(sys.executable)}:/bin"


def test_the_units_environment_wins_over_the_scenarios_and_both_over_the_runners(tmp_path: Path) -> None:
    unit = Unit("c", command=("x",), env={"B": "unit", "PYTHONUNBUFFERED": ""})
    env = user_environment(scenario(tmp_path, env={"A": "scenario", "B": "scenario"}), {"A": "runner"}, unit)
    assert (env["A"], env["B"], env["PYTHONUNBUFFERED"]) == ("scenario", "unit", "")


def test_an_environment_that_is_too_large_to_be_sent_is_a_mistake_in_the_scenario(tmp_path: Path) -> None:
    unit = Unit("big", command=("x",), env={"BIG": "x" * 60_000})
    with pytest.raises(ScenarioError, match=r"circuit\.toml: units\.big\.env has 60003 bytes") as caught:
        Launcher(scenario(tmp_path, unit), RunContext("ipc:///bus", "r1", tmp_path))
    assert len(caught.value.mistakes) == 1


# --- broker and supervisor --------------------------------------------------------------------------------------------


def test_the_private_endpoint_is_for_one_user_and_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    for killed in (False, True):
        with private_endpoint() as endpoint, contextlib.closing(Broker(endpoint, "r1", tmp_path)) as broker:
            broker.endpoint()
            path = Path(endpoint.removeprefix("ipc://"))
            assert len(str(path)) < 104
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            if killed:
                os.kill(broker.pid, signal.SIGKILL)
            broker.close()
            assert path.parent.exists() is killed
        assert not path.parent.exists()


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_folder_of_a_private_endpoint_is_there_before_its_name_is_known(umask: int) -> None:
    before = os.umask(umask)
    try:
        with private_endpoint() as endpoint:
            folder = Path(endpoint.removeprefix("ipc://")).parent
            assert private.why_not(folder) == ""
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_another_process_made_first_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "base", lambda longest: tmp_path)  # noqa: ARG005
    monkeypatch.setattr(private, "name", lambda prefix: f"{prefix}guessed")
    (tmp_path / "circuit-bus-guessed").symlink_to(tmp_path)
    with pytest.raises(BrokerFailed, match=r"circuit-bus-guessed was made by another process"), private_endpoint():
        pass


def test_a_broker_whose_runner_was_killed_removes_the_private_folder(tmp_path: Path) -> None:
    with private_endpoint() as endpoint, contextlib.closing(Broker(endpoint, "r1", tmp_path)) as broker:
        broker.endpoint()
        broker.close()  # as far as the broker can tell, we are dead
        assert not Path(endpoint.removeprefix("ipc://")).parent.exists()


def test_a_broker_says_where_it_listens_and_ends_with_its_lease(tmp_path: Path) -> None:
    with private_endpoint() as endpoint, contextlib.closing(Broker(endpoint, "r1", tmp_path)) as broker:
        assert broker.endpoint() == endpoint
        broker.check()
        broker.close()
        broker.check()


def test_a_broker_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with (
        contextlib.closing(Broker("ipc://not/absolute", "r1", tmp_path)) as broker,
        pytest.raises(BrokerFailed, match=r"the broker ended with code \d+:\n.*starts with /"),
    ):
        broker.endpoint()


def test_a_broker_that_was_killed_can_be_started_again_on_every_address(tmp_path: Path) -> None:
    keyring.for_run(tmp_path / "keys", ["camera"])
    with private_endpoint() as endpoint, contextlib.ExitStack() as stack:
        broker = Broker(endpoint, "r1", tmp_path, further=("tcp://127.0.0.1:0",), keys=tmp_path / "keys")
        stack.callback(broker.close)
        port = broker.endpoint(1)
        os.kill(broker.pid, signal.SIGKILL)
        assert broker.wait(10)
        broker.check()  # it has not given up
        assert broker.code == -signal.SIGKILL
        again = broker.again()
        stack.callback(again.close)
        assert (again.endpoint(0), again.endpoint(1)) == (endpoint, port)


def test_something_dies_too_often_when_it_dies_five_times_within_ten_seconds() -> None:
    deaths = Deaths()
    assert [deaths.too_many(at_s) for at_s in (0.0, 3.0, 6.0, 9.0, 10.1, 13.1, 13.5)] == [False] * 6 + [True]


def test_a_process_that_says_nothing_in_time_has_failed(tmp_path: Path) -> None:
    daemon = LeasedProcess("sleeper", ("sh", "-c", "echo hm; exec sleep 1005"), os.environ, tmp_path, SupervisorFailed)
    try:
        with pytest.raises(SupervisorFailed, match=r"the sleeper did not say 'ready' within 0\.1 s"):
            daemon.said(b"ready", 0.1)
    finally:
        daemon.close(0)


def test_a_program_that_is_not_there_has_failed(tmp_path: Path) -> None:
    with pytest.raises(SupervisorFailed, match=r"the ghost could not be started: .*no-such-program"):
        LeasedProcess("ghost", ("no-such-program",), os.environ, tmp_path, SupervisorFailed)


def test_a_private_folder_is_not_cleared_away_while_it_is_in_use() -> None:
    with private_endpoint() as first, private_endpoint():
        assert Path(first.removeprefix("ipc://")).parent.is_dir()
    assert not Path(first.removeprefix("ipc://")).parent.exists()
