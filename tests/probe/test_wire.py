"""The codec: every message survives the round trip, and no bytes whatever can raise anything but WireError."""

import contextlib
import dataclasses
import tracemalloc
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import message as m
from probe import wire
from probe.errors import WireError
from probe.event import Kind
from probe.sift import numbered_bounds

BOUNDED = settings(max_examples=150, deadline=None)

integers = st.integers(0, wire.MAX_INTEGER)
text = st.text(max_size=30)  # hypothesis makes no lone surrogates unless asked
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: integers,
    str: text,
    bool: st.booleans(),
    bytes: st.binary(max_size=30),
    str | None: st.none() | text,
    tuple[str, ...]: st.lists(text, max_size=4).map(tuple),
    dict[str, int]: st.dictionaries(text, integers, max_size=4),
    dict[str, str]: st.dictionaries(text, text, max_size=4),
    dict[str, object] | None: st.none()
    | st.dictionaries(text, st.none() | integers | text | st.booleans(), max_size=4),
}


def any_of(union: Any) -> st.SearchStrategy[Any]:
    """Any member of a union of dataclasses, with any fields."""
    return st.one_of(
        *(st.builds(kind, **{f.name: VALUES[f.type] for f in dataclasses.fields(kind)}) for kind in get_args(union))
    )


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
records = st.lists(
    st.tuples(
        integers,
        integers,
        text,
        st.sampled_from([int(kind) for kind in Kind]),
        st.none() | text,
        st.none() | st.dictionaries(text, json_like, max_size=3),
    ),
    max_size=6,
)


@BOUNDED
@given(any_of(m.Message), st.none() | st.binary(max_size=40))
def test_every_message_survives_the_round_trip(message: m.Message, body: bytes | None) -> None:
    frames = wire.encode(message) if body is None else wire.encode(message, body)
    assert wire.decode([bytes(frame) for frame in frames]) == (message, body or b"")


@BOUNDED
@given(any_of(m.Order))
def test_every_command_survives_the_round_trip(order: m.Order) -> None:
    read = wire.with_private(wire.decode_order(wire.encode_order(order)), wire.encode_private(order))
    assert read == order


def test_what_is_private_in_a_command_stands_in_a_frame_of_its_own() -> None:
    order = m.Start("api", ("x",), "/", {"PORT": "1", "TOKEN": "s3cret"}, "o", "e", private=("TOKEN", "NONE"))
    public, private = wire.encode_order(order), wire.encode_private(order)
    assert b"s3cret" not in public
    assert wire.decode_order(public) == dataclasses.replace(order, env={"PORT": "1"})
    assert wire.with_private(wire.decode_order(public), private) == order
    assert wire.encode_private(m.Sync()) == b""
    assert wire.with_private(m.Sync(), private) == m.Sync()
    for rubbish in (b"\xc1", wire.encode_private(order)[:-1], msgpack.packb({"A": 1}), msgpack.packb([])):
        with pytest.raises(WireError, match="private part of a command"):
            wire.with_private(order, rubbish)


@BOUNDED
@given(records)
def test_records_survive_the_round_trip_and_know_where_each_ends(rows: list[Any]) -> None:
    pack = wire.record_packer()
    packed = [pack(row) for row in rows]
    body = b"".join(packed)
    assert wire.unpack_records(body) == [list(row) for row in rows]
    ends = list(wire.record_bounds(body))
    assert [body[start:end] for start, end in zip([0, *ends], ends, strict=False)] == packed
    for row in rows:
        event = wire.event_of("api", 7, list(row))
        assert (event.seq, event.stamp_ns, event.step, event.kind, event.key) == row[:5]
        assert event.data == (row[5] or {})


@BOUNDED
@given(text, integers, any_of(m.Message), st.binary(max_size=20))
def test_a_log_entry_keeps_the_frames_of_its_message(
    unit: str, incarnation: int, message: m.Message, body: bytes
) -> None:
    frames = [bytes(frame) for frame in wire.encode(message, body)]
    assert wire.decode_entry(wire.encode_entry(unit, incarnation, frames)) == (unit, incarnation, message, body)


def survives(function: Any, data: Any) -> None:
    """`function(data)` gives a value or a WireError, nothing else."""
    with contextlib.suppress(WireError):
        function(data)


HOSTILE = [
    b"",
    b"\xc1",
    b"\x91" * 100_000,  # deep
    b"\x81\xa1a" * 20_000,  # deep, in maps
    b"\xdd\xff\xff\xff\xff",  # an array of 4 G
    b"\xdf\xff\xff\xff\xff",  # a map of 4 G
    b"\xdb\xff\xff\xff\xff",  # a string of 4 G
    b"\xdd\x00\x00\x20\x00" * 1000,  # deep and long
    b"\xd4\x05x",  # an extension type
    b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
    b"\xc7\x03\xff\x00\x00\x00",  # a timestamp of the wrong length
    b"\x81\xa5first\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # NaN where a number is due
    b"\x81\xa3why\xa2\xff\xfe",  # text that is not UTF-8
    b"\x81\x91\x01\x02",  # a map with a list as key
    b"\x81\x80\x02",  # a map with a map as key
    b"\x81\x01\x02",  # a map with a number as key
    b"\x96\x01\x02\xa1s\x01\xc0\xc0" + b"\xc1",
    b"\xa6abcdef",  # six long, and no array
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_are_a_wire_error_or_a_value(data: bytes) -> None:
    for word in ("HELLO", "EVENTS", "ERROR", "PONG"):
        with pytest.raises(WireError):
            wire.decode([word.encode(), data])
    with pytest.raises(WireError):
        wire.decode_order(data)
    with pytest.raises(WireError):
        wire.decode_entry(data)
    survives(wire.unpack_records, data)
    assert all(end <= len(data) for end in wire.record_bounds(data))


@BOUNDED
@given(st.binary(max_size=60), st.sampled_from([kind.__name__.upper().encode() for kind in get_args(m.Message)]))
def test_random_bytes_are_a_wire_error_or_a_value(data: bytes, word: bytes) -> None:
    survives(wire.decode, [word, data])
    survives(wire.decode, [data, data])
    survives(wire.decode_order, data)
    survives(wire.decode_entry, data)
    survives(wire.unpack_records, data)
    survives(lambda body: [wire.event_of("u", 1, record) for record in wire.unpack_records(body)], data)


@BOUNDED
@given(any_of(m.Message), st.data())
def test_a_truncated_or_altered_header_is_a_wire_error_or_a_value(message: m.Message, data: st.DataObject) -> None:
    word, header = (bytes(frame) for frame in wire.encode(message))
    cut = data.draw(st.integers(0, len(header) - 1))
    with pytest.raises(WireError) as failure:
        wire.decode([word, header[:cut]])
    assert failure.value.word == word.decode()
    survives(wire.decode, [word, header[:cut] + data.draw(st.binary(max_size=4)) + header[cut + 1 :]])


@BOUNDED
@given(json_like | st.lists(json_like, min_size=6, max_size=6))
def test_any_value_in_the_place_of_a_record_is_a_wire_error_or_an_event(value: Any) -> None:
    survives(wire.unpack_records, msgpack.packb(value))
    survives(lambda record: wire.event_of("api", 1, record), value)


def header(**fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([], "2 or 3 frames, this one 0"),
        ([b"PING"], "2 or 3 frames, this one 1"),
        ([b"PING", header(sent_ns=1), b"", b""], "2 or 3 frames, this one 4"),
        ([b"NONSENSE", header()], "unknown message type 'NONSENSE'"),
        ([b"ping", header(sent_ns=1)], "unknown message type 'ping'"),
        ([b"PING", header()], "PING: field 'sent_ns' is missing"),
        ([b"PING", header(sent_ns="1")], "PING: field 'sent_ns' is str, expected int"),
        ([b"PING", header(sent_ns=True)], "PING: field 'sent_ns' is bool, expected int"),
        ([b"PING", header(sent_ns=-1)], "PING: field 'sent_ns' is -1, expected 0 or more"),
        ([b"PING", b"\x91\x01"], "PING header is list, expected a map"),
        ([b"COMMAND", header(to=["a", 1])], "COMMAND: field 'to' is not a list of strings"),
        (
            [b"PONG", header(sent_ns=1, received_ns=1, answered_ns=1, counters={"a": "b"})],
            "'counters' is str, expected int",
        ),
        ([b"ERROR", b"\x81\xa3why\xda" + (65_000).to_bytes(2, "big") + b"x" * 65_000 + b"\xc0" * 600], "at most 65536"),
    ],
)
def test_a_message_that_is_refused_says_what_was_found_and_what_was_expected(frames: list[bytes], why: str) -> None:
    with pytest.raises(WireError, match=why):
        wire.decode(frames)


def test_unknown_fields_are_ignored_and_absent_ones_take_their_default() -> None:
    frames = [b"HELLO", header(version=1, role="runner", run="r", colour="green")]
    assert wire.decode(frames) == (m.Hello(1, "runner", "r"), b"")


def test_text_that_is_not_utf8_is_repaired_in_records_and_refused_in_headers() -> None:
    body = wire.record_packer()((1, 2, "step", 0, "key", None)).replace(b"step", b"st\xffp")
    assert wire.unpack_records(body)[0][2] == "st�p"
    with pytest.raises(WireError):
        wire.decode([b"ERROR", header(why="step").replace(b"step", b"st\xffp")])


def test_a_lone_surrogate_in_a_message_does_not_keep_it_from_travelling() -> None:
    frames = [bytes(frame) for frame in wire.encode(m.Refused("caf\udce9"))]
    assert wire.decode(frames)[0] == m.Refused("caf?")


def test_a_record_that_is_cut_off_is_an_error_and_the_whole_ones_before_it_are_known() -> None:
    pack = wire.record_packer()
    one, two = pack((1, 2, "a", 0, None, None)), pack((2, 3, "b", 1, "k", {"n": 1}))
    with pytest.raises(WireError, match="cut off"):
        wire.unpack_records(one + two[:-1])
    assert list(wire.record_bounds(one + two[:-1])) == [len(one)]


@BOUNDED
@given(st.lists(st.booleans(), max_size=12), st.integers(1, 2**63 - 20), st.binary(max_size=5))
def test_what_a_unit_wrote_ends_where_the_numbers_do(right: list[bool], first: int, behind: bytes) -> None:
    pack = wire.record_packer()
    packed = [pack([first + at + (not ok), 2, "step", 0, None, None]) for at, ok in enumerate(right)]
    whole = right.index(False) if False in right else len(right)
    ends = list(numbered_bounds(b"".join(packed) + behind, first))
    assert ends[:whole] == [len(b"".join(packed[: at + 1])) for at in range(whole)]
    assert len(ends) == whole


def test_a_timestamp_of_msgpack_becomes_seconds() -> None:
    moment = msgpack.packb({"at": msgpack.Timestamp(5, 500_000_000)})
    record = wire.record_packer()([1, 2, "step", 0, None, None])[:-1] + moment
    assert wire.unpack_records(record) == [[1, 2, "step", 0, None, {"at": 5.5}]]
    release = wire.encode_order(m.Release("start"))[:-1] + moment
    assert wire.decode_order(release) == m.Release("start", data={"at": 5.5})


def test_a_few_bytes_that_claim_much_take_no_memory() -> None:
    bomb = b"\xdd\x00\x00\xff\xff" * 1000  # lists of 65,535 in one another: half a gigabyte of room for items
    tracemalloc.start()
    try:
        survives(wire.unpack_records, bomb)
        survives(wire.decode_order, bomb)
        survives(wire.decode_entry, bomb)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_record_of_an_unknown_kind_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="unknown kind 99"):
        wire.event_of("api", 1, [1, 2, "step", 99, None, None])
