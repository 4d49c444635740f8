"""The one connection of a peer to its broker: when HELLO is said, and what is said of connections that come and go."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from probe import connection, wire
from probe import message as m
from probe.connection import BrokerConnection, Change, Connected, Disconnected, Received
from probe.errors import WireError
from tests.support.small_broker import PATIENCE_S, SmallBroker

HELLO = m.Hello(m.VERSION, "unit", "run", "unit", 7)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context() as context:
        yield context


def next_change(bus: BrokerConnection) -> Change:
    assert bus.sockets[1].poll(PATIENCE_S * 1000)
    return next(bus.watch())


def next_message(bus: BrokerConnection) -> Received:
    assert bus.socket.poll(PATIENCE_S * 1000)
    received = bus.receive()
    assert received is not None
    return received


def test_hello_is_said_on_every_connection_and_welcome_is_noticed(
    broker: SmallBroker, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    with closing(BrokerConnection(broker.endpoint, lambda: HELLO)) as bus:
        bus.open(context, None)
        assert next_change(bus) == Connected()
        assert isinstance(next_message(bus).message, m.Welcome)
        assert bus.is_welcome
        broker.vanish()
        assert next_change(bus) == Disconnected()
        assert not bus.is_welcome
        broker.listen()
        while next_change(bus) != Connected():  # attempts that came too early
            pass
        assert isinstance(next_message(bus).message, m.Welcome)
        assert broker.heard(m.Hello, 2) == [HELLO, HELLO]


def test_a_peer_that_has_nothing_more_to_say_says_no_hello(
    broker: SmallBroker, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    with closing(BrokerConnection(broker.endpoint, lambda: None)) as silent:
        silent.open(context, None)
        assert next_change(silent) == Connected()
        with closing(BrokerConnection(broker.endpoint, lambda: HELLO)) as other:
            other.open(context, None)
            assert next_change(other) == Connected()
            broker.heard(m.Hello)
        assert silent.receive() is None
        assert broker.heard(m.Hello) == [HELLO]


def test_without_a_broker_nothing_is_taken_and_nothing_waits(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    with closing(BrokerConnection(f"ipc://{tmp_path}/absent", lambda: HELLO)) as bus:
        assert bus.sockets == ()
        bus.open(context, None)
        assert not bus.send(m.Ping(1))
        assert bus.receive() is None


def test_a_broker_that_does_not_know_the_connection_gets_hello_again_and_nonsense_is_an_error(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    with context.socket(zmq.ROUTER) as router, closing(BrokerConnection(f"ipc://{tmp_path}/x", lambda: HELLO)) as bus:
        router.linger = 0
        router.bind(bus.endpoint)
        bus.open(context, None)
        assert next_change(bus) == Connected()
        peer, *frames = router.recv_multipart()
        assert wire.decode(frames)[0] == HELLO
        router.send_multipart([peer, *wire.encode(m.Error("who are you?", stranger=True))])
        assert next_message(bus).message == m.Error("who are you?", stranger=True)
        assert wire.decode(router.recv_multipart()[1:])[0] == HELLO
        router.send_multipart([peer, b"\xff", b"nonsense"])
        assert bus.socket.poll(PATIENCE_S * 1000)
        with pytest.raises(WireError):
            bus.receive()


def test_a_connection_that_is_kept_out_is_made_again_when_it_is_time(
    broker: SmallBroker, context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(BrokerConnection(broker.endpoint, lambda: HELLO)) as bus:
        bus.open(context, None)
        assert next_change(bus) == Connected()
        bus.retry_later()
        bus.retry_later()  # as for two reasons at once
        assert not bus.is_welcome
        before_s = bus.retry_s
        bus.retry_connect()
        assert bus.retry_s == before_s, "it is not time yet"
        monkeypatch.setattr(connection, "monotonic", lambda: before_s)
        bus.retry_connect()
        assert bus.retry_s == 0
        while next_change(bus) != Connected():
            pass


def test_a_connection_may_be_opened_again_and_close_is_harmless_when_repeated(
    broker: SmallBroker, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    bus = BrokerConnection(broker.endpoint, lambda: HELLO)
    for _ in range(2):
        bus.open(context, None)
        assert next_change(bus) == Connected()
        bus.close()
        bus.close(0)
    broker.heard(m.Hello, 2)
