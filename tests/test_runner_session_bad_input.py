"""Units that go wrong in every way, through the real command line: each is named, nothing is lost or left running."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zmq
from scenarios import COMMAND, Place, Run, place_in

from probe import message as m
from probe import wire


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


# --- units that fail after they have begun ----------------------------------------------------------------------------

UNITS = """
    import asyncio, multiprocessing, os, signal, sys, threading, time
    import probe

    def raises():
        probe.emit("begun")
        raise ValueError("no such order: 17")

    def leaves():
        probe.emit("begun")
        print("going now", file=sys.stderr)
        sys.exit(3)

    def vanishes():
        for n in range(200):
            probe.send("last-words", key=f"v-{n}")
        os._exit(7)

    def killed():
        for n in range(300):
            probe.send("last-words", key=f"k-{n}")
        os.kill(os.getpid(), signal.SIGKILL)

    def witness():
        probe.wait("vanishes: last-words", key="v-199", timeout=20)
        probe.wait("killed: last-words", key="k-299", timeout=20)
        for n in range(200):
            probe.receive("heard", key=f"v-{n}")
        for n in range(300):
            probe.receive("heard", key=f"k-{n}")

    def accepted():
        sys.exit(3)

    def flood():
        line = b"x" * 1023 + b"\\n"
        chunk = line * 1024
        for _ in range(50):
            os.write(2, chunk)
        os.write(2, b"the very last line\\n")
        sys.exit(1)

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        probe.ready("deaf-ready")
        while True:
            signal.pause()

    def needs_deaf():
        pass

    def gentle():
        probe.ready("gentle-ready")
        try:
            while True:
                signal.pause()
        finally:
            probe.emit("cleaned-up")

    def flaky():
        probe.emit("tried")
        if not os.path.exists("tried-before"):
            open("tried-before", "w").close()
            sys.exit(1)

    def child(n):
        probe.emit("from-child", key=n)

    def families():
        for method in ("fork", "spawn"):
            one = multiprocessing.get_context(method).Process(target=child, args=(method,))
            one.start()
            one.join()
            assert one.exitcode == 0
        pid = os.fork()
        if not pid:
            probe.emit("from-child", key="os.fork")
            sys.exit(0)
        os.waitpid(pid, 0)
        probe.emit("from-parent")

    def crowded():
        threads = [threading.Thread(target=lambda: [probe.emit("from-thread") for _ in range(500)]) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        async def task():
            probe.emit("from-task")
            await asyncio.sleep(0)
        async def main():
            await asyncio.gather(*(task() for _ in range(100)))
        asyncio.run(main())

    class Rude:
        def __repr__(self): raise RuntimeError("rude")
        __str__ = __repr__

    class RudeError(Exception):
        def __str__(self): raise RuntimeError("rude")

    def odd():
        keys = 7, None, b"bytes", "k" * 100_000, object(), "\\udce4", 2**70, 1.5, ("a", 1), Rude(), "", "new\\nline"
        for key in keys:
            probe.emit("odd-key", key=key)
        plain = "x" * 5_000_000, "\\udce4", 2**70, {1: {2: 3}}, b"\\xff", float("nan"), [[[]]] * 9
        for data in (*plain, object(), Rude(), {"a": Rude()}, {"a set"}, lambda: 1):
            probe.emit("odd-data", value=data)
        probe.emit("s" * 10_000)
        probe.emit(None)
        probe.emit(17)
        probe.error(RudeError())
        probe.emit("survived")

    def monotone():
        for _ in range(10_000):
            probe.emit("again", key="the-only-key")
"""

SCENARIO = """
    [scenario]
    name = "bad-units"
    timeout = "30s"
    [units.raises]
    entrypoint = "units:raises"
    [units.leaves]
    entrypoint = "units:leaves"
    [units.vanishes]
    entrypoint = "units:vanishes"
    [units.killed]
    entrypoint = "units:killed"
    [units.witness]
    entrypoint = "units:witness"
    [units.accepted]
    entrypoint = "units:accepted"
    exit_codes = [0, 3]
    [units.flood]
    entrypoint = "units:flood"
    [units.deaf]
    entrypoint = "units:deaf"
    ready = "deaf-ready"
    service = true
    stop_timeout = "50ms"
    [units.gentle]
    entrypoint = "units:gentle"
    ready = "gentle-ready"
    service = true
    [units.flaky]
    entrypoint = "units:flaky"
    restart = "on-failure"
    [units.families]
    entrypoint = "units:families"
    [units.crowded]
    entrypoint = "units:crowded"
    [units.odd]
    entrypoint = "units:odd"
    expect = ["survived"]
    [units.monotone]
    entrypoint = "units:monotone"
    [units.shell]
    command = ["sh", "-c", "echo to nobody; exit 9"]
    [circuits.last-words]
    path = [{ quorum = 1, of = ["vanishes: last-words", "killed: last-words"] }, "witness: heard"]
    instances = 500
"""


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Fifteen units, most of them bad, in one run."""
    with place_in(tmp_path_factory.mktemp("bad")) as place:
        place.write(SCENARIO, UNITS)
        yield place.run(".", "--plain")


def test_a_failed_unit_fails_the_run_and_is_named_with_its_end(bad: Run) -> None:
    assert bad.code == 1, bad.text
    ends = {name: (unit["state"], unit["exit_code"]) for name, unit in bad.units.items()}
    assert ends["raises"] == ("failed", 1)
    assert ends["leaves"] == ("failed", 3)
    assert ends["vanishes"] == ("failed", 7)
    assert ends["killed"] == ("failed", -9)
    assert ends["shell"] == ("failed", 9)
    assert "killed by SIGKILL" in bad.finding("killed")["message"]
    assert "exited with code 3" in bad.finding("leaves")["message"]
    assert "going now" in bad.finding("leaves")["details"]


def test_a_unit_that_raises_shows_its_own_traceback_and_none_of_our_frames(bad: Run) -> None:
    assert {cls for cls, _ in bad.findings("raises")} == {"exception", "unit-failed"}
    printed = bad.printed("raises")
    assert "ValueError: no such order: 17" in printed
    assert "units.py" in printed
    for ours in ("bootstrap", "entry.py", "importlib", "runner"):
        assert ours not in printed


def test_nothing_is_lost_of_units_that_are_gone_from_one_instruction_to_the_next(bad: Run) -> None:
    evidence = bad.result["evidence"]
    assert evidence["lost"] == []
    assert evidence["emitted"] == evidence["received"]
    assert evidence["recovered"] > 0
    assert (bad.units["vanishes"]["events"], bad.units["killed"]["events"]) == (200, 300)
    (circuit,) = bad.result["circuits"]
    assert circuit["instances"] == {"started": 500, "complete": 500, "failed": 0, "open": 0, "inconclusive": 0}
    assert bad.result["pairs"]["paired"] == 500


def test_exit_codes_that_the_scenario_accepts_are_no_failure(bad: Run) -> None:
    assert (bad.units["accepted"]["state"], bad.units["accepted"]["exit_code"]) == ("finished", 3)
    assert bad.findings("accepted") == []


def test_a_flood_of_output_is_kept_and_only_its_end_is_shown(bad: Run) -> None:
    assert (bad.folder.units / "flood.err").stat().st_size > 50 * 1024 * 1024
    assert "the very last line" in bad.finding("flood")["details"]
    assert len(bad.text) < 20_000


def test_a_unit_that_ignores_sigterm_is_killed_and_named(bad: Run) -> None:
    assert bad.units["deaf"]["exit_code"] == -9
    assert bad.finding("deaf")["message"] == "deaf ignored SIGTERM for 50 ms and had to be killed"


def test_a_service_is_stopped_at_the_end_and_may_clean_up(bad: Run) -> None:
    assert bad.units["gentle"]["state"] == "stopped"
    assert bad.units["gentle"]["events"] == 2
    assert bad.findings("gentle") == []


def test_a_unit_that_is_started_again_and_then_works_is_no_failure(bad: Run) -> None:
    assert bad.units["flaky"]["state"] == "finished"
    assert bad.findings("flaky") == []


def test_children_threads_and_tasks_emit_for_their_unit(bad: Run) -> None:
    assert bad.units["families"]["events"] == 4
    assert bad.units["crowded"]["events"] == 8 * 500 + 100
    for unit in ("families", "crowded"):
        assert bad.units[unit]["state"] == "finished", bad.printed(unit)
        assert bad.findings(unit) == []


def test_odd_keys_and_data_never_hurt_the_unit_that_emits_them(bad: Run) -> None:
    assert bad.units["odd"]["state"] == "finished", bad.printed("odd")
    assert {"unit": "odd", "step": "survived"} in bad.result["required"]["completed"]
    assert bad.findings("odd") == [("exception", "odd")]


def test_ten_thousand_events_with_one_key_are_ten_thousand_events(bad: Run) -> None:
    assert bad.units["monotone"]["events"] == 10_000
    assert bad.findings("monotone") == []


# --- units that never begin, one scenario each, all run by one command ------------------------------------------------


@dataclass(frozen=True)
class Case:
    scenario: str
    code: str = ""


CASES = {
    "broken-import": Case('[units.one]\nentrypoint = "units:main"', "import json\n\ndef f():\n    1 / 0\n\nf()\n"),
    "syntax": Case('[units.one]\nentrypoint = "units:main"', "def main(:\n"),
    "no-module": Case('[units.one]\nentrypoint = "unts:main"', "def main(): pass\n"),
    "no-function": Case('[units.one]\nentrypoint = "units:mian"', "def main(): pass\n"),
    "no-command": Case('[units.one]\ncommand = ["no-such-program-here"]'),
    "never-ready": Case(
        '[units.one]\nentrypoint = "units:main"\nready = "up"\nready_timeout = "300ms"',
        "import probe, signal\ndef main():\n    probe.emit('upp')\n    signal.pause()\n",
    ),
    "early-exit": Case(
        '[units.one]\nentrypoint = "units:main"\nready = "up"\n[units.two]\nentrypoint = "units:main"\nafter = ["one"]',
        "def main(): pass\n",
    ),
    "hangs": Case(
        '[scenario]\ntimeout = "500ms"\n[units.one]\nentrypoint = "units:main"',
        "import signal\ndef main(): signal.pause()\n",
    ),
    "own-timeout": Case(
        '[units.one]\nentrypoint = "units:main"\ntimeout = "200ms"', "import signal\ndef main(): signal.pause()\n"
    ),
    "gives-up": Case('[units.one]\ncommand = ["sh", "-c", "exit 5"]\nrestart = "on-failure"'),
    "nobody-joins": Case(
        '[units.one]\nlauncher = "external"\nready_timeout = "200ms"\n[units.two]\ncommand = ["true"]'
    ),
    "check-false": Case(
        '[scenario]\ncheck = "units:check"\n[units.one]\ncommand = ["true"]',
        "def check(result):\n    assert result['verdict'] == 'passed'\n    return False\n",
    ),
    "check-raises": Case(
        '[scenario]\ncheck = "units:check"\n[units.one]\ncommand = ["true"]',
        "def check(result):\n    raise LookupError(result['units'][0]['name'])\n",
    ),
    "check-passes": Case(
        '[scenario]\nsetup = "units:setup"\ncheck = "units:check"\n[units.one]\ncommand = ["test", "-e", "made"]',
        "def setup():\n    open('made', 'w').close()\ndef check(result):\n    pass\n",
    ),
    "setup-raises": Case(
        '[scenario]\nsetup = "units:setup"\n[units.one]\ncommand = ["touch", "begun"]',
        "def setup():\n    raise OSError('no database')\n",
    ),
    "setup-command": Case(
        '[scenario]\nsetup = ["sh", "-c", "echo no disk >&2; exit 4"]\n[units.one]\ncommand = ["touch", "begun"]'
    ),
}


@dataclass(frozen=True)
class Bad:
    """What all the cases came to."""

    folder: Path
    results: dict[str, dict[str, Any]]
    run: Run

    def only(self, case: str) -> dict[str, Any]:
        """The only finding of `case`."""
        (finding,) = self.results[case]["findings"]
        return dict(finding)

    def state(self, case: str, unit: str = "one") -> str:
        (state,) = (u["state"] for u in self.results[case]["units"] if u["name"] == unit)
        return str(state)

    def explained(self, case: str) -> str:
        """Message and details."""
        finding = self.only(case)
        return "\n".join([finding["message"], *finding["details"]])


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bad]:
    with place_in(tmp_path_factory.mktemp("cases")) as place:
        for name, case in CASES.items():
            place.write(case.scenario, case.code, name=f"{name}/circuit.toml")
        run = place.run(*CASES, "--plain", "--json", "all.json")
        results = {one["scenario"]: one for one in json.loads((place.folder / "all.json").read_text())}
        yield Bad(place.folder, results, run)


def test_only_what_is_right_passes(cases: Bad) -> None:
    assert cases.run.code == 1
    assert {name for name, result in cases.results.items() if result["verdict"] != "failed"} == {"check-passes"}


@pytest.mark.parametrize(("case", "last"), [("broken-import", "ZeroDivisionError"), ("syntax", "SyntaxError")])
def test_an_entrypoint_that_does_not_import_shows_the_users_own_traceback(cases: Bad, case: str, last: str) -> None:
    findings = cases.results[case]["findings"]
    assert {f["class"] for f in findings} <= {"unit-failed", "exception"}
    told = "\n".join(line for f in findings for line in [f["message"], *f["details"]])
    assert last in told
    assert "units.py" in told
    assert "bootstrap" not in told
    assert "importlib" not in told


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no-module", ("no module 'unts'", "did you mean 'units'")),
        ("no-function", ("has no function 'mian'", "did you mean 'main'")),
        ("no-command", ("no-such-program-here", "did not start")),
        ("never-ready", ("did not get ready: its probe up did not fire within 0.3 s", "it fired instead: upp")),
        ("early-exit", ("one exited with code 0", "before its probe up")),
        ("own-timeout", ("still ran after its time of 0.2 s",)),
        ("hangs", ("still ran when the scenario's time of 0.5 s was over",)),
        ("gives-up", ("exited with code 5",)),
        ("nobody-joins", ("one did not join within 0.2 s", "started by someone else")),
        ("check-false", ("check units:check returned False",)),
        ("check-raises", ("check units:check raised LookupError: one", "units.py")),
        ("setup-raises", ("setup units:setup raised OSError: no database", "units.py")),
        ("setup-command", ("exited with code 4", "no disk")),
    ],
)
def test_one_finding_says_what_is_wrong(cases: Bad, case: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in cases.explained(case), cases.explained(case)
        assert word in " ".join(cases.run.text.split())
    assert "callee" not in cases.explained(case)


@pytest.mark.parametrize(
    ("case", "cls"),
    [
        ("no-command", "unit-failed"),
        ("never-ready", "not-ready"),
        ("early-exit", "not-ready"),
        ("hangs", "unit-failed"),
        ("check-false", "check"),
        ("setup-raises", "check"),
    ],
)
def test_the_class_of_a_finding_says_which_kind_of_wrong(cases: Bad, case: str, cls: str) -> None:
    assert cases.only(case)["class"] == cls


def test_what_comes_after_a_failed_unit_is_not_started_and_not_accused(cases: Bad) -> None:
    assert cases.state("early-exit", "two") == "stopped"
    assert cases.only("early-exit")["unit"] == "one"


@pytest.mark.parametrize("case", ["setup-raises", "setup-command"])
def test_no_unit_is_started_where_setup_failed(cases: Bad, case: str) -> None:
    assert not (cases.folder / case / "begun").exists()
    assert cases.state(case) == "stopped"


def test_an_external_unit_joins_speaks_and_is_judged(place: Place) -> None:
    place.write(
        """
        [units.visitor]
        launcher = "external"
        ready = "came"
        expect = ["left"]
        [units.host]
        entrypoint = "units:host"
        [circuits.visit]
        path = ["visitor: came", "host: seen"]
        """,
        """
        import probe
        def host():
            key = probe.wait("visitor: came", timeout=20).key
            probe.emit("seen", key=key)
        """,
    )
    with place.start(".", "--plain") as living:
        folder = place.folder / ".circuit"
        living.until((folder / "latest" / "broker").exists)
        broker = (folder / "latest" / "broker").read_text().strip()
        env = {"CIRCUIT_BROKER": broker, "CIRCUIT_RUN": place.newest().run, "CIRCUIT_UNIT": "visitor"}
        place.run("emit", "came", "--kind", "ready", "--key", "v-1", expect=0, env=env)
        place.run("emit", "left", expect=0, env=env)
        run = living.end()
    assert run.code == 0, run.text
    assert run.units["visitor"]["events"] == 2


# --- beside each other ------------------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_do_not_disturb_each_other(place: Place) -> None:
    place.write(
        '[units.one]\nentrypoint = "units:main"\n',
        "import probe\ndef main():\n    for n in range(500):\n        probe.emit('step', key=n)\n",
    )
    with place.start(".", "--json", "a.json") as one, place.start(".", "--json", "b.json") as other:
        assert (one.end().code, other.end().code) == (0, 0)
    results = [json.loads((place.folder / name).read_text()) for name in ("a.json", "b.json")]
    assert results[0]["run"] != results[1]["run"]
    assert [result["units"][0]["events"] for result in results] == [500, 500]


def test_a_supervisor_that_is_gone_before_its_units_ends_the_run(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sleep", "60"]\n')
    with place.start(".", "--plain") as living:
        living.until("running")
        context = zmq.Context()
        impostor = context.socket(zmq.DEALER)
        impostor.connect((place.newest().path / "broker").read_text().strip())
        for message in (m.Hello(m.VERSION, "agent", place.newest().run, "@local", 1), m.Final(0)):
            impostor.send_multipart(wire.encode(message))
        run = living.end()
        context.destroy(linger=0)
    assert run.code == 3, run.text
    assert "the supervisor left before the end of one" in run.text
    assert "Traceback" not in run.text


def test_a_run_whose_supervisor_was_told_to_end_is_no_pass(place: Place) -> None:
    place.write('[units.one]\nentrypoint = "units:main"\n', "import signal\ndef main():\n    signal.pause()\n")
    with place.start(".", "--plain") as living:
        living.until("running")
        (supervisor,) = [pid for pid, words in place.processes().items() if "launch.supervisor" in words]
        os.kill(supervisor, signal.SIGTERM)
        run = living.end()
    assert run.code == 3, run.text
    assert "somebody sent it SIGTERM" in run.text
    assert "Traceback" not in run.text


def test_a_unit_may_be_given_any_time_to_end(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sleep", "60"]\nstop_timeout = "1000h"\n')
    run = place.run(".", "--timeout", "200ms", expect=1)
    assert run.units["one"]["exit_code"] == -15


@pytest.mark.parametrize(("where", "code", "said"), [(">&-", 0, ""), (">/dev/full", 3, "No space left on device")])
def test_output_that_cannot_be_written_is_no_verdict(place: Place, where: str, code: int, said: str) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    told = subprocess.run(
        ["sh", "-c", f'exec "$0" --plain {where}', COMMAND],
        cwd=place.folder,
        env=os.environ | {"TMPDIR": str(place.temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert told.returncode == code
    assert said in told.stderr
    assert "Traceback" not in told.stderr
