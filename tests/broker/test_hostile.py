"""Peers that break the rules, by accident or on purpose: each is refused and counted by name, the others are served,
and the broker's memory stays bounded."""

import os
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest

from broker import log, memory_guard
from broker.peer import MAX_WINDOW_BYTES
from probe import message as m
from probe import wire
from tests.support.broker_process import RUN, BrokerProcess, Peer, records
from tests.support.raw_zmtp import MORE, RawPeer, frame
from tests.support.scenarios import poll

MIB = 1024 * 1024
US = os.getpid()
HELLO = m.Hello(m.VERSION, "unit", RUN, "evil", 1)


class Served:
    """A well-behaved unit, and the broker's memory at the beginning."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.broker = broker
        self.peer = Peer.unit(broker.endpoint, "good")
        self._seq = 0
        self._start_bytes = broker.resident_bytes

    def serves(self) -> None:
        """The unit still gets what it is due."""
        self._seq += 1
        self.peer.emit(self._seq, "fine")
        assert self.peer.hear(m.Ack) == m.Ack(self._seq + 1)

    def counted(self, row: str, least: int = 1) -> None:
        """Wait until this was counted so often; the unit is served all the while."""

        def reached() -> bool:
            self.serves()
            return self.peer.incidents().get(row, 0) >= least

        assert poll(reached, 10), self.peer.incidents()

    @property
    def grown(self) -> int:
        """Bytes by which the broker is larger than at the beginning."""
        return self.broker.resident_bytes - self._start_bytes


@pytest.fixture
def local(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker on a private ipc endpoint: who comes over it is known by its pid."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        broker = BrokerProcess(tmp_path / "run", listen=f"ipc://{short}/private/bus")
        yield broker
        broker.stop()


@pytest.fixture
def served(local: BrokerProcess) -> Iterator[Served]:
    served = Served(local)
    yield served
    served.serves()
    served.peer.close()


@pytest.fixture
def evil(local: BrokerProcess) -> Iterator[Peer]:
    """Welcomed as unit "evil"."""
    with Peer.unit(local.endpoint, "evil") as peer:
        yield peer


# --- what does not parse ---


def deep(depth: int) -> bytes:
    return b"\x81\xa1x" + b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"EVENTS"],
        [b"NOISE", b"\x80"],
        [b"EVENTS", os.urandom(300), b""],
        [b"EVENTS", b"\xdd\xff\xff\xff\xff"],  # an array of four thousand million
        [b"EVENTS", b"\xdf\xff\xff\xff\xff"],  # such a map
        [b"EVENTS", b"\xc6\xff\xff\xff\xff"],  # such bytes
        [b"EVENTS", deep(60_000)],
        [b"EVENTS", msgpack.packb({"first": 1, "count": float("nan"), "watermark_ns": 0})],
        [b"EVENTS", msgpack.packb({"first": -1, "count": 1, "watermark_ns": 0})],
        [b"EVENTS", msgpack.packb({"first": msgpack.ExtType(5, b"x"), "count": 1, "watermark_ns": 0})],
        [b"EVENTS", b"\x81\xa5\xff\xfe\xfd\xfc\xfb\x01"],
        [b"EVENTS", msgpack.packb({"x": "y" * 70_000})],
        [b"EVENTS", msgpack.packb({"first": 1, "count": 2**63, "watermark_ns": 0}), b"short"],
        [b"EVENTS", msgpack.packb({"first": 2**63, "count": 1, "watermark_ns": 0}), b"\xc0" * 9],
        [b"GAP", msgpack.packb({"first": 5, "last": 4, "why": ""})],
        [b"FINAL", msgpack.packb({"last": 2**64 - 1})],
        [b"PING", b"\x80", b"x", b"y"],
        [b"x" * MIB, b"y" * MIB],
    ],
    ids=lambda frames: frames[0][:8].decode() + "-" + str(len(frames)) + "-" + repr(frames[-1][:6]),
)
def test_what_is_no_message_is_counted_with_the_name_of_who_sent_it(
    served: Served, evil: Peer, frames: list[bytes]
) -> None:
    evil.say_frames(*frames)
    assert evil.hear(m.Error).why
    assert evil.incidents() == {f"evil (pid {US}): sent what is no message": 1}
    served.serves()


def test_a_bomb_in_the_body_of_an_order_is_passed_on_unread_and_does_not_hurt_the_broker(served: Served) -> None:
    with Peer(served.broker.endpoint) as runner:
        runner.say(m.Hello(m.VERSION, "runner", RUN))
        runner.hear(m.Welcome)
        runner.say(m.Command(("good",)), deep(1000))
    assert served.peer.hear_with_body(m.Command)[1] == deep(1000)


def test_a_message_of_very_many_frames_is_not_kept(served: Served, evil: Peer) -> None:
    evil.say_frames(*[b"x" * 1000] * 20_000)
    assert evil.hear(m.Error).why == "a message has at most 4 frames, this one more"
    served.counted(f"evil (pid {US}): sent what is no message")


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n" * 9, b"\x00" * 100, frame(b"x" * 300)[:-100], b"\x02" + (2**62).to_bytes(8, "big")],
    ids=["http", "zeros", "cut-off", "giant-frame"],
)
def test_who_does_not_keep_to_the_protocol_of_zeromq_is_named(served: Served, noise: bytes) -> None:
    with RawPeer(served.broker.endpoint) as raw:
        served.serves()
        raw.send(noise)
        with suppress(OSError):  # it has been cut off already
            raw.socket.shutdown(socket.SHUT_WR)
        assert raw.cut_off()
        served.counted(f"pid {US}: left before it said HELLO")
    assert served.grown < 20 * MIB


def test_a_process_that_ends_before_it_has_said_hello_has_done_nothing_wrong(served: Served) -> None:
    """As children do that are forked for one task. It is not even waited for by its parent yet."""
    if (pid := os.fork()) == 0:
        raw = RawPeer(served.broker.endpoint)
        raw.send(b"\x00")
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with RawPeer(served.broker.endpoint) as raw:
            served.serves()
            raw.socket.shutdown(socket.SHUT_WR)
            served.counted(f"pid {US}: left before it said HELLO")  # and it had left later
        assert served.peer.incidents() == {f"pid {US}: left before it said HELLO": 1}
    finally:
        os.waitpid(pid, 0)


def test_a_frame_that_is_too_long_ends_the_connection(served: Served) -> None:
    with RawPeer(served.broker.endpoint) as raw:
        raw.send(spoken(HELLO))
        raw.send(b"\x02" + (MIB + 1).to_bytes(8, "big"))
        assert raw.cut_off()


# --- HELLO ---


@pytest.mark.parametrize("version", [0, 2, 2**64 - 1])
def test_another_version_is_refused_and_counted(served: Served, version: int) -> None:
    with Peer(served.broker.endpoint) as peer:
        peer.say(m.Hello(version, "unit", RUN, "evil", 1))
        assert f"speaks version 1 of the protocol, you {version}" in peer.hear(m.Refused).why
    served.counted(f"pid {US}: refused, its HELLO does not fit")


def test_who_speaks_without_hello_is_a_stranger_and_counted(served: Served) -> None:
    with Peer(served.broker.endpoint) as peer:
        peer.emit(1, "a")
        assert peer.hear(m.Error).stranger
    served.counted(f"pid {US}: spoke without HELLO")


def test_a_hundred_thousand_hellos_on_one_connection_cost_nothing(served: Served) -> None:
    with RawPeer(served.broker.endpoint) as raw:
        word, header, *_ = wire.encode(HELLO)
        one = frame(bytes(word), MORE) + frame(bytes(header))
        waiting = wire.encode(m.Hello(m.VERSION, "unit", RUN, "evil", 1, waiting=("start",) * 500))
        other = frame(bytes(waiting[0]), MORE) + frame(bytes(waiting[1]))
        raw.send(one)
        served.serves()
        for _ in range(100):
            raw.send(one * 900 + other * 100)
    said = [entry for entry in log.scan(served.broker.log) if entry.unit == "evil"]
    assert len(said) == 1
    assert served.grown < 60 * MIB


def test_one_connection_is_one_incarnation(served: Served, evil: Peer) -> None:
    for another in (m.Hello(m.VERSION, "unit", RUN, "good", 1), m.Hello(m.VERSION, "unit", RUN, "evil", 2)):
        evil.say(another)
        assert evil.hear(m.Refused).why == "this connection has said HELLO for another peer; open one for each"
    evil.emit(1, "a")
    assert evil.hear(m.Ack) == m.Ack(2)
    assert evil.incidents() == {f"evil (pid {US}): said HELLO for two on one connection": 2}
    assert {(entry.unit, entry.incarnation) for entry in log.scan(served.broker.log)} == {("good", 1), ("evil", 1)}


def test_a_routing_id_of_its_own_choice_is_refused(served: Served) -> None:
    with Peer(served.broker.endpoint, identity=b"evil") as peer:
        peer.say(HELLO)
        assert "gives routing ids itself" in peer.hear(m.Refused).why
    served.counted(f"pid {US}: refused, it chose its own routing id")


# --- who takes too much ---


def test_a_message_without_end_is_cut_off_before_it_fills_the_memory(served: Served) -> None:
    part = frame(b"x" * MIB, MORE)
    sent = largest = 0
    with RawPeer(served.broker.endpoint) as raw:
        try:
            while sent < 4096:
                raw.send(part)
                sent += 1
                largest = max(largest, served.grown if sent % 50 == 0 else 0)
        except OSError:
            pass
    assert sent < 4096
    assert largest < 2 * memory_guard.MAX_GROWTH_BYTES
    served.counted(f"pid {US}: cut off, the broker was short of memory")
    assert poll(lambda: served.grown < 60 * MIB, 10), served.grown


def test_a_reader_that_does_not_read_holds_its_window_and_no_more(served: Served, evil: Peer) -> None:
    body = records(1, "x" * 200) * 4000
    for number in range(40):
        evil.say(m.Events(1 + number * 4000, 4000, 0), body)
        evil.hear(m.Ack)
    before = served.grown
    with RawPeer(served.broker.endpoint) as raw:
        raw.send(spoken(m.Hello(m.VERSION, "runner", RUN)) + spoken(m.Fetch(0, 2**40)) * 3)
        for _ in range(50):
            served.serves()
        assert served.grown - before < 20 * MIB
        held = 0
        raw.socket.settimeout(0.5)
        with suppress(TimeoutError):  # that was all
            while held < 40 * MIB:
                held += len(raw.socket.recv(MIB))
    assert MAX_WINDOW_BYTES - MIB < held < MAX_WINDOW_BYTES + MIB


def spoken(message: m.Message) -> bytes:
    word, header, *_ = wire.encode(message)
    return frame(bytes(word), MORE) + frame(bytes(header))


def test_who_never_reads_what_it_is_sent_is_named_and_the_others_are_served(served: Served) -> None:
    with RawPeer(served.broker.endpoint) as raw:
        raw.send(spoken(HELLO))
        raw.send(spoken(m.Ping(1)) * 20_000)
        served.counted(f"evil (pid {US}): has not read for 2 s")
    assert served.grown < 40 * MIB


def test_a_crowd_of_readers_is_bounded(served: Served) -> None:
    readers = [Peer(served.broker.endpoint) for _ in range(40)]
    for reader in readers:
        reader.say(m.Hello(m.VERSION, "watcher", RUN))
        reader.hear(m.Welcome)
        reader.say(m.Fetch(0, 1))
    answers = [wire.decode(reader.socket.recv_multipart())[0] for reader in readers]
    assert Counter(type(answer) for answer in answers) == {m.Records: 32, m.Error: 8}
    served.counted(f"watcher (pid {US}): refused, there are too many", 8)
    readers.pop(0).close()
    with_room = readers[-1]

    def fetched() -> bool:
        with_room.say(m.Fetch(0, 1))
        return isinstance(wire.decode(with_room.socket.recv_multipart())[0], m.Records)

    assert poll(fetched, 10)
    for reader in readers:
        reader.close()
