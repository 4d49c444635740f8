"""Agents: the hosts on which they run, and the brokers on which they wait."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.adapters.supervisor.config import SupervisorConfig
from tests.support.lab_hosts import Host, Lab
from tests.support.lab_runs import CODE, LabPlace, ended, scenario, started
from tests.support.scenarios import COMMAND, Living, poll

AGENT = "[hosts.lab-1]\nagent = true\n"
SUPERVISOR = "runner.adapters.supervisor.supervisor"
lab_test = pytest.mark.lab


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> LabPlace:
    place = LabPlace(lab, tmp_path)
    for name, kind in (("lab-1", "--agent"), ("lab-2", "--agent"), ("boss", "--runner")):
        place.run("keys", "new", name, kind, "--folder", "ring", expect=0)
    return place


def carried(place: LabPlace, name: str) -> Path:
    """The key of a host on that host, as it is seen there."""
    there = Path("/root") / f"{name}.keys"
    shutil.copy2(place.folder / "ring" / f"{name}.keys", place.lab.host(name).path(there))
    return there


@contextmanager
def agent(place: LabPlace, name: str, broker: str, *words: str) -> Iterator[Living]:
    """An agent that runs on a host."""
    argv = [COMMAND, "agent", "--join", broker, "--keys", carried(place, name), *words]
    with started(place.lab.host(name), argv, place) as living:
        yield living


@contextmanager
def external_broker(place: LabPlace, host: Host) -> Iterator[Living]:
    """A broker that goes on whatever runs come and go, on a host."""
    shutil.copytree(place.folder / "ring", host.path("/root/ring"))
    argv: list[str | Path] = [
        COMMAND,
        "broker",
        "--listen",
        "tcp://0.0.0.0:5000",
        "--keys",
        "/root/ring",
        "--folder",
        "/root/runs",
    ]
    with started(host, argv, place) as living:
        living.until("listening on")
        yield living


def is_clean(host: Host) -> bool:
    """Whether nothing of a run is left; a supervisor that comes when its run has just ended stays for its lease."""
    return poll(lambda: not any(host.path("/root/.local/state").rglob("*")), 20)


@lab_test
def test_a_run_finds_an_agent_that_waited_for_it(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(hosts=AGENT), CODE)
    with agent(place, "lab-1", "tcp://desk:5000") as waits:
        for _ in range(2):  # it goes on after a run
            run = place.run(".", "--listen", "tcp://0.0.0.0:5000", "--keys", "ring", expect=0)
            assert run.result["circuits"][0]["instances"]["complete"] == 20
            assert run.printed("worker") == "the worker runs on lab-1\nthe worker is done\n"
        waits.signal(signal.SIGTERM)
        assert waits.process.wait(10) == 0
    assert "supervised" in waits.out
    assert is_clean(lab.host("lab-1"))


@lab_test
def test_several_runs_share_the_broker_of_a_lab(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=60, pause_s=0.03, hosts=AGENT), CODE)
    other = LabPlace(lab, place.folder / "other")
    other.write(scenario(orders=50, pause_s=0.03, worker="lab-2", hosts="[hosts.lab-2]\nagent = true\n"), CODE)
    broker = ("--broker", "tcp://lab-2:5000", "--keys", place.folder / "ring" / "boss.keys")
    with (
        external_broker(place, lab.host("lab-2")),
        agent(place, "lab-1", "tcp://lab-2:5000"),
        agent(place, "lab-2", "tcp://lab-2:5000"),
        place.start(".", "--plain", *broker) as first,
    ):
        first.until("first instance complete")
        second = other.run(".", *broker, expect=0)
        done = ended(first, 0)
        logs = sorted(path.name for path in lab.host("lab-2").path("/root/runs").glob("[!.]*"))
    assert done.result["circuits"][0]["instances"]["complete"] == 60
    assert second.result["circuits"][0]["instances"]["complete"] == 50
    assert logs == sorted([done.folder.run, second.folder.run])
    assert place.run("verify", done.folder.path, expect=0).code == 0, "the log is kept here, too"
    assert is_clean(lab.host("lab-1"))
    assert is_clean(lab.host("lab-2"))


@lab_test
def test_a_host_that_is_reached_over_ssh_may_stand_on_the_broker_of_a_lab(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(), CODE)
    with external_broker(place, lab.host("lab-2")):
        run = place.run(".", "--broker", "tcp://lab-2:5000", "--keys", "ring/boss.keys", expect=0)
    assert run.result["circuits"][0]["instances"]["complete"] == 20
    errors = {host["name"]: host["clock_error_ns"] for host in run.result["hosts"]}
    assert errors["local"] > 0, "the time of the run is that of the broker's host, which is another one"
    assert errors["lab-1"] > 0
    assert is_clean(lab.host("lab-1"))


@lab_test
def test_a_run_without_its_agent_says_how_to_start_one(place: LabPlace) -> None:
    place.write(scenario(hosts=AGENT), CODE)
    run = place.run(".")
    assert run.code == 4
    assert "host lab-1 has an agent, which needs to know where to join: say --listen" in run.text


@lab_test
def test_an_agent_starts_a_killed_supervisor_again_and_nothing_of_its_units_is_lost(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.02, hosts=AGENT), CODE)
    with (
        agent(place, "lab-1", "tcp://desk:5000"),
        place.start(".", "--plain", "--timeout", "7s", "--listen", "tcp://0.0.0.0:5000", "--keys", "ring") as run,
    ):
        run.until("first instance complete")
        (pid,) = (pid for pid, line in lab.host("lab-1").processes().items() if SUPERVISOR in line)
        os.kill(pid, signal.SIGKILL)
        run.until("worker  failed")
        done = ended(run, 1)
    assert ("unit-failed", "worker") in done.findings()
    assert done.result["evidence"]["lost"] == []
    assert is_clean(lab.host("lab-1"))


@lab_test
def test_everything_on_a_host_is_killed_and_the_next_agent_brings_the_evidence(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.02, hosts=AGENT), CODE)
    with place.start(".", "--plain", "--timeout", "9s", "--listen", "tcp://0.0.0.0:5000", "--keys", "ring") as run:
        with agent(place, "lab-1", "tcp://desk:5000"):
            run.until("first instance complete")
            lab.host("lab-1").kill_everything()
            run.until("worker  failed")
        with agent(place, "lab-1", "tcp://desk:5000"):
            done = ended(run, 1)
            assert ("unit-failed", "worker") in done.findings()
            assert done.result["evidence"]["lost"] == []
            assert is_clean(lab.host("lab-1"))


@lab_test
def test_the_next_agent_may_come_before_the_host_is_missed(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.02, hosts=AGENT), CODE)
    listen = ("--listen", "tcp://0.0.0.0:5000", "--keys", "ring")
    with place.start(".", "--plain", "--timeout", "30s", *listen) as run:
        with agent(place, "lab-1", "tcp://desk:5000"):
            run.until("first instance complete")
            lab.host("lab-1").kill_everything()
        with agent(place, "lab-1", "tcp://desk:5000"):
            run.until("worker  failed: was killed by SIGKILL")
            done = ended(run, 1)
            assert ("unit-failed", "worker") in done.findings()
            assert done.result["evidence"]["lost"] == []
            assert is_clean(lab.host("lab-1"))
    assert "scenario's time" not in done.out


@lab_test
def test_two_agents_of_one_name_are_one_too_many(place: LabPlace) -> None:
    with external_broker(place, place.lab.host("lab-2")), agent(place, "lab-1", "tcp://lab-2:5000") as first:
        first.until("waits for runs")
        with agent(place, "lab-1", "tcp://lab-2:5000") as second:
            second.until("is here already")


def test_keys_that_are_none_are_reported_at_once(tmp_path: Path) -> None:
    place = tmp_path / "none.keys"
    done = _run("agent", "--join", "tcp://127.0.0.1:1", "--keys", str(place))
    assert done[0] == 4
    assert "none.keys" in done[1]


def test_a_config_is_one_line_and_reads_back() -> None:
    config = SupervisorConfig("tcp://10.0.0.1:5000", "run-1", "lab-1", "circuit-keys 1\nname x\n", 15.0)
    assert config.text().count("\n") == 1
    assert SupervisorConfig.parse(config.text()) == config


def _run(*words: str) -> tuple[int, str]:
    import subprocess

    done = subprocess.run([sys.executable, "-m", "runner", *words], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr
