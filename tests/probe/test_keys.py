"""Keys: what is written can be read again, by no other user, and anything else is a sentence that says what to do."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from probe import handshake, keys
from probe.errors import KeysError
from probe.handshake import Handshakes
from probe.keys import Keys

TCP = "tcp://10.0.0.1:5000"
words = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.isprintable)


def made(name: str = "lab-2") -> Keys:
    broker, (public, secret) = zmq.curve_keypair()[0], zmq.curve_keypair()
    return Keys(name, broker.decode(), public.decode(), secret.decode())


ONE = made()


@given(words)
def test_what_stands_in_a_file_is_what_was_put_there(name: str) -> None:
    one = Keys(name, ONE.broker, ONE.public, ONE.secret)
    assert keys.parse(one.text(), "here") == one
    assert keys.parse(" ".join(one.text().split()), "a variable without lines") == one


@given(st.text() | st.lists(st.sampled_from(ONE.text().split()) | st.text()).map(" ".join))
def test_rubbish_is_no_keys_and_whatever_is_can_be_given_to_a_socket(text: str) -> None:
    with suppress(KeysError), zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        keys.parse(text, "here").secure(socket)


@given(st.text())
def test_rubbish_in_the_variable_is_no_keys(text: str) -> None:
    with suppress(KeysError):
        assert keys.read(text, TCP) is None


groups = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#", min_size=5)


@given(st.lists(groups | st.sampled_from(["#####", "00 00", "~~~~~", "%nSc0", "%nSc1"]), min_size=8).map("".join))
def test_what_counts_as_a_key_is_what_zeromq_takes(text: str) -> None:
    word = text[:40]
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        try:
            socket.curve_serverkey = word.encode()
        except zmq.ZMQError:
            taken = False
        else:
            taken = True
    assert keys.is_key(word) is taken


def test_a_group_of_digits_that_is_more_than_32_bits_is_no_key() -> None:
    assert keys.is_key("%nSc0" * 8)
    assert not keys.is_key("%nSc1" * 8)


def test_keys_come_from_a_file_or_from_the_variable_itself(tmp_path: Path) -> None:
    one = made()
    keys.write(tmp_path / "lab-2.keys", one)
    assert (tmp_path / "lab-2.keys").stat().st_mode & 0o777 == 0o600
    assert keys.read(str(tmp_path / "lab-2.keys"), TCP) == one
    assert keys.read(one.text(), TCP) == one
    assert one.secret not in repr(one)


def test_keys_are_for_tcp_alone(tmp_path: Path) -> None:
    assert keys.read(made().text(), "ipc:///run/user/1000/bus") is None
    assert keys.read(str(tmp_path / "nothing"), "ipc:///run/user/1000/bus") is None
    assert keys.read("", TCP) is None


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    keys.write(tmp_path / "lab-2.keys", made())
    (tmp_path / "lab-2.keys").chmod(0o640)
    with pytest.raises(KeysError, match=r"can be read by others.*chmod 600"):
        keys.read(str(tmp_path / "lab-2.keys"), TCP)


def test_a_file_of_keys_is_never_written_over(tmp_path: Path) -> None:
    keys.write(tmp_path / "lab-2.keys", made())
    with pytest.raises(FileExistsError):
        keys.write(tmp_path / "lab-2.keys", made())


def test_what_is_missing_or_no_key_is_named() -> None:
    text = ONE.text()
    with pytest.raises(KeysError, match="no secret"):
        keys.parse(text[: text.index("secret")], "here")
    with pytest.raises(KeysError, match="behind 'public' is no key"):
        keys.parse(text.replace(ONE.public, "~" * 40), "here")


def test_the_path_of_keys_is_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert keys.anchored("lab-2.keys") == os.path.join(os.getcwd(), "lab-2.keys")
    assert (keys.anchored(""), keys.anchored(ONE.text())) == ("", ONE.text())


# --- handshakes ---


def test_the_numbers_are_those_of_zeromq() -> None:
    assert handshake.DISCONNECTED == zmq.EVENT_DISCONNECTED
    assert handshake.SUCCEEDED == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert handshake.FAILED_NO_DETAIL == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert handshake.FAILED_PROTOCOL == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    assert handshake.FAILED_AUTH == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert handshake.MECHANISM_MISMATCH == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


def test_a_connection_that_breaks_now_and_then_keeps_no_peer_out() -> None:
    of_one = Handshakes(ONE)
    for _ in range(10):
        assert of_one.judge(handshake.FAILED_NO_DETAIL, 32) == ""
        assert of_one.judge(handshake.DISCONNECTED, 9) == ""
        assert of_one.judge(handshake.FAILED_NO_DETAIL, 32) == ""
        assert of_one.judge(handshake.SUCCEEDED, 0) == ""
    without = Handshakes(None)
    assert [without.judge(handshake.FAILED_NO_DETAIL, 32) for _ in range(10)] == [""] * 10


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["folder", "pipe", "huge"])
def test_what_cannot_be_a_file_of_keys_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.keys"
    if kind == "folder":
        path.mkdir(0o755)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.touch(0o600)
        os.truncate(path, 1 << 30)
    with pytest.raises(KeysError, match="is no file of keys"):
        keys.load(path)


def test_a_file_of_keys_has_all_of_them_as_soon_as_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it reads it at once."""
    path, seen = tmp_path / "lab-2.keys", []
    text = keys.Keys.text

    def looking(made: keys.Keys) -> str:
        seen.append(path.exists())
        return text(made)

    monkeypatch.setattr(keys.Keys, "text", looking)
    keys.write(path, made())
    assert seen == [False]
    assert [each.name for each in tmp_path.iterdir()] == ["lab-2.keys"]
