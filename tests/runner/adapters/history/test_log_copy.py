"""The log of a run whose broker keeps it elsewhere, written down here."""

import struct
import zlib
from pathlib import Path

import pytest

from broker import log
from probe import message as m
from probe import wire
from runner.adapters.history.log_file import LogCopy


def entry(why: str) -> bytes:
    payload = wire.encode_entry("api", 1, wire.encode(m.Gap(1, 1, why)))
    return struct.pack(">II", len(payload), zlib.crc32(payload)) + payload


def test_it_is_a_log_from_the_first_moment_and_holds_each_entry_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    copy = LogCopy(path)
    assert path.read_bytes() == log.HEADER
    assert list(log.scan(path)) == []
    copy.append(entry("one") + entry("two"))
    copy.append(entry("three"))
    assert [found.message.why for found in log.scan(path)] == ["one", "two", "three"]  # type: ignore[union-attr]
    copy.close()
    assert path.read_bytes() == log.HEADER + entry("one") + entry("two") + entry("three")


def test_it_does_not_write_over_a_log(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        LogCopy(path)
    assert path.read_bytes() == b"kept"
