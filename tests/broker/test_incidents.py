"""The table of who did what, without a broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.incidents import MAX_ROWS, Incidents, place, who


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
        ("localhost:1000:100:4711", "pid 4711"),
        ("localhost:1000:100:", "pid ?"),
        ("", "unknown peer"),
    ],
)
def test_who_it_is_is_known_from_where_it_comes(address: str, found: str) -> None:
    assert place(address) == found


def test_a_peer_is_named_by_its_unit_and_what_is_known_for_sure() -> None:
    assert who("", "10.0.0.7") == "10.0.0.7"
    assert who("api", "pid 9") == "api (pid 9)"
    assert who("api", "10.0.0.7", "lab-2") == "api (lab-2 at 10.0.0.7)"
    assert who("", "10.0.0.7", "lab-2") == "lab-2 at 10.0.0.7"


def test_a_name_that_is_chosen_to_annoy_is_short_and_printable() -> None:
    assert who("\x1b[2J\n" + "x" * 500, "pid 9") == "?[2J?" + "x" * 54 + "… (pid 9)"


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["shouted", "lied"])), max_size=500))
def test_names_are_bounded_and_nothing_goes_uncounted(done: list[tuple[int, str]]) -> None:
    mine, others = Incidents(), Incidents()
    for number, what in done:
        (mine if number % 2 else others).count(f"peer {number}", what)
    merged = mine.merged(others)
    assert sum(merged.values()) == len(done)
    assert len([row for row in merged if not row.startswith("others: ")]) <= MAX_ROWS
    assert len(merged) <= MAX_ROWS + 2
    if len({(number, what) for number, what in done}) <= MAX_ROWS:
        assert not any(row.startswith("others: ") for row in merged)
