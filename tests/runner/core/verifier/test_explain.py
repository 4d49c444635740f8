"""A finding explains itself: what was reached, what should have come, what the unit is doing, what nearly was it."""

from collections import Counter
from typing import Any

import pytest

from probe.event import Kind
from runner.core.verifier import Verifier
from runner.core.verifier.typos import nearest, typo
from runner.model.duration import span
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import FormerLife, State, UnitStatus
from runner.model.scenario.model import All, Circuit, Element, Optional, Probe, Quorum, Scenario, Unit

MS = 1_000_000
PATH = (
    Probe("client", "order-sent"),
    Probe("worker-*", "order-received", within_ns=50 * MS),
    Probe("worker-*", "row-written", within_ns=50 * MS),
    Probe("client", "response-received"),
)
UNITS = ("client", "worker-1", "worker-2")


def judged(
    *events: tuple[str, str, str | None, float], path: tuple[Element, ...] = PATH, **more: Any
) -> tuple[Verifier, list[Finding]]:
    """The findings of a run with these events (unit, step, key, milliseconds), all units having ended. `kinds` are
    those of steps, `data` that of (step, key)."""
    statuses, kinds, data = more.pop("statuses", ()), more.pop("kinds", {}), more.pop("data", {})
    circuit = Circuit("order", path, **more)
    verifier = Verifier(Scenario("s", "/", "c", tuple(Unit(name) for name in UNITS), (circuit,)))
    fired: Counter[str] = Counter()
    for unit, step, key, at_ms in sorted(events, key=lambda event: event[3]):
        fired[unit] += 1
        record = [
            fired[unit],
            int(at_ms * MS),
            step,
            int(kinds.get(step, Kind.DEFAULT)),
            key,
            data.get((step, key), {}),
        ]
        verifier.batch(unit, 1, [record], int(at_ms * MS))
    for unit in UNITS:
        verifier.final(unit, 1, fired[unit])
        verifier.end_unit(unit)
    verifier.close()
    return verifier, list(verifier.findings({status.name: status for status in statuses}))


def whole(key: str, at_ms: float = 0, *, without: str = "") -> list[tuple[str, str, str | None, float]]:
    places = zip(("client", "worker-1", "worker-1", "client"), PATH, strict=True)
    return [(u, p.step, key, at_ms + n) for n, (u, p) in enumerate(places) if p.step != without]


@pytest.mark.parametrize("key", ["", "order 17", "order-17\t", "order\n17"])
def test_a_key_whose_ends_cannot_be_seen_stands_in_quotes(key: str) -> None:
    _, (missing,) = judged(*whole(key)[:2])
    assert missing.message.startswith(f'"{key}" stopped after ')


def test_the_life_that_had_it_is_named_and_not_the_one_that_the_unit_began_afterwards() -> None:
    lives = (FormerLife(40 * MS, "was killed by SIGKILL after 40 ms"), FormerLife(90 * MS, "exited with code 1"))
    again = UnitStatus("worker-1", State.FINISHED, why="exited with code 0", former=lives)
    ends = []
    for at_ms in (10, 50, 95):
        _, (missing,) = judged(*whole("order-17", at_ms)[:2], statuses=[again])
        ends.append(missing.details[-1])
    assert ends == [
        "worker-1 was killed by SIGKILL after 40 ms, and was started again",
        "worker-1 exited with code 1, and was started again",
        "worker-1 exited with code 0",
    ]


def test_a_missing_step_names_the_last_reached_the_next_expected_and_the_unit_that_had_it() -> None:
    crashed = UnitStatus(
        "worker-1", State.FAILED, exit_code=1, why="exited with code 1", last_lines=("Traceback", "disk I/O error")
    )
    _, (missing,) = judged(*whole("order-17")[:2], statuses=[crashed])
    stopped = "order-17 stopped after worker-1: order-received"
    assert missing.message == f"{stopped}; worker-*: row-written did not fire within 50 ms"
    assert missing.details == (
        "last reached: worker-1: order-received, 1 ms after its first event",
        "next expected: worker-*: row-written, within 50 ms",
        '"row-written" never fired at all',
        "worker-1 exited with code 1",
        "    Traceback",
        "    disk I/O error",
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (UnitStatus("worker-1", State.CREATED, why="waits for client"), "worker-1 was never started: waits for client"),
        (
            UnitStatus("worker-1", State.RUNNING, blocked_on="barrier go", last_step="order-received"),
            "worker-1 is running, blocked on barrier go; its last probe was order-received",
        ),
        (UnitStatus("worker-1", State.FINISHED), "worker-1 has finished"),
    ],
)
def test_it_says_what_the_unit_is_doing_now(status: UnitStatus, line: str) -> None:
    _, (missing,) = judged(*whole("order-17")[:2], statuses=[status])
    assert missing.details[-1] == line


def test_a_gap_in_the_middle_names_both_sides() -> None:
    _, (missing,) = judged(*whole("k", without="row-written"), *whole("l"))
    assert (
        missing.message
        == "k went from worker-1: order-received to client: response-received without worker-*: row-written"
    )


def test_swapped_digits_are_found_whether_the_other_key_exists_or_not() -> None:
    wrong = [("worker-1", "row-written", "order-71", 2.5)]
    _, found = judged(*whole("order-17", without="row-written"), *whole("order-71"), *wrong)
    assert [f.cls for f in found] == [FindingClass.MISSING, FindingClass.DUPLICATE]
    assert (
        'near miss: worker-1: row-written fired with key "order-71", which has it too often (swapped digits?)'
        in found[0].details
    )
    _, found = judged(*whole("order-17", without="row-written"), *whole("order-20"), *wrong)
    assert [f.cls for f in found] == [FindingClass.MISSING, FindingClass.ORPHAN]
    assert (
        'near miss: worker-1: row-written fired with key "order-71", which never began (swapped digits?)'
        in found[0].details
    )
    assert 'near miss: "order-17" lacks exactly this (swapped digits?)' in found[1].details


def test_a_misspelt_probe_is_found_by_its_key_and_by_its_name() -> None:
    _, (missing,) = judged(*whole("k", without="row-written"), ("worker-1", "row-writen", "k", 2.5))
    assert 'near miss: worker-1 fired "row-writen" with the same key (one character is missing)' in missing.details
    assert '"row-written" never fired at all, but worker-1 fired "row-writen"; did you mean that?' in missing.details


def test_what_a_unit_fired_instead_is_named_and_what_others_fired_is_no_near_miss() -> None:
    line = 'with the same key worker-1 fired "row-refused"'
    _, (missing,) = judged(*whole("k", without="row-written"), ("worker-1", "row-refused", "k", 2.5))
    assert line in missing.details
    _, (missing,) = judged(*whole("k", without="row-written"), ("client", "row-refused", "k", 2.5))
    assert not any("row-refused" in line for line in missing.details)


def test_a_probe_that_another_unit_fired_is_found() -> None:
    _, (missing,) = judged(*whole("k", without="row-written"), ("client", "row-written", "k", 2.5))
    assert '"row-written" fired in client only' in missing.details


def test_a_circuit_that_never_began_says_what_was_fired_instead() -> None:
    _, (missing,) = judged(("client", "order-snet", "k", 1))
    assert missing.message == "order never began; client: order-sent did not fire"
    assert '"order-sent" never fired at all, but client fired "order-snet"; did you mean that?' in missing.details


def test_a_forbidden_or_optional_probe_that_is_nearly_what_fired_does_not_pass_silently() -> None:
    path = (*PATH, Optional(Probe("worker-*", "retried")))
    _, found = judged(
        *whole("k"),
        ("worker-2", "dead-leter", "k", 9),
        ("worker-2", "retryed", "k", 9),
        path=path,
        never=(Probe("worker-*", "dead-letter"),),
    )
    assert [(f.cls, f.inconclusive) for f in found] == [(FindingClass.MISSING, True), (FindingClass.UNEXPECTED, True)]
    assert "did you mean that?" in found[0].details[0]
    assert found[1].message == "order forbids worker-*: dead-letter, which never fired; is it spelt right?"


# --- more than one is needed ------------------------------------------------------------------------------------------

SEEN = tuple(Probe(unit, "seen") for unit in UNITS)
SENT = ("client", "order-sent", "k", 0)


def around(element: Element) -> tuple[Element, ...]:
    return Probe("client", "order-sent"), element, Probe("client", "response-received")


SEVERAL = {
    "quorum": Quorum(2, SEEN),
    "all": All(SEEN[1:]),
    "each": Probe("worker-*", "seen", each=True),
    "times": Probe("worker-*", "seen", at_least=2, at_most=4),
    "optional": Optional(All(SEEN[1:])),
}


@pytest.mark.parametrize("several", SEVERAL)
def test_what_comes_before_all_that_is_needed_says_how_much_there_was(several: str) -> None:
    second, third = ("worker-1", "seen", "k", 2), ("worker-2", "seen", "k", 5)
    for answered_ms, lead, there in ((3, "2 ms", "1"), (1, "4 ms", "none")):
        answer = ("client", "response-received", "k", answered_ms)
        _, (early,) = judged(SENT, second, third, answer, path=around(SEVERAL[several]))
        assert early.cls is FindingClass.ACAUSAL
        assert early.message == f"k fired client: response-received {lead} too soon: {there} of the 2 needed had seen"
        assert early.details == (
            f"client: response-received fired {lead} before worker-2: seen, the last of the 2 needed",
        )


def test_a_member_that_was_not_needed_is_not_named_as_one_that_was() -> None:
    """Of a broken quorum of two in three the third member says nothing."""
    last = ("worker-2", "seen", "k", 9)
    first, second, answer = SENT, ("worker-1", "seen", "k", 4), ("client", "response-received", "k", 3)
    _, (early,) = judged(first, ("client", "seen", "k", 1), second, answer, last, path=around(Quorum(2, SEEN)))
    assert early.message == "k fired client: response-received 1 ms too soon: 1 of the 2 needed had seen"
    assert "worker-2" not in " ".join((early.message, *early.details))


def test_what_comes_before_any_of_several_names_them() -> None:
    answer, seen = ("client", "response-received", "k", 1), ("worker-2", "seen", "k", 3)
    _, (early,) = judged(SENT, answer, seen, path=around(Quorum(1, SEEN[1:])))
    late = "k fired client: response-received 2 ms too soon"
    assert early.message == f"{late}: none of worker-1: seen, worker-2: seen had fired"
    assert early.details == ("client: response-received fired 2 ms before worker-2: seen",)


def test_a_group_that_lacks_members_says_how_many_came_and_who_did_not() -> None:
    _, (missing,) = judged(SENT, ("worker-1", "seen", "k", 4), path=around(Quorum(2, SEEN, within_ns=50 * MS)))
    assert missing.message == "k stopped after client: order-sent; 1 of the 2 needed had seen within 50 ms"
    assert "lacking: client: seen, worker-2: seen" in missing.details
    _, (missing,) = judged(SENT, path=around(Quorum(1, SEEN[1:])))
    assert missing.message.endswith("; none of worker-1: seen, worker-2: seen had fired")
    nested = All((Probe("client", "asked"), Quorum(1, SEEN[1:])))
    _, (missing,) = judged(SENT, ("client", "asked", "k", 1), path=around(nested))
    assert missing.message.endswith("; none of worker-1: seen, worker-2: seen had fired")


# --- an instance that goes on under another key -----------------------------------------------------------------------

REKEYED = (Probe("client", "order-sent", rekey="row"), Probe("worker-1", "row-written", within_ns=50 * MS))


def test_what_is_missing_behind_a_rekey_is_named_with_the_key_it_should_have_had() -> None:
    _, (missing, orphan) = judged(
        SENT, ("worker-1", "row-written", "row-71", 2), path=REKEYED, data={("order-sent", "k"): {"row": "row-17"}}
    )
    stopped = "k stopped after client: order-sent; worker-1: row-written did not fire"
    assert missing.message == f"{stopped} with key row-17 within 50 ms"
    assert "next expected: worker-1: row-written with key row-17, within 50 ms" in missing.details
    near = 'near miss: worker-1: row-written fired with key "row-71", which never began (swapped digits?)'
    assert near in missing.details
    assert orphan.details == (
        'a journey of order comes here by the "row" of client: order-sent; none had this key',
        'near miss: "row-17" lacks exactly this (swapped digits?)',
    )


def test_behind_a_rekey_keys_are_compared_with_keys_and_not_with_that_of_the_beginning() -> None:
    """ "order-17" and "order-71" look like a typo, but the instance goes by the key of the row."""
    _, (missing, orphan) = judged(
        ("client", "order-sent", "order-17", 0),
        ("worker-1", "row-written", "order-71", 2),
        path=REKEYED,
        data={("order-sent", "order-17"): {"row": "row-3"}},
    )
    assert not any("near miss" in line for line in (*missing.details, *orphan.details))


def test_what_is_late_behind_a_rekey_says_with_which_key_it_fired() -> None:
    _, (late,) = judged(
        SENT, ("worker-1", "row-written", "row-17", 70), path=REKEYED, data={("order-sent", "k"): {"row": "row-17"}}
    )
    assert late.message == "k fired worker-1: row-written 70 ms after client: order-sent; 50 ms are allowed"
    assert late.details[0] == "worker-1: row-written fired with key row-17 70 ms after client: order-sent"


# --- the place of a probe in the code ---------------------------------------------------------------------------------

HINT = "does client: order-sent stand behind the call that sends? write the probe before the call"


@pytest.mark.parametrize(
    ("received_ms", "kinds", "hinted"),
    [
        (998, {"order-sent": Kind.SEND, "order-received": Kind.RECEIVE}, True),
        (998, {"order-sent": Kind.SEND}, False),
        (998, {"order-received": Kind.RECEIVE}, False),
        (800, {"order-sent": Kind.SEND, "order-received": Kind.RECEIVE}, False),
    ],
)
def test_a_receive_moments_before_its_send_hints_at_a_probe_behind_its_call(
    received_ms: float, kinds: dict[str, Kind], hinted: bool
) -> None:
    received = ("worker-1", "order-received", "k", received_ms)
    _, (early,) = judged(("client", "order-sent", "k", 1000), received, path=PATH[:2], kinds=kinds)
    assert early.cls is FindingClass.ACAUSAL
    assert (HINT in early.details) is hinted


def test_what_fires_once_more_after_the_end_says_when() -> None:
    _, (again,) = judged(*whole("k", 5), ("client", "response-received", "k", 12), path=PATH)
    assert again.details[0] == "client: response-received fired 4 ms after client: response-received"
    verifier = Verifier(Scenario("s", "/", "c", (Unit("client"),), (Circuit("order", (Probe("client", "sent"),)),)))
    for seq, (key, at_ms) in enumerate((("a", 100), ("b", 200), ("a", 2434)), 1):
        verifier.batch("client", 1, [[seq, at_ms * MS, "sent", 0, key, {}]], at_ms * MS)
        verifier.settle()
    (again,) = verifier.findings({})
    assert again.details == ("client: sent fired once more, 2.33 s into the run, after the journey was complete",)


def test_late_duplicate_and_acausal_say_by_how_much() -> None:
    _, found = judged(
        ("client", "order-sent", "k", 10),
        ("worker-1", "order-received", "k", 80),
        ("worker-2", "order-received", "k", 82),
        ("worker-1", "row-written", "k", 75),
        ("client", "response-received", "k", 90),
        within_ns=60 * MS,
    )
    assert {f.cls.value: (f.message, f.details[0]) for f in found if "took" not in f.message} == {
        "late": (
            "k fired worker-*: order-received 70 ms after client: order-sent; 50 ms are allowed",
            "worker-1: order-received fired 70 ms after client: order-sent",
        ),
        "duplicate": (
            "k fired worker-*: order-received twice; once is the most",
            "worker-2: order-received fired 2 ms after worker-1: order-received",
        ),
        "acausal": (
            "k fired worker-*: row-written 5 ms before worker-*: order-received, which comes before it",
            "worker-1: row-written fired 5 ms before worker-1: order-received",
        ),
    }
    assert [f.message for f in found if "took" in f.message] == [
        "k took 80 ms to client: response-received; 60 ms are allowed"
    ]


def test_the_first_of_each_class_leads_and_the_rest_follow_by_time() -> None:
    events = [*whole("a", 1)[:2], *whole("b", 2)[:2], *whole("c", 3), ("worker-2", "row-written", "c", 9)]
    _, found = judged(*events)
    assert [(f.cls.value, f.key) for f in found] == [("missing", "a"), ("duplicate", "c"), ("missing", "b")]


def test_findings_can_be_limited() -> None:
    verifier, found = judged(*(event for n in range(40) for event in whole(f"k{n:02}", n)[:2]))
    assert len(found) == 40
    assert list(verifier.findings({}, most=7)) == found[:7]


@pytest.mark.parametrize(
    ("found", "meant", "how"),
    [
        ("order-71", "order-17", "swapped digits"),
        ("row-wirtten", "row-written", "swapped letters"),
        ("Order-17", "order-17", "upper and lower case"),
        ("row_written", "row-written", "other signs between the words"),
        ("row-writen", "row-written", "one character is missing"),
        ("row-writtten", "row-written", "one character too many"),
        ("row-wrixten", "row-written", "one character differs"),
        ("row-written", "row-written", ""),
        ("row-read", "row-written", ""),
        ("", "ab", ""),
    ],
)
def test_a_typo_is_described_in_words(found: str, meant: str, how: str) -> None:
    assert typo(found, meant) == how


def test_the_nearest_name_is_a_slip_or_nearly_the_same() -> None:
    assert nearest("row-written", {"row-read", "row-writen"}) == "row-writen"
    assert nearest("row-written", {"row-was-written"}) == "row-was-written"
    assert nearest("row-written", {"order-sent"}) is None


@pytest.mark.parametrize(
    ("ns", "text"),
    [(7, "7 ns"), (1_500, "1.5 µs"), (50 * MS, "50 ms"), (1_234_567_890, "1.23 s"), (4_000_000_000_000, "66m 40s")],
)
def test_durations_have_three_digits(ns: int, text: str) -> None:
    assert span(ns) == text
