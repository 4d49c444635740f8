"""docs/wire.md is the authority: what it says is what the code does, field by field and byte by byte."""

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from broker import access, log, peer, relay, run
from probe import event, wire
from probe import message as m
from probe.event import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE))
VECTORS = [
    (name, lines.split()) for name, lines in re.findall(r"^```hex (.+?)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
]
MESSAGES = {kind.__name__.upper(): kind for kind in get_args(m.Message)}
ORDERS = {kind.__name__.lower(): kind for kind in get_args(m.Order)}
TYPES: dict[Any, str] = {
    int: "uint",
    str: "str",
    bool: "bool",
    bytes: "bin",
    str | None: "str or nil",
    tuple[str, ...]: "list of str",
    dict[str, int]: "map of uint",
    dict[str, str]: "map of str",
    dict[str, object] | None: "map or nil",
}
DEFAULTS = {dataclasses.MISSING: "", "": '""', 0: "0", 1: "1", (): "[]", None: "nil"}


def default_of(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is dict:
        return "{}"
    return str(field.default).lower() if type(field.default) is bool else DEFAULTS[field.default]


def rows(text: str) -> list[list[str]]:
    """Cells of the table rows that begin with something in backticks, without them."""
    lines = re.findall(r"^\| `\S+` \|.*\|$", text, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_version_is_the_one_that_is_spoken() -> None:
    assert PAGE.startswith(f"# The wire, version {m.VERSION}\n")


@pytest.mark.parametrize("word", [*MESSAGES, *ORDERS])
def test_every_field_is_described_as_it_is(word: str) -> None:
    kind = (MESSAGES | ORDERS)[word]
    described = [tuple(cells[:3]) for cells in rows(SECTIONS[word].split("| counter |")[0])]
    expected = [(f.name, TYPES[f.type], default_of(f)) for f in dataclasses.fields(kind)]
    assert described == expected


def test_no_section_describes_what_is_not_there() -> None:
    assert set(SECTIONS) == set(MESSAGES) | set(ORDERS)


def test_the_table_of_messages_says_who_may_send_them() -> None:
    table = PAGE.split("## Messages")[1].split("### ")[0]
    senders = {word: who for word, who, _ in re.findall(r"^\| ([A-Z]+) \| (.+?) \| (.+) \|$", table, re.MULTILINE)}
    assert senders.keys() == MESSAGES.keys()
    for word, kind in MESSAGES.items():
        speakers = m.ROLES if kind is m.Hello else access.SPEAKERS.get(kind, ("broker",))
        assert senders[word] == ("any peer" if speakers == m.ROLES else ", ".join(speakers)), word


def test_kinds_have_the_numbers_that_travel() -> None:
    table = re.findall(r"^\| (\w+) \| (\d) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [(name, int(number)) for name, number, _ in table] == [(kind.name.lower(), int(kind)) for kind in Kind]
    assert {int(number) for _, number, who in table if who == "code under test"} == event.USER_KINDS


@pytest.mark.parametrize(
    "value",
    [
        wire.MAX_FRAME_BYTES,
        wire.MAX_HEADER_BYTES,
        wire.MAX_HEADER_ITEMS,
        event.MAX_STEP_BYTES,
        event.MAX_KEY_BYTES,
        event.MAX_DATA_BYTES,
        access.MAX_NAME_BYTES,
        peer.MAX_WINDOW_BYTES,
        log.MAX_ENTRY_BYTES,
    ],
)
def test_limits_are_those_of_the_code(value: int) -> None:
    assert f"{value:,}" in PAGE


def test_every_counter_is_described(tmp_path: Path) -> None:
    described = {cells[0] for cells in rows(PAGE.split("| counter |")[1].split("### ")[0])}
    sources = "".join(Path(module.__file__ or "").read_text(encoding="utf-8") for module in (relay, run))
    counted = set(re.findall(r'(?:counters|_strangers)\["(\w+)"\]', sources))
    opened = run.Run("r", tmp_path)
    counted |= opened.statistics().keys() | {"peers", "runners"}
    opened.log.close()
    assert described == counted


def test_every_message_command_and_format_has_a_vector() -> None:
    assert {name for name, _ in VECTORS} == {
        *MESSAGES,
        *(f"command {name}" for name in ORDERS),
        "record",
        "entry",
        "log",
    }


@pytest.mark.parametrize(("name", "lines"), VECTORS, ids=[name for name, _ in VECTORS])
def test_a_vector_decodes_and_encodes_to_the_same_bytes(name: str, lines: list[str], tmp_path: Path) -> None:
    frames = [b"" if line == "-" else bytes.fromhex(line) for line in lines]
    if name in MESSAGES:
        message, body = wire.decode(frames)
        assert frames[0] == name.encode()
        assert wire.encode(message, *([body] if len(frames) == 3 else [])) == frames
        if isinstance(message, m.Events):
            assert len(wire.unpack_records(body)) == message.count
        if isinstance(message, m.Records):
            assert message.offset + len(body) == message.end
            assert list(log.entries(body, message.offset))
        if isinstance(message, m.Command):
            wire.decode_order(body)
    elif name.startswith("command "):
        order = wire.decode_order(frames[0])
        assert type(order) is ORDERS[name.removeprefix("command ")]
        assert wire.encode_order(order) == frames[0]
    elif name == "record":
        (record,) = wire.unpack_records(frames[0])
        assert wire.record_packer()(record) == frames[0]
        assert wire.event_of("api", 1, record).step == record[2]
    elif name == "entry":
        unit, incarnation, message, body = wire.decode_entry(frames[0])
        assert wire.encode_entry(unit, incarnation, wire.encode(message, body)) == frames[0]
    else:
        path = tmp_path / "events.log"
        path.write_bytes(frames[0])
        (entry,) = log.scan(path)
        assert entry.end == len(frames[0])
