"""Units, watchers and a broker with a keyring: with its own key a unit gets in, without it nothing does, nothing that
it emitted is lost, and a stranger learns nothing."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from broker import keyring, log
from probe import connection, keys, wire
from probe import message as m
from probe.environment import Environment
from probe.keys import Keys
from probe.recovery import recover
from probe.units import Unit
from runner.adapters.bus.log_reader import LogReader
from runner.cli import execute
from runner.model.errors import BrokerFailed
from tests.support.broker_process import RUN, BrokerProcess
from tests.support.scenarios import poll

PATIENCE_S = 20.0


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A keyring with a key for the unit `api`, one for a watcher, and one that was revoked."""
    folder = tmp_path / "ring"
    keyring.create(folder)
    keyring.add(folder, "api", roles=["unit"], units=["api"])
    keyring.add(folder, "me", roles=["watcher"])
    keyring.add(folder, "old", roles=["unit", "watcher"], units=["api"])
    (folder / "old.keys").rename(tmp_path / "old.keys")
    keyring.revoke(folder, "old")
    return folder


@pytest.fixture
def guarded(tmp_path: Path, ring: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path / "run", "--keys", str(ring))
    yield process
    process.stop()


def unit_of(guarded: BrokerProcess, keys_variable: str, tmp_path: Path, name: str = "api") -> Unit:
    settings = Environment(guarded.endpoint, RUN, name, str(tmp_path / "journal"), keys_variable, disabled=False)
    return Unit(name, environment=settings)


def logged(guarded: BrokerProcess) -> list[str]:
    """The steps of all events in the log; [] while there is none."""
    if not guarded.log.exists():
        return []
    entries = [entry for entry in log.scan(guarded.log) if isinstance(entry.message, m.Events)]
    return [record[2] for entry in entries for record in wire.unpack_records(entry.body)]


def unknown(ring: Path) -> str:
    """A key that was not made for this broker, though it knows the broker."""
    public, secret = zmq.curve_keypair()
    path = ring.parent / "mine.keys"
    keys.write(path, Keys("mine", keys.load(ring / "api.keys").broker, public.decode(), secret.decode()))
    return str(path)


def revoked(ring: Path) -> str:
    return str(ring.parent / "old.keys")


def of_another_broker(ring: Path) -> str:
    keyring.create(ring.parent / "other")
    return str(keyring.add(ring.parent / "other", "theirs", roles=["unit", "watcher"], units=["*"]))


def none(_ring: Path) -> str:
    return ""


def no_file(ring: Path) -> str:
    return str(ring / "nothing.keys")


KEPT_OUT: list[tuple[Callable[[Path], str], str]] = [
    (none, "lets in only who has a key; name its file in CIRCUIT_KEYS"),
    (unknown, "does not know the key 'mine', or the key was revoked; make a new one"),
    (revoked, "does not know the key 'old', or the key was revoked; make a new one"),
    (of_another_broker, "is not the broker that the key 'theirs' was made for; look at CIRCUIT_BROKER"),
]


def kept_out_again(unit: Unit) -> None:
    """Wait until it has tried in vain once more."""
    before = unit._link._connection.retry_s
    assert poll(lambda: unit._link._connection.retry_s > before, PATIENCE_S)


def test_a_unit_with_its_own_key_gets_its_events_into_the_log(
    guarded: BrokerProcess, ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_file = unit_of(guarded, str(ring / "api.keys"), tmp_path)
    by_file.emit("by-file")
    assert by_file.close(PATIENCE_S)
    by_variable = unit_of(guarded, (ring / "api.keys").read_text(), tmp_path)
    by_variable.emit("by-variable")
    assert by_variable.close(PATIENCE_S)
    assert logged(guarded) == ["by-file", "by-variable"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("keys_of", "said"),
    [*KEPT_OUT, (no_file, "cannot read keys from")],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_unit_that_is_kept_out_says_so_once_and_loses_nothing(
    guarded: BrokerProcess,
    ring: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keys_of: Callable[[Path], str],
    said: str,
) -> None:
    monkeypatch.setattr(connection, "RETRY_S", 0.01)
    unit = unit_of(guarded, keys_of(ring), tmp_path)
    unit.emit("first")
    for _ in range(3):
        kept_out_again(unit)
    unit.emit("last")
    assert not unit.close(PATIENCE_S)
    (line,) = capsys.readouterr().err.splitlines()
    for words in ("unit 'api' does not get into the broker", guarded.endpoint, said, "kept in its journal"):
        assert words in line
    assert logged(guarded) == []
    answers = recover(tmp_path / "journal", guarded.endpoint, keys=keys.load(ring / "api.keys"), timeout_s=PATIENCE_S)
    assert [(answer.events, answer.problem) for answer in answers] == [(2, "")]
    assert logged(guarded) == ["first", "last"]


def test_a_unit_gets_in_once_its_key_is_on_the_list(
    guarded: BrokerProcess, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_S", 0.01)
    mine = unknown(ring)
    unit = unit_of(guarded, mine, tmp_path)
    unit.emit("before")
    kept_out_again(unit)
    with (ring / "access").open("a") as file:
        file.write(f"mine valid unit api * {keys.load(Path(mine)).public}\n")
    assert poll(lambda: logged(guarded) == ["before"], PATIENCE_S)
    unit.emit("after")
    assert unit.close(PATIENCE_S)
    assert logged(guarded) == ["before", "after"]


def test_a_unit_gets_in_once_its_file_is_there(
    guarded: BrokerProcess, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_S", 0.01)
    unit = unit_of(guarded, str(tmp_path / "late.keys"), tmp_path)
    unit.emit("before")
    kept_out_again(unit)
    (ring / "api.keys").rename(tmp_path / "late.keys")
    assert poll(lambda: logged(guarded) == ["before"], PATIENCE_S)
    assert unit.close(PATIENCE_S)


def test_a_unit_with_keys_tells_nothing_to_a_broker_that_cannot_prove_who_it_is(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_broker = BrokerProcess(tmp_path / "run", "--insecure")
    try:
        unit = unit_of(open_broker, str(ring / "api.keys"), tmp_path)
        unit.emit("for no other")
        assert not unit.close(PATIENCE_S)
        said = capsys.readouterr().err  # which of the two depends on who hangs up first
        assert "cannot prove to be the broker that ours are for" in said or "not the broker that the key" in said
        assert logged(open_broker) == []
    finally:
        open_broker.stop()


def test_a_key_does_not_speak_as_another_unit_and_who_tried_is_counted_by_name(
    guarded: BrokerProcess, ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = unit_of(guarded, str(ring / "api.keys"), tmp_path)
    api.emit("mine")
    assert api.close(PATIENCE_S)
    forged = unit_of(guarded, str(ring / "api.keys"), tmp_path, name="worker")
    forged.emit("not mine")
    assert not forged.close(PATIENCE_S)
    assert "the key 'api' may not speak as 'worker', only as api" in capsys.readouterr().err
    assert logged(guarded) == ["mine"]
    theirs = keys.load(keyring.add(ring, "worker", roles=["unit"], units=["worker"]))
    (kept,) = recover(tmp_path / "journal", guarded.endpoint, keys=theirs, timeout_s=PATIENCE_S)
    assert (kept.unit, kept.events, kept.problem) == ("worker", 1, ""), "with its own key it is welcome"
    with contextlib.closing(LogReader(guarded.endpoint, RUN, "watcher", keys=keys.load(ring / "me.keys"))) as watcher:
        watcher.ping()
        assert [who for who in watcher.incidents if who.startswith("api ")], watcher.incidents


def test_a_key_that_is_revoked_cuts_off_who_is_in_and_it_says_so_once(
    guarded: BrokerProcess, ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = unit_of(guarded, (ring / "api.keys").read_text(), tmp_path)
    unit.emit("before")
    assert poll(lambda: logged(guarded) == ["before"], PATIENCE_S)
    keyring.revoke(ring, "api")
    assert poll(lambda: unit.refused, PATIENCE_S)
    unit.emit("after")
    assert not unit.close(PATIENCE_S)
    assert logged(guarded) == ["before"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "the key 'api' was revoked" in line


@pytest.mark.parametrize(("keys_of", "said"), KEPT_OUT, ids=lambda case: getattr(case, "__name__", ""))
def test_a_watcher_that_is_kept_out_learns_why_without_waiting(
    guarded: BrokerProcess, ring: Path, keys_of: Callable[[Path], str], said: str
) -> None:
    ours = keys.read(keys_of(ring), guarded.endpoint)
    with pytest.raises(BrokerFailed, match=said):
        LogReader(guarded.endpoint, RUN, "watcher", keys=ours, timeout_s=3600)  # longer than any test may take


def test_a_stranger_sees_the_greeting_of_any_such_socket_and_then_a_closed_door(guarded: BrokerProcess) -> None:
    host, _, port = guarded.endpoint.removeprefix("tcp://").rpartition(":")
    ours = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    # of ZMTP 3.1 (RFC 37): signature, version, mechanism
    theirs = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
    with socket.create_connection((host, int(port)), PATIENCE_S) as stranger:
        stranger.sendall(ours[:12])
        heard = b""
        while len(heard) < len(theirs):  # it comes in pieces
            heard += (more := stranger.recv(4096))
            assert more, heard
        stranger.sendall(ours[12:])
        heard += stranger.recv(4096)
    assert heard == theirs


def test_a_unit_that_is_kept_out_and_can_keep_no_journal_does_not_say_that_it_has_one(
    guarded: BrokerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ("BROKER", guarded.endpoint), ("RUN", RUN), ("UNIT", "api"), ("JOURNAL", "/dev/null/journals")
    for name, value in variables:
        monkeypatch.setenv(f"CIRCUIT_{name}", value)
    assert execute(["emit", "step", "--timeout", "3600"]) == 4
    said = capsys.readouterr().err
    assert "Its events are in memory only, and lost when its process ends, and it goes on trying" in said
    assert "it is in no journal" in said
    assert "kept in" not in said


def test_a_shell_script_that_is_kept_out_does_not_wait_and_its_event_is_kept(
    guarded: BrokerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BROKER", guarded.endpoint), ("RUN", RUN), ("UNIT", "api"), ("JOURNAL", str(tmp_path / "j"))):
        monkeypatch.setenv(f"CIRCUIT_{name}", value)
    assert execute(["emit", "step", "--timeout", "3600"]) == 4  # longer than any test may take
    said = capsys.readouterr().err
    assert "lets in only who has a key" in said
    assert "'step'" in said
    assert "kept in the journal" in said
    assert len(list((tmp_path / "j").iterdir())) == 1
