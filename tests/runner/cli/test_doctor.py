"""`circuit-run doctor`: the real command, this machine, and hosts behind an `ssh` that is a shell script here.

The script stands in for ssh where it matters: it runs the command as a shell there would, or fails with the words and
the exit code of ssh.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker import keyring
from probe import keys
from runner.adapters.bus.log_reader import LogReader
from runner.cli import execute
from runner.model import scenario
from tests.support.broker_process import RUN, BrokerProcess
from tests.support.scenarios import Place, Run, place_in

SSH = """\
#!/bin/sh
if [ "$1" = -G ]; then printf 'hostname 127.0.0.1\\nport 22\\n'; exit 0; fi
echo "$*" >> "$SSH_LOG"
while [ "$1" != -- ]; do shift; done
case "$2" in
refused) echo "ssh: connect to host refused port 22: Connection refused" >&2; exit 255 ;;
chatty) echo "Welcome to chatty, today is a fine day"; echo "{}" ;;
cut) head -c 10 > /dev/null; echo 'circuit-doctor {"half": ' ; exit 255 ;;
hanging) exec sleep 300 ;;
odd) echo 'circuit-doctor {"odd": 1}' ;;
esac
shift 2
export SSH_CONNECTION="${SSH_SEES:-127.0.0.1} 50000 127.0.0.1 22"
exec sh -c "$*"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


class Doctor:
    """The command, with the `ssh` above first on its path."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.programs = place.folder / "programs"
        self.programs.mkdir()
        self.log = place.folder / "ssh.log"
        ssh = self.programs / "ssh"
        ssh.write_text(SSH)
        ssh.chmod(0o755)

        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"PATH": path, "SSH_LOG": str(self.log), "COLUMNS": "120"}

    def __call__(self, *words: str, expect: int, python: str = sys.executable, **env: str) -> Run:
        return self.place.run("doctor", *words, "--python", python, expect=expect, env=self.environment | env)

    def checks(self, *words: str, expect: int, **env: str) -> dict[str, dict[str, Any]]:
        """What was found on one machine, by name."""
        (host,) = json.loads(self(*words, "--json", "-", expect=expect, **env).out)["hosts"]
        return {check["name"]: check for check in host["checks"]}


@pytest.fixture
def doctor(place: Place) -> Doctor:
    return Doctor(place)


def test_this_machine_is_examined_when_no_host_is_named(place: Place) -> None:
    run = place.run("doctor", expect=0)
    title, *lines = run.out.splitlines()
    assert title == f"this machine ({socket.gethostname()})   fit"
    assert [line.split()[:2] for line in lines] == [
        ["✓", name] for name in ("python", "circuit-run", "bus", "files", "disk", "tmp")
    ]
    assert sys.executable in lines[0]
    assert run.err == ""


def test_a_host_is_asked_over_ssh_which_may_not_ask_for_a_password(doctor: Doctor) -> None:
    run = doctor("user@lab-2", expect=0)
    assert run.out.splitlines()[0] == "user@lab-2   fit"
    assert [line.split()[1] for line in run.out.splitlines()[1:]] == [
        "reachable", "python", "circuit-run", "bus", "clock", "files", "disk", "tmp", "ports",
    ]  # fmt: skip
    (asked,) = doctor.log.read_text().splitlines()
    assert asked.startswith("-T -o BatchMode=yes -o ConnectTimeout=10 -- user@lab-2 ")
    assert run.err == ""


def test_several_hosts_are_reported_in_their_order_and_one_problem_is_exit_code_1(doctor: Doctor) -> None:
    run = doctor("lab-2", "refused", "chatty", "lab-2", expect=1)
    titles = [line for line in run.out.splitlines() if line[:1].strip()]
    assert [title.split(maxsplit=1) for title in titles] == [
        ["lab-2", "fit"],
        ["refused", "not fit: 1 problem"],
        ["chatty", "fit"],
    ]
    assert "it said: ssh: connect to host refused port 22: Connection refused" in run.out


def test_a_shell_that_greets_is_no_matter(doctor: Doctor) -> None:
    assert "✗" not in doctor("chatty", expect=0).out


@pytest.mark.parametrize("host", ["cut", "odd"])
def test_a_host_that_answers_nonsense_is_a_problem_and_no_traceback(doctor: Doctor, host: str) -> None:
    check = doctor.checks(host, expect=1)["reachable"]
    assert (check["level"], check["found"]) == ("problem", "it answered, and then nothing more came")


def test_a_python_that_is_not_there_is_reported_with_the_words_of_the_shell(doctor: Doctor) -> None:
    run = doctor("lab-2", expect=1, python="no-such-python")
    assert "there is no no-such-python there" in run.out
    assert "not found" in run.out
    assert "Traceback" not in run.text


def test_no_ssh_on_this_machine_is_a_problem_with_its_remedy(doctor: Doctor, tmp_path: Path) -> None:
    run = doctor("lab-2", expect=1, PATH=str(tmp_path))
    assert "there is no ssh on this machine" in run.out
    assert "openssh-client" in run.out


def test_an_address_that_is_not_ours_is_replaced_by_the_one_towards_the_host(doctor: Doctor) -> None:
    ports = doctor.checks("lab-2", expect=0, SSH_SEES="192.0.2.1")["ports"]
    assert ports["found"] == "it reaches this machine at 127.0.0.1"


def test_hosts_come_to_the_port_that_is_named(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = doctor("lab-2", "--listen", f"tcp://127.0.0.1:{port}", expect=4)
    assert "Address already in use" in taken.err
    assert "--join" in taken.err
    run = doctor("lab-2", "lab-3", "--listen", f"tcp://127.0.0.1:{port}", expect=0)
    assert run.out.count("it reaches this machine at 127.0.0.1") == 2
    assert "it reaches" in doctor("lab-2", "--listen", "tcp://0.0.0.0:0", expect=0).out


def test_who_is_tired_of_waiting_for_a_host_interrupts_and_nothing_is_left(doctor: Doctor, place: Place) -> None:
    with place.start("doctor", "hanging", env=doctor.environment) as living:
        living.until(doctor.log.exists)
        living.signal(signal.SIGINT)
        assert living.end().code == 2
    assert place.processes() == {}


def test_nothing_is_left_on_a_host(doctor: Doctor, place: Place, tmp_path: Path) -> None:
    state = tmp_path / "state"
    doctor("lab-2", expect=0, XDG_STATE_HOME=str(state))
    assert not state.exists()
    assert list(place.temporary.iterdir()) == []
    assert place.processes() == {}


def test_a_folder_that_cannot_be_written_is_a_problem(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    disk = doctor.checks("lab-2", expect=1, XDG_STATE_HOME=str(tmp_path / "file" / "state"))["disk"]
    assert disk["found"].endswith(f"{tmp_path}/file is no folder")
    assert "XDG_STATE_HOME" in disk["remedy"]


# --- a broker to join ---


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A keyring with the keys lab-2, gone (revoked) and me, who may look on."""
    folder = tmp_path / "keys"
    keyring.create(folder)
    for name, role in (("lab-2", "agent"), ("gone", "unit"), ("me", "watcher")):
        keyring.add(folder, name, roles=[role], units=["*"])
    kept = (folder / "gone.keys").read_bytes()
    keyring.revoke(folder, "gone")
    (folder / "gone.keys").write_bytes(kept)
    (folder / "gone.keys").chmod(0o600)
    return folder


@pytest.fixture
def guarded(tmp_path: Path, ring: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path / "run", "--keys", str(ring))
    yield process
    process.stop()


@pytest.mark.parametrize("host", [(), ("lab-2",)])
def test_a_machine_gets_into_a_broker_with_its_key_and_is_not_counted_as_a_stranger(
    doctor: Doctor, guarded: BrokerProcess, ring: Path, host: tuple[str, ...]
) -> None:
    file = ring / "lab-2.keys"
    run = doctor(*host, "--join", guarded.endpoint, "--keys", str(file), expect=0)
    assert f"the key 'lab-2' in {file}" in " ".join(run.out.split())
    assert f"{guarded.endpoint} lets it in with the key 'lab-2'" in run.out
    assert keys.load(file).secret not in run.text
    me = LogReader(guarded.endpoint, RUN, "watcher", keys=keys.load(ring / "me.keys"))
    me.ping()
    assert me.incidents == {}
    me.close()


def test_this_machine_uses_the_keys_of_its_environment_and_never_shows_them(
    doctor: Doctor, guarded: BrokerProcess, ring: Path
) -> None:
    file = ring / "lab-2.keys"
    for given in (str(file), file.read_text()):
        run = doctor("--join", guarded.endpoint, expect=0, CIRCUIT_KEYS=given)
        assert "the key 'lab-2'" in run.out
        assert keys.load(file).secret not in run.text


def test_a_key_that_was_revoked_is_a_problem(doctor: Doctor, guarded: BrokerProcess, ring: Path) -> None:
    checks = doctor.checks("--join", guarded.endpoint, "--keys", str(ring / "gone.keys"), expect=1)
    assert checks["keys"]["level"] == "ok"
    assert "the key was revoked" in checks["broker"]["found"]
    assert "circuit-run keys new" in checks["broker"]["remedy"]


def test_a_broker_that_wants_keys_says_so_to_who_has_none(doctor: Doctor, guarded: BrokerProcess) -> None:
    broker = doctor.checks("--join", guarded.endpoint, expect=1)["broker"]
    assert "lets in only who has a key" in broker["found"]
    assert "--keys" in broker["remedy"]


def test_a_broker_without_keys_lets_in_a_machine_without_one(doctor: Doctor, broker: BrokerProcess) -> None:
    found = doctor.checks("--join", broker.endpoint, expect=0)["broker"]["found"]
    assert found == f"{broker.endpoint} lets it in, as it lets in every peer"


def test_a_key_file_that_others_can_read_is_a_problem_and_the_broker_is_not_bothered(
    doctor: Doctor, ring: Path
) -> None:
    (ring / "lab-2.keys").chmod(0o644)
    checks = doctor.checks("--keys", str(ring / "lab-2.keys"), expect=1)
    assert "can be read by others" in checks["keys"]["found"]
    assert "chmod 600" in checks["keys"]["remedy"]
    assert "broker" not in checks


def test_a_broker_that_is_not_there_is_a_problem(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    broker = doctor.checks("--join", endpoint, expect=1)["broker"]
    assert broker["found"] == f"no connection to {endpoint}: Connection refused"
    assert broker["command"].startswith(f"circuit-run broker --listen {endpoint}")


# --- for programs, and for who mistypes ---


def test_what_was_found_is_also_written_for_programs(place: Place) -> None:
    run = place.run("doctor", "--json", "found.json", expect=0)
    found = json.loads((place.folder / "found.json").read_text())
    assert found["schema"] == 1
    assert [(host["examined"], host["fit"]) for host in found["hosts"]] == [(True, True)]
    assert run.out.startswith("this machine")


def test_the_hosts_of_a_scenario_are_examined_as_it_says_and_who_has_an_agent_sees_what_to_type_there(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_ssh = SimpleNamespace(name="lab-2", ssh="user@lab-2", agent=False, python=sys.executable)
    by_agent = SimpleNamespace(name="lab-3", ssh=None, agent=True, python="python3")
    monkeypatch.setattr(scenario, "load", lambda _: SimpleNamespace(hosts=(by_ssh, by_agent)))
    for name, value in doctor.environment.items():
        monkeypatch.setenv(name, value)
    assert execute(["doctor", "--scenario", "lab.toml"]) == 0
    said = capsys.readouterr().out
    assert [line.split(maxsplit=1) for line in said.splitlines() if line[:1].strip()] == [
        ["lab-2", "fit"],
        ["lab-3", "not examined"],
    ]
    assert f"user@lab-2 {sys.executable} -c" in doctor.log.read_text()
    assert "circuit-run doctor --join tcp://HOST:PORT --keys FILE" in said
    assert execute(["doctor", "lab-3", "--scenario", "lab.toml", "--join", "tcp://127.0.0.1:5000"]) == 0
    assert "circuit-run doctor --join tcp://127.0.0.1:5000 --keys FILE" in capsys.readouterr().out


def test_a_host_of_a_scenario_is_none_while_there_are_none(place: Place) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    assert "has no hosts" in place.run("doctor", "--scenario", ".", expect=4).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--join", "nonsense"), "--join nonsense: not an endpoint"),
        (("--join", "ipc:///nowhere"), "expected tcp://HOST:PORT"),
        (("--join", "tcp://lab-1:0"), "expected tcp://HOST:PORT"),
        (("--listen", "tcp://lab"), "--listen tcp://lab: expected a host and a port"),
        (("--listen", "tcp://192.0.2.1:0"), "name an address of this machine"),
        (("a b",), "'a b' is no destination for ssh"),
        (("--", "-oProxyCommand=true"), "is no destination for ssh"),
        (("--json", "no/such/file"), "there is no folder no/such"),
        (("--scenario", "nowhere"), "nowhere"),
    ],
)
def test_what_makes_no_sense_is_reported_in_a_line(place: Place, words: tuple[str, ...], said: str) -> None:
    run = place.run("doctor", *words, expect=4)
    assert said in run.err
    assert (run.out, "Traceback" in run.err) == ("", False)
    assert len(run.err.splitlines()) == 1
