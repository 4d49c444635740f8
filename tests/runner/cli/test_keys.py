"""`circuit-run keys`: what it says can be followed word by word, and no secret is ever shown."""

import shlex
from pathlib import Path

import pytest

from broker import keyring
from broker.keyring import Keyring
from probe import keys
from runner.cli import execute

FOLDER = Path(".circuit/keys")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_key_says_where_it_is_and_what_to_do_with_it_and_not_its_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert execute(["keys", "new", "lab-2", "--unit", "worker-*", "--role", "agent"]) == 0
    said = capsys.readouterr().out
    made = keys.load(FOLDER / "lab-2.keys")
    assert made.secret not in said
    for words in (
        f"scp -p {FOLDER}/lab-2.keys HOST:",
        "--keys lab-2.keys",
        f"rm {FOLDER}/lab-2.keys",
        f"--keys {FOLDER}",
    ):
        assert words in said
    grant = Keyring(FOLDER).grant(made.public)
    assert grant == keyring.Grant("lab-2", ("agent",), ("worker-*", "@lab-2"))


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("--agent",), "circuit-run agent --join tcp://HOST:PORT --keys x.keys\n"),
        (("--runner",), "circuit-run PATH --broker tcp://HOST:PORT --keys x.keys\n"),
        (("--role", "watcher"), "circuit-run watch tcp://HOST:PORT --keys x.keys\n"),
        ((), "export CIRCUIT_KEYS=$PWD/x.keys\n"),
    ],
)
def test_a_new_key_says_which_command_takes_it(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], command: str
) -> None:
    assert execute(["keys", "new", "x", *words]) == 0
    assert command in capsys.readouterr().out


def test_a_key_is_for_the_unit_of_its_name_unless_another_is_named() -> None:
    assert execute(["keys", "new", "api"]) == 0
    assert execute(["keys", "new", "me", "--role", "watcher", "--run", "night-*"]) == 0
    assert [grant for _, grant in keyring.listed(FOLDER)] == [
        keyring.Grant("api", ("unit",), ("api",)),
        keyring.Grant("me", ("watcher",), (), ("night-*",)),
    ]


def test_the_list_shows_who_may_what_and_which_file_is_still_to_be_carried_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("api", "worker", "gone"):
        execute(["keys", "new", name])
    secrets = [keys.load(path).secret for path in FOLDER.glob("*.keys")]
    (FOLDER / "worker.keys").unlink()
    execute(["keys", "revoke", "gone"])
    capsys.readouterr()
    assert execute(["keys", "list"]) == 0
    said = capsys.readouterr().out
    assert [line.split(maxsplit=4) for line in said.splitlines()[1:]] == [
        ["api", "unit", "api", "all", "its file is still here: carry it away"],
        ["worker", "unit", "worker", "all"],
        ["gone", "unit", "gone", "all", "revoked"],
    ]
    assert not any(secret in said for secret in secrets)


def test_a_folder_with_blanks_can_be_copied_out_of_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["keys", "new", "api", "--folder", "my keys"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "rm " in line)
    Path(shlex.split(line)[-1]).unlink()
    assert not list(Path("my keys").glob("*.keys"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "a b"), "'a b' is no name for a key"),
        (("new", "api"), "circuit-run keys revoke api --folder .circuit/keys"),
        (("new", "x", "--role", "boss"), "unknown role 'boss'"),
        (("revoke", "nobody"), "there is api"),
        (
            ("list", "--folder", "nowhere"),
            "nowhere is no keyring; one is made by: circuit-run keys new NAME --folder nowhere",
        ),
        (("new",), "NAME"),
    ],
)
def test_what_makes_no_sense_is_reported_in_a_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(["keys", "new", "api"])
    capsys.readouterr()
    assert execute(["keys", *words]) == 4
    printed = capsys.readouterr()
    assert (printed.out, len(printed.err.splitlines())) == ("", 1)
    assert said in printed.err


def test_keys_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["keys"]) == 0
    assert "revoke" in capsys.readouterr().out
