"""Keys that are good for one run: made known, replaced, withdrawn, expired, and still there after a restart."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from broker import issued as module
from broker.access import Grant
from broker.errors import BrokerError
from broker.issued import FILE_NAME, Issued
from probe import keys


def public() -> str:
    return keys.made("x", "").public


def grant(name: str = "@lab-1", run: str = "run-1", *units: str) -> Grant:
    return Grant(name, ("agent", "unit"), units or ("camera",), (run,))


def test_a_key_is_good_from_when_it_is_issued_also_for_the_next_broker(tmp_path: Path) -> None:
    issued, key = Issued(tmp_path), public()
    assert issued.grant(key) is None
    issued.add(key, grant())
    issued.add(key, grant())
    assert issued.grant(key) == Issued(tmp_path).grant(key) == grant()
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    issued.discard()
    assert list(tmp_path.iterdir()) == []


def test_another_key_of_the_same_name_and_run_takes_its_place(tmp_path: Path) -> None:
    issued, first, second, other = Issued(tmp_path), public(), public(), public()
    issued.add(first, grant())
    issued.add(other, grant(run="run-2"))
    issued.add(second, grant())
    assert [issued.grant(key) is not None for key in (first, second, other)] == [False, True, True]


def test_no_run_takes_over_a_key_that_is_known(tmp_path: Path) -> None:
    issued, key = Issued(tmp_path), public()
    issued.add(key, grant())
    with pytest.raises(BrokerError, match="cannot be the public key of '@lab-2'"):
        issued.add(key, grant("@lab-2"))
    with pytest.raises(BrokerError, match="cannot be the public key"):
        issued.add("no key", grant())
    assert issued.grant(key) == grant()


def test_who_stands_behind_a_key_is_known_after_a_restart_and_may_not_have_all_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_ONE", 1)
    one, two, annas, bobs = public(), public(), replace(grant(), giver="anna"), replace(grant("@lab-2"), giver="bob")
    Issued(tmp_path).add(one, annas)
    issued = Issued(tmp_path)
    assert issued.grant(one) == annas
    with pytest.raises(BrokerError, match="1 keys of runs come from the key 'anna' already; end some runs"):
        issued.add(two, replace(grant("@lab-3"), giver="anna"))
    issued.add(two, bobs)
    assert issued.grant(two) == bobs


def test_keys_go_with_their_run_or_by_name(tmp_path: Path) -> None:
    issued = Issued(tmp_path)
    one, units, other = public(), public(), public()
    issued.add(one, grant())
    issued.add(units, grant("@lab-1/units"))
    issued.add(other, grant(run="run-2"))
    issued.withdraw("run-1", "@lab-1/units")
    assert [issued.grant(key) is not None for key in (one, units, other)] == [True, False, True]
    issued.withdraw("run-1")
    assert [issued.grant(key) is not None for key in (one, units, other)] == [False, False, True]
    assert Issued(tmp_path).grant(other) is not None
    issued.withdraw("run-2")
    assert not (tmp_path / FILE_NAME).exists()


def test_keys_are_good_until_their_run_has_had_no_runner_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now_s)
    issued, one, two = Issued(tmp_path), public(), public()
    issued.add(one, grant(run="a[[]1]"))
    issued.add(two, grant(run="b"))
    now_s += module.WITHOUT_RUNNER_S
    issued.expire(lambda run: run == "a[1]")
    assert [issued.grant(key) is not None for key in (one, two)] == [True, True]
    now_s += 1
    issued.expire(lambda run: run == "a[1]")
    assert [issued.grant(key) is not None for key in (one, two)] == [True, False]
    now_s += module.WITHOUT_RUNNER_S + 1
    issued.expire(lambda _: False)
    assert issued.grant(one) is None


def test_keys_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ISSUED", 1)
    issued = Issued(tmp_path)
    issued.add(public(), grant())
    issued.add(public(), grant())  # in the place of the first
    with pytest.raises(BrokerError, match="1 keys of runs are good here already"):
        issued.add(public(), grant("@lab-2"))


@pytest.mark.parametrize(
    "text", ["", "rubbish", "[]", '["x", {}]', "[1, 2, 3]\n", '["' + "0" * 40 + '", {"name": "a"}]']
)
def test_a_file_that_is_none_is_no_keys(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert Issued(tmp_path).grant("0" * 40) is None
