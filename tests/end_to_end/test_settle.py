"""How long services are kept: while what they could still do in time may come, and no longer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import Place, place_in

UNITS = """
    import time
    import probe

    def shop():
        probe.emit("asked", key="k")

    def stock():
        probe.ready("up")
        probe.wait("shop: asked")
        time.sleep(0.5)
        probe.emit("answered", key="k")
        time.sleep(60)

    def silent():
        probe.ready("up")
        time.sleep(60)
"""
SCENARIO = """
    [units.stock]
    entrypoint = "units:%s"
    ready = "up"
    [units.shop]
    entrypoint = "units:shop"
    after = ["stock"]
    [circuits.query]
    path = ["shop: asked", { probe = "stock: answered", within = "%s" }, "shop: got"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


@pytest.mark.parametrize(
    ("stock", "within", "accused"), [("stock", "20s", ("shop", "got")), ("silent", "1s", ("stock", "answered"))]
)
def test_who_asked_and_left_does_not_cost_the_service_its_time(
    place: Place, stock: str, within: str, accused: tuple[str, str]
) -> None:
    place.write(SCENARIO % (stock, within), UNITS)
    run = place.run(".", "--plain", expect=1)
    assert [(f["class"], f["unit"], f["step"]) for f in run.result["findings"]] == [("missing", *accused)]
    live = [line for line in run.out.splitlines() if " s  query" in line and "missing:" in line]
    assert all(f"{accused[0]}: {accused[1]} did not fire" in line for line in live)
    again = place.run("verify", run.folder.path, expect=1)
    assert f"{accused[0]}: {accused[1]} did not fire" in again.out
