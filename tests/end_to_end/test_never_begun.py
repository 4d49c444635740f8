"""Units that never begin, and user code around a run that fails, through the real command line: said in one finding."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.scenarios import Place, Run, place_in


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


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
    text = "\n".join(line for f in findings for line in [f["message"], *f["details"]])
    assert last in text
    assert "units.py" in text
    assert "bootstrap" not in text
    assert "importlib" not in text


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no-module", ("no module 'unts'", "did you mean 'units'")),
        ("no-function", ("has no function 'mian'", "did you mean 'main'")),
        ("no-command", ("no-such-program-here", "did not start")),
        ("never-ready", ("did not get ready: its probe up did not fire within 300 ms", "it fired instead: upp")),
        ("early-exit", ("one exited with code 0", "before its probe up")),
        ("own-timeout", ("still ran after its time of 200 ms",)),
        ("hangs", ("still ran when the scenario's time of 500 ms was over",)),
        ("gives-up", ("exited with code 5",)),
        ("nobody-joins", ("one did not join within 200 ms", "started by someone else")),
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


VISIT = """
    [scenario]
    settle = "30s"
    timeout = "{timeout}"
    [units.visitor]
    launcher = "external"
    ready = "came"
    expect = ["left"]
    [units.host]
    entrypoint = "units:host"
    [circuits.visit]
    path = ["visitor: came", "host: seen"]
"""
HOST = """
    import probe
    def host():
        key = probe.wait("visitor: came", timeout=20).key
        probe.emit("seen", key=key)
"""
VISITOR = """
import os, signal, sys
import zmq
from probe import clock, message as m, wire

socket = zmq.Context.instance().socket(zmq.DEALER)
socket.connect(os.environ["CIRCUIT_BROKER"])
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
hello = m.Hello(m.VERSION, "unit", os.environ["CIRCUIT_RUN"], "visitor", 7, boot, os.getpid(), journal=True)
socket.send_multipart(wire.encode(hello))
now_ns = wire.decode(socket.recv_multipart())[0].clock_ns
records = [1, now_ns, "came", 4, "v-1", None], [2, now_ns, "left", 0, None, None]
body = b"".join(map(wire.record_packer(), records))
socket.send_multipart(wire.encode(m.Events(1, 2, now_ns), body))
while True:  # or until it is killed
    message, body = wire.decode(socket.recv_multipart())
    if isinstance(message, m.Ack) and sys.argv[1] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(message, m.Command) and isinstance(wire.decode_order(body), m.Sync):
        socket.send_multipart(wire.encode(m.Events(3, 0, clock.monotonic_ns())))
"""


def visited(place: Place, what: str, *, timeout: str) -> Run:
    """The run of VISIT in which the visitor came and then `what`."""
    place.write(VISIT.format(timeout=timeout), HOST)
    with place.start(".", "--plain") as living:
        living.until((place.folder / ".circuit" / "latest" / "broker").exists)
        broker = (place.folder / ".circuit" / "latest" / "broker").read_text().strip()
        env = {**os.environ, "CIRCUIT_BROKER": broker, "CIRCUIT_RUN": place.newest().run}
        with subprocess.Popen([sys.executable, "-c", VISITOR, what], env=env) as visitor:
            try:
                return living.end()
            finally:
                visitor.kill()


def test_an_external_unit_that_lives_on_says_up_to_when_all_is_known_of_it(place: Place) -> None:
    run = visited(place, "stays", timeout="3s")
    assert run.code == 0, run.text
    assert run.result["evidence"]["unknown"] == []
    place.run("verify", "latest", expect=0)


def test_an_external_unit_that_died_without_its_last_word_may_have_lost_something(place: Place) -> None:
    """All that came of it is well, and what it has written down since then would be judged, too."""
    run = visited(place, "dies", timeout="3s")
    assert run.code == 6, run.text
    assert [each["unit"] for each in run.result["evidence"]["unknown"]] == ["visitor"]
    assert "its last word" in run.text
    place.run("verify", "latest", expect=6)


def test_an_external_unit_joins_speaks_and_is_judged(place: Place) -> None:
    place.write(VISIT.format(timeout="60s"), HOST)
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
