"""`circuit-run clocks`: how the clocks of a run stand, as its log tells them."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probe import message as m
from probe import wire
from runner.cli import execute
from runner.core.clocks.remote_clock import STEP_NS
from tests.support.broker_process import RUN, BrokerProcess, Peer
from tests.support.scenarios import Place, place_in

SECOND = 1_000_000_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def test_a_run_on_one_host_has_one_clock(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sleep", "1000"]\n')
    with place.start("run", "--plain") as living:
        living.until("running")
        said = place.run("clocks", "--once", expect=0)
        assert said.out.splitlines() == [
            "the time of this run is the clock of the broker's host",
            "no unit of this run lives by another clock, so no time has an error",
        ]
        assert said.err == ""
        living.signal(signal.SIGINT)
        assert living.end().code == 2


def says(peer: Peer, first: int, *records: list[Any]) -> None:
    """Records that are in the log when this returns."""
    pack = wire.record_packer()
    numbered = [[first + place, *record] for place, record in enumerate(records)]
    peer.say(m.Events(first, len(records), 0), b"".join(pack(record) for record in numbered))
    while peer.hear(m.Ack).below < first + len(records):
        pass


def report(stamp_ns: int) -> list[Any]:
    bounds = {"low": [[stamp_ns - 1, 5 * SECOND]], "high": [[stamp_ns - 1, 5 * SECOND]], "rtt_ns": 250_000}
    return [stamp_ns, "clock", 7, None, bounds]


def test_the_clock_of_another_host_is_reported_whatever_rubbish_stands_beside_it(
    broker: BrokerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    rubbish: list[list[Any]] = [
        ["soon", "sent", 1, "k", None],
        [1, "sent", 1, ["k"], None],
        [1, "sent", {}, None, "x"],
        [None, "got", 2, "k", None],
        [5, "clock", 7, None, {"low": 3}],
    ]
    with Peer(broker.endpoint) as lab, Peer(broker.endpoint) as cam:
        lab.say(m.Hello(m.VERSION, "agent", RUN, "@lab", 1, "boot-of-lab"))
        lab.hear(m.Welcome)
        cam.say(m.Hello(m.VERSION, "unit", RUN, "cam", 1, "boot-of-cam"))
        cam.hear(m.Welcome)
        says(lab, 1, *rubbish, *(report(place * STEP_NS + 1) for place in range(1, 10)))
        assert execute(["clocks", broker.endpoint, "--run", RUN, "--once"]) == 0
    _, titles, *rows = capsys.readouterr().out.splitlines()
    assert titles.split() == ["HOST", "AHEAD", "BY", "DRIFT", "BEST", "TRIP", "MEASURED", "REPORTED", "BY"]
    assert [row.split()[:2] for row in rows] == [["of", "cam"], ["lab", "+5.000"]]
    assert "not known" in rows[0]
    assert "250 µs" in rows[1]


def test_a_broker_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["clocks", "tcp://nowhere", "--run", RUN, "--once"]) != 0
    assert "'tcp://nowhere' is no address of a broker" in capsys.readouterr().err
