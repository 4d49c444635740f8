"""One key against a lab: what it may have of a broker, what it hears, and that nothing is lost by it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from broker import quotas as module
from broker.quotas import NAMES, USUAL, Quotas, Share
from broker.run import MAX_AWAY, Run
from probe import keys as keys_
from probe import message as m
from probe.environment import Environment
from probe.units import Unit
from tests.support.broker_process import RUN, BrokerProcess, KeyedBroker, Peer, large_record
from tests.support.scenarios import poll

Make = Callable[..., KeyedBroker]
KIB = 1024


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Brokers with such quotas; ended afterwards."""
    with ExitStack() as stack:

        def made(*quotas: str) -> KeyedBroker:
            lab = KeyedBroker(tmp_path, *(word for quota in quotas for word in ("--quota", quota)))
            stack.callback(lambda: lab.broker.stop() == 0 or pytest.fail("the broker did not end well"))
            return lab

        yield made


# --- how much that is -------------------------------------------------------------------------------------------------


def test_a_normal_lab_is_never_over_its_quota() -> None:
    share = Share("pool", USUAL, 0.0)
    for tenth in range(6000):
        for _ in range(100):  # of a thousand units each a frame every second, with a hundred events of 200 bytes
            assert not share.spend(100, 20_000) or not share.owes(tenth / 10)


def test_a_key_may_bring_four_seconds_worth_at_once_then_as_fast_as_its_quota_says() -> None:
    share = Share("pool", Quotas(events=100, bytes=1_000_000), 0.0)
    assert not share.spend(400, 0)
    assert share.spend(50, 0)
    assert share.owes(0.0)
    assert share.owes(0.4)
    assert not share.owes(0.6)
    assert not share.is_shut
    assert not share.spend(0, 0)


def test_a_key_in_debt_is_shut_until_all_of_it_is_paid_and_a_larger_debt_is_cut() -> None:
    share = Share("pool", Quotas(events=100, bytes=1_000_000), 0.0)
    share.spend(10**15, 0)
    assert share.owes(0.0)
    assert share.is_shut
    assert share.owes(1.9)
    assert share.is_shut
    assert not share.owes(2.0)
    assert not share.is_shut


def test_those_who_were_left_lying_have_their_turns_one_after_another() -> None:
    share = Share("pool", Quotas(events=1000, bytes=1000), 0.0)
    share.spend(0, 4000)
    assert not share.owes(0.0)
    assert [share.has_turn(moment, 500) for moment in (0.1, 0.2, 0.6, 0.7)] == [True, False, True, False]
    assert not share.owes(3.0)
    assert [share.has_turn(3.0, 500) for _ in range(3)] == [True] * 3, "no other needs what is free"


def test_a_mistyped_quota_is_told() -> None:
    assert module.parsed(["events=5", "run-bytes=2MiB"]) == Quotas(events=5, run_bytes=2 << 20)
    for word in ("evnets=5", "events", "events=0", "events=-1", "events=5x"):
        with pytest.raises(ValueError, match=r"is no quota; write NAME=NUMBER .* names: events, bytes, runs"):
            module.parsed([word])
    assert set(NAMES) == {"events", "bytes", "runs", "readers", "connections", "hello", "run-bytes"}


def test_of_few_connections_and_logs_a_part_is_for_others_unless_so_many_are_expected() -> None:
    assert [module.fitted(USUAL, room, 1024).connections for room in (100_000, 1000, 1, 0)] == [8192, 750, 1, 1]
    assert module.fitted(USUAL, 1000, 1024, 900).connections == 900
    assert [module.fitted(USUAL, 1000, logs).runs for logs in (1024, 100, 1)] == [256, 50, 1]


# --- what is brought too fast -----------------------------------------------------------------------------------------


def test_what_a_unit_emits_too_fast_is_taken_later_and_nothing_is_lost(make: Make, tmp_path: Path) -> None:
    lab = make("events=4000")
    (tmp_path / "bob.keys").write_text(lab.key("bob").text())
    (tmp_path / "bob.keys").chmod(0o600)
    there = Environment(
        lab.broker.endpoint, RUN, "api", str(tmp_path / "journal"), str(tmp_path / "bob.keys"), disabled=False
    )
    unit = Unit("api", environment=there)
    for number in range(24_000):
        unit.emit("step", number)
    with lab.welcomed(lab.key("eye", "watcher"), role="watcher") as eye:
        assert unit.close(30.0)
        pong = eye.pong()
    assert (pong.counters["events"], pong.counters.get("lost", 0)) == (24_000, 0)
    assert pong.incidents["api (bob at 127.0.0.1): has to wait, its key is over its quota"] >= 1


def test_what_is_over_is_in_the_log_at_once_and_acknowledged_when_it_is_paid(make: Make) -> None:
    lab = make("events=1")
    with lab.welcomed(lab.key("cam")) as cam:
        cam.emit(1, *"abcdef")
        assert "'cam' has brought more than 1 events a second, its quota" in cam.hear(m.Error).why
        assert cam.pong().counters["events"] == 6
        assert cam.hear(m.Ack) == m.Ack(7)


def test_who_does_not_wait_is_left_lying_until_its_quota_allows_more_and_others_are_served(make: Make) -> None:
    lab = make("bytes=100KiB")
    with lab.welcomed(lab.key("cam"), unit="cam") as cam, lab.welcomed(lab.key("bob"), unit="bob") as bob:
        for seq in range(1, 101):
            cam.say(m.Events(seq, 1, 0), large_record(seq, 60 * KIB))
        bob.emit(1, "fine")
        assert bob.hear(m.Ack) == m.Ack(2)
        heard = heard_by(cam)
        said = [message.why for message in heard if isinstance(message, m.Error)]
        assert len(said) == 1, "once for each connection"
        assert said[0].startswith("the key 'cam' has brought more than 102,400 bytes a second, its quota, for 4 s;")
        assert said[0].endswith("have the broker started with --quota bytes=N")
        begun_again = next(message for message in heard if isinstance(message, m.Welcome))
        assert begun_again.next_seq <= 12, "four seconds' worth, one of debt, and what has become free meanwhile"
        cam.say(m.Events(begun_again.next_seq, 1, 0), large_record(begun_again.next_seq, 10))
        assert cam.hear(m.Ack).below == begun_again.next_seq + 1
        assert "cam (cam at 127.0.0.1): has to wait, its key is over its quota" in bob.incidents()


def heard_by(peer: Peer) -> list[m.Message]:
    """What a peer hears until it is asked to begin again."""
    heard: list[m.Message] = []
    while not heard or not isinstance(heard[-1], m.Welcome):
        heard.append(peer.hear(m.Welcome | m.Error | m.Ack))  # type: ignore[arg-type]
    return heard


def test_the_last_word_of_a_key_in_debt_is_taken_and_acknowledged_later(make: Make) -> None:
    lab = make("bytes=100KiB")
    with lab.welcomed(lab.key("cam")) as cam, lab.welcomed(lab.key("eye", "watcher"), role="watcher") as eye:
        for seq in range(1, 10):
            cam.say(m.Events(seq, 1, 0), large_record(seq, 60 * KIB))
        cam.say(m.Final(9))
        assert poll(lambda: eye.pong().counters.get("unfinished", 0) == 0, 10)
        heard: list[m.Message] = []
        while m.Ack(10) not in heard:
            heard.append(cam.hear(m.Ack | m.Error))  # type: ignore[arg-type]
        assert any(isinstance(message, m.Error) for message in heard), "it was over its quota"


def test_orders_of_a_key_that_is_far_over_its_quota_end_its_connection(make: Make) -> None:
    lab = make("bytes=10KiB")
    eye = lab.key("eye", "watcher")
    with lab.welcomed(lab.key("anna", "runner"), role="runner") as anna, lab.welcomed(eye, role="watcher") as watcher:
        for _ in range(20):
            anna.say(m.Command(("api",)), b"x" * 10 * KIB)
        who = "runner (anna at 127.0.0.1): has to wait, its key is over its quota"
        assert poll(lambda: watcher.incidents().get(who, 0) >= 1, 10)
        assert poll(lambda: watcher.pong().counters.get("runners", 0) == 0, 10), "it is cut off"
        assert watcher.pong().counters["commands"] < 10


def test_a_peer_without_a_key_has_no_quota(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = BrokerProcess(tmp_path / "runs", "--insecure", "--quota", "events=1", "--quota", "bytes=1", run=None)
        stack.callback(broker.stop)
        with Peer.unit(broker.endpoint) as unit:
            for seq in range(1, 101):
                unit.say(m.Events(seq, 1, 0), large_record(seq, KIB))
                assert unit.hear(m.Ack) == m.Ack(seq + 1)


def test_what_the_keys_of_a_run_bring_counts_for_the_key_that_gave_them(make: Make) -> None:
    lab = make("connections=2")
    with lab.welcomed(lab.key("anna", "runner", "agent", "unit", units=("*", "@*")), role="runner") as anna:
        made = keys_.made("@local/units", keys_.load(lab.ring / "anna.keys").broker)
        anna.say(m.Issue(made.name, made.public, "unit", ("*",)))
        anna.pong()
        with lab.welcomed(made, unit="one"):
            assert "the key 'anna' has 2 connections here, and its quota is 2" in lab.refused(made, unit="two")


# --- what is too much at a time ---------------------------------------------------------------------------------------


def test_a_key_that_has_opened_many_runs_is_refused_one_more_and_others_are_not(make: Make) -> None:
    lab = make("runs=2")
    cam, bob = lab.key("cam"), lab.key("bob")
    with lab.welcomed(cam, "one"), lab.welcomed(bob, "bobs") as watched, lab.welcomed(cam, "two") as two:
        assert lab.refused(cam, "three") == (
            "the key 'cam' has 2 runs open here, and its quota is 2; end some, and wait a minute, or have the broker "
            "started with --quota runs=N"
        )
        counted = "cam at 127.0.0.1: refused, its key has what its quota allows"
        assert watched.incidents()[counted] == 1
        with lab.welcomed(bob, "another"), lab.welcomed(cam, "bobs", "cam"):
            pass  # a peer that joins has not opened it
        two.close()
        assert poll(lambda: opened(lab, cam), 10), "a run without peers is closed before a key is refused"


def opened(lab: KeyedBroker, keys: Any) -> bool:
    with lab.peer(keys, "three") as peer:
        return isinstance(peer.hear(m.Welcome | m.Refused), m.Welcome)  # type: ignore[arg-type]


def test_runs_that_others_have_made_count_for_the_key_that_opens_them_again(make: Make) -> None:
    lab = make("runs=2")
    bob, cam = lab.key("bob"), lab.key("cam")
    with lab.welcomed(bob, "one"):
        pass
    with lab.welcomed(bob, "two"):
        pass
    lab.broker.kill()
    lab.broker.restart()
    with lab.welcomed(cam, "one", "cam"), lab.welcomed(cam, "two", "cam"):
        assert "the key 'cam' has 2 runs open here" in lab.refused(cam, "three")
        with lab.welcomed(bob, "three"), lab.welcomed(bob, "four"):
            pass
    assert poll(lambda: rested(lab, bob), 10)
    eye = lab.key("eye", "watcher")
    with lab.welcomed(eye, "one", role="watcher"), lab.welcomed(eye, "two", role="watcher"):
        assert "the key 'eye' has 2 runs open here" in lab.refused(eye, "three", role="watcher")


def rested(lab: KeyedBroker, keys: Any) -> bool:
    """Whether no run of this key has a peer any more, so that it may open two new ones."""
    with lab.peer(keys, "five") as one, lab.peer(keys, "six") as two:
        return all(isinstance(peer.hear(m.Welcome | m.Refused), m.Welcome) for peer in (one, two))  # type: ignore[arg-type]


def test_a_key_that_looks_on_often_leaves_room_for_others_and_for_runners(make: Make) -> None:
    lab = make("readers=1")
    eye, ear, anna = lab.key("eye", "watcher"), lab.key("ear", "watcher"), lab.key("anna", "runner")
    with lab.welcomed(anna, role="runner") as runner, ExitStack() as stack:
        one, two = (stack.enter_context(lab.welcomed(eye, role="watcher")) for _ in range(2))
        other = stack.enter_context(lab.welcomed(ear, role="watcher"))
        for reader in (one, other, runner):
            reader.say(m.Fetch(0, 1))
            reader.hear_with_body(m.Records)
        two.say(m.Fetch(0, 1))
        why = two.hear(m.Error).why
        assert why.startswith("the key 'eye' has 1 readers that fetch here, and its quota is 1; close some, or have")
        one.close()
        assert poll(lambda: fetches(two), 10)


def fetches(peer: Peer) -> bool:
    peer.say(m.Fetch(0, 1))
    return isinstance(peer.hear(m.Records | m.Error), m.Records)  # type: ignore[arg-type]


def test_a_key_has_so_many_connections_and_no_more(make: Make) -> None:
    lab = make("connections=1")
    cam, agent = lab.key("cam"), lab.key("lab-1", "agent", units=("@lab-1",))
    with lab.welcomed(cam):
        assert "the key 'cam' has 1 connections here, and its quota is 1; close some" in lab.refused(cam, unit="b")
        with lab.welcomed(agent, "", "@lab-1", "agent"):
            assert "the key 'lab-1' has 1 connections here" in lab.refused(agent, RUN, "@lab-1", "agent")
        assert poll(lambda: connects(lab, agent), 10)
    assert poll(lambda: connects(lab, cam), 10)


def connects(lab: KeyedBroker, keys: Any) -> bool:
    with lab.peer(keys, unit="@lab-1", role="agent") if "lab" in keys.name else lab.peer(keys) as peer:
        return isinstance(peer.hear(m.Welcome | m.Refused), m.Welcome)  # type: ignore[arg-type]


def test_a_hello_that_is_too_large_is_refused_and_not_in_the_log(make: Make) -> None:
    lab = make()
    why = lab.refused(lab.key("cam"), waiting=tuple(f"wait/{'x' * 100}{number}" for number in range(400)))
    assert why.startswith("this HELLO has 4")
    assert "the quota is 32,768; say less of what you wait for" in why
    assert not (lab.runs / RUN).exists()


def test_a_log_that_is_as_long_as_a_run_may_be_stops_the_run_and_not_the_broker(make: Make) -> None:
    lab = make("run-bytes=100KiB")
    with lab.welcomed(lab.key("cam")) as cam, lab.welcomed(lab.key("bob"), "bobs") as bob:
        cam.say(m.Events(1, 1, 0), large_record(1, 60 * KIB))
        assert cam.hear(m.Ack) == m.Ack(2)
        cam.say(m.Events(2, 1, 0), large_record(2, 60 * KIB))
        why = cam.hear(m.Refused).why
        assert why.startswith(f"run {RUN!r} is stopped: its log has 61,")
        assert "and the quota of a run is 102,400; begin a new run" in why
        assert lab.refused(keys_.load(lab.ring / "bob.keys")) == why
        bob.emit(1, "fine")
        assert bob.hear(m.Ack) == m.Ack(2)
        assert bob.incidents()["cam: its run was stopped"] == 1
    assert [entry.message.first for entry in lab.log() if isinstance(entry.message, m.Events)] == [1]


def test_orders_are_kept_for_so_many_supervisors_that_are_away_and_no_more(tmp_path: Path) -> None:
    run = Run(RUN, tmp_path)
    kept = [run.hold_for(f"@lab-{number}", (0,)) for number in range(MAX_AWAY + 1)]
    assert kept == [True] * MAX_AWAY + [False]
    assert run.hold_for("@lab-0", (1,))
    run.log.close()
