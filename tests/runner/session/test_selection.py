"""What of a scenario's folder goes to other hosts, and what stays at home."""

from pathlib import Path

import pytest

from broker import keyring
from runner.model.errors import UsageError
from runner.session.selection import listed, select

PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write(folder, "circuit.toml", "app.py", "data/table.csv")
    return folder


def write(folder: Path, *names: str, text: str = "") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or name)


def sent(folder: Path, *ship: str) -> set[str]:
    return {*listed(folder, select(folder, ship).paths)}


BASIS = {"circuit.toml", "app.py", "data/table.csv"}


def test_what_is_hidden_stays_at_home(folder: Path) -> None:
    write(folder, ".env", ".netrc", "data/.secret", ".git/config", ".aws/credentials", ".venv/x")
    assert sent(folder) == BASIS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id_rsa", "x"),
        ("data/id_ed25519", "x"),
        ("server.KEY", "x"),
        ("store.p12", "x"),
        ("lab-1.keys", "x"),
        ("carried-away", "circuit-keys 1\nname lab-1\n"),
        ("both.pem", CERTIFICATE + PEM),
        ("notes.txt", PEM),
        ("rsa.pem", "-----BEGIN RSA PRIVATE KEY-----\n"),
        ("backup.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
        ("putty", "PuTTY-User-Key-File-3: ssh-ed25519\n"),
    ],
)
def test_what_is_a_key_stays_at_home_and_is_named(folder: Path, name: str, text: str) -> None:
    write(folder, name, text=text)
    chosen = select(folder)
    assert {*listed(folder, chosen.paths)} == BASIS
    assert chosen.withheld == (name,)


@pytest.mark.parametrize("name", ["ca.pem", "key.py", "keyboard.txt", "id_rsa.pub", "monkey", "access", "broker"])
def test_what_only_sounds_like_a_key_is_sent(folder: Path, name: str) -> None:
    write(folder, name, text=CERTIFICATE)
    assert sent(folder) == {*BASIS, name}
    assert select(folder).withheld == ()


def test_a_keyring_is_refused_by_name_wherever_it_is(folder: Path) -> None:
    ring = folder / "deep" / "ring"
    keyring.create(ring)
    keyring.add(ring, "lab-1", roles=["unit"], units=["*"])
    with pytest.raises(UsageError) as caught:
        select(folder)
    assert str(caught.value) == (
        f"{ring} is a keyring: who has it can let any peer into its broker, and {folder} is sent to other hosts. "
        f"Move it out of there, or name it in {folder}/.circuitignore: deep/ring/"
    )
    (folder / ".circuitignore").write_text("deep/ring/\n")
    assert sent(folder) == BASIS
    with pytest.raises(UsageError, match="is a keyring"):
        select(folder, ("deep/ring/*",))


def test_a_keyring_that_is_hidden_stays_at_home_like_anything_hidden(folder: Path) -> None:
    keyring.create(folder / ".circuit" / "keys")
    assert sent(folder) == BASIS


def test_patterns_as_in_a_gitignore_say_what_else_stays(folder: Path) -> None:
    write(folder, "big.bin", "small.bin", "data/big.bin", "out/a/b", "tools/out/x", "web/node_modules/a")
    (folder / ".circuitignore").write_text("# large\n*.bin\n!small.bin\n/out/\n\n")
    assert sent(folder) == {*BASIS, "small.bin", "tools/out/x"}


def test_what_is_named_is_sent_whatever_it_is(folder: Path) -> None:
    write(folder, ".env", ".config/app/one.toml", ".config/other", "server.key", "node_modules/left/pad.js", "big.bin")
    (folder / ".circuitignore").write_text("*.bin\n")
    ship = (".env", ".config/app/", "server.key", "node_modules/left/*.js", "big.bin")
    chosen = select(folder, ship)
    names = {".env", ".config/app/one.toml", "server.key", "node_modules/left/pad.js", "big.bin"}
    assert {*listed(folder, chosen.paths)} == BASIS | names
    assert chosen.withheld == ()


def test_each_folder_comes_before_what_it_holds(folder: Path) -> None:
    write(folder, ".config/app/one.toml", "a/b/c")
    (folder / "empty").mkdir()
    paths = select(folder, ("one.toml",)).paths
    assert folder / "empty" in paths
    for at, path in enumerate(paths):
        assert path.parent == folder or path.parent in paths[:at]
    assert len(set(paths)) == len(paths)


def test_a_name_that_means_nothing_is_reported(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"`ship` of a host names '\.evn', and there is nothing of that name in "):
        select(folder, (".evn",))


def test_what_cannot_be_patterns_is_reported(folder: Path) -> None:
    (folder / ".circuitignore").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"\.circuitignore is no text in UTF-8"):
        select(folder)


def test_a_link_to_a_key_is_a_link_and_the_key_stays(folder: Path) -> None:
    write(folder, "id_rsa")
    (folder / "link").symlink_to("id_rsa")
    assert sent(folder) == {*BASIS, "link"}
