"""Keys that are over: exact for the recent ones, by fingerprint for older ones, never more memory."""

import pytest

from runner.core.verifier import closed_keys
from runner.core.verifier.closed_keys import ClosedKeys


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_keys, "RECENT", 100)
    monkeypatch.setattr(closed_keys, "FINGERPRINTS", 1 << 12)


def test_recent_keys_are_never_forgotten() -> None:
    known = ClosedKeys()
    for n in range(10_000):
        known.add(f"k{n}", n % 8)
        for back in range(min(n, 99)):
            assert known.value_of(f"k{n - back}") == (n - back) % 8


def test_older_keys_are_mostly_remembered_and_never_with_a_wrong_mark() -> None:
    known = ClosedKeys()
    known.add_all([f"k{n}" for n in range(1_000)], 3)
    for n in range(1_000, 1_300):
        known.add(f"k{n}", 5)
    marks = [known.value_of(f"k{n}") for n in range(1_000)]
    assert set(marks) <= {3, None}
    assert marks.count(3) > 700
    assert known.value_of("never") is None
    assert known.value_of(None) is None


def test_a_mark_can_be_changed() -> None:
    known = ClosedKeys()
    known.add(None, 1)
    for n in range(150):
        known.add(f"k{n}", 1)
    known.add(None, 4)
    assert known.value_of(None) == 4
