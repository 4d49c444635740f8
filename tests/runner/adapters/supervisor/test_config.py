"""The one line that a supervisor on another host gets: whatever was written is read, and nothing else."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.adapters.supervisor.config import SupervisorConfig
from runner.model.errors import UsageError

CONFIG = SupervisorConfig("tcp://192.0.2.1:7000", "run-1", "lab", "", 15.0)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,50}", fullmatch=True)


@given(
    st.builds(SupervisorConfig, st.text(), IDS, st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_what_was_written_is_read(config: SupervisorConfig) -> None:
    line = config.text()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line.isascii()
    assert SupervisorConfig.parse(line) == config


def test_a_field_that_is_not_known_is_ignored() -> None:
    assert SupervisorConfig.parse(json.dumps({**asdict(CONFIG), "new": 1})) == CONFIG


@pytest.mark.parametrize(
    "line", ["", "\n", "{", "[]", "null", "3", '"text"', "{}", '{"broker": "x"}', "Welcome to lab-2!", "[" * 100_000]
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="expected one line of JSON on standard input, and it is not as it should be"):
        SupervisorConfig.parse(line)


@given(st.text())
def test_rubbish_is_a_mistake_of_its_sender_and_no_crash(line: str) -> None:
    with pytest.raises(UsageError):
        SupervisorConfig.parse(line)


@pytest.mark.parametrize(
    ("field", "value"),
    [("broker", 1), ("run", None), ("host", ["lab"]), ("keys", False), ("lease_s", "15"), ("lease_s", True)],
)
def test_a_field_of_the_wrong_type_is_named(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"and {field} is not as it should be"):
        SupervisorConfig.parse(json.dumps({**asdict(CONFIG), field: value}))


@pytest.mark.parametrize("run", ["../../x", "a/b", "", ".", ".hidden", "x" * 300, "a\0b"])
def test_a_run_whose_id_could_be_a_path_is_refused(run: str) -> None:
    with pytest.raises(UsageError, match="and run is not as it should be"):
        SupervisorConfig.parse(replace(CONFIG, run=run).text())
