"""By which address a host comes back to this one, as ssh and the routes tell. The ssh is a script of the tests' own."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.adapters import openssh
from runner.adapters.openssh import address_towards, seen_from

Says = Callable[..., None]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Makes `ssh -G lab` answer with these lines."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def says(*lines: str, hostname: str = "127.0.0.1") -> None:
        text = "\n".join(("user me", f"hostname {hostname}", "port 22", "novalue", *lines))
        program = tmp_path / "ssh"
        program.write_text(f'#!/bin/sh\ntest "$*" = "-G lab" || exit 9\ncat <<"."\n{text}\n.\n')
        program.chmod(0o755)

    return says


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_host_comes_back_to_the_address_that_is_towards_it(ssh: Says) -> None:
    ssh()
    assert address_towards("lab") == "127.0.0.1"
    ssh("proxyjump none", "proxycommand none")
    assert address_towards("lab") == "127.0.0.1"


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_an_address_of_ipv6_stands_in_brackets(ssh: Says) -> None:
    ssh(hostname="::1")
    assert address_towards("lab") == "[::1]"


@pytest.mark.parametrize("way", ["proxyjump bastion", "proxycommand nc %h %p"])
def test_behind_a_jump_host_it_is_not_known(ssh: Says, way: str) -> None:
    ssh(way)
    assert address_towards("lab") == ""


@pytest.mark.parametrize("hostname", ["", "a..b", "x" * 70, "no such name", "\u2028"])
def test_a_name_that_means_no_host_has_no_address(ssh: Says, monkeypatch: pytest.MonkeyPatch, hostname: str) -> None:
    def no_address(name: str, *_: object, **__: object) -> list[object]:
        name.encode("idna")  # as the system's own does
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    ssh(hostname=hostname)
    assert address_towards("lab") == ""


def test_without_ssh_or_its_answer_it_is_not_known(ssh: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh()
    assert address_towards("other") == "", "it has failed and said nothing"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert address_towards("lab") == ""


def test_an_ssh_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, ssh: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh()
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 1000\n")
    monkeypatch.setattr(openssh, "ASK_S", 0.05)
    assert address_towards("lab") == ""


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "*", "[::]"])
def test_who_listens_everywhere_is_reached_by_the_address_towards_the_host_or_by_name(
    ssh: Says, everywhere: str
) -> None:
    ssh()
    assert seen_from(f"tcp://{everywhere}:7000", "lab") == "tcp://127.0.0.1:7000"
    ssh("proxyjump bastion")
    name = f"tcp://{socket.gethostname()}:7000"
    assert seen_from(f"tcp://{everywhere}:7000", "lab") == name
    assert seen_from(f"tcp://{everywhere}:7000", "") == name


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:7000", "tcp://[2001:db8::1]:7000", "tcp://desk:7000"])
def test_an_address_that_says_where_it_is_stays(endpoint: str) -> None:
    assert seen_from(endpoint, "lab") == endpoint
