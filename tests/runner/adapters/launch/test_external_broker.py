"""An external broker: where it is, and that the runner neither starts nor ends it."""

from pathlib import Path

import pytest

from broker.keyring import Keyring
from runner.adapters.launch.external_broker import ExternalBroker
from runner.cli import execute
from runner.model.errors import UsageError

ENDPOINT = "tcp://192.0.2.1:7000"


def test_it_has_one_address_and_does_not_end_as_far_as_we_are_concerned() -> None:
    external_broker = ExternalBroker(ENDPOINT, None)
    assert [external_broker.endpoint(), external_broker.endpoint(3)] == [ENDPOINT, ENDPOINT]
    assert (external_broker.code, external_broker.keys) == (None, None)
    external_broker.check()
    assert external_broker.again() is external_broker
    external_broker.close()
    assert external_broker.endpoint() == ENDPOINT


def test_its_keys_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["keys", "new", "me", "--role", "runner"]) == 0
    external_broker = ExternalBroker(ENDPOINT, Path(".circuit/keys/me.keys"))
    assert external_broker.keys is not None
    assert Keyring(Path(".circuit/keys")).grant(external_broker.keys.public) is not None


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("lab-broker", "--broker lab-broker: not an endpoint; expected tcp://"),
        ("udp://192.0.2.1:7000", "--broker udp://192.0.2.1:7000: not an endpoint"),
        ("tcp://lab-broker", "--broker tcp://lab-broker: expected a host and a port"),
        ("tcp://lab-broker:99999", "--broker tcp://lab-broker:99999: expected a host and a port"),
        ("ipc://bus", "--broker ipc://bus: the path of an ipc endpoint starts with /"),
    ],
)
def test_an_address_that_makes_no_sense_is_said_at_once(endpoint: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        ExternalBroker(endpoint, None)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("text", [None, "", "rubbish", "[key]\nsecret = 1\n"])
def test_keys_that_are_none_are_said_at_once(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "me.keys"
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    with pytest.raises(UsageError, match=f"^--keys: .*{path}"):
        ExternalBroker(ENDPOINT, path)
