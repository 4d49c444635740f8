"""The keyring: what was made can be read again, by no other user, and a change holds at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import keyring
from broker.access import Grant
from broker.errors import KeyringError
from broker.keyring import KeyEntry, Keyring
from probe import keys
from probe import message as m


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keyring.create(tmp_path / "keys")
    return tmp_path / "keys"


def public_of(folder: Path, name: str) -> str:
    return next(entry.public for entry in keyring.listed(folder) if entry.grant.name == name)


def test_a_key_that_was_made_is_known_by_its_public_half_with_what_it_may_do(folder: Path) -> None:
    path = keyring.add(folder, "lab-2", roles=["agent"], units=["worker-*", "@lab-2"], runs=["night-*"])
    made = keys.load(path)
    ring = Keyring(folder)
    assert made.name == "lab-2"
    assert made.broker == ring.broker.public
    assert ring.grant(made.public) == Grant("lab-2", ("agent",), ("worker-*", "@lab-2"), ("night-*",))
    assert ring.grant(ring.broker.public) is None


def test_no_other_user_can_read_or_enter_what_is_made(folder: Path) -> None:
    before = os.umask(0)
    try:
        keyring.add(folder, "api", roles=["unit"], units=["api"])
        keyring.create(folder.parent / "other")
    finally:
        os.umask(before)
    for place in (folder, folder.parent / "other"):
        assert place.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in place.iterdir() if path.name != ".gitignore")


def test_making_a_keyring_that_is_there_changes_nothing(folder: Path) -> None:
    before = Keyring(folder).broker
    keyring.create(folder)
    assert Keyring(folder).broker == before


def test_a_key_made_or_revoked_later_is_seen_by_a_keyring_that_is_in_use(folder: Path) -> None:
    ring = Keyring(folder)
    keyring.add(folder, "api", roles=["unit"], units=["api"])
    public = public_of(folder, "api")
    assert ring.grant(public) == Grant("api", ("unit",), ("api",))
    keyring.revoke(folder, "api")
    assert ring.grant(public) == Grant("api", ("unit",), ("api",), revoked=True)
    assert not (folder / "api.keys").exists()


def test_a_revoked_name_can_be_given_again_and_only_the_new_key_opens(folder: Path) -> None:
    keyring.add(folder, "api", roles=["unit"], units=["api"])
    old = public_of(folder, "api")
    keyring.revoke(folder, "api")
    new = keys.load(keyring.add(folder, "api", roles=["unit"], units=["api"])).public
    ring = Keyring(folder)
    assert [ring.grant(public).revoked for public in (old, new)] == [True, False]  # type: ignore[union-attr]


def test_what_cannot_be_done_is_said_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    keyring.add(folder, "api", roles=["unit"], units=["api"])
    with pytest.raises(KeyringError, match=r"key 'api' .* already; .*circuit-run keys revoke api"):
        keyring.add(folder, "api", roles=["unit"], units=["api"])
    with pytest.raises(KeyringError, match=r"no key 'worker' .*; there is api"):
        keyring.revoke(folder, "worker")
    with pytest.raises(KeyringError, match="unknown role 'boss'; expected one of: unit,"):
        keyring.add(folder, "x", roles=["boss"])
    with pytest.raises(KeyringError, match="may not speak as any unit; name units"):
        keyring.add(folder, "x", roles=["unit"])
    with pytest.raises(KeyringError, match=r"no keyring; one is made by: circuit-run keys new"):
        Keyring(tmp_path)
    (tmp_path / "full").mkdir(0o700)
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(KeyringError, match="used for other things"):
        keyring.create(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", ".x", "@x", "x" * 101, "x\n", "ü"])
def test_a_key_is_named_like_a_file(folder: Path, name: str) -> None:
    with pytest.raises(KeyringError, match="no name for a key"):
        keyring.add(folder, name, roles=["watcher"])


@pytest.mark.parametrize("name", ["", "broker", "access"])
def test_a_keyring_that_others_can_get_at_is_not_used(folder: Path, name: str) -> None:
    (folder / name).chmod(0o750)
    with pytest.raises(KeyringError, match=r"others.*chmod"):
        Keyring(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("api valid unit api *", "has 5 words, not 6"),
        (f"api maybe unit api * {'a' * 40}", "says 'maybe'"),
        (f"api valid boss api * {'a' * 40}", "unknown role 'boss'"),
        (f"api valid unit api * {'a' * 39}", "public key"),
        (f"api%0A valid unit api * {'a' * 40}", "where a name or pattern is expected"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(folder: Path, line: str, said: str) -> None:
    with (folder / "access").open("a") as file:
        file.write(f"\n# by hand\n{line}\n")
    with pytest.raises(KeyringError, match=rf"access, line 5: .*{said}.*mend the line"):
        Keyring(folder)


def test_a_list_that_is_damaged_later_leaves_what_held_before_and_is_said_once(folder: Path) -> None:
    keyring.add(folder, "api", roles=["unit"], units=["api"])
    public = public_of(folder, "api")
    reports: list[str] = []
    ring = Keyring(folder, reports.append)
    whole = (folder / "access").read_text()
    (folder / "access").write_text(whole + "rubbish\n")
    assert [ring.grant(public) is not None for _ in range(3)] == [True] * 3
    assert len(reports) == 1
    assert "line 4" in reports[0]
    (folder / "access").write_text(whole.replace(" valid ", " revoked "))
    assert ring.grant(public).revoked  # type: ignore[union-attr]


def test_keys_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    code = "import sys; from pathlib import Path; from broker import keyring; folder = Path(sys.argv[1]);"
    code += "keyring.create(folder);"
    code += "[keyring.add(folder, f'{sys.argv[2]}-{n}', roles=['watcher']) for n in range(10)]"
    makers = [subprocess.Popen([sys.executable, "-c", code, str(folder), name]) for name in "abcd"]
    assert [maker.wait(30) for maker in makers] == [0] * 4
    assert len(Keyring(folder)._grants) == 40
    broker = Keyring(folder).broker.public
    assert all(keys.load(path).broker == broker for path in folder.glob("*.keys"))


def test_a_run_has_a_key_for_each_unit_that_is_good_for_that_unit_alone(tmp_path: Path) -> None:
    names = ["api", "the worker, new", "broker", "données", "a[1]"]
    files = keyring.for_run(tmp_path / "keys", names)
    ring = Keyring(tmp_path / "keys")
    assert list(files) == [*names, keyring.WATCHER]
    grants = {name: ring.grant(keys.load(path).public) for name, path in files.items()}
    assert grants["the worker, new"] == Grant("the worker, new", ("unit",), ("the worker, new",))
    assert grants["a[1]"] == Grant("a[1]", ("unit",), ("a[[]1]",))
    assert grants[keyring.WATCHER] == Grant(keyring.WATCHER, ("watcher",))


def test_a_run_has_a_key_for_the_supervisor_of_each_host(tmp_path: Path) -> None:
    files = keyring.for_run(tmp_path / "keys", ["camera"], agents={"lab-2": ["worker-*"], "lab[3]": []})
    ring = Keyring(tmp_path / "keys")
    assert list(files) == ["camera", "@lab-2", "@lab[3]", keyring.WATCHER]
    assert files["@lab-2"].name == "@lab-2.keys"
    grants = {name: ring.grant(keys.load(path).public) for name, path in files.items()}
    assert grants["@lab-2"] == Grant("@lab-2", ("agent", "unit"), ("@lab-2", "worker-*"))
    assert grants["@lab[3]"] == Grant("@lab[3]", ("agent", "unit"), ("@lab[[]3]",))


@pytest.mark.parametrize(
    ("units", "hosts", "why"),
    [
        (["@lab"], ["lab"], "two keys of one run would be called '@lab'"),
        ([], ["watcher"], "two keys of one run would be called '@watcher'"),
        ([], ["../../up"], "'@../../up' is no name for a key"),
        (["a/b"], [], "'a/b' is no name for a key"),
    ],
)
def test_a_run_has_no_key_that_could_be_mistaken(tmp_path: Path, units: list[str], hosts: list[str], why: str) -> None:
    with pytest.raises(KeyringError, match=why):
        keyring.for_run(tmp_path / "keys", units, agents={host: [] for host in hosts})


def test_a_keyring_like_another_one_is_for_the_same_broker_and_both_open_it(folder: Path, tmp_path: Path) -> None:
    lasting = keys.load(keyring.add(folder, "anna", roles=["watcher"]))
    passing = keys.load(keyring.for_run(tmp_path / "run", ["camera"], like=folder)["camera"])
    assert passing.broker == lasting.broker
    ours, grant = keyring.any_of([tmp_path / "run", folder])
    assert ours == Keyring(folder).broker
    assert grant(lasting.public) == Grant("anna", ("watcher",))
    assert grant(passing.public) == Grant("camera", ("unit",), ("camera",))
    assert grant(ours.public) is None


def test_keyrings_of_two_brokers_do_not_go_together(folder: Path, tmp_path: Path) -> None:
    keyring.create(tmp_path / "other")
    with pytest.raises(KeyringError, match="other is for another broker than"):
        keyring.any_of([folder, tmp_path / "other"])
    with pytest.raises(KeyringError, match="is there already, for another broker than"):
        keyring.for_run(tmp_path / "other", [], like=folder)
    with pytest.raises(KeyringError, match="is no keyring"):
        keyring.for_run(tmp_path / "third", [], like=tmp_path)


words = st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"), codec="utf-8"), min_size=1).filter(
    lambda text: text.isprintable()
)


@given(
    st.builds(
        Grant,
        words,
        st.lists(st.sampled_from(m.ROLES), min_size=1).map(tuple),
        st.lists(words).map(tuple),
        st.lists(words).map(tuple),
        st.booleans(),
    )
)
def test_a_line_says_what_was_put_into_it(grant: Grant) -> None:
    entry = KeyEntry("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", grant)
    line = keyring._line(entry)
    assert len(line.splitlines()) == 1
    assert not line.startswith("#")
    assert keyring._entry(line) == entry


@given(st.text())
def test_rubbish_is_no_line(text: str) -> None:
    try:
        keyring._entry(text)
    except ValueError:
        return
