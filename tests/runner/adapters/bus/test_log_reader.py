"""The log reader against a real broker: everything, in order, whatever happens in between."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import zmq

from broker import log
from broker.log import Entry
from probe import message as m
from probe import wire
from probe.clock import monotonic_ns
from runner.adapters.bus import liveness, log_reader
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.history.log_file import LogCopy
from runner.model.errors import BrokerFailed
from tests.support.broker_process import RUN, BrokerProcess, Peer, records

M = TypeVar("M")


@pytest.fixture
def reader(broker: BrokerProcess) -> Iterator[LogReader]:
    with contextlib.closing(LogReader(broker.endpoint, RUN)) as reader:
        yield reader


def emit(unit: Peer, first: int, *steps: str) -> None:
    """EVENTS that are in the log when this returns."""
    unit.emit(first, *steps)
    while unit.hear(m.Ack).below < first + len(steps):
        pass


class FakeBroker:
    """A broker's side of the wire that says what a test wants, once it has said WELCOME."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._peer = b""
        self._doorman = threading.Thread(target=self._welcome)

    def _welcome(self) -> None:
        self.hears(m.Hello)
        self.says(m.Welcome(m.VERSION, 1, 0, 0))

    def hears(self, kind: type[M]) -> M:
        """The next message, which has to be a `kind`."""
        self._socket_is_ours()
        assert self._socket.poll(10_000), f"no {kind.__name__} came"
        self._peer, *frames = self._socket.recv_multipart()
        message, _ = wire.decode(frames)
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message}"
        return message

    def says(self, message: m.Message) -> None:
        self._socket_is_ours()
        self._socket.send_multipart([self._peer, *wire.encode(message)])

    def _socket_is_ours(self) -> None:
        """No two threads use it at once."""
        if threading.current_thread() is not self._doorman:
            self._doorman.join()

    def __enter__(self) -> Self:
        self._doorman.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._doorman.join()
        self._context.destroy(0)


def received(reader: LogReader, count: int) -> list[Entry]:
    """The next `count` entries."""
    entries: list[Entry] = []
    while len(entries) < count:
        assert reader.wait(timeout_ms=10_000), f"only {len(entries)} entries came"
        entries += reader.receive()
    return entries


def test_entries_come_in_order_from_the_beginning_of_the_log(
    broker: BrokerProcess, unit: Peer, reader: LogReader
) -> None:
    emit(unit, 1, "a", "b")
    emit(unit, 3, "c")
    assert received(reader, 3) == list(log.scan(broker.log))
    assert reader.offset == reader.log_end == broker.log.stat().st_size
    assert reader.receive() == []
    with contextlib.closing(LogReader(broker.endpoint, RUN, "watcher")) as late:
        assert received(late, 3) == list(log.scan(broker.log))


def test_a_log_of_many_windows_is_read_to_its_end(
    broker: BrokerProcess, unit: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "CREDIT_BYTES", 20_000)
    for turn in range(50):
        emit(unit, turn * 20 + 1, *["s" * 150] * 20)
    with contextlib.closing(LogReader(broker.endpoint, RUN)) as reader:
        assert received(reader, 51) == list(log.scan(broker.log))


def test_receive_takes_about_as_many_as_it_is_asked_for_and_the_rest_stays_visible(
    unit: Peer, reader: LogReader
) -> None:
    received(reader, 1)
    for seq in range(1, 41):
        emit(unit, seq, "a")
    got = 0
    while got < 40:
        assert reader.socket.poll(10_000)
        got += len(reader.receive(1))
    assert got == 40


def test_commands_reach_units_and_come_back_as_entries(unit: Peer, reader: LogReader) -> None:
    reader.command(m.Release("start"), ["api"])
    message, body = unit.hear_with_body(m.Command)
    assert (message.to, wire.decode_order(body)) == ((), m.Release("start"))
    entry = received(reader, 2)[-1]
    assert (entry.message, wire.decode_order(entry.body)) == (m.Command(("api",)), m.Release("start"))


def test_ping_gives_the_counters_and_keeps_the_entries_that_came_meanwhile(unit: Peer, reader: LogReader) -> None:
    emit(unit, 1, "a", "b")
    counters = reader.ping()
    assert (counters["events"], counters["entries"], counters["incarnations"]) == (2, 2, 1)
    assert len(received(reader, 2)) == 2


def test_a_question_does_not_wait_and_its_answer_is_there_when_it_has_come(unit: Peer, reader: LogReader) -> None:
    emit(unit, 1, "a", "b")
    assert reader.pong is None
    reader.ask()
    assert len(received(reader, 2)) == 2
    while reader.pong is None:
        assert reader.wait(timeout_ms=10_000)
        reader.receive()
    assert reader.pong.counters["events"] == 2
    assert reader.heard_ns > reader.pong.sent_ns


def test_a_question_is_put_once_a_second_and_not_again_before_it_is_answered() -> None:
    with FakeBroker() as fake, contextlib.closing(LogReader(fake.endpoint, RUN)) as reader:
        fake.hears(m.Fetch)
        reader.ask()
        stamp = fake.hears(m.Ping).sent_ns
        reader.ask()
        fake.says(m.Pong(stamp, 0, 0, {}, {"lab-3: unknown key": 2}))
        assert reader.wait(timeout_ms=10_000)
        reader.receive()
        reader.ask()  # too early
        reader.command(m.Sync())
        assert fake.hears(m.Command).to == ()


def test_incidents_that_a_broker_reported_before_it_was_restarted_are_not_forgotten() -> None:
    with FakeBroker() as fake, contextlib.closing(LogReader(fake.endpoint, RUN)) as reader:
        for counted in ({"a: x": 2}, {"a: x": 3, "b: y": 1}, {"a: x": 1}, {}):
            fake.says(m.Pong(0, 0, 0, {}, counted))
        while reader.pong is None or reader.pong.incidents:
            assert reader.wait(timeout_ms=10_000)
            reader.receive()
    assert reader.incidents == {"a: x": 4, "b: y": 1}


def test_incidents_from_before_our_time_can_be_left_out_though_the_broker_is_restarted() -> None:
    with FakeBroker() as fake, contextlib.closing(LogReader(fake.endpoint, RUN)) as reader:
        fake.hears(m.Fetch)
        fake.says(m.Pong(0, 0, 0, {}, {"a: x": 7}))
        asked = threading.Thread(target=reader.disregard_incidents)
        asked.start()
        fake.says(m.Pong(fake.hears(m.Ping).sent_ns, 0, 0, {}, {"a: x": 7, "b: y": 1}))
        asked.join()
        assert reader.incidents == {}
        for counted in ({"a: x": 9, "b: y": 1}, {"b: y": 1}, {}):
            fake.says(m.Pong(0, 0, 0, {}, counted))
        while reader.pong is None or reader.pong.incidents:
            assert reader.wait(timeout_ms=10_000)
            reader.receive()
    assert reader.incidents == {"a: x": 2, "b: y": 1}


def test_a_question_that_met_no_broker_is_put_to_the_next_one(broker: BrokerProcess, reader: LogReader) -> None:
    broker.kill()
    while reader.connected:
        reader.wait(timeout_ms=10_000)
        reader.receive()
    reader.ask()
    broker.restart()
    assert reader.ping()["peers"] == 1


def test_wait_wakes_for_other_descriptors_and_gives_up_in_time(reader: LogReader) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        while reader.wait([ours.fileno()], 1):
            reader.receive()
        theirs.send(b".")
        assert reader.wait([ours.fileno()], 10_000)


def test_it_goes_on_where_it_was_when_the_broker_was_killed_and_comes_back(
    broker: BrokerProcess, reader: LogReader
) -> None:
    with Peer.unit(broker.endpoint) as unit:
        emit(unit, 1, "a")
    before = received(reader, 2)
    broker.kill()
    while reader.connected:
        reader.wait(timeout_ms=10_000)
        reader.receive()
    reader.command(m.Sync(), ["api"])
    broker.restart()
    with Peer.unit(broker.endpoint) as unit:
        emit(unit, 2, "b")
        after = received(reader, 2)
    assert [*before, *after] == list(log.scan(broker.log))
    assert {type(entry.message) for entry in after} == {m.Events, m.Command}, "the order was held meanwhile"


def test_orders_that_a_killed_broker_had_not_read_are_sent_to_the_next_one_in_order(
    broker: BrokerProcess, reader: LogReader
) -> None:
    orders = [m.Release(f"wait/1.{number}") for number in range(20)]
    for order in orders[:5]:
        reader.command(order, ["api"])
    assert reader.ping()["commands"] == 5
    before = received(reader, 5)
    broker.process.send_signal(signal.SIGSTOP)  # what is sent now is not read
    for order in orders[5:15]:
        reader.command(order, ["api"])
    broker.kill()
    while reader.connected:
        reader.wait(timeout_ms=10_000)
        reader.receive()
    assert not reader.current
    for order in orders[15:]:
        reader.command(order, ["api"])
    broker.restart()
    entries = [*before, *received(reader, 15)]
    assert reader.current
    assert entries == list(log.scan(broker.log))
    assert [wire.decode_order(entry.body) for entry in entries] == orders
    assert "refused" not in reader.ping(), "nothing was said before HELLO"


def test_what_a_broker_counted_before_it_died_is_added_to_what_the_next_one_counts() -> None:
    with FakeBroker() as fake, contextlib.closing(LogReader(fake.endpoint, RUN)) as reader:
        for count in (2, 3):
            fake.says(m.Pong(0, 0, 0, {"duplicates": count}, {"a: x": 1}))
            while reader.pong is None:
                assert reader.wait(timeout_ms=10_000)
                reader.receive()
            reader.broker_died()
        assert (reader.duplicates, reader.incidents) == (5, {"a: x": 2})


def test_a_watcher_goes_on_though_no_other_peer_has_come_back_to_the_broker_yet(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, run=None)
    try:
        with Peer.unit(broker.endpoint) as unit:
            emit(unit, 1, "a")
        with contextlib.closing(LogReader(broker.endpoint, RUN, "watcher")) as watcher:
            received(watcher, 2)
            broker.kill()
            broker.restart()
            while watcher.ping()["entries"] != 2:
                watcher.receive()
    finally:
        broker.stop()


def test_a_broker_that_comes_back_with_another_log_is_noticed(broker: BrokerProcess, reader: LogReader) -> None:
    with Peer.unit(broker.endpoint) as unit:
        emit(unit, 1, "a")
    received(reader, 2)
    broker.kill()
    os.truncate(broker.log, log.START)
    broker.restart()
    with pytest.raises(BrokerFailed, match=r"ends at byte 16, but \d+ bytes of it have been read"):
        received(reader, 1)


def test_a_broker_that_is_not_there_is_reported_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(BrokerFailed, match=rf"no broker answers at {endpoint} within 0.05 s; is it running\?"):
            LogReader(endpoint, RUN, timeout_s=0.05)


def test_an_address_that_is_none_is_said_at_once() -> None:
    with pytest.raises(BrokerFailed, match="'nonsense' is no address of a broker"):
        LogReader("nonsense", RUN)


def test_a_refusal_is_passed_on_in_the_brokers_words(broker: BrokerProcess) -> None:
    with pytest.raises(BrokerFailed, match="refuses: this broker serves run 'run-1', not 'run-2'"):
        LogReader(broker.endpoint, "run-2")


def test_an_order_from_a_watcher_is_refused(broker: BrokerProcess) -> None:
    with contextlib.closing(LogReader(broker.endpoint, RUN, "watcher")) as watcher:
        watcher.command(m.Sync())
        with pytest.raises(BrokerFailed, match="COMMAND comes from a runner, you are a watcher"):
            watcher.ping()


def test_a_stopped_broker_is_an_error_only_for_a_caller_that_asks(
    broker: BrokerProcess, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.process.send_signal(19)  # SIGSTOP
    try:
        with pytest.raises(BrokerFailed, match="no broker answers"):
            reader.ping(timeout_s=0.05)
        assert not reader.silent, "it may only be busy"
        assert reader.receive() == []
        monkeypatch.setattr(liveness, "SILENT_NS", 0)
        assert reader.silent
    finally:
        broker.process.send_signal(18)  # SIGCONT
    assert reader.ping()["peers"] == 1
    assert not reader.silent


def test_ten_thousand_orders_to_a_broker_that_stands_still_reach_the_log_in_order_when_it_goes_on(
    broker: BrokerProcess, reader: LogReader
) -> None:
    orders = [m.Release(f"wait/1.{number}", data={"x": "y" * 1000}) for number in range(10_000)]
    broker.process.send_signal(signal.SIGSTOP)
    try:
        for order in orders:
            reader.command(order, ["api"])
        assert reader.receive() == []
    finally:
        broker.process.send_signal(signal.SIGCONT)
    entries = received(reader, 10_000)
    assert [wire.decode_order(entry.body) for entry in entries] == orders
    assert reader.ping()["commands"] == 10_000


def test_about_a_mebibyte_is_handed_out_at_a_time(unit: Peer, reader: LogReader) -> None:
    pack = wire.record_packer()
    for seq in range(1, 41):
        unit.say(m.Events(seq, 1, 0), pack([seq, seq, "a", 0, None, {"x": "y" * 100_000}]))
    while unit.hear(m.Ack).below <= 40:
        pass
    sizes = [0]
    while sum(sizes) < 4_000_000:
        assert reader.wait(timeout_ms=10_000)
        sizes.append(sum(len(entry.body) for entry in reader.receive()))
    assert max(sizes) < 1_500_000


def test_a_runner_that_stood_still_itself_does_not_call_its_broker_silent(
    broker: BrokerProcess, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.process.send_signal(signal.SIGSTOP)
    now_ns = monotonic_ns()
    try:
        reader.ask()
        reader.receive()
        monkeypatch.setattr(log_reader, "monotonic_ns", lambda: now_ns + 60_000_000_000)
        assert reader.receive() == []
        assert not reader.silent, "the test did not look in between"
        for look in range(10):
            monkeypatch.setattr(
                log_reader, "monotonic_ns", lambda look=look: now_ns + 60_000_000_000 + look * 200_000_000
            )
            reader.receive()
        assert reader.silent
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_records_of_a_batch_are_decoded_on_demand(unit: Peer, reader: LogReader) -> None:
    emit(unit, 1, "a", "b")
    entry = received(reader, 2)[-1]
    assert entry.body == records(1, "a", "b")


def test_a_copy_is_the_brokers_log_byte_for_byte(broker: BrokerProcess, unit: Peer, tmp_path: Path) -> None:
    emit(unit, 1, "a", "b")
    copy = LogCopy(tmp_path / "copy.log")
    with contextlib.closing(copy), contextlib.closing(LogReader(broker.endpoint, RUN, copy=copy.append)) as reader:
        received(reader, 2)
        assert (tmp_path / "copy.log").read_bytes() == broker.log.read_bytes()
        reader.command(m.Release("start"), ["api"])
        unit.hear(m.Command)
        emit(unit, 3, "c")
        received(reader, 2)
        assert (tmp_path / "copy.log").read_bytes() == broker.log.read_bytes()


def test_a_copy_goes_on_where_it_was_when_the_broker_was_killed_and_comes_back(
    broker: BrokerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "CREDIT_BYTES", 20_000)
    copy = LogCopy(tmp_path / "copy.log")
    with contextlib.closing(copy), contextlib.closing(LogReader(broker.endpoint, RUN, copy=copy.append)) as reader:
        with Peer.unit(broker.endpoint) as unit:
            for turn in range(10):
                emit(unit, turn * 20 + 1, *["s" * 150] * 20)
            received(reader, 4)  # some of it is still on its way
        broker.kill()
        while reader.connected:
            reader.wait(timeout_ms=10_000)
            reader.receive()
        broker.restart()
        with Peer.unit(broker.endpoint) as unit:
            emit(unit, 201, "a")
            while reader.offset < broker.log.stat().st_size:
                assert reader.wait(timeout_ms=10_000)
                reader.receive()
        assert (tmp_path / "copy.log").read_bytes() == broker.log.read_bytes()
        assert list(log.scan(tmp_path / "copy.log")) == list(log.scan(broker.log))
