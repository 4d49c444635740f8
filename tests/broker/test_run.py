"""What one run remembers of its peers is bounded; without sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import access, log
from broker import run as broker_run
from broker.errors import BrokerError
from broker.run import Run
from probe import message as m
from probe import wire


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = Run("r", tmp_path)
    yield found
    found.log.close()


def join(run: Run, unit: str, incarnation: int, owner: str | None = None) -> None:
    hello = m.Hello(m.VERSION, "unit", "r", unit, incarnation)
    run.join(hello, [bytes(frame) for frame in wire.encode(hello)], owner)


def test_a_unit_that_runs_wild_does_not_use_up_the_incarnations_of_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_LIVES", 2)
    join(run, "wild", 1)
    join(run, "wild", 2)
    join(run, "wild", 2)  # the same one again
    with pytest.raises(BrokerError, match="unit 'wild' has 2 incarnations already"):
        join(run, "wild", 3)
    join(run, "calm", 1)


def test_orders_that_wait_for_a_supervisor_are_places_in_the_log_and_bounded_in_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [wire.encode_order(m.Stop("api", number)) for number in range(3)]
    places = [run.ordered([bytes(f) for f in wire.encode(m.Command(("@a",)), order)]) for order in orders]
    run.flush()
    assert [run.order_at(place) for place in places] == orders
    monkeypatch.setattr(broker_run, "MAX_PENDING", 2)
    assert run.hold_for("@a", places)
    assert list(run.pending["@a"]) == places[:2]
    assert run.counters["unroutable"] == 1
    assert not run.hold_for("a", places), "a unit asks again"


def test_a_name_is_owned_by_the_first_who_spoke_as_it_also_after_a_restart(run: Run, tmp_path: Path) -> None:
    join(run, "api", 1, None)
    join(run, "api", 2, "one")
    join(run, "api", 3, "two")
    assert run.owners == {"api": "one"}
    run.flush()
    run.log.close()
    again = Run(run.name, tmp_path)
    again.log.close()
    assert again.owners == {"api": "one"}


def test_whose_names_are_is_said_once_for_all_and_may_be_said_again(run: Run, tmp_path: Path) -> None:
    assert run.name_owners(m.Names({"api": "@local", "camera": "@lab-1"})) == ""
    assert run.name_owners(m.Names({"camera": "@lab-1", "store": "@lab-2"})) == ""
    run.flush()
    said = [entry.message for entry in log.scan(tmp_path / log.FILE_NAME)]
    assert said == [m.Names({"api": "@local", "camera": "@lab-1"}), m.Names({"store": "@lab-2"})]
    join(run, "door", 1, "pool")
    assert "'door' is to belong to @lab-1, and 'pool' has it already" in run.name_owners(m.Names({"door": "@lab-1"}))
    assert run.owners["door"] == "pool"


def test_names_with_an_owner_are_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_OWNED", 2)
    assert "more than 2 names" in run.name_owners(m.Names(dict.fromkeys("abc", "@lab-1")))
    assert run.owners == {}
