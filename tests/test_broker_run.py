"""What one run remembers of its peers is bounded; without sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import access
from broker import run as broker_run
from broker.access import Grant
from broker.errors import BrokerError
from broker.run import Run
from probe import message as m
from probe import wire


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = Run("r", tmp_path)
    yield found
    found.log.close()


def join(run: Run, unit: str, incarnation: int, grant: Grant | None = None) -> None:
    hello = m.Hello(m.VERSION, "unit", "r", unit, incarnation)
    run.join(hello, [bytes(frame) for frame in wire.encode(hello)], grant)


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


def test_orders_that_wait_for_a_supervisor_are_bounded_in_number_and_size(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_run, "MAX_KEPT_BYTES", 100)
    assert run.keep_for("@a", [b"x" * 101])
    assert not run.keep_for("@a", [b"x"])
    assert list(run.kept["@a"]) == [[b"x" * 101]]
    run.handed_over("@a")
    assert not run.kept
    assert run.keep_for("@a", [b"x"])


def test_a_name_is_owned_by_the_first_key_and_never_by_an_agent(run: Run) -> None:
    join(run, "api", 1, Grant("lab", ("agent",), ("*",)))
    join(run, "api", 2, Grant("one", ("unit",), ("*",)))
    join(run, "api", 3, Grant("two", ("unit",), ("*",)))
    assert run.owners == {"api": "one"}
