"""A disk that fills: who has to stop, what is kept back for the others, and that the broker lives on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import space
from broker.space import Space, Writer, who_fills
from probe import keys as keys_
from probe import message as m
from tests.support.broker_process import KeyedBroker, Peer, large_record
from tests.support.scenarios import COMMAND, poll
from tests.support.small_disk import NAMESPACE, why_not

MIB = 1 << 20


# --- how much, and who ------------------------------------------------------------------------------------------------


class Disk:
    """One of 32 MiB, of which two are kept back."""

    def __init__(self) -> None:
        self.free = 32 * MIB
        self.space = Space(lambda: (self.free, 32 * MIB))

    def write(self, size: int) -> None:
        self.free -= size
        self.space.wrote(size)


def test_what_is_kept_back_is_halved_with_each_run_that_is_stopped_and_is_whole_again_with_room() -> None:
    disk = Disk()
    assert disk.space.kept_back == 2 * MIB
    assert disk.space.fits(30 * MIB)
    disk.write(29 * MIB)
    assert not disk.space.fits(2 * MIB)
    assert not disk.space.is_low()
    disk.space.give()
    assert disk.space.fits(2 * MIB)
    assert disk.space.is_low(), "nothing begins that the others would have to make room for"
    assert not disk.space.check()
    assert disk.space.kept_back == MIB
    disk.free = 18 * MIB
    assert not disk.space.check()
    disk.free = 20 * MIB
    assert disk.space.check()
    assert disk.space.kept_back == 2 * MIB
    assert not disk.space.is_low()


def test_of_a_large_disk_no_more_than_is_needed_is_kept_back() -> None:
    assert Space(lambda: (1 << 40, 1 << 40)).kept_back == space.MOST_BYTES


def test_what_others_write_there_is_seen_when_it_matters() -> None:
    disk = Disk()
    disk.free = 3 * MIB
    assert disk.space.fits(20 * MIB), "it was not looked since"
    disk.space.wrote(20 * MIB)
    assert not disk.space.fits(11 * MIB)
    disk.free = 20 * MIB
    assert disk.space.fits(11 * MIB)


def test_the_run_that_has_written_most_lately_has_to_stop_of_the_key_whose_runs_have() -> None:
    bobs, cams, cams_other = Writer("a", "bob", 3.0), Writer("b", "cam", 2.0), Writer("c", "cam", 2.5)
    assert who_fills([bobs, cams, cams_other]) == cams_other
    assert who_fills([bobs, cams]) == bobs


# --- on a disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[KeyedBroker]:
    """A broker whose logs are on a disk of 30 MiB that it alone sees."""
    if reason := why_not():
        pytest.skip(reason)
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o size=30m tmpfs {tmp_path}/disk && exec "$@"'
    lab = KeyedBroker(tmp_path, within=(*NAMESPACE, "sh", "-c", script, "sh"), runs="disk/logs")
    yield lab
    assert lab.broker.stop() == 0


def fill(peer: Peer, first: int = 1) -> str:
    """Write until the run is stopped; why it is."""
    for seq in range(first, 5000):
        peer.say(m.Events(seq, 1, 0), large_record(seq, 600_000))
        answer = peer.hear(m.Ack | m.Refused)  # type: ignore[arg-type]
        if isinstance(answer, m.Refused):
            return answer.why
    raise AssertionError("the disk has more room than it should")


def test_a_run_that_fills_the_disk_is_stopped_and_the_others_go_on(lab: KeyedBroker) -> None:
    cam, bob = lab.key("cam"), lab.key("bob")
    with lab.welcomed(bob, "bobs") as theirs, lab.welcomed(cam, "flood") as flood:
        theirs.emit(1, "before")
        assert theirs.hear(m.Ack) == m.Ack(2)
        why = fill(flood)
        assert why.startswith(f"run 'flood' is stopped: {lab.runs}/flood/events.log: the disk mounted at ")
        assert f"{lab.runs.parent} has 2" in why or f"{lab.runs.parent} has 1.9" in why
        assert "of 30 MiB left, kept back for others, and this one has written most lately" in why
        for seq in range(2, 200):
            theirs.emit(seq, "afterwards")
            assert theirs.hear(m.Ack) == m.Ack(seq + 1)
        assert theirs.incidents()["cam: its run was stopped"] == 1
        with lab.peer(cam, "flood") as again:
            assert again.hear(m.Refused) == m.Refused(why, full=True), "a matter of room, not of keys"
        assert "kept back for the runs that are here, so none begins; make room there" in lab.refused(bob, "new")
        assert "run 'bobs' is stopped" in fill(theirs, 200), "it may have what was kept back for it, and no more"
        assert lab.broker.process.poll() is None


def test_a_key_that_fills_the_disk_in_the_run_of_another_has_to_leave_and_the_run_goes_on(lab: KeyedBroker) -> None:
    cam, bob = lab.key("cam"), lab.key("bob")
    with lab.welcomed(bob, "bobs") as theirs, lab.welcomed(cam, "bobs", "guest") as guest:
        theirs.emit(1, "before")
        assert theirs.hear(m.Ack) == m.Ack(2)
        why = fill(guest)
        assert why.startswith(f"the key 'cam' is shut out of run 'bobs': {lab.runs}/bobs/events.log: the disk mounted")
        theirs.emit(2, "afterwards")
        assert theirs.hear(m.Ack) == m.Ack(3)
        assert theirs.incidents()["cam: shut out of the run, it has filled the disk"] == 1
        assert lab.refused(cam, "bobs", "other") == why


def test_a_run_that_was_stopped_goes_on_when_there_is_room_again(lab: KeyedBroker) -> None:
    cam = lab.key("cam")
    inside = Path(f"/proc/{lab.broker.process.pid}/root{lab.runs}")
    (inside / "ballast").write_bytes(b"x" * 20 * MIB)
    with lab.welcomed(cam, "flood") as flood:
        assert "run 'flood' is stopped" in fill(flood)
    (inside / "ballast").unlink()
    assert poll(lambda: goes_on(lab, cam), 10)


def goes_on(lab: KeyedBroker, keys: keys_.Keys) -> bool:
    """Whether the next event is taken, and none before it was lost."""
    with lab.peer(keys, "flood") as peer:
        answer = peer.hear(m.Welcome | m.Refused)  # type: ignore[arg-type]
        if isinstance(answer, m.Refused):
            return False
        peer.emit(answer.next_seq, "again")
        assert peer.hear(m.Ack).below == answer.next_seq + 1
        return answer.next_seq > 1


SCENARIO = """
[scenario]
name = "flood"
timeout = "50s"
[units.a]
entrypoint = "units:a"
"""
CODE = """
import os
import probe

def a():
    probe.ready()
    for number in range(int(os.environ["EVENTS"])):
        probe.emit("one", key=number, text="x" * 30_000)
"""


def test_a_runner_whose_run_is_stopped_says_why_and_judges_it_as_far_as_it_went(
    lab: KeyedBroker, tmp_path: Path
) -> None:
    (tmp_path / "flood").mkdir()
    (tmp_path / "flood" / "circuit.toml").write_text(SCENARIO)
    (tmp_path / "flood" / "units.py").write_text(CODE)
    lab.key("anna", "runner", "agent", "unit", units=("*", "@*"))
    words = ["flood", "--broker", lab.broker.endpoint, "--keys", lab.ring / "anna.keys", "-q"]
    done = subprocess.run([COMMAND, *words, "-e", "EVENTS=3000"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert f"is stopped: {lab.runs}/" in done.stderr
    assert f"the disk mounted at {lab.runs.parent} has " in done.stderr
    assert "circuit-run recover" in done.stderr
    assert "as far as it went it is inconclusive; the result is in" in done.stderr
    assert "Traceback" not in done.stderr
    later = subprocess.run([COMMAND, *words, "-e", "EVENTS=1"], cwd=tmp_path, capture_output=True, text=True)
    assert later.returncode == 3, later.stderr
    assert "kept back for the runs that are here, so none begins" in later.stderr
    assert "as far as it went" not in later.stderr
    assert lab.broker.process.poll() is None
