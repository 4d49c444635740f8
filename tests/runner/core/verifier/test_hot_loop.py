"""The loop over a batch of events writes rows of a `FixedTracker` by itself: it does what the tracker's `add` does."""

import random
from typing import Any

import pytest

from runner.core.verifier import Verifier
from runner.core.verifier import route as routes
from runner.core.verifier.run_result import result_of
from runner.model.scenario.model import All, Circuit, Probe, Scenario, Unit

MS = 1_000_000
UNITS = ("api", "worker-1", "worker-2")
PLAN = (("api", "sent"), ("api", "noted"), ("worker", "received"), ("api", "answered"))
PATH = (
    All((Probe("api", "sent"), Probe("api", "noted"))),
    Probe("worker-*", "received", within_ns=60 * MS, at_most=2),
    Probe("api", "answered"),
)


class CallingRoute(routes.Route):
    """A route that is never the plain case: each of its events is a call of `add`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows = None


def batches(seed: int) -> list[tuple[str, list[list[Any]], int]]:
    """Batches of three units. Most instances are complete; others begin late, lack a step or repeat one."""
    chance = random.Random(seed)
    events = []
    for number in range(60):
        for place, (unit, step) in enumerate(PLAN):
            for _ in range(chance.choices((0, 1, 2), (6, 90, 4))[0]):
                at_ms = 5 * number + 4 * place + chance.randrange(6)
                emitter = chance.choice(UNITS[1:]) if unit == "worker" else unit
                events.append((at_ms + chance.randrange(20), at_ms, emitter, step, f"k{number}" if number else None))
    seqs = dict.fromkeys(UNITS, 0)
    found = []
    waiting: dict[str, list[list[Any]]] = {unit: [] for unit in UNITS}
    for arrives_ms, at_ms, unit, step, key in sorted(events, key=lambda event: event[0]):
        seqs[unit] += 1
        waiting[unit].append([seqs[unit], at_ms * MS, step, 0, key, {}])
        if chance.random() < 0.2:
            found.append((unit, waiting[unit], (arrives_ms - 26) * MS))
            waiting[unit] = []
    return [*found, *((unit, records, 10**12) for unit, records in waiting.items())]


def seen_of(verifier: Verifier) -> list[Any]:
    """Everything that a tracker keeps of its instances."""
    (tracker,) = verifier._trackers
    assert isinstance(tracker, routes.FixedTracker)
    extras = {
        key: {slot: (extra.number, extra.events) for slot, extra in slots.items()}
        for key, slots in tracker._extras.items()
    }
    return [
        {key: list(row) for key, row in tracker.rows.items()},
        {key: list(row) for key, row in tracker._parked.items()},
        [list(row) for row in tracker.satisfied],
        extras,
        tracker._too_many,
        tracker._beginless,
        tracker.tally.started,
        tracker.open_count(),
        tracker.due_count(),
    ]


def play(seed: int) -> list[Any]:
    """What is kept after each batch, and the result."""
    scenario = Scenario("s", "/", "circuit.toml", tuple(map(Unit, UNITS)), (Circuit("order", PATH),))
    verifier = Verifier(scenario)
    for unit in UNITS:
        verifier.join(unit, 1)
    seen: list[Any] = []
    for number, (unit, records, watermark_ns) in enumerate(batches(seed)):
        verifier.batch(unit, 1, records, watermark_ns)
        seen.append(seen_of(verifier))
        if number % 7 == 6:
            verifier.settle()
    verifier.close()
    return [*seen, result_of(verifier, run="r", duration_s=1.0, statuses=())]


def test_the_loop_over_a_batch_keeps_and_judges_what_the_calls_of_a_tracker_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_loop = [play(seed) for seed in range(30)]
    monkeypatch.setattr(routes, "Route", CallingRoute)
    assert [play(seed) for seed in range(30)] == by_loop
    counts = [seen[-1].circuits[0].instances for seen in by_loop]
    assert sum(count.complete for count in counts) > 30 < sum(count.failed for count in counts)
