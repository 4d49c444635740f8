"""Several runs on one broker: apart from each other by id and key, closed while no peer is there, and continued."""

import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import access, keyring, log, relay, runs, service
from broker.errors import BrokerError
from broker.runs import Runs
from probe import message as m
from probe.keys import Keys, load
from tests.support.broker_process import BrokerProcess, Peer
from tests.support.scenarios import poll


class Lab:
    """A broker with a keyring that serves any run."""

    def __init__(self, folder: Path) -> None:
        self.ring = folder / "keys"
        keyring.create(self.ring)
        self.broker = BrokerProcess(folder / "runs", "--keys", str(self.ring), run=None)

    def key(self, name: str, role: str, *, runs: str, units: str = "*") -> Keys:
        return load(keyring.add(self.ring, name, roles=[role], units=[units], runs=[runs]))

    def refused(self, keys: Keys, hello: m.Hello) -> str:
        with Peer(self.broker.endpoint, keys=keys) as peer:
            peer.say(hello)
            return peer.hear(m.Refused).why

    def welcomed(self, keys: Keys, hello: m.Hello) -> Peer:
        peer = Peer(self.broker.endpoint, keys=keys)
        peer.say(hello)
        peer.hear(m.Welcome)
        return peer


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    assert lab.broker.stop() == 0


def unit(run: str, name: str = "api", incarnation: int = 1) -> m.Hello:
    return m.Hello(m.VERSION, "unit", run, name, incarnation)


def steps(peer: Peer) -> list[m.Message]:
    """What a reader finds in the log of its run, beside the names that keys own."""
    peer.say(m.Fetch(0, 1 << 20))
    records, body = peer.hear_with_body(m.Records)
    assert records.offset + len(body) == records.end
    messages = [entry.message for entry in log.entries(body, records.offset)]
    return [message for message in messages if not isinstance(message, m.Names)]


def test_two_runs_at_once_with_keys_of_their_own_see_nothing_of_each_other(lab: Lab) -> None:
    peers = []
    for run in ("a", "b"):
        peers.append(lab.welcomed(lab.key(f"unit-{run}", "unit", runs=run), unit(run)))
        peers[-1].emit(1, f"step-of-{run}")
        peers[-1].hear(m.Ack)
    for run in ("a", "b"):
        reader = lab.welcomed(lab.key(f"desk-{run}", "runner", runs=run), m.Hello(m.VERSION, "runner", run))
        peers.append(reader)
        assert steps(reader) == [unit(run), m.Events(1, 1, 0)]
        assert (reader.pong().counters["peers"], reader.pong().counters["runners"]) == (2, 1)
    for peer in peers:
        peer.close()


def test_who_has_a_key_for_one_run_gets_into_no_other_one_be_it_as_reader_or_agent(lab: Lab) -> None:
    with lab.welcomed(lab.key("unit-b", "unit", runs="b"), unit("b")):
        for role in ("runner", "watcher", "agent"):
            keys = lab.key(f"{role}-a", role, runs="a", units="@lab")
            name = "@lab" if role == "agent" else ""
            why = lab.refused(keys, m.Hello(m.VERSION, role, "b", name, 1))
            assert why == f"the key '{role}-a' is for runs a, not 'b'; make one for this run"


def test_a_watcher_that_names_no_run_gets_the_newest_that_its_key_is_for(lab: Lab) -> None:
    anna = lab.key("anna", "watcher", runs="day-*")
    why = lab.refused(anna, m.Hello(m.VERSION, "watcher", ""))
    assert why == "there is no run here yet that you may see; start one, or name one"
    everything = lab.key("units", "unit", runs="*")
    for run in ("day-1", "day-2", "night-1"):
        with lab.welcomed(everything, unit(run)) as peer:
            peer.emit(1, run)
            peer.hear(m.Ack)
    with lab.welcomed(anna, m.Hello(m.VERSION, "watcher", "")) as watcher:
        assert steps(watcher)[0] == unit("day-2")
    with lab.welcomed(anna, m.Hello(m.VERSION, "watcher", "day-1")):
        pass  # looking at an old one does not make it the newest
    with lab.welcomed(anna, m.Hello(m.VERSION, "watcher", "")) as watcher:
        assert steps(watcher)[0] == unit("day-2")
    why = lab.refused(anna, m.Hello(m.VERSION, "watcher", "day-3"))
    assert why == "there is no run 'day-3' here; runs: day-1, day-2"


def test_after_a_restart_the_newest_run_is_the_one_that_was_written_last(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, run=None)
    for run in ("one", "two"):
        with Peer.unit(broker.endpoint, run=run) as peer:
            peer.emit(1, run)
            peer.hear(m.Ack)
    os.utime(tmp_path / "one" / "events.log", (2e9, 2e9))
    broker.kill()
    broker.restart()
    try:
        with Peer(broker.endpoint) as watcher:
            watcher.say(m.Hello(m.VERSION, "watcher", ""))
            watcher.hear(m.Welcome)
            assert steps(watcher)[0] == unit("one")
    finally:
        broker.stop()


def open_logs(folder: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return [path for path in found if path.startswith(f"{folder}/") and path.endswith("events.log")]


def test_a_run_that_the_broker_closed_in_between_goes_on_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "REST_S", 0.0)
    monkeypatch.setattr(relay, "CHECK_S", 0.0)
    monkeypatch.setattr(relay, "LAST_WORDS_S", 0.0)
    endpoints: queue.Queue[str] = queue.Queue()
    lease_fd, holder_fd = os.pipe()
    serving = threading.Thread(
        target=service.serve,
        args=(["tcp://127.0.0.1:0"], tmp_path),
        kwargs={"insecure": True, "lease_fd": lease_fd, "announce": endpoints.put},
    )
    serving.start()
    endpoint = endpoints.get(timeout=10)
    try:
        for number in (1, 2, 3):
            with Peer(endpoint) as peer:
                peer.say(unit("r"))
                assert peer.hear(m.Welcome).next_seq == number
                peer.emit(number, "a")
                assert peer.hear(m.Ack) == m.Ack(number + 1)
                peer.emit(number, "a")
                assert peer.hear(m.Ack) == m.Ack(number + 1)
                assert peer.pong().counters["duplicates"] == number  # that is in no log
            assert poll(lambda: not open_logs(tmp_path), 10)
    finally:
        os.close(holder_fd)
        serving.join(10)
        os.close(lease_fd)
    assert [entry.message for entry in log.scan(tmp_path / "r" / "events.log")] == [
        unit("r"),
        *(m.Events(number, 1, 0) for number in (1, 2, 3)),
    ]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path)
    yield found
    found.close()


def test_a_run_that_rests_is_read_again_when_another_broker_has_written_it(kept: Runs, tmp_path: Path) -> None:
    first = kept.open("r")
    kept.rest(0.0)
    assert kept.open("r") is first
    kept.rest(0.0)
    other = Runs(tmp_path)
    other.open("r").ordered([b"COMMAND", b"\x80"])
    other.close()
    again = kept.open("r")
    assert again is not first
    assert again.counters["commands"] == 1


def test_a_run_that_rests_and_is_held_by_another_broker_is_not_opened(kept: Runs, tmp_path: Path) -> None:
    kept.open("r")
    kept.rest(0.0)
    other = Runs(tmp_path)
    other.open("r")
    with pytest.raises(BrokerError, match="another broker writes it"):
        kept.open("r")
    other.close()


def test_a_broker_may_have_any_number_of_runs_if_they_are_not_used_at_once(
    kept: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_RUNS", 2)
    for number in range(5):
        kept.open(f"r{number}")
    used = kept.open("used")
    used.users = 1
    for number in range(5):
        kept.open(f"r{number}")
        assert used in kept.all()
    kept.open("r0").users = 1
    with pytest.raises(BrokerError, match="serves 2 runs already"):
        kept.open("r1")


def test_what_is_remembered_of_resting_runs_is_bounded(kept: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_RESTING_WEIGHT", 3)
    opened = [kept.open(f"r{number}") for number in range(4)]
    for run in opened:
        for incarnation in (1, 2):
            run.ledger.open("api", incarnation)
    kept.rest(0.0)
    assert kept.open("r3") is opened[3]
    assert kept.open("r2") is not opened[2]
    assert list(kept.newest()) == ["r3", "r2", "r1", "r0"]


def test_a_killed_broker_of_two_runs_goes_on_with_both(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, run=None)
    for run in ("one", "two"):
        with Peer.unit(broker.endpoint, run=run) as peer:
            peer.emit(1, "a")
            peer.hear(m.Ack)
    broker.process.send_signal(signal.SIGKILL)
    broker.wait()
    broker.restart()
    try:
        for run in ("one", "two"):
            with Peer(broker.endpoint) as peer:
                peer.say(unit(run))
                assert peer.hear(m.Welcome).next_seq == 2
    finally:
        broker.stop()
