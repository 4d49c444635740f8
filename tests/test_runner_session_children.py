"""Children of units: what they emit counts like anything else, whoever they are and however early they die."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from scenarios import Place, place_in

from probe import wire
from probe.message import Events
from runner.history import replay


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def keys_of(place: Place, unit: str, step: str) -> list[str]:
    """The keys with which a probe of a unit stands in the log of the newest run."""
    return [
        record[4]
        for entry in replay.entries(place.newest().log)
        if isinstance(entry.message, Events) and entry.unit == unit
        for record in wire.unpack_records(entry.body)
        if record[2] == step
    ]


def test_children_that_were_forked_after_the_wall_clock_was_set_back_lose_nothing(place: Place) -> None:
    place.write(
        """
        [units.pool]
        entrypoint = "units:pool"
        """,
        """
        import os, time
        import probe

        def pool():
            probe.emit("begun")
            time.time_ns = lambda: 1
            for child in range(4):
                if os.fork() == 0:
                    for number in range(50):
                        probe.emit("job", key=f"{child}-{number}")
                    return
            for child in range(4):
                os.wait()
        """,
    )
    place.run(".", expect=0)
    keys = keys_of(place, "pool", "job")
    assert sorted(keys) == sorted(f"{child}-{number}" for child in range(4) for number in range(50))


def test_a_process_that_takes_the_incarnation_of_another_one_leaves_the_verdict_open_and_is_named(place: Place) -> None:
    place.write(
        """
        [units.twin]
        command = ["python", "units.py"]
        """,
        """
        import os
        import zmq
        from probe import message as m, wire

        def say(pid):
            socket = zmq.Context.instance().socket(zmq.DEALER)
            socket.connect(os.environ["CIRCUIT_BROKER"])
            run, unit = os.environ["CIRCUIT_RUN"], os.environ["CIRCUIT_UNIT"]
            socket.send_multipart(wire.encode(m.Hello(m.VERSION, "unit", run, unit, 7, "boot", pid)))
            answer, _ = wire.decode(socket.recv_multipart())
            if isinstance(answer, m.Welcome):
                socket.send_multipart(wire.encode(m.Final(0)))
                socket.recv_multipart()
            return answer

        if __name__ == "__main__":
            assert isinstance(say(1), m.Welcome)
            assert isinstance(say(2), m.Refused)
        """,
    )
    run = place.run(".", expect=6)
    finding = run.finding("twin")
    assert (finding["class"], finding["inconclusive"]) == ("lost-evidence", True)
    assert "another process (pid 2) spoke as it, and was refused" in finding["message"]
    assert "some may be lost" in run.out
    assert run.result["evidence"]["unknown"] == [{"unit": "twin", "incarnation": 7, "why": ANY}]
    verified = place.run("verify", "--json", "again.json", expect=6)
    assert "another process (pid 2) spoke as it" in verified.out
