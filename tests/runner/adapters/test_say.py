"""Nothing from outside reaches a terminal as it came: escape sequences are fed through every message there is.

A terminal obeys what it is sent: it can be made to show another verdict than there was, to rename its window, to fill
the clipboard. So names of files, scenarios, units, steps, keys and hosts, and the words of brokers and of other
programs are made harmless in one place, and no code prints around it.
"""

import ast
import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

import broker as broker_package
import probe as probe_package
import runner as runner_package
from probe import message as m
from probe import wire
from probe.errors import warn
from probe.plain import clean, harmless
from runner.adapters.say import complain, say
from runner.cli import execute
from runner.model.result import result_json
from runner.model.result.result import Result, Verdict
from tests.support.scenarios import Place, place_in

EVIL = "\x1b[2J\x1b]0;PWNED\x07\x1b[31m\rPASSED\x9b2J\u202e\x7f"
SIGNS = {*EVIL} - {*"[2J]0;PWNED[31mPASSED2J"}
SHELL_EVIL = "\x1b[2J\x1b]0;PWNED\x07\r"
"""What a name of a file can hold, too."""


def obeyed(text: str) -> list[str]:
    """Lines of `text` in which there is something that a terminal obeys."""
    return [line for line in text.split("\n") if SIGNS & {*line}]


def escaped(text: str) -> str:
    """As TOML writes it."""
    return "".join(f"\\u{ord(sign):04x}" for sign in text)


# --- the one place ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x202E, 0x2066)])
def test_no_sign_that_a_terminal_obeys_is_left(sign: str) -> None:
    assert clean(f"a{sign}b") in ("a�b", "a b", "a⏎b")
    assert harmless(f"a{sign}b\nc") in ("a�b\nc", "a b\nc", "a\nb\nc")


def test_what_is_said_is_harmless_and_its_lines_stay(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"one {EVIL}\ntwo")
    complain(f"three {EVIL}")
    warn(f"four {EVIL}")
    said = capsys.readouterr()
    assert said.out.startswith("one ")
    assert said.out.endswith("\ntwo\n")
    assert len(said.err.splitlines()) == 2
    assert obeyed(said.out + said.err) == []


def test_what_a_stream_cannot_carry_is_said_in_other_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("é")
    assert stream.buffer.getvalue() == b"\\xe9\n"  # type: ignore[attr-defined]


def test_a_result_on_standard_output_is_harmless() -> None:
    text = result_json.dump(Result(f"r{EVIL}", "s", Verdict.PASSED, 1.0))
    assert obeyed(text) == []
    assert result_json.load(text, "x").run == f"r{EVIL}"


PRINTERS = {
    "broker/errors.py",
    "probe/errors.py",
    "runner/adapters/say.py",
    "runner/adapters/terminal/output_stream.py",  # lines, whose parts are clean
    "runner/adapters/terminal/live.py",
    "runner/adapters/terminal/repainter.py",
    "broker/__main__.py",  # where it listens, for its runner
    "runner/cli/results.py",  # result.json
    "runner/cli/doctor.py",  # JSON
    "runner/adapters/doctor/examine.py",  # JSON, from another host
    "runner/adapters/usercode/bootstrap.py",  # a unit's own traceback, into its own file
}


def test_no_code_prints_around_it() -> None:
    """Each file that writes to a standard stream is in the list above, and has a reason."""
    found = set()
    for package in (probe_package, broker_package, runner_package):
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            name = f"{root.name}/{path.relative_to(root)}"
            if "/demo/" in name or "/usercode/shim/" in name:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _prints(ast.unparse(node.func)):
                    found.add(name)
    assert found <= PRINTERS, sorted(found - PRINTERS)


def _prints(function: str) -> bool:
    return function in ("print", "traceback.print_exc", "typer.echo", "typer.secho", "click.echo") or (
        function.endswith((".write", ".writelines")) and ("sys.std" in function or "stream.write" in function)
    )


# --- every message ----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said_by(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says; something in any case."""
    execute(list(words))
    said = capsys.readouterr()
    assert said.out + said.err
    return said.out + said.err


SCENARIOS = {
    "no TOML": f'[scenario]\nname = "x"\nbad{SHELL_EVIL} = 1\n',
    "a key": f'["{escaped(EVIL)}"]\nx = 1\n',
    "a unit": f'[units."{escaped(EVIL)}"]\ncommand = ["true"]\n',
    "a unit's key": f'[units.a]\ncommand = ["true"]\n"{escaped(EVIL)}" = 1\n',
    "a value": f'[units.a]\ncommand = ["true"]\nready_timeout = "{escaped(EVIL)}"\n',
    "a name of another unit": f'[units.a]\ncommand = ["true"]\nafter = ["{escaped(EVIL)}"]\n',
    "a host": f'[units.a]\ncommand = ["true"]\nhost = "{escaped(EVIL)}"\n',
    "an ssh": f'[hosts.h]\nssh = "{escaped(EVIL)}"\n[units.a]\ncommand = ["true"]\nhost = "h"\n',
    "a path": f'[units.a]\ncommand = ["true"]\n[circuits.c]\npath = ["b: {escaped(EVIL)}"]\n',
    "an entrypoint": f'[units.a]\nentrypoint = "{escaped(EVIL)}:{escaped(EVIL)}"\n',
    "a scenario": f'[scenario]\nname = "{escaped(EVIL)}"\nbad = 1\n[units.a]\ncommand = ["true"]\n',
    "nothing wrong": f'[scenario]\nname = "a {escaped(EVIL)}"\n[units.a]\ncommand = ["true"]\n',
}


@pytest.mark.parametrize("what", SCENARIOS)
def test_what_is_wrong_with_a_scenario_is_reported_harmlessly(
    here: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    folder = here / f"of {SHELL_EVIL}"
    folder.mkdir()
    (folder / "circuit.toml").write_text(SCENARIOS[what])
    assert obeyed(said_by(capsys, "check", folder.name)) == []


@pytest.mark.parametrize(
    "words",
    [
        ("check", EVIL),
        ("run", EVIL),
        ("run", "--less", EVIL),
        ("run", f"--{EVIL}"),
        (EVIL,),
        ("run", "--timeout", EVIL),
        ("run", "--env", EVIL),
        ("run", "--host", EVIL),
        ("run", "--listen", EVIL),
        ("run", "--broker", EVIL),
        ("run", "--broker", "tcp://127.0.0.1:1", "--keys", EVIL),
        ("run", "--json", f"{SHELL_EVIL}/{SHELL_EVIL}"),
        ("run", "--inconclusive", EVIL),
        ("watch", "--run", EVIL),
        ("watch", EVIL),
        ("watch", "tcp://127.0.0.1:1", "--keys", EVIL),
        ("show", EVIL),
        ("show", "latest", "--runs", SHELL_EVIL),
        ("verify", EVIL),
        ("verify", "latest", "--runs", SHELL_EVIL),
        ("recover", EVIL),
        ("recover", "--journals", SHELL_EVIL, "--broker", EVIL),
        ("agent", "--join", EVIL),
        ("agent", "--join", "tcp://127.0.0.1:1", "--lease", EVIL),
        ("agent", "--join", "tcp://127.0.0.1:1", "--keys", EVIL),
        ("broker", "--listen", EVIL),
        ("broker", "--listen", "tcp://127.0.0.1:0", "--keys", EVIL),
        ("keys", "new", EVIL),
        ("keys", "revoke", EVIL),
        ("keys", "list", "--folder", SHELL_EVIL),
        ("doctor", EVIL),
        ("init", f"{SHELL_EVIL}/x"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_reported_harmlessly(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (here / "circuit.toml").write_text('[units.a]\ncommand = ["true"]\n')
    assert obeyed(said_by(capsys, *words)) == []


class HostileBroker:
    """Answers every HELLO so, on TCP and on a private socket."""

    def __init__(self, folder: Path, answer: m.Message) -> None:
        self._frames = wire.encode(answer)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self.ipc = f"ipc://{folder}/bus"
        self._socket.bind(self.ipc)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.tcp = f"tcp://127.0.0.1:{port}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            if self._socket.poll(20):
                peer, *_ = self._socket.recv_multipart()
                with contextlib.suppress(zmq.ZMQError):
                    self._socket.send_multipart([peer, *self._frames])

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        self._context.term()
        Path(self.ipc.removeprefix("ipc://")).unlink(missing_ok=True)


@pytest.fixture(params=[m.Refused(f"no {EVIL}"), m.Error(f"what {EVIL}")], ids=["REFUSED", "ERROR"])
def hostile(request: pytest.FixtureRequest) -> Iterator[HostileBroker]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        broker = HostileBroker(Path(short), request.param)
        yield broker
        broker.close()


@pytest.mark.parametrize("words", [("watch", "--run", "r", "--plain"), ("run", "--plain", "--broker")])
def test_what_a_hostile_broker_says_is_reported_harmlessly(
    here: Path, hostile: HostileBroker, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (here / "circuit.toml").write_text('[units.a]\ncommand = ["true"]\n')
    said = said_by(capsys, *words, hostile.tcp)
    assert "no �[2J" in said or "what �[2J" in said
    assert obeyed(said) == []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def test_a_probe_and_an_agent_tell_harmlessly_that_they_are_refused(place: Place) -> None:
    broker = HostileBroker(place.temporary, m.Refused(f"no {EVIL}"))
    try:
        variables = {"CIRCUIT_BROKER": broker.ipc, "CIRCUIT_RUN": "r", "CIRCUIT_UNIT": "u"}
        emitted = place.run(
            "emit", "step", "--timeout", "5", env=variables | {"CIRCUIT_JOURNAL": str(place.folder / "j")}
        )
        assert "refuses unit 'u': no �[2J" in emitted.err
        assert obeyed(emitted.text) == []
        with place.start("agent", "--join", broker.tcp, "--name", "lab-1") as agent:
            agent.until("is refused by")
            agent.process.terminate()
            agent.end()
        assert obeyed(agent.out) == []
    finally:
        broker.close()


@pytest.mark.timeout(180)  # five commands, on a busy machine
def test_what_units_and_programs_say_in_a_run_is_reported_harmlessly(place: Place) -> None:
    """Their output live, the words of a command that cannot be started, exceptions, steps, keys and data."""
    code = f"""\
        import probe, sys

        def unit():
            evil = {EVIL!r}
            print("out", evil)
            print("err", evil, file=sys.stderr)
            probe.send("step" + evil, key="key" + evil, data=evil)
            raise RuntimeError("raised " + evil)
    """
    place.write(
        '[scenario]\nname = "evil"\ntimeout = "20s"\n[units.unit]\nentrypoint = "units:unit"\n'
        f'[units.other]\ncommand = ["./{escaped(SHELL_EVIL)}"]\n[circuits.c]\npath = ["unit: x", "unit: y"]\n',
        code,
    )
    for words in (("--plain", "-v"), ("show", "latest"), ("show", "latest", "--events"), ("verify", "latest")):
        run = place.run(*words)
        assert run.text
        assert obeyed(run.text) == []
    assert obeyed(place.run("show", "latest", "--key", f"key{EVIL}").text) == []


def test_what_ssh_says_is_reported_harmlessly(place: Place) -> None:
    (place.temporary / "bin").mkdir()
    ssh = place.temporary / "bin" / "ssh"
    ssh.write_text("#!/bin/sh\nprintf '%b' 'no \\033[2J\\033]0;PWNED\\007 way\\n' >&2\nexit 255\n")
    ssh.chmod(0o755)
    path = {"PATH": f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"}
    place.write('[hosts.h]\nssh = "h"\n[units.a]\ncommand = ["true"]\nhost = "h"\n')
    for words in (("--plain", "--listen", "tcp://127.0.0.1:0"), ("doctor", "h")):
        run = place.run(*words, env=path)
        assert "way" in run.text
        assert obeyed(run.text) == []
    ssh.unlink()
    ssh.parent.rmdir()
