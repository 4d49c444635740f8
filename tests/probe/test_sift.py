"""What of a message's body is a record, and what only stands in the place of one."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.sift import Nothing, sift, sound, why_not

GOOD: list[Any] = [1, 5, "step", 0, "key", {"n": 1}]


def packed(*values: Any) -> bytes:
    return b"".join(msgpack.packb(value) for value in values)


def numbered(number: int, **other: Any) -> list[Any]:
    fields = dict(zip(("seq", "stamp", "step", "kind", "key", "data"), GOOD, strict=True))
    return list((fields | {"seq": number} | other).values())


WRONG: dict[str, tuple[Any, str]] = {
    "a number of another": (numbered(9), "a record has the number 9"),
    "a number that is text": (numbered(2, seq="2"), "a record has the number str"),
    "a number that is a truth": (numbered(2, seq=True), "a record has the number bool"),
    "a stamp that is a fraction": (numbered(2, stamp=1.5), "a stamp is float"),
    "a stamp before there was time": (numbered(2, stamp=-1), "a stamp is -1"),
    "a step that is a list": (numbered(2, step=["step"]), "a step is list"),
    "a step that is an extension": (numbered(2, step=msgpack.ExtType(5, b"step")), "a step is _Extension"),
    "an unknown kind": (numbered(2, kind=200), "a kind is 200"),
    "a kind that is a truth": (numbered(2, kind=True), "a kind is bool"),
    "a key that is a number": (numbered(2, key=7), "a key is int"),
    "a key that is bytes": (numbered(2, key=b"key"), "a key is bytes"),
    "data that is a list": (numbered(2, data=[1]), "data is list"),
    "five fields": (GOOD[:5], "a record is no array of six"),
    "no array": ("record", "a record is no array of six"),
    "nothing": (None, "a record is no array of six"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_record_costs_its_own_place_and_says_why(wrong: Any, why: str) -> None:
    body = packed(numbered(1), wrong, numbered(3))
    places, surplus = sift(body, 3)
    assert [why_not(place, number) for number, place in enumerate(places, 1)] == ["", why, ""]
    assert not surplus
    assert [record[0] for record in sound(body, 1, 3)] == [1, 3]


def test_text_that_is_not_utf_8_is_no_step_and_no_key_and_two_such_keys_do_not_become_one() -> None:
    keys = [
        packed(numbered(number, key="key")).replace(b"key", bytes([0x80, 0x80 + number, 0x80])) for number in (1, 2)
    ]
    assert [place.why for place in sift(b"".join(keys), 2).places if isinstance(place, Nothing)] == [
        "a step or a key is not UTF-8"
    ] * 2


def test_text_in_data_that_is_not_utf_8_costs_nothing_and_two_such_texts_stay_two() -> None:
    bodies = [packed(numbered(1, data={"id": "same"})).replace(b"same", b"sam" + byte) for byte in (b"\x80", b"\xff")]
    ((first,), (second,)) = (list(sound(body, 1, 1)) for body in bodies)
    assert first[5]["id"] != second[5]["id"]
    assert first[:5] == numbered(1)[:5]


def test_a_map_that_cannot_be_one_costs_its_own_record_alone() -> None:
    odd = packed(numbered(2, data=None))[:-1] + b"\x81\x91\x01\x02"  # a list as a key of a map
    places, _ = sift(packed(numbered(1)) + odd + packed(numbered(3)), 3)
    assert [why_not(place, number) for number, place in enumerate(places, 1)] == ["", "a record does not parse", ""]


@pytest.mark.parametrize("rest", [b"", b"\xc1", packed(numbered(3))[:-3], b"\xff" * 40])
def test_behind_what_does_not_parse_there_is_nothing(rest: bytes) -> None:
    places, _ = sift(packed(numbered(1), numbered(2)) + rest, 5)
    assert [type(place) for place in places[:2]] == [list, list]
    assert len(places) == 5
    assert all(why_not(place, number) for number, place in enumerate(places[2:], 3))


def test_more_records_than_the_message_says_have_no_numbers() -> None:
    assert sift(packed(numbered(1), numbered(2), numbered(3)), 1) == ([numbered(1)], True)
    assert list(sound(packed(numbered(1), numbered(2)), 1, 1)) == [numbered(1)]


@given(st.binary(max_size=60), st.integers(0, 5))
def test_any_bytes_have_as_many_places_as_the_message_says(body: bytes, count: int) -> None:
    found = sift(body, count)
    assert len(found.places) == count
    for record in sound(body, 1, count):
        assert not why_not(record, record[0])


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(anything | st.tuples(*[anything] * 6).map(list) | st.just(GOOD), max_size=6))
def test_a_record_is_sound_exactly_if_its_six_fields_are_what_the_wire_says(values: list[Any]) -> None:
    def optional(value: Any, kind: type) -> bool:
        return value is None or type(value) is kind

    right = [
        number
        for number, value in enumerate(values, 1)
        if type(value) is list
        and len(value) == 6
        and [type(field) for field in value[:4]] == [int, int, str, int]
        and value[0] == number
        and value[1] >= 0
        and value[3] in range(9)
        and optional(value[4], str)
        and optional(value[5], dict)
    ]
    assert [record[0] for record in sound(packed(*values), 1, len(values))] == right
