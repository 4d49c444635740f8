"""What an acknowledgement is worth: with --durable the disk has it; without, it survives the broker's death."""

import os
import queue
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from broker import log, relay
from broker.__main__ import main
from probe import message as m
from tests.support.broker_process import RUN, BrokerProcess, Peer, records


def test_a_durable_log_is_synced_with_its_name_when_made_and_with_every_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(log, "sync", lambda fd: synced.append(f"{os.readlink(f'/proc/self/fd/{fd}')} {size(fd)}"))
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    path = tmp_path / "run" / "events.log"
    writer = log.Log(path, durable=True)
    assert synced == [f"{path} {log.START}", str(path.parent), str(tmp_path)]
    synced.clear()
    writer.append([b"a", b"b"])
    assert synced == [f"{path} {path.stat().st_size}"]
    writer.close()


def test_a_log_that_is_not_durable_is_never_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "sync", lambda _fd: pytest.fail("synced"))
    monkeypatch.setattr(os, "fsync", lambda _fd: pytest.fail("synced"))
    writer = log.Log(tmp_path / "events.log")
    writer.append([b"a"])
    writer.close()


def test_no_acknowledgement_leaves_before_the_disk_has_what_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    """In this order: ("synced", how far the log goes), ("acknowledged", below which number)."""
    send = relay.Relay._send

    def sync(fd: int) -> None:
        done.append(("synced", size(fd)))

    def observed(self: relay.Relay, identity: bytes, message: m.Message, *body: bytes) -> Any:
        if isinstance(message, m.Ack):
            done.append(("acknowledged", message.below))
        return send(self, identity, message, *body)

    monkeypatch.setattr(log, "sync", sync)
    monkeypatch.setattr(relay.Relay, "_send", observed)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        serving, lease_fd, holder_fd = in_a_thread(f"ipc://{short}/private/bus", tmp_path)
        with Peer.unit(serving.get(timeout=10)) as unit:
            for first in range(1, 40, 2):
                unit.emit(first, "a", "b")
            while unit.hear(m.Ack).below < 41:
                pass
            unit.say(m.Final(40))
            unit.hear(m.Ack)
        os.close(holder_fd)
        assert serving.get(timeout=10) == "0"
        os.close(lease_fd)

    ends = {
        entry.message.first + entry.message.count: entry.end
        for entry in log.scan(tmp_path / "events.log")
        if isinstance(entry.message, m.Events)
    }
    on_disk, acknowledged = 0, 0
    for what, value in done:
        if what == "synced":
            on_disk = value
        else:
            acknowledged += 1
            assert ends[value] <= on_disk, f"{value} was acknowledged when only {on_disk} bytes were synced"
    assert acknowledged > 1


def test_a_broker_killed_under_load_leaves_a_clean_log_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "run", "--insecure", "--durable")
    acknowledged = sent = 0
    for _ in range(3):
        with Peer.unit(broker.endpoint) as unit:
            unit.say(m.Hello(m.VERSION, "unit", RUN, "api", 1))
            sent = unit.hear(m.Welcome).next_seq
            assert sent > acknowledged
            enough = sent + 2000
            while acknowledged < enough:
                unit.say(m.Events(sent, 200, 0), records(sent, *["x" * 150] * 200))
                sent += 200
                while unit.socket.poll(0):
                    acknowledged = unit.hear(m.Ack).below - 1
            broker.kill()
        broker.restart()
    broker.stop()
    numbers = [
        number
        for entry in log.scan(broker.log)
        if isinstance(entry.message, m.Events)
        for number in range(entry.message.first, entry.message.first + entry.message.count)
    ]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= acknowledged


def size(fd: int) -> int:
    return os.fstat(fd).st_size


def in_a_thread(endpoint: str, folder: Path) -> "tuple[queue.Queue[str], int, int]":
    """`python -m broker ENDPOINT --durable` in this process: what it prints and its exit code, and both ends of its
    lease."""
    said: queue.Queue[str] = queue.Queue()
    lease_fd, holder_fd = os.pipe()
    words = ["--listen", endpoint, "--folder", str(folder), "--run", RUN, "--lease-fd", str(lease_fd), "--durable"]

    def serve(arguments: Sequence[str]) -> None:
        said.put(str(main(arguments)))

    thread = threading.Thread(target=serve, args=(words,))
    said.put(endpoint)
    thread.start()
    return said, lease_fd, holder_fd
