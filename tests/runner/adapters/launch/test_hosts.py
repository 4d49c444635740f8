"""The ssh processes of a run: what their ends mean, which are started again, and that none is left. The ssh is a script
of the tests' own."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.adapters.launch import hosts as module
from runner.adapters.launch.hosts import Hosts
from runner.adapters.supervisor.config import SupervisorConfig
from runner.model.errors import UsageError
from runner.model.scenario.model import Host
from tests.support.scenarios import poll

LAB = Host("lab", ssh="me@lab-2")
EVER = "exec sleep 1000"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every ssh do this, after it has noted what it was called with and was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    monkeypatch.setattr(module, "END_S", 0.05)

    def does(script: str) -> None:
        program = folder / "new"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/argv\ncat >> {tmp_path}/stdin\n{script}\n')
        program.chmod(0o755)
        program.rename(folder / "ssh")

    return does


def config(host: Host) -> SupervisorConfig:
    return SupervisorConfig("tcp://192.0.2.1:7000", "run-1", host.name, "secret\n" * 100, 15.0)


@contextlib.contextmanager
def begun(folder: Path, *hosts: Host) -> Iterator[Hosts]:
    found = Hosts(hosts or (LAB,), config, folder)
    with contextlib.closing(found):
        yield found


def verdict(hosts: Hosts, expected: tuple[str, ...] = ("lab",)) -> tuple[str, str, bool]:
    """What is said of the first ssh that has ended."""
    found: list[tuple[str, str, bool]] = []
    assert poll(lambda: found.extend(hosts.look(expected)) or found)
    (only,) = found
    return only


def starts(folder: Path) -> int:
    argv = folder / "argv"
    return argv.read_text().splitlines().count("me@lab-2") if argv.exists() else 0


def test_it_is_called_without_questions_and_its_supervisor_gets_its_config(tmp_path: Path, ssh: Callable) -> None:
    ssh("exit 1")
    with begun(tmp_path, Host("lab", ssh="me@lab-2", python="/opt/py/bin/python")) as hosts:
        verdict(hosts)
    *options, destination, command = (tmp_path / "argv").read_text().splitlines()
    assert "BatchMode=yes" in options
    assert destination == "me@lab-2"
    assert command == "exec /opt/py/bin/python -P -m runner.launch.supervisor --charter"
    assert SupervisorConfig.parse((tmp_path / "stdin").read_text()) == config(LAB)
    assert "secret" not in (tmp_path / "argv").read_text()


def test_a_host_that_cannot_be_reached_is_reported_in_the_words_of_ssh_and_is_hopeless(
    tmp_path: Path, ssh: Callable
) -> None:
    ssh("exec >&2; echo 'debug: one'; echo; echo 'ssh: connect to host lab-2:'; echo '  No route to host'; exit 255")
    with begun(tmp_path) as hosts:
        assert verdict(hosts) == (
            "lab",
            "cannot be reached by ssh me@lab-2: ssh: connect to host lab-2: No route to host; "
            "circuit-run doctor me@lab-2",
            True,
        )
        assert hosts.look(("lab",)) == [], "it is reported once"
        assert (tmp_path / "hosts" / "lab.err").read_text().startswith("debug: one\n")
    assert starts(tmp_path) == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 255", "cannot be reached by ssh me@lab-2: it does not say why; circuit-run doctor me@lab-2"),
        (
            "echo 'sh: python9: not found' >&2; exit 127",
            "has no Python at 'python3' (sh: python9: not found); name it: hosts.lab.python",
        ),
        (
            "echo 'sh: python9: Permission denied' >&2; exit 126",
            "has no Python at 'python3' (sh: python9: Permission denied); name it: hosts.lab.python",
        ),
        (
            "echo \"/usr/bin/python3: No module named 'runner'\" >&2; exit 1",
            "has no circuit-run for 'python3' (/usr/bin/python3: No module named 'runner'); install it there, or name "
            "the Python that has it: hosts.lab.python",
        ),
        ("echo 'it broke' >&2; exit 3", "has lost its supervisor, which ended with code 3: it broke"),
        ("echo 'on stdout'; exit 3", "has lost its supervisor, which ended with code 3: on stdout"),
        ("exit 0", "has lost its supervisor, which ended with code 0"),
        ("kill -9 $$", "has lost its supervisor, which was killed by signal 9"),
    ],
)
def test_how_an_ssh_ended_says_what_is_wrong_there(tmp_path: Path, ssh: Callable, script: str, why: str) -> None:
    ssh(script)
    with begun(tmp_path) as hosts:
        assert verdict(hosts) == ("lab", why, True)


def test_a_long_complaint_is_cut_and_one_of_an_earlier_life_is_not_repeated(tmp_path: Path, ssh: Callable) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "lab.err").write_text("from before\n")
    ssh("exit 3")
    with begun(tmp_path) as hosts:
        assert verdict(hosts)[1] == "has lost its supervisor, which ended with code 3"
    ssh("for i in 1 2 3 4 5 6 7 8 9; do printf '%0500d' $i >&2; done; exit 3")
    with begun(tmp_path) as hosts:
        assert len(verdict(hosts)[1]) < 500


def test_the_end_of_a_connection_is_no_end_of_its_supervisor_and_another_ssh_goes_to_see(
    tmp_path: Path, ssh: Callable
) -> None:
    """The one that goes to see finds the supervisor there."""
    ssh(f"test -e {tmp_path}/occupied && exit 75; touch {tmp_path}/occupied; exit 255")
    with begun(tmp_path) as hosts:
        hosts.heard("lab")
        said: list[object] = []
        assert poll(lambda: said.extend(hosts.look(("lab",))) or starts(tmp_path) >= 4)
    assert said == []


def test_a_supervisor_that_was_killed_is_started_again_and_what_became_of_it_is_reported(
    tmp_path: Path, ssh: Callable
) -> None:
    ssh("kill -9 $$")
    with begun(tmp_path) as hosts:
        hosts.heard("lab")
        assert verdict(hosts) == ("lab", "has lost its supervisor, which was killed by signal 9", False)
        ssh(EVER)
        assert poll(lambda: hosts.look(("lab",)) == [] and starts(tmp_path) == 2)


def test_it_is_not_started_again_before_a_while_is_over(
    tmp_path: Path, ssh: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 1000.0)
    ssh("exit 1")
    with begun(tmp_path) as hosts:
        hosts.heard("lab")
        verdict(hosts)
        for _ in range(3):
            assert hosts.look(("lab",)) == []
    assert starts(tmp_path) == 1


def test_a_host_that_is_not_expected_any_more_is_neither_given_up_nor_started_again(
    tmp_path: Path, ssh: Callable
) -> None:
    ssh("exit 1")
    with begun(tmp_path, LAB, Host("field", ssh="field")) as hosts:
        hosts.heard("lab")
        assert verdict(hosts, ("field",))[0] == "field"
        assert hosts.look(()) == []
    assert starts(tmp_path) == 1


def test_hosts_with_an_agent_are_not_its_business(tmp_path: Path) -> None:
    with begun(tmp_path, Host("lab", agent=True)) as hosts:
        assert hosts.look(("lab",)) == []
    assert not (tmp_path / "hosts").exists()


def test_an_ssh_that_has_not_been_heard_is_ended_at_once_and_one_that_was_may_end_by_itself(
    tmp_path: Path, ssh: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_S", 10.0)
    ssh(f'case "$*" in *lab*) exec sleep 0.1;; *) {EVER};; esac')
    with begun(tmp_path, LAB, Host("field", ssh="field")) as hosts:
        hosts.heard("lab")
    assert [reached.process.returncode for reached in hosts._reached.values()] == [0, -15]
    monkeypatch.setattr(module, "END_S", 0.05)
    ssh(EVER)
    with begun(tmp_path) as hosts:
        hosts.heard("lab")
    assert [reached.process.returncode for reached in hosts._reached.values()] == [-15]


def test_where_there_is_no_ssh_that_is_said_and_nothing_is_left(
    tmp_path: Path, ssh: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(
        UsageError, match=r"host lab is reached over ssh, which cannot be started here: .*; install the OpenSSH client"
    ):
        Hosts((LAB,), config, tmp_path)
    assert shutil.which("ssh") is None
    del ssh
