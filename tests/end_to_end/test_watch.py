"""Watching a run whose broker goes away: the view stays, goes on when it is back, and ends when it is not."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe import message as m
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.terminal.snapshot import Snapshot
from runner.adapters.terminal.still import QuietScreen
from runner.model.errors import BrokerFailed
from runner.model.orders import SUPERVISOR
from runner.model.scenario.model import Scenario
from runner.session import attach
from runner.session.attach import WatchedRun, watch
from tests.support.broker_process import RUN, BrokerProcess, Peer
from tests.support.scenarios import Place, place_in

NOTHING = Scenario(name=RUN, folder="/", file="", units=())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


class Shows(QuietScreen):
    """A screen that keeps the last snapshot and does something with each."""

    def __init__(self, then: Callable[[Snapshot], None]) -> None:
        self.snapshots: list[Snapshot] = []
        self._then = then

    def show(self, snapshot: Snapshot) -> None:
        self.snapshots = [*self.snapshots[-1:], snapshot]
        self._then(snapshot)


def test_a_watcher_says_that_the_broker_is_away_and_goes_on_when_it_is_back(
    place: Place, broker: BrokerProcess
) -> None:
    with Peer.unit(broker.endpoint) as unit:
        unit.emit(1, "a")
    with place.start("watch", broker.endpoint, "--run", RUN, "--plain") as watcher:
        watcher.until("watching")
        broker.kill()
        watcher.until("the broker is away: no connection")
        broker.restart()
        watcher.until("the broker is back after")
        watcher.signal(signal.SIGINT)
        assert watcher.end().code == 0


def test_who_names_no_run_sees_the_newest_of_the_broker(place: Place, broker: BrokerProcess) -> None:
    with Peer.unit(broker.endpoint) as unit:
        unit.emit(1, "a")
        assert "the time of this run" in place.run("clocks", broker.endpoint, "--once", expect=0).out
        with place.start("watch", broker.endpoint, "--plain") as watcher:
            watcher.until("newest run  watching")
            watcher.signal(signal.SIGINT)
            assert watcher.end().code == 0


def test_units_are_seen_though_their_scenario_is_not_known(broker: BrokerProcess) -> None:
    def seen_enough(snapshot: Snapshot) -> None:
        if snapshot.units and snapshot.units[0].events:
            signal.raise_signal(signal.SIGINT)

    screen = Shows(seen_enough)
    with Peer.unit(broker.endpoint, "api") as unit:
        unit.emit(1, "a", "b")
        assert not watch(WatchedRun(broker.endpoint, RUN, NOTHING), NOTHING, screen)
    (api,) = screen.snapshots[-1].units
    assert (api.name, api.events, api.last_step) == ("api", 2, "b")


def test_a_broker_that_does_not_come_back_ends_the_watching_with_an_error(
    broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "GONE_NS", 0)
    screen = Shows(lambda snapshot: broker.kill() if snapshot.connected else None)
    with pytest.raises(BrokerFailed, match=rf"the broker at {broker.endpoint} has been away for 0 s"):
        watch(WatchedRun(broker.endpoint, RUN, NOTHING), NOTHING, screen)


def test_a_run_that_its_runner_has_left_ends_the_watching(broker: BrokerProcess, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.endpoint.write_text(broker.endpoint)

    def left(_snapshot: Snapshot) -> None:
        folder.endpoint.unlink(missing_ok=True)
        broker.kill()

    screen = Shows(left)
    said = watch(WatchedRun(broker.endpoint, RUN, NOTHING, folder), NOTHING, screen)
    assert said.startswith(f"run {RUN} has no runner any more")
    assert screen.snapshots[-1].phase == "done"


def test_a_run_whose_supervisor_has_ended_without_its_runner_is_not_said_to_be_over(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    with Peer(broker.endpoint) as supervisor:
        supervisor.say(m.Hello(m.VERSION, "agent", RUN, SUPERVISOR, 1))
        supervisor.hear(m.Welcome)
        supervisor.say(m.Final(0))
        folder = RunFolder(tmp_path)
        folder.endpoint.write_text(broker.endpoint)
        said = watch(WatchedRun(broker.endpoint, RUN, NOTHING, folder), NOTHING, Shows(lambda _snapshot: None))
    assert said.startswith(f"run {RUN} has no runner any more; judge what it left: circuit-run verify")
