"""Runs over several hosts: machines as real as the system makes them, ssh, links that break, processes that die."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.lab_hosts import Host, HostClock, Lab
from tests.support.lab_runs import CODE, LabPlace, ended, scenario, started
from tests.support.scenarios import COMMAND, poll

pytestmark = pytest.mark.lab

SUPERVISOR = "runner.launch.supervisor"


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> LabPlace:
    return LabPlace(lab, tmp_path)


def pid_of(host: Host, text: str) -> int:
    """The process on a host whose command line has `text`."""
    (pid,) = (pid for pid, line in host.processes().items() if text in line)
    return pid


def is_clean(host: Host) -> bool:
    """Whether nothing of a run is left on a host."""
    return poll(lambda: host.left() == [] and not any(host.path("/root/.local/state").rglob("*")), 10)


def test_a_unit_runs_on_another_host_as_if_it_were_here(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(), CODE)
    run = place.run(".", expect=0)
    assert run.result["circuits"][0]["instances"]["complete"] == 20
    assert run.units["worker"]["host"] == "lab-1"
    assert run.units["worker"]["exit_code"] == 0
    assert run.printed("worker") == "the worker runs on lab-1\nthe worker is done\n"
    assert run.result["evidence"]["lost"] == []
    assert run.result["circuits"][0]["hops"][0]["error_ns"] > 0
    assert run.result["circuits"][0]["hops"][1]["error_ns"] == 0, "both ends are on one host"
    assert is_clean(lab.host("lab-1"))
    again = place.run("verify", "latest", "--json", "again.json", expect=0)
    assert again.folder.result.read_text() == (place.folder / "again.json").read_text()


def test_what_a_clock_shows_does_not_matter(tmp_path: Path) -> None:
    clocks = {"lab-1": HostClock(-5_000_000_000, -200), "lab-2": HostClock(5_000_000_000, 200)}
    with Lab("lab-1", "lab-2", clocks=clocks) as lab:
        place = LabPlace(lab, tmp_path)
        place.write(scenario(orders=100), CODE)
        run = place.run(".", expect=0)
    for hop in run.result["circuits"][0]["hops"]:
        assert hop["max_ns"] < 2_000_000_000
    (clock,) = (host for host in run.result["hosts"] if host["name"] == "lab-1")
    assert abs(clock["offset_ns"] - 5_000_000_000) < 50_000_000
    assert 0 < clock["clock_error_ns"] < 100_000_000


def test_a_failed_unit_tells_its_last_words_from_there(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(), CODE.replace("def worker():\n", "def worker():\n    raise OSError('no camera')\n"))
    run = place.run(".", expect=1)
    assert ("not-ready", "worker") in run.findings()
    assert "OSError: no camera" in run.text
    assert "OSError: no camera" in run.printed("worker")
    assert is_clean(lab.host("lab-1"))


def test_a_host_that_cannot_be_reached_is_named_with_what_ssh_says(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(worker="lab-9"), CODE)
    run = place.run(".")
    assert run.code == 4, run.text
    assert "lab-9" in run.text
    place.write(scenario(), CODE)
    lab.host("lab-1").kill_everything()
    run = place.run(".", expect=1)
    assert "host lab-1 cannot be reached by ssh lab-1" in run.text
    assert "Connection refused" in run.text


def test_a_python_that_is_not_there_is_named(place: LabPlace) -> None:
    place.write(scenario(hosts='[hosts.lab-1]\nssh = "lab-1"\npython = "/opt/none/python"\n'), CODE)
    run = place.run(".", expect=1)
    assert "hosts.lab-1.python" in run.text


def test_a_supervisor_that_comes_when_the_run_is_over_leaves_nothing(place: LabPlace, lab: Lab) -> None:
    slow = f"sh -c 'sleep 2; exec {sys.executable} \"$@\"' -"
    hosts = f'[hosts.lab-1]\nssh = "lab-1"\npython = """{slow}"""\nlease = "3s"\n'
    place.write(scenario(hosts=hosts), CODE)
    with place.start(".", "--plain") as run:
        run.until(lambda: SUPERVISOR in " ".join(lab.host("lab-1").processes().values()))
        run.signal(signal.SIGINT)
        assert run.end().code == 2
    assert poll(lambda: SUPERVISOR not in " ".join(lab.host("lab-1").processes().values()), 10)
    assert is_clean(lab.host("lab-1"))


def test_a_runner_whose_key_lets_no_host_in_is_reported_at_once_and_starts_nothing(place: LabPlace, lab: Lab) -> None:
    for words in (("boss", "--runner"), ("poor", "--role", "runner", "--role", "agent", "--role", "unit")):
        units = ("--unit", "*", "--unit", "@local") if words[0] == "poor" else ()
        place.run("keys", "new", *words, *units, "--folder", "ring", expect=0)
    place.write(scenario(), CODE)
    broker = [COMMAND, "broker", "--listen", "tcp://0.0.0.0:5000", "--keys", place.folder / "ring"]
    with started(lab.desk, broker, place) as living:
        living.until("listening on")
        run = place.run(".", "--broker", "tcp://desk:5000", "--keys", "ring/poor.keys", expect=4)
        assert "the broker at tcp://desk:5000 refuses: the key 'poor' may not speak as '@lab-1'" in run.text
        assert "keys new NAME --runner" in run.text
        assert is_clean(lab.host("lab-1"))
        later = place.run(".", "--broker", "tcp://desk:5000", "--keys", "ring/boss.keys", expect=0)
    met = " ".join(later.result["evidence"].get("incidents", {}))
    assert "poor" not in met, "what another run has met is no news"


def test_a_command_that_a_host_lacks_is_missed_on_that_host(place: LabPlace) -> None:
    text = scenario().replace('entrypoint = "units:worker"', 'command = ["no-such-program"]')
    place.write(text, CODE)
    run = place.run(".", expect=1)
    assert "worker did not start on host lab-1: command not found: no-such-program" in run.text


def test_a_short_break_of_the_link_is_no_news(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=30, pause_s=0.05), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        time.sleep(0.7)  # how long the break lasts is what is tested
        lab.host("lab-1").link_up()
        done = ended(run, 0)
    assert "has not been heard" not in done.out
    assert done.result["evidence"]["lost"] == []


def test_a_host_that_vanishes_is_named_and_its_evidence_counts_when_it_is_back(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=40, pause_s=0.05), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        run.until("worker  failed: was lost with host lab-1, which has not been heard")
        lab.host("lab-1").link_up()
        done = ended(run, 0)
    assert done.result["circuits"][0]["instances"]["complete"] == 40
    assert done.result["evidence"]["lost"] == []
    assert any("host lab-1 was away for" in note for note in done.result["notes"])
    assert done.units["worker"]["state"] in ("finished", "stopped"), "it may be ordered to end while it does"
    again = place.run("verify", "latest", "--json", "-", expect=0)
    assert "host lab-1 was away for" in again.out


def test_units_of_a_host_that_stays_away_have_failed_and_are_not_accused_of_silence(place: LabPlace, lab: Lab) -> None:
    hosts = f'[hosts.lab-1]\nssh = "lab-1"\npython = "{os.sys.executable}"\nlease = "2s"\n'
    place.write(scenario(orders=1000, pause_s=0.05, hosts=hosts), CODE)
    with place.start(".", "--plain", "--timeout", "7s") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        run.until("worker  failed: was lost with host lab-1, which has not been heard")
        done = ended(run, 1)
    assert ("unit-failed", "worker") in done.findings()
    accused = [finding for finding in done.result["findings"] if finding["unit"] == "worker"]
    assert [finding["class"] for finding in accused] == ["unit-failed"]
    assert any("worker never said its last word" in note for note in done.result["notes"])
    assert poll(lambda: not any(SUPERVISOR in line for line in lab.host("lab-1").processes().values()), 15)


def test_a_supervisor_that_is_killed_is_replaced_and_its_units_evidence_counts(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.02), CODE)
    with place.start(".", "--plain", "--timeout", "7s") as run:
        run.until("first instance complete")
        os.kill(pid_of(lab.host("lab-1"), SUPERVISOR), signal.SIGKILL)
        run.until("worker  failed")
        done = ended(run, 1)
    assert ("unit-failed", "worker") in done.findings()
    assert done.result["evidence"]["lost"] == []
    assert is_clean(lab.host("lab-1"))


def test_ctrl_c_leaves_nothing_on_any_host(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.05), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        run.signal(signal.SIGINT)
        ended(run, 2)
    assert is_clean(lab.host("lab-1"))


def test_a_runner_that_stood_still_blames_no_host_for_it(place: LabPlace) -> None:
    hosts = f'[hosts.lab-1]\nssh = "lab-1"\npython = "{os.sys.executable}"\nlease = "3s"\n'
    place.write(scenario(orders=40, pause_s=0.3, hosts=hosts), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        run.signal(signal.SIGSTOP)
        time.sleep(8)  # longer than lease and margin
        run.signal(signal.SIGCONT)
        done = ended(run, 0)
    assert done.units["worker"]["state"] in ("finished", "stopped"), "it may be ordered to end while it does"


def test_an_end_that_is_asked_for_twice_does_not_wait_for_a_host_that_is_away(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.05), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        run.signal(signal.SIGINT)
        run.until("client  stopped")
        run.signal(signal.SIGINT)
        done = ended(run, 2)
    lab.host("lab-1").link_up()
    assert "its lease" not in done.out
    assert done.result["verdict"] != "passed"


def test_a_runner_that_is_killed_leaves_nothing_on_any_host(place: LabPlace, lab: Lab) -> None:
    place.write(scenario(orders=1000, pause_s=0.05), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        run.signal(signal.SIGKILL)
        run.process.wait(10)
        assert is_clean(lab.host("lab-1"))
    assert poll(lambda: lab.desk.processes() == {}, 20), lab.desk.processes()
    assert place.run("verify", "latest").code in (1, 6)


SERVICE = """
[units.clerk]
entrypoint = "units:clerk"
service = true
"""
CLERK = """

def clerk():
    probe.ready("clerk-ready")
    while True:
        time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_goes_on_and_comes_to_its_end_when_the_supervisor_of_a_host_has_ended(
    place: LabPlace, lab: Lab, number: signal.Signals
) -> None:
    patient = CODE.replace(
        "            talk.readline()\n", "            if not talk.readline():\n                return\n"
    )
    place.write(scenario(orders=1000, pause_s=0.02, more=SERVICE), patient + CLERK)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        os.kill(pid_of(lab.host("lab-1"), SUPERVISOR), number)
        done = ended(run, 1)
    assert done.units["clerk"]["state"] == "stopped", "a service that is not needed any more"
    (finding,) = (
        found for found in done.result["findings"] if found["unit"] == "worker" and found["class"] == "unit-failed"
    )
    if number == signal.SIGTERM:
        assert finding["message"] == "worker was ended on host lab-1, whose supervisor got SIGTERM"
    again = place.run("verify", "latest", "--json", "-")
    assert again.code == 1
    assert finding["message"] in again.out
    assert is_clean(lab.host("lab-1"))


def test_a_link_that_is_down_for_most_of_a_lease_costs_no_unit(place: LabPlace, lab: Lab) -> None:
    hosts = f'[hosts.lab-1]\nssh = "lab-1"\npython = "{os.sys.executable}"\nlease = "10s"\n'
    place.write(scenario(orders=40, pause_s=0.05, hosts=hosts), CODE)
    with place.start(".", "--plain") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        time.sleep(7)  # TCP alone would be heard again after 12.6 s
        lab.host("lab-1").link_up()
        done = ended(run, 0)
    assert done.result["evidence"]["lost"] == []
    assert done.units["worker"]["state"] in ("finished", "stopped"), "it may be ordered to end while it does"


@pytest.mark.parametrize("journal", [True, False], ids=["with-a-journal", "without"])
def test_a_child_there_that_dies_unheard_is_heard_while_its_parent_lives(place: LabPlace, journal: bool) -> None:
    """And of one that could keep no journal it is known that what it emitted is not known."""
    place.write(
        f"""
        [scenario]
        timeout = "60s"
        [hosts.lab-1]
        ssh = "lab-1"
        python = "{sys.executable}"
        [units.worker]
        entrypoint = "units:worker"
        host = "lab-1"
        [units.client]
        entrypoint = "units:client"
        [circuits.order]
        path = ["worker: accepted", {{ probe = "worker: handled", within = "20s" }}, "worker: counted"]
        """,
        f"""
        import os
        import probe

        def worker():
            probe.emit("accepted", key="k")
            if (pid := os.fork()) == 0:
                if not {journal}:
                    os.environ["CIRCUIT_JOURNAL"] = "/dev/null/journals"
                probe.emit("handled", key="k")
                os._exit(0)
            os.waitpid(pid, 0)
            probe.emit("counted", key="k")
            probe.wait("client: done", timeout=30)

        def client():
            if {journal}:
                assert probe.wait("worker: handled", key="k", timeout=30)
            probe.emit("done")
        """,
    )
    run = place.run(".", "--plain", expect=0 if journal else 6)
    assert run.result["circuits"][0]["instances"]["complete"] == journal
    assert "✗" not in run.out
    assert [f["class"] for f in run.result["findings"]] == ([] if journal else ["lost-evidence", "missing"])
    if not journal:
        assert "it could keep no journal (Not a directory)" in run.result["findings"][0]["message"]
    assert is_clean(place.lab.host("lab-1"))
