"""Orders until the log shows them: in order, at least once, and never larger than may travel."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import TRUNCATED
from runner.adapters.bus import outbox as module
from runner.adapters.bus.outbox import Given, Outbox


def shown(each: Given) -> Entry:
    """The order as the log has it."""
    return Entry("@runner", 0, each.command, each.body, 0)


def send(outbox: Outbox, count: int = 1000) -> list[Given]:
    sent = []
    while len(sent) < count and (each := outbox.next()):
        outbox.sent()
        sent.append(each)
    return sent


@given(st.lists(st.sampled_from(["put", "send", "log", "die"]), max_size=60))
def test_whatever_dies_when_the_log_has_every_order_in_the_order_given(steps: list[str]) -> None:
    outbox, log, way, number = Outbox(), [], list[Given](), 0
    for step in [*steps, "die"]:
        match step:
            case "put":
                number += 1
                outbox.put(m.Stop("u", number), ("@local",), number)
            case "send":
                way += send(outbox, 1)
            case "log" if way:
                log.append(way.pop(0))
                outbox.shown([shown(log[-1])])
            case "die":  # the broker: what is on the way is lost with it
                way.clear()
                outbox.lost()
    log += send(outbox)
    assert [each.command.at_ns for each in log] == list(range(1, number + 1))


def test_what_another_runner_has_ordered_strikes_nothing_off() -> None:
    outbox = Outbox()
    outbox.put(m.Sync(), ("a",), 1)
    (sent,) = send(outbox)
    outbox.shown([shown(sent._replace(command=replace(sent.command, at_ns=2)))])
    assert not outbox.empty
    outbox.shown([shown(sent)])
    assert outbox.empty


def test_what_is_ordered_goes_before_thousands_of_answers() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(m.Release(f"wait/1.{number}"), ("a",), 0)
    outbox.put(m.Stop("a", 0), ("@local",), 0)
    send(outbox, 2)
    outbox.lost()
    expected = [m.Stop("a", 0), *(m.Release(f"wait/1.{number}") for number in range(3))]
    assert [wire.decode_order(each.body) for each in send(outbox)] == expected


def test_answers_beyond_a_bound_are_not_kept_because_they_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 1)
    outbox = Outbox()
    for number in range(3):
        outbox.put(m.Release(f"wait/1.{number}"), ("a",), 0)
    outbox.put(m.Stop("a", 0), ("@local",), 0)
    send(outbox)
    outbox.lost()
    assert [wire.decode_order(each.body) for each in send(outbox)] == [m.Stop("a", 0), m.Release("wait/1.0")]


def test_an_order_for_thousands_goes_out_in_commands_that_may_travel() -> None:
    names = [f"{'u' * 190}-{number}" for number in range(10_000)]
    outbox = Outbox()
    outbox.put(m.Release("barrier/go/1"), names, 7)
    pieces = send(outbox)
    assert [name for each in pieces for name in each.command.to] == names
    for each in pieces:
        wire.decode([bytes(frame) for frame in wire.encode(each.command, each.body)])


def test_an_answer_with_as_much_data_as_an_event_may_have_still_arrives() -> None:
    outbox = Outbox()
    outbox.put(m.Release("wait/1.1", "b", "done", data={"blob": "x" * 65_530}), ("a",), 0)
    outbox.put(m.Break("barrier/go/1", tuple(f"{'u' * 190}-{n}" for n in range(1000)), "did not arrive"), ("a",), 0)
    release, broken = (wire.decode_order(each.body) for each in send(outbox))
    assert release == m.Release("wait/1.1", "b", "done", data={TRUNCATED: ["data"]})
    assert isinstance(broken, m.Break)
    assert (broken.ask, broken.who[0], broken.why) == ("barrier/go/1", f"{'u' * 190}-0", "did not arrive")
