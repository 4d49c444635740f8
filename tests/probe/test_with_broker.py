"""Units and the real broker: what is in its log afterwards, whatever happened to it or to the units meanwhile."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest

from broker import log
from probe import message as m
from probe import recovery, wire
from probe.environment import Environment
from probe.recovery import Recovered, recover
from probe.units import Unit
from tests.support.broker_process import RUN, BrokerProcess
from tests.support.scenarios import poll

PATIENCE_S = 20.0


def unit_of(real_broker: BrokerProcess, tmp_path: Path, name: str = "unit") -> Unit:
    settings = Environment(real_broker.endpoint, RUN, name, str(tmp_path / "journal"), "", disabled=False)
    return Unit(name, environment=settings)


def logged(real_broker: BrokerProcess) -> list[wire.Record]:
    """Every record in the log, in order."""
    found: list[wire.Record] = []
    for entry in log.scan(real_broker.log):
        if isinstance(entry.message, m.Events):
            found += wire.unpack_records(entry.body)
    return found


def test_what_was_emitted_is_in_the_log_once_and_in_order(real_broker: BrokerProcess, tmp_path: Path) -> None:
    unit = unit_of(real_broker, tmp_path)
    for number in range(50_000):
        unit.emit("step", key=str(number), n=number)
    assert unit.close(PATIENCE_S)
    assert [record[5]["n"] for record in logged(real_broker)] == list(range(50_000))
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_broker_that_is_stopped_blocks_no_caller(real_broker: BrokerProcess, tmp_path: Path) -> None:
    unit = unit_of(real_broker, tmp_path)
    unit.emit("step")
    os.kill(real_broker.process.pid, signal.SIGSTOP)
    try:
        for _ in range(100_000):
            unit.emit("step", text="x" * 100)
    finally:
        os.kill(real_broker.process.pid, signal.SIGCONT)
    assert unit.close(PATIENCE_S)
    assert [record[0] for record in logged(real_broker)] == list(range(1, 100_002))


def test_a_broker_killed_and_restarted_has_everything(real_broker: BrokerProcess, tmp_path: Path) -> None:
    unit = unit_of(real_broker, tmp_path)
    stop = threading.Event()
    emitted = 0

    def work() -> None:
        nonlocal emitted
        while not stop.is_set():
            unit.emit("step", n=emitted)
            emitted += 1
            if emitted % 1000 == 0:
                stop.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            real_broker.kill()
            real_broker.restart()
    finally:
        stop.set()
        thread.join()
    assert unit.close(PATIENCE_S)
    assert [record[5]["n"] for record in logged(real_broker)] == list(range(emitted))


@pytest.mark.parametrize("count", [10_000])
def test_a_unit_killed_in_the_middle_has_everything(real_broker: BrokerProcess, tmp_path: Path, count: int) -> None:
    code = (
        f"import os, signal, probe\nfor number in range({count}): probe.emit('step', n=number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    settings = {"CIRCUIT_BROKER": real_broker.endpoint, "CIRCUIT_RUN": RUN, "CIRCUIT_UNIT": "unit"}
    environ = {**os.environ, **settings, "CIRCUIT_JOURNAL": str(tmp_path / "journal")}
    finished = subprocess.run([sys.executable, "-c", code], env=environ, timeout=30)
    assert finished.returncode == -signal.SIGKILL
    (recovered,) = recover(tmp_path / "journal", real_broker.endpoint, timeout_s=PATIENCE_S)
    assert recovered.problem == ""
    assert [record[5]["n"] for record in logged(real_broker)] == list(range(count))


def test_a_broker_that_is_killed_while_a_journal_is_published_gets_it_after_its_restart(
    real_broker: BrokerProcess, tmp_path: Path
) -> None:
    count = 400
    code = f"import os, probe\nfor number in range({count}): probe.emit('step', n=number, x='x' * 60_000)\nos._exit(0)"
    settings = {"CIRCUIT_BROKER": real_broker.endpoint, "CIRCUIT_RUN": RUN, "CIRCUIT_UNIT": "unit"}
    environ = {**os.environ, **settings, "CIRCUIT_JOURNAL": str(tmp_path / "journal")}
    real_broker.process.send_signal(signal.SIGSTOP)
    subprocess.run([sys.executable, "-c", code], env=environ, timeout=30, check=True)
    found: list[Recovered] = []
    thread = threading.Thread(
        target=lambda: found.extend(recover(tmp_path / "journal", real_broker.endpoint, timeout_s=PATIENCE_S))
    )
    real_broker.process.send_signal(signal.SIGCONT)
    thread.start()
    assert poll(lambda: real_broker.log.stat().st_size > 500_000), "a part of it is in the log"
    real_broker.kill()
    real_broker.restart()
    thread.join()
    assert [(each.events, each.problem) for each in found] == [(count, "")]
    assert [record[5]["n"] for record in logged(real_broker)] == list(range(count))
    assert list((tmp_path / "journal").iterdir()) == []


def test_patience_with_a_broker_may_run_out_while_a_journal_waits_for_it(tmp_path: Path) -> None:
    settings = Environment(f"ipc://{tmp_path}/absent", RUN, "unit", str(tmp_path / "journal"), "", disabled=False)
    unit = Unit("unit", environment=settings)
    unit.emit("step")
    unit.close(0)
    patience = iter([PATIENCE_S] * 5)
    (kept,) = recover(tmp_path / "journal", settings.broker, timeout_s=lambda: next(patience, 0.0))
    assert (kept.events, kept.unheard) == (0, True)
    assert "did not acknowledge it in time" in kept.problem


def test_a_journal_that_is_refused_keeps_no_other_back(real_broker: BrokerProcess, tmp_path: Path) -> None:
    for run, name in (("no run's id", "first"), (RUN, "second")):
        absent = f"ipc://{tmp_path}/absent"
        unit = Unit(name, environment=Environment(absent, run, name, str(tmp_path / "journal"), "", disabled=False))
        unit.emit("step")
        unit.close(0)
    refused, delivered = recover(tmp_path / "journal", real_broker.endpoint, timeout_s=PATIENCE_S)
    assert refused.problem.startswith("the broker refuses it: ")
    assert (delivered.unit, delivered.events, delivered.problem) == ("second", 1, "")


def test_what_shuts_out_one_journal_is_said_of_all(tmp_path: Path) -> None:
    settings = Environment(f"ipc://{tmp_path}/absent", RUN, "unit", str(tmp_path / "journal"), "", disabled=False)
    for _ in range(2):
        unit = Unit("unit", environment=settings)
        unit.emit("step")
        unit.close(0)
    with patch.object(recovery._Publication, "_publish", side_effect=[why := "the broker does not let us in"]):
        found = recover(tmp_path / "journal", settings.broker, timeout_s=PATIENCE_S)
    assert [each.problem for each in found] == [why, why]


def test_a_refusal_says_what_to_do(
    real_broker: BrokerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Environment(real_broker.endpoint, "another run", "unit", str(tmp_path / "journal"), "", disabled=False)
    unit = Unit("unit", environment=settings)
    unit.emit("step")
    assert not unit.close(PATIENCE_S)
    assert "the broker refuses unit 'unit'" in capsys.readouterr().err
    assert list((tmp_path / "journal").iterdir()) == []
