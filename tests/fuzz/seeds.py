"""What fuzzing starts from: real examples of all that is read, from the documents and from those who write it."""

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from broker import log
from probe import wire
from probe.keys import Keys
from probe.message import Events
from probe.segment import HEADER_BYTES, Owner, Segment
from runner.adapters.supervisor.config import SupervisorConfig
from tests.fuzz.targets import HEADER_GIVEN, SEPARATOR, WORDS

ROOT: Final = Path(__file__).parent.parent.parent
FOUND: Final = Path(__file__).parent / "found"
"""Inputs that once broke a target, in a folder for each; they are tried again in every run of the tests."""

_PAGE: Final = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
_VECTORS: Final = [
    (name, [b"" if line == "-" else bytes.fromhex(line) for line in lines.split()])
    for name, lines in re.findall(r"^```hex (.+?)\n(.*?)^```", _PAGE, re.DOTALL | re.MULTILINE)
]
_KEY: Final = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


def seeds(target: str) -> list[bytes]:
    """Examples for a target, in its own form."""
    return list(_SEEDS[target]())


def found(target: str) -> list[Path]:
    """Files with inputs that once broke it."""
    return sorted((FOUND / target).glob("*"))


def _vectors(name: str) -> list[bytes]:
    return [frames[0] for each, frames in _VECTORS if each == name]


def _messages() -> Iterator[bytes]:
    return (bytes([WORDS.index(frames[0])]) + frames[1] for name, frames in _VECTORS if name.isupper())


def _commands() -> Iterator[bytes]:
    return (frames[0] for name, frames in _VECTORS if name.startswith("command "))


def _records() -> Iterator[bytes]:
    yield from _vectors("record")
    yield b"".join(_vectors("record"))
    pack = wire.record_packer()
    yield pack([1, 2, "step", 3, "key", {"a": [1.5, None, True, b"x", {"b": -1}], "": "ü" * 40}])


def _logs() -> Iterator[bytes]:
    yield log.HEADER
    yield from _vectors("log")
    yield _vectors("log")[0] + _vectors("log")[0][log.START :]


def _entries() -> Iterator[bytes]:
    (one,) = _vectors("entry")
    yield SEPARATOR.join([one, b""])
    yield SEPARATOR.join([one, wire.encode_entry("@runner", 0, wire.encode(Events(1, 0, 5), b"")), b"\0\0\0\x05"])


def _journals() -> Iterator[bytes]:
    pack = wire.record_packer()
    parts = []
    for first in (1, 3):
        segment = Segment.create(None, 2 * HEADER_BYTES, Owner("run", "unit", 1, 42, "boot"))
        segment.begin(first)
        body = b"".join(pack([seq, seq * 1000, "step", 0, "key", None]) for seq in (first, first + 1))
        segment.map[HEADER_BYTES : HEADER_BYTES + len(body)] = body
        segment.words[0] = HEADER_BYTES + len(body)
        parts.append(segment.map[:HEADER_GIVEN] + body)
        segment.close()
    yield from parts
    yield SEPARATOR.join(parts)


def _keys() -> Iterator[bytes]:
    yield Keys("lab-2 of ours", _KEY, _KEY, _KEY).text().encode()


def _key_lists() -> Iterator[bytes]:
    yield f"# comment\nlab-2 valid agent worker-*,@lab-2 * {_KEY}\n".encode()
    yield f"%78 revoked unit,runner - run%20one {_KEY}\nx%0A valid runner - * {_KEY}\n".encode()


def _scenarios() -> Iterator[bytes]:
    for path in sorted((ROOT / "examples").glob("*/circuit.toml")):
        yield path.read_bytes()
    page = (ROOT / "docs" / "circuit.md").read_text(encoding="utf-8")
    yield from (block.encode() for block in re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


def _older_scenarios() -> Iterator[bytes]:
    config = b'["Configs"]\nunits = ["a"]\nenabled = true\n'
    unit = b'["a"]\ninit = 0\nenabled = true\nentrypoint = "m:f"\nready_event = "r"\nready_timeout = 5\ntimeout = 9\n'
    more = b'use_setup = true\nunit_dependencies = []\n[["a".events]]\nname = "e"\n'
    yield config + SEPARATOR + unit + more
    yield config + SEPARATOR + unit + b'events = ["x", "y"]\n'


def _clock_reports() -> Iterator[bytes]:
    pack = wire.record_packer()
    reports = [
        {"low": [[10**9, 5_000]], "high": [[10**9 + 50, 5_900]], "rtt_ns": 900},
        {"low": [], "high": []},
        {"low": [[10**9 + 240_000_000, 4_000]], "high": [[10**9 + 249_000_000, 3_000]], "rtt_ns": 1},
    ]
    records = [pack([n, 10**9 + n * 250_000_000, "clock", 7, None, data]) for n, data in enumerate(reports, 1)]
    yield from records
    yield b"".join(records)


def _supervisor_events() -> Iterator[bytes]:
    pack = wire.record_packer()
    said: list[tuple[str, str | None, dict[str, object]]] = [
        ("serving", None, {"lease_s": 15.0}),
        ("spawned", "a", {"pid": 7}),
        ("output", "a", {"stream": "out", "at": 0, "bytes": b"x\n"}),
        ("stopping", "b", {"pid": 8, "grace_ms": 5000}),
        ("silent-end", "b", {"waited_ms": 5000}),
        ("exited", "a", {"pid": 7, "code": 1, "tail": ["no"], "recovered": 0, "leftover": ["sleep (pid 9)"]}),
        ("not-started", "b", {"why": "command not found"}),
    ]
    records = [pack([n, n, step, 7, key, data]) for n, (step, key, data) in enumerate(said, 1)]
    yield from records
    yield b"".join(records)


def _configs() -> Iterator[bytes]:
    yield SupervisorConfig("tcp://10.0.0.1:5000", "run-1", "lab", "circuit-keys 1\nname x\n", 15.0).text().encode()
    yield SupervisorConfig("ipc:///run/bus", "run-2", "lab 2", "", 0.5).text().encode()


def _folders() -> Iterator[bytes]:
    for links in ({}, {"link": "../../etc/passwd"}, {"link": "a.txt"}):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            entry = tarfile.TarInfo("a.txt")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
            for name, target in links.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        yield packed.getvalue()


_SEEDS: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "message": _messages,
    "command": _commands,
    "records": _records,
    "entry": lambda: _vectors("entry"),
    "log-file": _logs,
    "entries": _entries,
    "journal": _journals,
    "flipped-journal": lambda: (
        place.to_bytes(2, "big") + b"\x01" for place in (0, 8, 16, 50, 60, 70, 100, 4100, 4500)
    ),
    "key-file": _keys,
    "key-list": _key_lists,
    "scenario": _scenarios,
    "older-scenario": _older_scenarios,
    "clock-reports": _clock_reports,
    "supervisor-events": _supervisor_events,
    "config": _configs,
    "shipped-folder": _folders,
}
