"""The rules of admission, one by one, without a broker."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import access
from broker.access import Grant
from probe import message as m

HELLO = m.Hello(m.VERSION, "unit", "run-1", "worker-1", 1)
GRANT = Grant("lab-2", ("unit", "watcher"), ("worker-*", "db"), ("run-*",))


@pytest.mark.parametrize(
    ("hello", "grant", "why"),
    [
        (HELLO, GRANT, None),
        (replace(HELLO, unit="db"), GRANT, None),
        (m.Hello(1, "watcher", "run-1"), GRANT, None),
        (HELLO, None, "not on this broker's list any more"),
        (HELLO, replace(GRANT, revoked=True), "the key 'lab-2' was revoked; ask for a new one"),
        (replace(HELLO, run="nightly"), GRANT, "is for runs run-*, not 'nightly'"),
        (m.Hello(1, "runner", "run-1"), GRANT, "is for the role unit, watcher, not 'runner'"),
        (replace(HELLO, unit="api"), GRANT, "may not speak as 'api', only as worker-*, db"),
        (replace(HELLO, unit="Worker-1"), GRANT, "may not speak as 'Worker-1'"),
        (HELLO, replace(GRANT, roles=("agent",)), None),  # it publishes the journals of its units
        (replace(HELLO, unit="api"), replace(GRANT, roles=("agent",)), "may not speak as 'api'"),
        (replace(HELLO, role="agent", unit="@lab-2"), replace(GRANT, units=("*",)), "not 'agent'"),
        (replace(HELLO, unit="@local"), replace(GRANT, units=("*",)), "may not speak as '@local'"),
        (replace(HELLO, unit="@lab-2"), replace(GRANT, roles=("agent",), units=("*", "@lab-*")), None),
    ],
)
def test_a_key_opens_what_its_grant_says(hello: m.Hello, grant: Grant | None, why: str | None) -> None:
    found = access.why_not_granted(hello, grant)
    assert (found is None) if why is None else (found is not None and why in found)


AGENT = Grant("lab-2", ("agent", "unit"), ("*", "@lab-2"))


@pytest.mark.parametrize(
    ("grant", "owner", "why"),
    [
        (GRANT, None, None),
        (GRANT, "lab-2", None),
        (GRANT, "one", "belongs to the key 'one'; use that key"),
        (AGENT, "one", None),  # it publishes what has no supervisor
        (GRANT, "@lab-1", "is started on host lab-1, and the key 'lab-2' may not speak as it"),
        (AGENT, "@lab-1", "is started on host lab-1, and the key 'lab-2' may not speak as it"),
        (AGENT, "@lab-2", None),
        (Grant("@lab-2", ("agent", "unit"), ("worker-1", "@lab-2")), "@lab-2", None),
        (Grant("@lab-2/units", ("unit",), ("worker-1",)), "@lab-2", None),
        (Grant("@lab-2/units", ("unit",), ("worker-1",)), "@lab-1", "is started on host lab-1"),
        (GRANT, "@local", "is started on the host of its runner, and the key 'lab-2' may not speak as it"),
        (replace(AGENT, units=("*", "@*")), "@local", "is started on the host of its runner"),
        (Grant("@local/units", ("unit",), ("*",)), "@local", None),
        (Grant("anna", ("runner", "agent", "unit"), ("*", "@*")), "@local", None),
    ],
)
def test_a_name_is_for_its_owner_alone(grant: Grant, owner: str | None, why: str | None) -> None:
    found = access.why_not_owner(HELLO, grant, owner)
    assert (found is None) if why is None else (found is not None and why in found)


def test_a_name_without_an_owner_belongs_to_the_key_that_speaks_as_it_and_not_to_an_agent() -> None:
    assert access.owner_of(GRANT, local=False) == "lab-2"
    assert access.owner_of(AGENT, local=False) is None
    assert access.owner_of(None, local=True) == "@local"
    assert access.owner_of(None, local=False) is None


ANNA = Grant("anna", ("runner", "agent", "unit"), ("*", "@*"), ("night-*",))


@pytest.mark.parametrize(
    ("issue", "own", "why"),
    [
        (m.Issue("@lab-1", "", "agent", ("@lab-1", "camera")), ANNA, None),
        (m.Issue("@local/units", "", "unit", ("*",)), ANNA, None),
        (m.Issue("@lab-1", "", "unit", ("worker-1",)), replace(ANNA, units=("worker-*",)), None),
        (m.Issue("@lab-1", "", "unit", ("worker-*",)), replace(ANNA, units=("worker-*",)), None),
        (m.Issue("@lab-1", "", "unit", ("worker[*]",)), replace(ANNA, units=("worker?",)), None),
        (
            m.Issue("@lab-1", "", "unit", ("worker-1*",)),
            replace(ANNA, units=("worker-1?",)),
            "not speak as 'worker-1*'",
        ),
        (m.Issue("@lab-1", "", "unit", ("*",)), replace(ANNA, units=("worker-*",)), "may not speak as '*'"),
        (m.Issue("@lab-1", "", "agent", ("@lab-1",)), replace(ANNA, units=("*",)), "may not speak as '@lab-1'"),
        (m.Issue("@lab-1", "", "agent", ("x",)), replace(ANNA, roles=("runner",)), "may not give the role agent"),
        (m.Issue("boss", "", "agent", ("x",)), ANNA, "'boss' is no name for a key of a run"),
    ],
)
def test_no_key_can_give_more_than_it_opens_itself(issue: m.Issue, own: Grant, why: str | None) -> None:
    found = access.why_not_issued(access.issued(issue, "night-1"), own)
    assert (found is None) if why is None else (found is not None and why in found)


@given(st.text("ab*?[]!-@", max_size=6), st.text("ab*?[]!-@", max_size=6))
def test_a_pattern_made_of_a_name_means_that_name_alone(name: str, other: str) -> None:
    pattern = access.escaped(name)
    assert fnmatchcase(other, pattern) == (other == name)
    assert access.unescaped(pattern) == name


def test_keys_of_a_run_are_good_for_that_run_alone_and_never_for_its_runner() -> None:
    grant = access.issued(m.Issue("@lab-1", "", "runner", ("a",)), "night-[1]")
    assert grant == Grant("@lab-1", ("unit",), ("a",), ("night-[[]1]",))
    units = access.issued_to_units(replace(HELLO, unit="@lab-2", role="agent"), AGENT)
    assert units == Grant("@lab-2/units", ("unit",), ("*",), ("run-1",), giver="lab-2")
    further = access.issued_to_units(replace(HELLO, unit="@lab-1", role="agent"), replace(grant, giver="anna"))
    assert (grant.holder, units.holder, further.holder) == ("@lab-1", "lab-2", "anna")


@pytest.mark.parametrize(
    ("identity", "given"),
    [(b"\0abcd", True), (b"\0\0\0\0\0", True), (b"evil", False), (b"evils", False), (b"\0abc", False), (b"", False)],
)
def test_routing_ids_that_zeromq_gives_are_distinguished_from_chosen_ones(identity: bytes, given: bool) -> None:
    assert access.is_given(identity) is given


def test_tcp_is_opened_with_keys_or_on_purpose_and_ipc_always() -> None:
    assert access.why_not_listening("ipc", guarded=False) is None
    assert access.why_not_listening("tcp", guarded=True) is None
    assert "circuit-run keys new" in (access.why_not_listening("tcp", guarded=False) or "")
