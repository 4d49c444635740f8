"""The broker as its peers see it: a real process, spoken to frame by frame."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import msgpack
import pytest

from broker import log
from probe import message as m
from probe import wire
from tests.support.broker_process import RUN, BrokerProcess, Peer, records


@pytest.fixture
def runner(broker: BrokerProcess) -> Iterator[Peer]:
    """A runner, welcomed; its HELLO is not evidence and not in the log."""
    with reader(broker.endpoint, "runner") as peer:
        yield peer


@contextlib.contextmanager
def reader(endpoint: str, role: str, run: str = RUN) -> Iterator[Peer]:
    with Peer(endpoint) as peer:
        peer.say(m.Hello(m.VERSION, role, run))
        peer.hear(m.Welcome)
        yield peer


def messages(broker: BrokerProcess) -> list[m.Message]:
    return [entry.message for entry in log.scan(broker.log)]


def firsts(broker: BrokerProcess) -> list[tuple[int, int]]:
    return [(message.first, message.count) for message in messages(broker) if isinstance(message, m.Events)]


# --- evidence ---


def test_what_is_acknowledged_is_in_the_log_with_the_bytes_that_came(broker: BrokerProcess, unit: Peer) -> None:
    unit.emit(1, "a", "b", watermark_ns=7)
    assert unit.hear(m.Ack) == m.Ack(below=3)
    hello, events = log.scan(broker.log)
    assert (hello.unit, hello.incarnation, hello.message.__class__) == ("api", 1, m.Hello)
    assert (events.message, events.body) == (m.Events(1, 2, 7), records(1, "a", "b"))


def test_a_batch_that_comes_twice_is_kept_once_and_acknowledged_twice(broker: BrokerProcess, unit: Peer) -> None:
    for _ in range(2):
        unit.emit(1, "a", "b")
        assert unit.hear(m.Ack) == m.Ack(3)
    assert unit.hears_nothing_before_pong()["duplicates"] == 2
    assert firsts(broker) == [(1, 2)]


def test_an_overlap_is_trimmed_to_what_is_new(broker: BrokerProcess, unit: Peer) -> None:
    unit.emit(1, "a", "b")
    unit.hear(m.Ack)
    unit.emit(2, "b", "c", "d", watermark_ns=9)
    assert unit.hear(m.Ack) == m.Ack(5)
    assert firsts(broker) == [(1, 2), (3, 2)]
    *_, last = log.scan(broker.log)
    assert (last.message, last.body) == (m.Events(3, 2, 9), records(3, "c", "d"))


def test_a_batch_after_a_hole_is_refused_once_and_the_sender_hears_where_to_go_on(
    broker: BrokerProcess, unit: Peer
) -> None:
    unit.emit(1, "a")
    unit.hear(m.Ack)
    unit.emit(5, "e")
    assert unit.hear(m.Welcome).next_seq == 2
    unit.emit(6, "f")
    assert unit.hears_nothing_before_pong()["rewound"] == 2
    unit.emit(2, "b", "c", "d", "e", "f")
    assert unit.hear(m.Ack) == m.Ack(7)
    assert firsts(broker) == [(1, 1), (2, 5)]


def test_a_loss_that_is_admitted_is_kept_without_what_is_known(broker: BrokerProcess, unit: Peer) -> None:
    unit.emit(1, "a", "b")
    unit.hear(m.Ack)
    unit.say(m.Gap(2, 9, "the journal was full"))
    assert unit.hear(m.Ack) == m.Ack(10)
    assert messages(broker)[-1] == m.Gap(3, 9, "the journal was full")
    assert unit.hears_nothing_before_pong()["lost"] == 7


def test_a_watermark_alone_is_kept_and_not_acknowledged(broker: BrokerProcess, unit: Peer) -> None:
    unit.say(m.Events(1, 0, 55))
    unit.hears_nothing_before_pong()
    assert messages(broker)[-1] == m.Events(1, 0, 55)


def test_what_is_stamped_by_another_clock_than_its_hosts_is_lost_and_named(broker: BrokerProcess, unit: Peer) -> None:
    unit.emit(1, "a", watermark_ns=monotonic_ns())
    unit.hear(m.Ack)
    ahead_ns = monotonic_ns() + 3_600_000_000_000
    unit.emit(2, "b", "c", watermark_ns=ahead_ns)
    assert "CLOCK_MONOTONIC" in unit.hear(m.Error).why
    assert unit.hear(m.Ack) == m.Ack(4)
    unit.say(m.Events(4, 0, ahead_ns))
    unit.emit(4, "d", watermark_ns=monotonic_ns())
    assert unit.hear(m.Ack) == m.Ack(5)
    assert unit.hears_nothing_before_pong()["lost"] == 2
    assert firsts(broker) == [(1, 1), (4, 1)]
    (lost,) = [message for message in messages(broker) if isinstance(message, m.Gap)]
    assert lost == m.Gap(2, 3, "stamped by a clock that is not its host's")
    assert [count for what, count in unit.incidents().items() if what.endswith(lost.why)] == [2]


def test_a_host_with_a_clock_of_its_own_may_be_ahead(broker: BrokerProcess) -> None:
    with Peer(broker.endpoint) as peer:
        peer.say(m.Hello(m.VERSION, "unit", RUN, "far", 1, "another boot"))
        peer.hear(m.Welcome)
        peer.emit(1, "a", watermark_ns=2**62)
        assert peer.hear(m.Ack) == m.Ack(2)
    assert firsts(broker) == [(1, 1)]


def test_final_is_kept_once_everything_before_it_is(broker: BrokerProcess, unit: Peer) -> None:
    unit.say(m.Final(2))
    assert unit.hear(m.Welcome).next_seq == 1
    unit.emit(1, "a", "b")
    unit.hear(m.Ack)
    for _ in range(2):
        unit.say(m.Final(2))
        assert unit.hear(m.Ack) == m.Ack(3)
    assert messages(broker).count(m.Final(2)) == 1


def test_a_reconnecting_unit_hears_where_to_go_on_and_its_hello_is_kept_once(broker: BrokerProcess, unit: Peer) -> None:
    unit.emit(1, "a", "b", "c")
    unit.hear(m.Ack)
    with Peer(broker.endpoint) as again:
        again.say(m.Hello(m.VERSION, "unit", RUN, "api", 1))
        assert again.hear(m.Welcome).next_seq == 4
    with Peer.unit(broker.endpoint, incarnation=2):
        pass
    assert [entry.incarnation for entry in log.scan(broker.log) if isinstance(entry.message, m.Hello)] == [1, 2]


def test_a_hello_that_still_waits_for_an_answer_is_kept_so_that_it_is_answered(broker: BrokerProcess) -> None:
    hello = m.Hello(m.VERSION, "unit", RUN, "api", 1, waiting=("barrier/go/1",))
    with Peer.unit(broker.endpoint), Peer(broker.endpoint) as reconnected:
        for _ in range(3):  # once is enough
            reconnected.say(hello)
            reconnected.hear(m.Welcome)
        reconnected.hears_nothing_before_pong()
    assert [entry for entry in messages(broker) if isinstance(entry, m.Hello)][1:] == [hello]


def test_many_small_messages_from_many_units_all_arrive_in_order(broker: BrokerProcess) -> None:
    with contextlib.ExitStack() as stack:
        units = [stack.enter_context(Peer.unit(broker.endpoint, f"unit-{n}")) for n in range(30)]
        for seq in range(1, 51):
            for unit in units:
                unit.emit(seq, "step")
        for unit in units:
            while unit.hear(m.Ack).below < 51:
                pass
    found: dict[str, list[int]] = {}
    for entry in log.scan(broker.log):
        if isinstance(entry.message, m.Events):
            found.setdefault(entry.unit, []).append(entry.message.first)
    assert len(found) == 30
    assert all(numbers == list(range(1, 51)) for numbers in found.values())


# --- a broker that comes back ---


def test_a_broker_that_was_killed_goes_on_from_its_log(broker: BrokerProcess) -> None:
    with Peer.unit(broker.endpoint) as unit:
        unit.emit(1, "a", "b")
        unit.hear(m.Ack)
    broker.kill()
    whole = broker.log.stat().st_size
    with broker.log.open("ab") as file:
        file.write(b"\0\0\1\0half an entry")
    broker.restart()
    with Peer(broker.endpoint) as unit:
        unit.say(m.Hello(m.VERSION, "unit", RUN, "api", 1))
        assert unit.hear(m.Welcome).next_seq == 3
        counters = unit.hears_nothing_before_pong()
        assert (counters["events"], counters["log_bytes"]) == (2, whole)
        assert counters["torn_bytes"] == len(b"\0\0\1\0half an entry")


def test_a_peer_that_the_broker_does_not_know_is_asked_for_its_hello(broker: BrokerProcess) -> None:
    with Peer(broker.endpoint) as peer:
        peer.emit(1, "a")
        assert peer.hear(m.Error).stranger
        peer.say(m.Hello(m.VERSION, "unit", RUN, "api", 1))
        assert peer.hear(m.Welcome).next_seq == 1


# --- who speaks ---


def test_a_second_process_is_refused_under_an_incarnation_that_lives_counted_and_kept_once(
    broker: BrokerProcess, runner: Peer
) -> None:
    """Each would be taken for what the other has sent already, and it would be unknown what was lost."""
    first = m.Hello(m.VERSION, "unit", RUN, "api", 7, "boot", 100)
    second = replace(first, pid=101)
    with Peer(broker.endpoint) as peer:
        peer.say(first)
        peer.hear(m.Welcome)
        peer.emit(1, "a")
        peer.hear(m.Ack)
        for _ in range(2):
            with Peer(broker.endpoint) as other:
                other.say(second)
                assert "another process speaks as incarnation 7 of unit 'api'" in other.hear(m.Refused).why
        with Peer(broker.endpoint) as again:  # a reconnection of the first one
            again.say(first)
            assert again.hear(m.Welcome).next_seq == 2
    (incident,) = runner.incidents().items()
    assert "refused, another process speaks as that incarnation" in incident[0]
    assert incident[1] == 2
    assert [said for said in messages(broker) if isinstance(said, m.Hello)] == [first, second]
    broker.kill()
    broker.restart()
    with Peer(broker.endpoint) as other:
        other.say(second)
        other.hear(m.Refused)
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(replace(first, recovered=True))
        assert supervisor.hear(m.Welcome).next_seq == 2
    assert [said for said in messages(broker) if isinstance(said, m.Hello)] == [first, second]


# --- readers ---


def fetched(reader: Peer, offset: int, credit: int) -> tuple[m.Records, bytes]:
    reader.say(m.Fetch(offset, credit))
    return reader.hear_with_body(m.Records)


def test_a_reader_gets_what_is_there_and_then_what_comes(broker: BrokerProcess, unit: Peer, runner: Peer) -> None:
    unit.emit(1, "a")
    unit.hear(m.Ack)
    records_, body = fetched(runner, 0, 100_000)
    assert (records_.offset, records_.end) == (log.START, log.START + len(body))
    unit.emit(2, "b")
    later, more = runner.hear_with_body(m.Records)
    assert later.offset == records_.end
    assert [*log.entries(body, log.START), *log.entries(more, later.offset)] == list(log.scan(broker.log))


def test_a_reader_gets_no_more_than_its_window_and_nothing_twice(unit: Peer, runner: Peer) -> None:
    for seq in range(1, 21):
        unit.emit(seq, "x" * 100)
        unit.hear(m.Ack)
    got = b""
    offset = log.START
    while True:
        records_, body = fetched(runner, offset, 1000)
        assert records_.offset == offset
        assert len(body) <= 1000
        runner.hears_nothing_before_pong()
        if not body:
            break
        got += body
        offset += len(body)
    assert offset == records_.end
    assert sum(isinstance(entry.message, m.Events) for entry in log.entries(got, log.START)) == 20


def test_repeating_a_fetch_brings_nothing_twice_and_going_back_does(unit: Peer, runner: Peer) -> None:
    unit.emit(1, "a")
    unit.hear(m.Ack)
    first, body = fetched(runner, 0, 100_000)
    again, nothing = fetched(runner, 0, 100_000)
    assert (again.offset, nothing) == (first.end, b"")
    fetched(runner, first.end, 100_000)
    back, same = fetched(runner, 0, 100_000)
    assert (back.offset, same) == (log.START, body)


def test_an_entry_larger_than_the_window_still_gets_through(unit: Peer, runner: Peer) -> None:
    body = b"".join(records(seq, "s" * 150) for seq in range(1, 3001))
    unit.say(m.Events(1, 3000, 0), body)
    unit.hear(m.Ack)
    start = log.START + len(fetched(runner, 0, 1)[1])
    _, chunk = fetched(runner, start, 10)
    assert len(chunk) > len(body) > 256 * 1024


def test_a_fetch_from_the_middle_of_an_entry_is_an_error_for_that_reader_alone(unit: Peer, runner: Peer) -> None:
    unit.emit(1, "a")
    unit.hear(m.Ack)
    runner.say(m.Fetch(log.START + 3, 1000))
    assert "no entry begins" in runner.hear(m.Error).why
    assert fetched(runner, 0, 1000)[1]


def test_a_reader_that_never_reads_costs_its_window_and_the_others_nothing(
    broker: BrokerProcess, unit: Peer, runner: Peer
) -> None:
    body = b"".join(records(seq, "s" * 150) for seq in range(1, 2001))
    with reader(broker.endpoint, "watcher") as idle:
        idle.say(m.Fetch(0, 2**60))
        offset, seen = log.START, 0
        for turn in range(40):
            unit.say(m.Events(turn * 2000 + 1, 2000, 0), body)
            assert unit.hear(m.Ack).below == (turn + 1) * 2000 + 1
            while seen < (turn + 1) * 2000:
                runner.say(m.Fetch(offset, 1 << 20))
                got, chunk = runner.hear_with_body(m.Records)
                assert got.offset == offset
                offset += len(chunk)
                seen += sum(e.message.count for e in log.entries(chunk, offset) if isinstance(e.message, m.Events))


# --- commands ---


def test_a_command_reaches_those_it_names_and_is_in_the_log(broker: BrokerProcess, runner: Peer) -> None:
    order = wire.encode_order(m.Release("start"))
    with Peer.unit(broker.endpoint, "a") as a, Peer.unit(broker.endpoint, "b") as b:
        runner.say(m.Command(("a", "absent")), order)
        assert a.hear_with_body(m.Command) == (m.Command(), order)
        b.hears_nothing_before_pong()
        runner.say(m.Command(), order)
        a.hear(m.Command)
        b.hear(m.Command)
        assert runner.hears_nothing_before_pong()["unroutable"] == 1
    entry = next(entry for entry in log.scan(broker.log) if isinstance(entry.message, m.Command))
    assert (entry.unit, entry.incarnation, entry.body) == ("@runner", 0, order)


def test_what_is_private_in_a_command_is_passed_on_also_later_and_is_not_in_the_log(
    broker: BrokerProcess, runner: Peer
) -> None:
    frames = [bytes(frame) for frame in wire.encode(m.Command(("a", "@local")), wire.encode_order(m.Sync()))]
    with Peer.unit(broker.endpoint, "a") as a, Peer(broker.endpoint) as supervisor:
        runner.say_frames(*frames, b"s3cret")
        assert a.socket.recv_multipart()[2:] == [frames[2], b"s3cret"]
        supervisor.say(m.Hello(m.VERSION, "agent", RUN, "@local", 1))
        supervisor.hear(m.Welcome)
        assert supervisor.socket.recv_multipart()[2:] == [frames[2], b"s3cret"]
        a.say_frames(*(bytes(frame) for frame in wire.encode(m.Events(1, 1, 0), records(1, "x"))), b"more")
        assert a.hear(m.Error).why == "a message has at most 3 frames, this one more"
    assert b"s3cret" not in broker.log.read_bytes()


def test_a_command_goes_to_the_newest_connection_of_an_incarnation(
    broker: BrokerProcess, unit: Peer, runner: Peer
) -> None:
    with Peer.unit(broker.endpoint) as newer:
        runner.say(m.Command(("api",)), wire.encode_order(m.Sync()))
        newer.hear(m.Command)
        unit.hears_nothing_before_pong()


def test_every_living_incarnation_of_a_unit_gets_its_commands_and_a_dead_one_is_counted(
    broker: BrokerProcess, unit: Peer, runner: Peer
) -> None:
    with Peer.unit(broker.endpoint, incarnation=2) as child:
        runner.say(m.Command(("api",)), wire.encode_order(m.Sync()))
        child.hear(m.Command)
        unit.hear(m.Command)
    unit.close()
    unroutable = 0
    while not unroutable:  # until the broker's transport has seen both hang up
        runner.say(m.Command(("api",)), wire.encode_order(m.Sync()))
        unroutable = runner.hears_nothing_before_pong().get("unroutable", 0)


def test_orders_for_a_supervisor_wait_until_it_comes(broker: BrokerProcess, runner: Peer) -> None:
    order = wire.encode_order(m.Finish(0))
    runner.say(m.Command(("@local",)), order)
    runner.hears_nothing_before_pong()
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(m.Hello(m.VERSION, "agent", RUN, "@local", 1))
        supervisor.hear(m.Welcome)
        assert supervisor.hear_with_body(m.Command)[1] == order
        supervisor.hears_nothing_before_pong()


def test_a_supervisor_gets_its_orders_in_order_though_some_waited_and_others_came_with_it(
    broker: BrokerProcess, runner: Peer
) -> None:
    orders = [wire.encode_order(m.Stop("api", number)) for number in range(20)]
    runner.say(m.Command(("@local",)), orders[0])
    assert runner.hears_nothing_before_pong()["commands"] == 1
    broker.process.send_signal(signal.SIGSTOP)  # so that the others and its HELLO are read in one turn
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(m.Hello(m.VERSION, "agent", RUN, "@local", 1))
        for order in orders[1:]:
            runner.say(m.Command(("@local",)), order)
        broker.process.send_signal(signal.SIGCONT)
        supervisor.hear(m.Welcome)
        assert [supervisor.hear_with_body(m.Command)[1] for _ in orders] == orders


def test_a_unit_gets_every_order_in_order_though_it_reads_none_of_them_for_a_while(unit: Peer, runner: Peer) -> None:
    orders = [m.Release(f"wait/1.{number}", data={"x": "y" * 5000}) for number in range(4000)]
    for order in orders:
        runner.say(m.Command(("api",)), wire.encode_order(order))
    assert "unroutable" not in runner.hears_nothing_before_pong()
    assert [wire.decode_order(unit.hear_with_body(m.Command)[1]) for _ in orders] == orders


@pytest.mark.parametrize("comes_first", [True, False], ids=["it is there", "it comes later"])
def test_a_supervisor_gets_every_order_in_order_however_many_there_are_at_once(
    broker: BrokerProcess, runner: Peer, comes_first: bool
) -> None:
    orders = [wire.encode_order(m.Start(f"unit-{number}", ("x" * 5000,), "/", {}, "o", "e")) for number in range(2000)]
    with Peer(broker.endpoint) as supervisor:
        if comes_first:
            supervisor.say(m.Hello(m.VERSION, "agent", RUN, "@local", 1))
        for order in orders:
            runner.say(m.Command(("@local",)), order)
        assert "unroutable" not in runner.hears_nothing_before_pong()
        if not comes_first:
            supervisor.say(m.Hello(m.VERSION, "agent", RUN, "@local", 1))
        supervisor.hear(m.Welcome)
        assert [supervisor.hear_with_body(m.Command)[1] for _ in orders] == orders


def test_orders_wait_for_a_supervisor_that_is_away_but_not_for_one_that_has_said_final(
    broker: BrokerProcess, runner: Peer
) -> None:
    hello, order = m.Hello(m.VERSION, "agent", RUN, "@local", 1), wire.encode_order(m.Finish(5))
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(hello)
        supervisor.hear(m.Welcome)
    send_until_it_has_left(runner, order)
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(hello)
        supervisor.hear(m.Welcome)
        assert supervisor.hear_with_body(m.Command)[1] == order
        supervisor.say(m.Final(0))
        supervisor.hear(m.Ack)
    assert "unroutable" not in runner.hears_nothing_before_pong()
    send_until_it_has_left(runner, order)
    assert runner.hears_nothing_before_pong()["unroutable"] == 1


def send_until_it_has_left(runner: Peer, order: bytes) -> None:
    """Orders to the supervisor, until the broker's transport has seen it hang up: the last one did not reach it."""
    while runner.hears_nothing_before_pong()["peers"] > 1:
        runner.say(m.Command(("@local",)), order)


# --- who may what ---


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (m.Hello(2, "unit", RUN, "api", 1), "speaks version 1 of the protocol, you 2"),
        (m.Hello(1, "boss", RUN, "api", 1), "unknown role 'boss'; expected one of: unit, agent, runner, watcher"),
        (m.Hello(1, "unit", RUN, "", 1), "needs the name of its unit; set CIRCUIT_UNIT"),
        (m.Hello(1, "unit", RUN, "api", 0), "does not say which incarnation"),
        (m.Hello(1, "unit", RUN, "x" * 201, 1), "more than 200 bytes"),
        (m.Hello(1, "unit", "another", "api", 1), "serves run 'run-1', not 'another'"),
    ],
)
def test_who_may_not_in_hears_why(broker: BrokerProcess, hello: m.Hello, why: str) -> None:
    with Peer(broker.endpoint) as peer:
        peer.say(hello)
        assert why in peer.hear(m.Refused).why
        peer.emit(1, "a")
        assert peer.hear(m.Error).stranger


def test_units_may_not_read_or_order_and_readers_may_not_emit(broker: BrokerProcess, unit: Peer) -> None:
    unit.say(m.Fetch(0, 1000))
    assert unit.hear(m.Error).why == "FETCH comes from a runner or watcher, you are a unit"
    unit.say(m.Command(), b"")
    assert "COMMAND comes from a runner" in unit.hear(m.Error).why
    unit.say(m.Ack(1))
    assert unit.hear(m.Error).why == "ACK is for the broker to say"
    with reader(broker.endpoint, "watcher") as watcher:
        watcher.say(m.Command(), b"")
        assert "you are a watcher" in watcher.hear(m.Error).why
        watcher.emit(1, "a")
        assert "EVENTS comes from a unit or agent" in watcher.hear(m.Error).why
    assert unit.hears_nothing_before_pong()["refused"] == 5


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"EVENTS",),
        (b"GIBBERISH", b"\x80"),
        (b"EVENTS", b"\xc1"),
        (b"EVENTS", b"\x91" * 5000),
        (b"EVENTS", msgpack.packb({"first": 1, "count": -1, "watermark_ns": 0}), b""),
        (b"EVENTS", msgpack.packb({"first": 1, "count": 2**63, "watermark_ns": 0}), b"x"),
        (b"EVENTS", msgpack.packb({"first": 2**64 - 1, "count": 1, "watermark_ns": 0}), records(1, "a")),
        (b"EVENTS", msgpack.packb({"first": 0, "count": 1, "watermark_ns": 0}), records(1, "a")),
        (b"GAP", msgpack.packb({"first": 9, "last": 3, "why": ""})),
        (b"FINAL", msgpack.packb({"last": 2**64 - 1})),
        (b"EVENTS", b"\x81\xa1x\xdb\xff\xff\xff\xff"),
        (b"EVENTS", b"\x80", b"", b"", b""),
    ],
    ids=range(13),
)
def test_a_violation_is_answered_counted_and_disturbs_no_other(unit: Peer, frames: tuple[bytes, ...]) -> None:
    unit.say_frames(*frames)
    assert unit.hear(m.Error).why
    assert unit.hears_nothing_before_pong()["malformed"] == 1
    unit.emit(1, "a")
    assert unit.hear(m.Ack) == m.Ack(2)


def test_an_overlap_that_cannot_be_trimmed_is_a_violation_and_changes_nothing(unit: Peer) -> None:
    unit.emit(1, "a", "b")
    unit.hear(m.Ack)
    unit.say(m.Events(1, 5, 0), b"\xc1" * 50)
    assert "brings fewer" in unit.hear(m.Error).why
    unit.emit(3, "c")
    assert unit.hear(m.Ack) == m.Ack(4)


def test_a_frame_that_is_too_large_ends_that_connection_alone(broker: BrokerProcess, unit: Peer) -> None:
    with Peer.unit(broker.endpoint, "big") as big:
        big.say(m.Events(1, 1, 0), b"x" * (wire.MAX_FRAME_BYTES + 1))
        unit.emit(1, "a")
        assert unit.hear(m.Ack) == m.Ack(2)
    assert firsts(broker) == [(1, 1)]


# --- several runs ---


def test_runs_are_apart(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "runs", run=None)
    try:
        with Peer.unit(broker.endpoint, run="one") as one, Peer.unit(broker.endpoint, run="two") as two:
            one.emit(1, "a")
            one.hear(m.Ack)
            with reader(broker.endpoint, "runner", "two") as runner:
                runner.say(m.Command(), wire.encode_order(m.Sync()))
                two.hear(m.Command)
            assert one.hears_nothing_before_pong()["events"] == 1
            assert two.hears_nothing_before_pong().get("events", 0) == 0
            with Peer(broker.endpoint) as watcher:
                watcher.say(m.Hello(m.VERSION, "watcher", "three"))
                assert watcher.hear(m.Refused).why == "there is no run 'three' here; runs: one, two"
                watcher.say(m.Hello(m.VERSION, "watcher", ""))
                watcher.hear(m.Welcome)
            for name in ("../up", ".hidden", "a/b", "", "x" * 300):
                with Peer(broker.endpoint) as peer:
                    peer.say(m.Hello(m.VERSION, "unit", name, "api", 1))
                    assert "is no id of a run" in peer.hear(m.Refused).why
    finally:
        broker.stop()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.log")) == [
        "runs/one/events.log",
        "runs/two/events.log",
    ]
