"""What looks like a secret and what does not; and that nothing which a run keeps has one."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.model import secrets
from runner.model.scenario import redacted
from runner.model.scenario.model import Host, Scenario, Unit
from tests.support.scenarios import Place, Run, place_in

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    "name",
    [
        "TOKEN", "GITHUB_TOKEN", "API_KEY", "apikey", "STRIPE_KEY", "DB_PASSWORD", "PGPASSWD", "DB_PASS", "PASSPHRASE",
        "MYSQL_PWD", "CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "BASIC_AUTH", "PRIVATE_KEY_FILE", "SESSION_COOKIE",
        "SENTRY_DSN", "CREDENTIALS", "SIM_PIN", "JWT",
    ],
)  # fmt: skip
def test_a_variable_is_a_secret_by_its_name(name: str) -> None:
    assert secrets.is_secret(name, "x")
    assert not secrets.is_secret(name, ""), "there is nothing to keep"


@pytest.mark.parametrize(
    "value",
    [
        "postgres://shop:hunter2@db/shop", "https://:x@host", "ghp_" + "a" * 36, "sk-" + "b" * 32, "AKIA" + "A" * 16,
        JWT, "Bearer abc", "-----BEGIN RSA PRIVATE KEY-----\nMII", "xoxb-123456789012-abcdefghijkl",
    ],
)  # fmt: skip
def test_a_variable_is_a_secret_by_its_value(value: str) -> None:
    assert secrets.is_secret("SOMETHING", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8080"), ("KEYBOARD", "de"), ("MONKEY", "1"), ("BYPASS", "1"), ("AUTHOR", "me"), ("SPIN", "1"),
        ("COMPASS_URL", "http://host:80/a@b"), ("HOME", "/home/me"), ("MODE", "skip-all-of-the-slow-tests"),
        ("PASSED", "1"), ("COMPASS_MODE", "x"),
    ],
)  # fmt: skip
def test_most_variables_are_none(name: str, value: str) -> None:
    assert not secrets.is_secret(name, value)


def test_a_scenario_is_written_down_without_them() -> None:
    scenario = Scenario(
        "s",
        "/s",
        "circuit.toml",
        (Unit("api", command=("x",), env={"PORT": "1", "LENS_CODE": "4711"}),),
        hosts=(Host("lab", ssh="lab", env={"TOKEN": "t"}),),
        env={"DB_PASSWORD": "hunter2", "EMPTY_SECRET": ""},
        redact=("LENS_*",),
    )
    clean, names = redacted(scenario)
    assert names == ("DB_PASSWORD", "LENS_CODE", "TOKEN")
    assert clean.env == {"DB_PASSWORD": "(redacted)", "EMPTY_SECRET": ""}
    assert clean.units[0].env == {"PORT": "1", "LENS_CODE": "(redacted)"}
    assert clean.hosts[0].env == {"TOKEN": "(redacted)"}
    assert (clean.name, clean.units[0].command) == ("s", ("x",))


# --- runs -------------------------------------------------------------------------------------------------------------

CODE = """\
import os, sys
import probe

def unit():
    got = [os.environ[name][::-1] for name in ("DB_PASSWORD", "CODE_WORD", "API_KEY")]
    if not os.path.exists("lived"):
        open("lived", "w").close()
        probe.emit("got", key="1", values=got, port=os.environ["PORT"])
        sys.exit(1)
    probe.emit("got", key="2", values=got)
"""
SCENARIO = """\
[scenario]
name = "secret"
timeout = "40s"
env = {{ DB_PASSWORD = "hunter2-of-the-scenario", PORT = "8080" }}
redact = ["CODE_*"]
{host}
[units.unit]
entrypoint = "units:unit"
env = {{ CODE_WORD = "open-sesame-of-the-unit" }}
restart = "on-failure"
{where}
[circuits.twice]
path = ["unit: got"]
instances = 2
"""
VALUES = ("hunter2-of-the-scenario", "open-sesame-of-the-unit", "key-of-the-command-line")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def check(run: Run, *more: Path) -> None:
    """The unit got its secrets in both of its lives, and nothing that was kept has one."""
    assert run.result["redacted"] == ["API_KEY", "CODE_WORD", "DB_PASSWORD"]
    kept = [path for folder in (run.folder.path, *more) for path in folder.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in kept)
    for value in VALUES:
        assert value.encode() not in content
        assert value[::-1].encode() in content, "that is how the unit emitted it"
    assert b"8080" in content, "what is no secret is in the log"


def test_secrets_reach_units_and_nothing_that_is_kept(place: Place) -> None:
    place.write(SCENARIO.format(host="", where=""), CODE)
    run = place.run("--plain", "--env", f"API_KEY={VALUES[2]}", expect=0)
    check(run)
    assert place.run("verify", "latest").result["redacted"] == ["API_KEY", "CODE_WORD", "DB_PASSWORD"]


def test_secrets_reach_units_on_other_hosts_and_nothing_that_is_kept(place: Place, tmp_path: Path) -> None:
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin" / "ssh").write_text(
        '#!/bin/sh\n[ "$1" = -G ] && exit\nfor word; do last=$word; done\n'
        f'exec env XDG_STATE_HOME={tmp_path}/.lab-1 sh -c "$last"\n'
    )
    (tmp_path / ".bin" / "ssh").chmod(0o755)
    path = {"PATH": f"{tmp_path / '.bin'}{os.pathsep}{os.environ['PATH']}"}
    host = f'[hosts.lab-1]\nssh = "lab-1"\npython = {sys.executable!r}'
    place.write(SCENARIO.format(host=host, where='host = "lab-1"'), CODE)
    words = ("--plain", "--listen", "tcp://127.0.0.1:0", "--env", f"API_KEY={VALUES[2]}")
    check(place.run(*words, expect=0, env=path))
