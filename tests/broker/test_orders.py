"""Orders that a peer cannot take yet wait in the log, in order, and what is dropped is counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import orders as module
from broker.connections import Connection
from broker.frames import Sent
from broker.orders import Orders
from broker.peer import Peer
from broker.peers import PeerRegistry
from broker.run import Run
from probe import message as m
from probe import wire


class Stage:
    """One run, its orders, and a transport that takes as many frames of each peer as it is set to."""

    def __init__(self, folder: Path) -> None:
        self.run = Run("r", folder)
        self.registry = PeerRegistry()
        self.orders = Orders(self.registry, self._send)
        self.room: dict[bytes, int] = {}
        self.gone: set[bytes] = set()
        self.got: dict[bytes, list[m.Order]] = {}

    def enter(self, unit: str, incarnation: int = 1, room: int = 1000) -> Peer:
        identity = f"{unit}-{incarnation}".encode()
        hello = m.Hello(m.VERSION, "unit", "r", unit, incarnation)
        account = self.run.join(hello, wire.encode(hello))  # type: ignore[arg-type]
        peer = Peer(identity, hello, self.run, account, Connection(-1, "here", 0.0), name=unit)
        self.registry.enter(peer)
        self.room[identity], self.got[identity] = room, []
        return peer

    def order(self, *to: str, count: int = 1, first: int = 0) -> list[m.Order]:
        given: list[m.Order] = [m.Release(f"wait/1.{number}") for number in range(first, first + count)]
        for each in given:
            self.orders.take(self.run, to, [bytes(f) for f in wire.encode(m.Command(to), wire.encode_order(each))])
        return given

    def turn(self) -> bool:
        self.run.flush()
        return self.orders.pass_on([self.run])

    def leave(self, peer: Peer) -> None:
        self.registry.leave(peer, 0.0)
        self.orders.leave(peer)

    def _send(self, identity: bytes, frames: tuple[bytes, ...]) -> Sent:
        if identity in self.gone:
            return Sent.GONE
        if not self.room[identity]:
            return Sent.FULL
        self.room[identity] -= 1
        message, body = wire.decode(frames)
        assert message == m.Command()
        self.got[identity].append(wire.decode_order(body))
        return Sent.YES


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.run.log.close()


def test_what_a_slow_unit_cannot_take_waits_for_it_in_order(stage: Stage) -> None:
    slow, quick = stage.enter("slow", room=3), stage.enter("quick")
    given = stage.order("slow", "quick", count=10)
    assert stage.turn(), "there is more to come"
    given += stage.order("slow", "quick", count=10, first=10)
    assert stage.turn()
    assert (len(stage.got[slow.identity]), stage.got[quick.identity]) == (3, given)
    while stage.turn():
        stage.room[slow.identity] += 2
    assert stage.got[slow.identity] == given
    assert stage.run.counters["unroutable"] == 0


def test_each_incarnation_of_a_unit_gets_every_order_though_only_one_of_them_is_slow(stage: Stage) -> None:
    slow, quick = stage.enter("u", 1, room=1), stage.enter("u", 2)
    given = stage.order("u", count=5)
    stage.turn()
    assert stage.got[quick.identity] == given
    stage.room[slow.identity] = 10
    assert not stage.turn()
    assert stage.got[slow.identity] == given


def test_one_that_is_too_far_behind_is_kept_apart_from_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BEHIND", 4)
    deaf, _ = stage.enter("deaf", room=0), stage.enter("quick")
    stage.order("deaf", "quick", count=4)
    stage.turn()
    assert stage.orders.too_far_behind() == []
    stage.order("deaf", "quick", first=4)
    stage.turn()
    assert stage.orders.too_far_behind() == [deaf]
    stage.leave(deaf)
    assert (stage.orders.too_far_behind(), stage.run.counters["unroutable"]) == ([], 5)


def test_a_supervisor_that_leaves_gets_the_rest_when_it_comes_back(stage: Stage) -> None:
    first = stage.enter("@lab", 1, room=2)
    given = stage.order("@lab", count=5)
    stage.turn()
    stage.leave(first)
    given += stage.order("@lab", count=2, first=5)
    assert not stage.turn()
    second = stage.enter("@lab", 2)
    stage.turn()
    assert [*stage.got[first.identity], *stage.got[second.identity]] == given
    assert stage.run.counters["unroutable"] == 0


def test_more_than_is_kept_for_a_supervisor_is_counted_and_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.run.MAX_PENDING", 3)
    given = stage.order("@lab", count=5)
    stage.turn()
    later = stage.enter("@lab")
    stage.turn()
    assert stage.got[later.identity] == given[:3]
    assert stage.run.counters["unroutable"] == 2
    assert list(stage.run.incidents.merged(stage.run.incidents)) == [
        "@lab: is not there, and more orders wait for it than are kept"
    ]


def test_orders_without_a_peer_are_counted(stage: Stage) -> None:
    gone = stage.enter("gone")
    stage.gone.add(gone.identity)
    stage.order("gone", "never-came")
    stage.turn()
    assert stage.run.counters["unroutable"] == 2
