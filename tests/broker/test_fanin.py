"""Many units on one broker: the counting of benchmarks/fanin.py, small enough for every day."""

import pytest

from benchmarks import fanin


@pytest.mark.parametrize("tcp", [False, True], ids=["ipc", "tcp with keys"])
def test_many_units_that_all_talk_at_once_lose_nothing_and_double_nothing(
    tcp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanin, "PROCESSES", 2)
    monkeypatch.setattr(fanin, "UNITS", 40)
    monkeypatch.setattr(fanin, "ALL", 80)
    monkeypatch.setattr(fanin, "RATE", 400)
    monkeypatch.setattr(fanin, "EACH", 200)
    monkeypatch.setattr(fanin, "LOOK_S", 0.01)
    monkeypatch.setattr(fanin, "SAMPLE", 1)
    got = fanin.measured(tcp=tcp)
    assert got.wrong == 0
    assert 0 < got.entries <= 80 * 200
    assert got.delay_ms(0.5) > 0
    assert got.empty_bytes <= got.connected_bytes <= got.peak_bytes
