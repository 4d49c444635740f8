"""What the tests of the probe stand on: a small broker, and one unit that speaks to it.

Belongs here: fixtures used by several of its test files. A test that needs the real broker asks for `real_broker`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from probe.units import Unit
from tests.support.scenarios import Place, place_in
from tests.support.small_broker import SmallBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SmallBroker]:
    """A broker in a thread, for run "run", that can be made to misbehave."""
    broker = SmallBroker(tmp_path)
    yield broker
    broker.close()


@pytest.fixture
def unit(broker: SmallBroker) -> Iterator[Unit]:
    """The unit "unit" of that broker; what it has not sent when the test is over stays in its journal."""
    unit = Unit("unit", environment=broker.environment())
    yield unit
    unit.close(0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder for a scenario, to run commands in."""
    with place_in(tmp_path) as place:
        yield place
