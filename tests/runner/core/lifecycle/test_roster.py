"""Which hosts count as there, from heartbeats and the time alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.message import Away, Back, Gone
from runner.core.lifecycle.roster import COME_NS, MARGIN_NS, SILENT_NS, Roster
from runner.model.scenario.model import Host

SECOND = 1_000_000_000
LEASE_NS = 15 * SECOND
LAB = Host("lab", ssh="lab")
SILENT = Away("lab", "has not been heard for 2.5 s")
BEGIN = 1000 * SECOND


def awaited(*hosts: Host) -> Roster:
    return Roster(hosts or (LAB,), BEGIN)


def here(*hosts: Host) -> Roster:
    roster = awaited(*hosts)
    for host in hosts or (LAB,):
        assert roster.heard(host.name, BEGIN) == []
    return roster


def away() -> Roster:
    """The lab was last heard at BEGIN."""
    roster = here()
    assert roster.tick(BEGIN + SILENT_NS + 1, current=True) == [SILENT]
    return roster


def test_a_host_has_its_time_to_come_and_is_given_up_after_it() -> None:
    roster = awaited()
    assert roster.tick(BEGIN + COME_NS, current=True) == []
    assert roster.next_deadline_ns == BEGIN + COME_NS + 1
    assert roster.tick(BEGIN + COME_NS + 1, current=True) == [Gone("lab", "did not come within 30 s")]
    assert (roster.expected, roster.next_deadline_ns) == ((), None)
    assert roster.tick(BEGIN + 2 * COME_NS, current=True) == []
    assert roster.heard("lab", BEGIN + 2 * COME_NS) == []


def test_the_time_to_come_counts_from_the_beginning_of_the_run() -> None:
    roster = awaited()
    roster.begin(BEGIN + 20 * SECOND)
    assert roster.tick(BEGIN + COME_NS + 1, current=True) == []
    roster.begin(BEGIN)
    assert roster.next_deadline_ns == BEGIN + 20 * SECOND + COME_NS + 1


def test_a_host_without_an_agent_is_gone_with_the_command_that_starts_one() -> None:
    roster = awaited(Host("lab", agent=True))
    (gone,) = roster.tick(BEGIN + COME_NS + 1, current=True)
    assert gone == Gone(
        "lab",
        "has no agent that came within 30 s; start one there: circuit-run agent --join ENDPOINT --keys FILE --name lab",
    )


def test_a_host_that_is_silent_is_away_and_is_said_to_be_so_once() -> None:
    roster = here()
    assert roster.tick(BEGIN + SILENT_NS, current=True) == []
    assert roster.tick(BEGIN + SILENT_NS + 1, current=True) == [SILENT]
    assert roster.tick(BEGIN + SILENT_NS + 2, current=True) == []
    assert roster.expected == ("lab",)


def test_a_host_that_is_heard_in_time_is_never_away() -> None:
    roster = here()
    for step in range(1, 20):
        assert roster.tick(BEGIN + step * SILENT_NS, current=True) == []
        assert roster.heard("lab", BEGIN + step * SILENT_NS) == []
        assert roster.next_deadline_ns == BEGIN + (step + 1) * SILENT_NS + 1


def test_a_host_that_is_heard_again_within_its_lease_is_back_once_and_may_go_again() -> None:
    roster = away()
    then = BEGIN + LEASE_NS
    assert roster.tick(then, current=True) == []
    assert roster.heard("lab", then) == [Back("lab")]
    assert roster.heard("lab", then) == []
    assert roster.tick(then + SILENT_NS, current=True) == []
    assert roster.tick(then + SILENT_NS + 1, current=True) == [SILENT]


def test_a_host_whose_lease_is_over_is_gone_for_good() -> None:
    roster = away()
    over = BEGIN + LEASE_NS + MARGIN_NS
    assert roster.tick(over, current=True) == []
    assert roster.next_deadline_ns == over + 1
    assert roster.tick(over + 1, current=True) == [
        Gone("lab", "has not been heard since, and its lease of 15 s is over")
    ]
    assert roster.expected == ()
    assert roster.heard("lab", over + 2) == []
    assert roster.tick(over + 3, current=True) == []


def test_the_lease_is_what_its_supervisor_says_it_is() -> None:
    roster = here(Host("lab", agent=True))
    roster.has_lease("lab", 60 * SECOND)
    roster.tick(BEGIN + SILENT_NS + 1, current=True)
    assert roster.tick(BEGIN + 60 * SECOND + MARGIN_NS, current=True) == []
    (gone,) = roster.tick(BEGIN + 60 * SECOND + MARGIN_NS + 1, current=True)
    assert gone.why.endswith("its lease of 60 s is over")  # type: ignore[union-attr]


@pytest.mark.parametrize("roster", [awaited(), here(), away()], ids=["awaited", "here", "away"])
def test_silence_means_nothing_while_not_everything_was_read(roster: Roster) -> None:
    assert roster.tick(BEGIN + 1000 * SECOND, current=False) == []
    assert roster.expected == ("lab",)
    assert len(roster.tick(BEGIN + 1000 * SECOND, current=True)) == 1


def test_a_host_that_will_not_come_by_itself_is_given_up_at_once_in_the_words_of_its_trouble() -> None:
    roster = awaited()
    roster.troubled("lab", "cannot be reached", hopeless=True)
    assert roster.tick(BEGIN, current=False) == [Gone("lab", "cannot be reached")]


def test_trouble_alone_gives_no_host_up_and_explains_the_silence_that_follows() -> None:
    roster = here()
    roster.troubled("lab", "has lost its supervisor")
    assert roster.tick(BEGIN + SILENT_NS, current=True) == []
    assert roster.tick(BEGIN + SILENT_NS + 1, current=True) == [Away("lab", "has lost its supervisor")]
    over = BEGIN + LEASE_NS + MARGIN_NS + 1
    assert roster.tick(over, current=True) == [Gone("lab", "has lost its supervisor")]


def test_trouble_is_forgotten_when_the_host_is_heard() -> None:
    roster = here()
    roster.troubled("lab", "has lost its supervisor", hopeless=True)
    assert roster.tick(BEGIN, current=True) == [Away("lab", "has lost its supervisor")]
    assert roster.heard("lab", BEGIN + 1) == [Back("lab")]
    assert roster.tick(BEGIN + 1, current=True) == []
    assert roster.tick(BEGIN + 2 + SILENT_NS, current=True) == [SILENT]


def test_a_host_that_has_said_its_last_word_is_not_expected_and_not_missed() -> None:
    for roster, back in ((here(), []), (away(), [Back("lab")])):
        assert roster.closed("lab", BEGIN + 5 * SECOND) == back
        assert (roster.expected, roster.next_deadline_ns) == ((), None)
        assert roster.tick(BEGIN + 1000 * SECOND, current=True) == []


def test_when_the_run_ends_who_has_not_come_need_not_come_and_the_others_are_waited_for() -> None:
    roster = awaited(LAB, Host("field", ssh="field"))
    roster.heard("lab", BEGIN)
    roster.finish()
    assert roster.expected == ("lab",)
    assert roster.tick(BEGIN + SILENT_NS + 1, current=True) == [SILENT]
    roster.finish()
    assert roster.expected == ("lab",)


def test_hosts_are_apart() -> None:
    lab, field, barn = LAB, Host("field", ssh="field", lease_ns=60 * SECOND), Host("barn", ssh="barn")
    roster = awaited(lab, field, barn)
    roster.heard("lab", BEGIN)
    roster.heard("field", BEGIN + SECOND)
    assert roster.next_deadline_ns == BEGIN + SILENT_NS + 1
    assert roster.tick(BEGIN + SILENT_NS + 1, current=True) == [SILENT]
    assert roster.next_deadline_ns == BEGIN + SECOND + SILENT_NS + 1
    roster.closed("field", BEGIN)
    assert roster.tick(BEGIN + COME_NS + 1, current=True) == [
        Gone("lab", "has not been heard since, and its lease of 15 s is over"),
        Gone("barn", "did not come within 30 s"),
    ]


def test_a_host_that_the_scenario_does_not_name_changes_nothing() -> None:
    roster = awaited()
    assert roster.heard("stranger", BEGIN) == []
    roster.closed("stranger", BEGIN)
    assert roster.expected == ("lab",)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=30))
def test_whatever_happens_a_host_goes_away_before_it_is_back_and_nothing_follows_its_end(
    steps: list[tuple[int, bool, bool]],
) -> None:
    roster, now = awaited(), BEGIN
    reported: list[type] = []
    for seconds, speaks, current in steps:
        now += seconds * SECOND // 2
        deadline = roster.next_deadline_ns
        changes = roster.tick(now, current=current)
        assert not changes or (deadline is not None and now >= deadline), "nothing happens before its deadline"
        reported += [type(change) for change in changes]
        if speaks:
            reported += [type(change) for change in roster.heard("lab", now)]
    text = "".join({Away: "a", Back: "b", Gone: "g"}[kind] for kind in reported)
    while "ab" in text:
        text = text.replace("ab", "")
    assert text in ("", "a", "ag", "g")
