"""The rules of admission, one by one, without a broker."""

from dataclasses import replace

import pytest

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


def test_a_name_belongs_to_the_first_key_but_an_agent_may_speak_for_it() -> None:
    assert access.why_not_owner(HELLO, GRANT, None) is None
    assert access.why_not_owner(HELLO, GRANT, "lab-2") is None
    assert "belongs to the key 'one'" in (access.why_not_owner(HELLO, GRANT, "one") or "")
    assert access.why_not_owner(HELLO, replace(GRANT, roles=("agent",)), "one") is None


@pytest.mark.parametrize(
    ("identity", "given"),
    [(b"\0abcd", True), (b"\0\0\0\0\0", True), (b"evil", False), (b"evils", False), (b"\0abc", False), (b"", False)],
)
def test_routing_ids_that_zeromq_gives_are_told_from_chosen_ones(identity: bytes, given: bool) -> None:
    assert access.is_given(identity) is given


def test_tcp_is_opened_with_keys_or_on_purpose_and_ipc_always() -> None:
    assert access.why_not_listening("ipc", guarded=False) is None
    assert access.why_not_listening("tcp", guarded=True) is None
    assert "circuit-run keys new" in (access.why_not_listening("tcp", guarded=False) or "")
