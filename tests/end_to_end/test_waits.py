"""Thousands of waits of one process, each of which is answered, whichever process dies or is slow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import Place, place_in

MANY = 3000

TOML = """
    [scenario]
    timeout = "35s"
    [units.pool]
    entrypoint = "units:pool"
    ready = "waiting"
    expect = ["all-on"]
    service = false
    [units.b]
    entrypoint = "units:b"
    after = ["pool"]
    service = false
"""

CODE = f"""
    import asyncio, os, signal, time
    from pathlib import Path
    import probe
    from probe import errors

    MANY = {MANY}

    def brokers():
        endpoint, found = os.environ["CIRCUIT_BROKER"].encode().rpartition(b"/")[0], []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes()
                if b"\\0broker.__main__\\0" in line and endpoint in line:
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    async def wait_for(number, expected):
        try:
            await probe.wait_async("b: go", key=None if number % 2 else f"k{{number}}")
        except errors.WaitBroken:
            assert expected is errors.WaitBroken
        else:
            assert expected is None

    async def all_wait(expected, meanwhile=None):
        tasks = [asyncio.create_task(wait_for(number, expected)) for number in range(MANY)]
        await asyncio.sleep(0)  # now each of them has asked
        probe.ready("waiting")
        if meanwhile is not None:
            await asyncio.to_thread(meanwhile)
        await asyncio.gather(*tasks)
        probe.emit("all-on")

    def kill_broker():
        probe.wait("b: before")
        for pid in brokers():
            os.kill(pid, signal.SIGKILL)
        probe.emit("killed")

    def fires():
        probe.emit("go")
        for number in range(MANY):
            probe.emit("go", key=f"k{{number}}")
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def test_every_one_of_thousands_of_waits_is_answered_when_its_probe_fires(place: Place) -> None:
    place.write(TOML, CODE + "\n    def pool(): asyncio.run(all_wait(None))\n    b = fires\n")
    run = place.run(".", expect=0)
    assert run.result["evidence"]["incidents"] == {}


def test_every_one_of_thousands_of_waits_is_broken_when_its_probe_will_never_fire(place: Place) -> None:
    place.write(TOML, CODE + "\n    def pool(): asyncio.run(all_wait(errors.WaitBroken))\n    def b(): pass\n")
    place.run(".", expect=0)


def test_every_one_of_thousands_of_waits_is_answered_though_the_broker_is_killed_meanwhile(place: Place) -> None:
    code = """
    def pool(): asyncio.run(all_wait(None, kill_broker))
    def b():
        probe.emit("before")
        probe.wait("pool: killed")
        fires()
    """
    place.write(TOML, CODE + code)
    run = place.run(".", expect=0)
    assert run.result["evidence"]["broker_restarts"] == 1


def test_every_one_of_thousands_of_waits_for_what_has_fired_already_is_answered(place: Place) -> None:
    code = """
    def pool():
        probe.ready("waiting")
        probe.wait("b: done")
        asyncio.run(all_wait(None))
        assert probe.wait("?: go", key="k7").unit == "b"    # a pattern finds the past, too
    def b():
        fires()
        probe.emit("done")
    """
    place.write(TOML, CODE + code)
    place.run(".", expect=0)
