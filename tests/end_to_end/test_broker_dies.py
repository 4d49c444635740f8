"""A broker that is killed in the middle of a run is started again and nothing is lost, at every moment that hurts.

The units do the killing themselves, so each moment is the one that is meant.
"""

import contextlib
import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import log
from probe import wire
from probe.event import USER_KINDS
from probe.message import Command, Events
from probe.wire import unpack_records
from tests.support.scenarios import Place, Run, place_in, poll

BROKER, SUPERVISOR = "broker.__main__", "runner.adapters.supervisor.supervisor"
HELPERS = """
    import os, resource, signal, time
    from pathlib import Path

    import probe

    def brokers():
        argument = f"\\0--run\\0{os.environ['CIRCUIT_RUN']}\\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes()
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if b"\\0circuit_run\\0broker.__main__\\0" in line and argument in line and state != "Z":
                found.append(int(process.name))
        return found

    def kill_broker():
        while not (found := brokers()):
            time.sleep(0.005)
        os.kill(found[0], signal.SIGKILL)

    def say(count, start=0):
        for number in range(start, start + count):
            probe.emit("said", key=str(number))
"""

# name: units, their code, how much each of them says
MOMENTS = {
    "under load, twice": (
        """
        [units.one]
        entrypoint = "units:loud"
        [units.two]
        entrypoint = "units:loud"
        """,
        """
    def loud():
        for turn in range(40):
            say(500, turn * 500)
            time.sleep(0.002)
            if os.environ["CIRCUIT_UNIT"] == "one" and turn in (10, 20):
                kill_broker()
        """,
        {"one": 20_000, "two": 20_000},
    ),
    "at the start gate, with no time to lose": (
        """
        [units.one]
        entrypoint = "units:first"
        ready = "up"
        ready_timeout = "1s"
        [units.two]
        entrypoint = "units:second"
        after = ["one"]
        """,
        """
    def first():
        kill_broker()
        probe.ready("up")
        say(10)

    def second():
        say(10)
        """,
        {"one": 10, "two": 10},
    ),
    "at a barrier": (
        """
        [units.one]
        entrypoint = "units:early"
        [units.two]
        entrypoint = "units:late"
        """,
        """
    def early():
        say(10)
        for _ in range(2):
            probe.barrier("go", timeout=20)

    def late():
        probe.wait("one: said", key="9")
        kill_broker()
        for _ in range(2):
            probe.barrier("go", timeout=20)
        say(10)
        """,
        {"one": 10, "two": 10},
    ),
    "in a wait": (
        """
        [units.one]
        entrypoint = "units:asks"
        [units.two]
        entrypoint = "units:answers"
        """,
        """
    def asks():
        say(1)
        probe.wait("two: said", key="5", timeout=20)

    def answers():
        probe.wait("one: said")
        kill_broker()
        say(10)
        """,
        {"one": 1, "two": 10},
    ),
    "when a unit ends without a word": (
        """
        [units.one]
        entrypoint = "units:dies"
        """,
        """
    def dies():
        say(20000)
        kill_broker()
        say(20000, 20000)
        os._exit(0)
        """,
        {"one": 40_000},
    ),
    "while journals are published": (
        """
        [units.one]
        entrypoint = "units:dies"
        [units.two]
        entrypoint = "units:kills"
        """,
        """
    def dies():
        probe.wait("two: said")
        os.kill(brokers()[0], signal.SIGSTOP)
        say(50000)
        os._exit(0)

    def kills():
        say(1)
        while "one-" not in "".join(os.listdir(os.environ["CIRCUIT_JOURNAL"])):
            time.sleep(0.001)
        while any(b"\\0CIRCUIT_UNIT=one\\0" in environment(pid) for pid in os.listdir("/proc") if pid.isdigit()):
            time.sleep(0.01)
        broker, = brokers()
        os.kill(broker, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(broker, signal.SIGKILL)

    def environment(pid):
        try:
            return Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return b""
        """,
        {"one": 50_000, "two": 1},
    ),
    "when services are to be stopped": (
        """
        [units.one]
        entrypoint = "units:serves"
        ready = "up"
        [units.two]
        entrypoint = "units:last"
        after = ["one"]
        """,
        """
    def serves():
        probe.ready("up")
        signal.pause()

    def last():
        say(10)
        kill_broker()
        """,
        {"two": 10},
    ),
    "when units are started again": (
        """
        [units.one]
        entrypoint = "units:stubborn"
        restart = "on-failure"
        """,
        """
    def stubborn():
        if not os.path.exists("tried"):
            Path("tried").touch()
            kill_broker()
            os._exit(1)
        say(10)
        """,
        {"one": 10},
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def said(run: Run) -> dict[str, list[int]]:
    """What each unit said, by the log, in the log's order."""
    found = defaultdict(list)
    for entry in log.scan(run.folder.log):
        if isinstance(entry.message, Events):
            for _, _, step, kind, key, _ in unpack_records(entry.body):
                if kind in USER_KINDS and step == "said":
                    found[entry.unit].append(int(key))
    return dict(found)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_broker_is_started_again_and_nothing_is_lost(place: Place, moment: str) -> None:
    units, code, expected = MOMENTS[moment]
    place.write('[scenario]\ntimeout = "30s"\n' + units, HELPERS + code)
    run = place.run(".", expect=0)
    deaths = 2 if moment.endswith("twice") else 1
    assert {unit: len(numbers) for unit, numbers in said(run).items()} == expected
    assert all(numbers == list(range(expected[unit])) for unit, numbers in said(run).items())
    assert run.result["verdict"] == "passed"
    evidence = run.result["evidence"]
    assert (evidence["broker_restarts"], evidence["lost"], evidence["incidents"]) == (deaths, [], {})
    assert run.result["notes"][-1].startswith(f"the broker died and was started again {deaths} time")
    again = place.run("verify", "--json", "-", expect=0)
    assert json.loads(again.out) == run.result


def test_no_unit_is_late_because_the_broker_stands_still(place: Place) -> None:
    code = """
    def slow():
        Path("broker").write_text(str(brokers()[0]))
        os.kill(brokers()[0], signal.SIGSTOP)
        say(1)
    """
    place.write('[units.slow]\nentrypoint = "units:slow"\nready = "said"\nready_timeout = "2600ms"\n', HELPERS + code)
    with place.start(".", "--plain") as living:
        living.until("no answer")  # said after three seconds
        os.kill(int((place.folder / "broker").read_text()), signal.SIGCONT)
        run = living.end()
    assert (run.code, run.result["verdict"]) == (0, "passed")
    assert json.loads(place.run("verify", "--json", "-", expect=0).out) == run.result


def test_an_order_that_died_with_the_broker_before_the_supervisor_came_back_is_given_again(place: Place) -> None:
    code = """
    def serves():
        probe.ready("up")
        signal.pause()
    """
    place.write('[units.one]\nentrypoint = "units:serves"\nready = "up"\n', HELPERS + code)
    with place.start(".", "--plain") as living:
        living.until("running")
        supervisor, broker = (process_of(place, name) for name in (SUPERVISOR, BROKER))
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(broker, signal.SIGKILL)
        assert poll(lambda: {broker} != set(processes_of(place, BROKER)) != set())
        before, log_file = place.newest().log.stat().st_size, place.newest().log
        living.signal(signal.SIGINT)
        assert poll(lambda: b"stop" in log_file.read_bytes()[before:]), "the order is in the log, and held in memory"
        os.kill(process_of(place, BROKER), signal.SIGKILL)
        os.kill(supervisor, signal.SIGCONT)
        run = living.end()
    assert run.code == 2, run.text
    assert run.units["one"]["state"] == "stopped"


def processes_of(place: Place, module: str) -> list[int]:
    """Pids of the processes that run this module of ours."""
    return [pid for pid, line in place.processes().items() if f"-m circuit_run {module} " in line]


def process_of(place: Place, module: str) -> int:
    """Pid of the only one."""
    (pid,) = processes_of(place, module)
    return pid


def test_orders_that_are_in_the_log_twice_change_no_verdict(place: Place) -> None:
    code = """
    def stuck():
        signal.pause()

    def works():
        say(10)
        time.sleep(0.4)
        say(10, 10)
    """
    units = """
    [units.one]
    entrypoint = "units:stuck"
    timeout = "200ms"
    [units.two]
    entrypoint = "units:works"
    [circuits.c]
    path = ["two: said"]
    instances = 20
    """
    place.write(units, HELPERS + code)
    run = place.run(".", expect=1)
    once = place.run("verify", "--json", "-", expect=1)
    repeat_orders(run.folder.log)
    twice = place.run("verify", "--json", "-", expect=1)
    assert json.loads(twice.out) == json.loads(once.out)
    assert [f["message"] for f in json.loads(twice.out)["findings"]] == ["one still ran after its time of 200 ms"]


def repeat_orders(path: Path) -> None:
    """Write the log anew with every order in it twice."""
    entries = list(log.scan(path))
    path.unlink()
    with contextlib.closing(log.Log(path, lambda _entry: None)) as twice:
        for entry in entries:
            frames = wire.encode(entry.message, *([entry.body] if entry.body else []))
            times = 2 if isinstance(entry.message, Command) else 1
            twice.append([wire.encode_entry(entry.unit, entry.incarnation, frames)] * times)


def test_a_broker_that_gives_up_is_not_started_again(place: Place) -> None:
    code = """
    def fills():
        say(10)
        probe.wait("one: said", key="9")
        resource.prlimit(brokers()[0], resource.RLIMIT_FSIZE, (2000, 2000))
        say(1000)
        signal.pause()
    """
    place.write('[units.one]\nentrypoint = "units:fills"\n', HELPERS + code)
    run = place.run(".", expect=3)
    assert "the broker ended with code 3" in run.err
    assert "File too large" in run.err
    assert f"circuit-run verify {run.folder.run}" in run.err


def test_a_broker_that_is_killed_again_and_again_is_given_up(place: Place) -> None:
    code = """
    def kills():
        while True:
            kill_broker()
            time.sleep(0.005)
    """
    place.write('[units.one]\nentrypoint = "units:kills"\n', HELPERS + code)
    run = place.run(".", expect=3)
    assert "the broker was killed by SIGKILL, for the 5th time within 10 s, and is not started again" in run.err
    assert f"circuit-run verify {run.folder.run}" in run.err


def test_what_a_killed_supervisor_left_is_in_the_log(place: Place) -> None:
    code = """
    def loses_its_parent():
        say(20000)
        os.kill(os.getppid(), signal.SIGKILL)  # and this process ends with it
        signal.pause()
    """
    place.write('[units.one]\nentrypoint = "units:loses_its_parent"\n', HELPERS + code)
    run = place.run(".", expect=3)
    assert f"the supervisor ended with code -{signal.SIGKILL:d}" in run.err
    assert f"circuit-run verify {run.folder.run}" in run.err
    assert said(run) == {"one": list(range(20_000))}
    assert list(run.folder.journals.iterdir()) == []
