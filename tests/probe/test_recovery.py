"""Evidence outlives its unit: journals of dead processes are published, exactly once, in their name."""

import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from probe import message as m
from probe.journal import folders
from probe.marks import Marks
from probe.recovery import recover
from probe.segment import HEADER_BYTES
from probe.units import Unit
from tests.support.small_broker import PATIENCE_S, SmallBroker

EMIT = "import probe\nfor number in range({count}): probe.emit('step', key=str(number), n=number)\n"


def run_unit(broker: SmallBroker, code: str, name: str = "unit") -> "subprocess.CompletedProcess[str]":
    settings = {
        "CIRCUIT_BROKER": broker.endpoint,
        "CIRCUIT_RUN": "run",
        "CIRCUIT_UNIT": name,
        "CIRCUIT_JOURNAL": str(broker.home / "journal"),
    }
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, timeout=30, capture_output=True, text=True
    )


DEATHS = {
    "kill -9": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "import os; os._exit(3)",
    "segmentation fault": "import ctypes; ctypes.string_at(0)",
}


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS.keys())
def test_everything_emitted_before_a_sudden_death_is_there_exactly_once(broker: SmallBroker, death: str) -> None:
    run_unit(broker, EMIT.format(count=10_000) + death)
    (recovered,) = recover(broker.home / "journal", broker.endpoint)
    assert recovered.problem == ""
    (records,) = broker.records.values()
    assert [record[5]["n"] for record in records] == list(range(10_000))
    assert broker.heard(m.Final)[-1] == m.Final(10_000)
    assert list(folders(broker.home / "journal")) == []


def test_what_the_broker_has_already_is_not_sent_again(broker: SmallBroker) -> None:
    broker.vanish()
    run_unit(broker, EMIT.format(count=10) + DEATHS["os._exit"])
    (path,) = folders(broker.home / "journal")
    broker.next_seq[("unit", int(path.name.rpartition("-")[2]))] = 8
    broker.listen()
    (recovered,) = recover(broker.home / "journal", broker.endpoint)
    assert (recovered.unit, recovered.events, recovered.lost) == ("unit", 3, ())
    assert [record[5]["n"] for record in broker.all_records()] == [7, 8, 9]
    assert [events.recovered for events in broker.heard(m.Events)] == [True]


def test_a_living_unit_is_left_alone(broker: SmallBroker) -> None:
    unit = Unit("unit", environment=broker.environment())
    unit.emit("a")
    assert recover(broker.home / "journal", broker.endpoint) == []
    assert unit.close(PATIENCE_S)


def test_only_the_named_unit_is_recovered(broker: SmallBroker) -> None:
    for name in ("one", "two"):
        run_unit(broker, EMIT.format(count=1) + DEATHS["os._exit"], name)
    assert [found.unit for found in recover(broker.home / "journal", broker.endpoint, unit="two")] == ["two"]
    assert [found.unit for found in recover(broker.home / "journal", broker.endpoint)] == ["one"]


def test_many_recover_at_once_and_each_journal_is_published_by_one(broker: SmallBroker) -> None:
    broker.vanish()
    for number in range(4):
        run_unit(broker, EMIT.format(count=100) + DEATHS["os._exit"], f"unit-{number}")
    broker.listen()
    found: list[str] = []

    def work() -> None:
        found.extend(each.unit for each in recover(broker.home / "journal", broker.endpoint))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(found) == {f"unit-{number}": 1 for number in range(4)}
    assert sum(map(len, broker.records.values())) == 400


def test_what_a_unit_that_died_while_it_made_its_journal_has_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, under_way = tmp_path / f"unit-17.{dead.pid}", tmp_path / f"unit-18.{os.getpid()}"
    for folder in (left, under_way):
        folder.mkdir()
    assert recover(tmp_path, "ipc:///nowhere") == []
    assert list(tmp_path.iterdir()) == [under_way]


def test_without_a_broker_the_journal_stays(broker: SmallBroker) -> None:
    broker.vanish()
    run_unit(broker, EMIT.format(count=1) + DEATHS["os._exit"])
    (recovered,) = recover(broker.home / "journal", broker.endpoint, timeout_s=0.05)
    assert "did not acknowledge" in recovered.problem
    assert len(list(folders(broker.home / "journal"))) == 1


def test_a_record_that_was_not_committed_is_dropped(broker: SmallBroker) -> None:
    broker.vanish()
    run_unit(broker, EMIT.format(count=10) + DEATHS["os._exit"])
    (path,) = folders(broker.home / "journal")
    (segment,) = path.glob("*.segment")
    with segment.open("r+b") as file:
        head = int.from_bytes(file.read(8), sys.byteorder)
        file.seek(head - 3)  # as if the head had been stored and the end of the last record had not
        file.write(b"\xc1\xc1\xc1")
    broker.listen()
    (recovered,) = recover(broker.home / "journal", broker.endpoint)
    assert recovered.events == 9
    assert head > HEADER_BYTES


def test_a_damaged_journal_is_named_and_kept(broker: SmallBroker) -> None:
    path = broker.home / "journal" / "unit-12345"
    path.mkdir(parents=True)
    (path / "000001.segment").write_bytes(b"nonsense" * 1000)
    (recovered,) = recover(broker.home / "journal", broker.endpoint)
    assert "not a journal" in recovered.problem
    assert (path / "000001.segment").exists()


def test_events_dropped_in_the_units_life_are_lost_exactly(broker: SmallBroker) -> None:
    broker.vanish()
    small = "import os\nos.environ['CIRCUIT_JOURNAL_BYTES'] = str(1 << 20)\n"
    run_unit(broker, small + EMIT.format(count=50_000) + DEATHS["kill -9"])
    broker.listen()
    (recovered,) = recover(broker.home / "journal", broker.endpoint)
    (lost,) = recovered.lost
    assert recovered.events == lost.first - 1
    assert lost.last == 50_000
    assert broker.heard(m.Final)[-1] == m.Final(50_000)


def test_a_clean_exit_leaves_nothing_to_recover(broker: SmallBroker) -> None:
    finished = run_unit(broker, EMIT.format(count=100))
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(broker.all_records()) == 100
    assert recover(broker.home / "journal", broker.endpoint) == []
    assert list((broker.home / "journal").iterdir()) == []


def test_a_ctrl_c_still_brings_everything(broker: SmallBroker) -> None:
    finished = run_unit(broker, EMIT.format(count=100) + "import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert "KeyboardInterrupt" in finished.stderr
    assert len(broker.all_records()) == 100


CLOSES_ALL_ITS_FILES = """
import os, sys
from probe.clock import boot_id
from probe.environment import read
from probe.journal import begin
from probe.segment import HEADER_BYTES, Owner
from probe.wire import record_packer
kept = begin(read(), Owner("run", "unit", 7, os.getpid(), boot_id())).segments[0]
record = record_packer()([1, 1, "begun", 0, None, None])
kept.map[HEADER_BYTES : HEADER_BYTES + len(record)] = record
kept.words[0] = HEADER_BYTES + len(record)
os.closerange(3, 1024)
print(flush=True)
sys.stdin.read()
"""


def test_the_journal_of_a_process_that_has_closed_all_its_files_is_left_alone_while_it_lives(
    broker: SmallBroker,
) -> None:
    """As daemons do: then the lock is gone, and not the process."""
    journals = broker.home / "journal"
    with subprocess.Popen(
        [sys.executable, "-c", CLOSES_ALL_ITS_FILES],
        env=os.environ | {"CIRCUIT_JOURNAL": str(journals)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline()
        assert recover(journals, broker.endpoint) == []
        assert len(list(folders(journals))) == 1
        daemon.kill()
        daemon.wait()
        (found,) = recover(journals, broker.endpoint)
    assert (found.events, found.problem) == (1, "")


def test_of_a_process_that_could_keep_no_journal_it_is_said_that_what_it_emitted_is_unknown(
    broker: SmallBroker,
) -> None:
    """When it has ended, and not before."""
    code = "import os, sys, probe; os.environ['CIRCUIT_JOURNAL'] += '/file/no'; probe.emit('a'); print(flush=True)\n"
    journals = broker.home / "journal"
    journals.mkdir()
    (journals / "file").touch()
    marks = Marks.make(journals)
    found = os.fstat(marks.fd)
    variables = {"CIRCUIT_BROKER": f"ipc://{broker.home}/absent", "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    variables |= {"CIRCUIT_JOURNAL": str(journals), "CIRCUIT_MARKS": f"{marks.fd}:{found.st_dev}:{found.st_ino}"}
    with subprocess.Popen(
        [sys.executable, "-c", code + "sys.stdin.read()"],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[marks.fd],
    ) as unit:
        assert unit.stdout is not None
        assert unit.stdout.readline()
        assert recover(journals, broker.endpoint) == []
        unit.kill()
        unit.wait()
    marks.close()
    (spoken_for,) = recover(journals, broker.endpoint)
    assert (spoken_for.unit, spoken_for.problem) == ("unit", "")
    assert spoken_for.unknown == "it could keep no journal (Not a directory)"
    (hello,), (final,) = broker.heard(m.Hello), broker.heard(m.Final)
    assert (hello.pid, hello.recovered, hello.journal) == (unit.pid, True, False)
    assert final == m.Final(0, "it could keep no journal (Not a directory)")
    assert recover(journals, broker.endpoint) == []


def test_a_peer_says_whether_it_keeps_a_journal(broker: SmallBroker) -> None:
    for journal in (True, False):
        settings = broker.environment()
        if not journal:
            settings = replace(settings, journal="/dev/null/journals")
        unit = Unit("unit", environment=settings)
        unit.emit("a")
        assert unit.close(PATIENCE_S)
        assert broker.heard(m.Hello)[-1].journal is journal
