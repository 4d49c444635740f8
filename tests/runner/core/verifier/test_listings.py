"""What is found does not depend on when a journal was read: at once from a process that lives, or late, when a
supervisor publishes what a dead one had written down. A finding of a run that lives is one in the end, too.

A random run: a unit and the children that it forks, and whose journals a supervisor lists. Its log is any merge of what
they all say that keeps the order of each, and in which no process is listed too late.
"""

import itertools
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.wire import Record
from runner.core.verifier import Verifier
from runner.model.scenario.model import Circuit, Element, Probe, Quorum, Scenario, Unit

thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
STEPS = ("a", "b", "c", "d")
PATHS: tuple[tuple[Element, ...], ...] = (
    (Probe("u", "a"), Probe("u", "b", within_ns=10), Probe("u", "c")),
    (Probe("u", "a"), Probe("u", "b", within_ns=10)),
    (Probe("u", "a"), Quorum(1, (Probe("u", "b"), Probe("u", "c")), 10), Probe("u", "d")),
    (Probe("u", "a"), Probe("u", "b", at_most=2, within_ns=10), Probe("v", "c", within_ns=20)),
)


@dataclass(frozen=True)
class Batch:
    records: tuple[tuple[int, int, str, str], ...]
    """Sequence number, stamp, step, key."""
    watermark_ns: int


@dataclass(frozen=True)
class Final:
    last: int


@dataclass(frozen=True)
class Listed:
    at_ns: int


Said: TypeAlias = Batch | Final | Listed


@dataclass(frozen=True)
class Process:
    """One incarnation: what it emitted, and how that was heard: piece by piece, or all of it after its death."""

    unit: str
    incarnation: int
    events: tuple[tuple[int, str, str], ...]
    pieces: tuple[int, ...]

    @property
    def begun_ns(self) -> int:
        return self.events[0][0]

    @property
    def says(self) -> list[Said]:
        said: list[Said] = []
        records = [(n, *event) for n, event in enumerate(self.events, 1)]
        bounds = sorted({0, len(records), *(piece % (len(records) + 1) for piece in self.pieces)})
        for start, end in itertools.pairwise(bounds):
            next_ns = records[end][1] if end < len(records) else records[end - 1][1] + 1
            said.append(Batch(tuple(records[start:end]), next_ns - 1 if self.pieces else 0))
        return [*said, Final(len(records))]


@dataclass(frozen=True)
class World:
    path: tuple[Element, ...]
    processes: tuple[Process, ...]
    listings: tuple[int, ...]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    stamps = draw(st.lists(st.integers(1, 60), min_size=2, max_size=14, unique=True))
    processes = []
    owners = [draw(st.integers(1, 4)) for _ in stamps]
    for incarnation in sorted(set(owners)):
        events = tuple(
            (ns, draw(st.sampled_from(STEPS)), draw(st.sampled_from(("k", "l"))))
            for ns, owner in sorted(zip(stamps, owners, strict=True))
            if owner == incarnation
        )
        pieces = tuple(draw(st.lists(st.integers(0, 20), max_size=3)))
        unit = "v" if incarnation == 4 else "u"
        processes.append(Process(unit, incarnation, events, pieces))
    listings = tuple(sorted(draw(st.sets(st.integers(0, 70), max_size=4)) | {0}))
    return World(draw(st.sampled_from(PATHS)), tuple(processes), listings)


@dataclass
class Reader:
    """A verifier that reads the log of a world; `listens`: it heeds listings."""

    world: World
    listens: bool = True
    early: set[tuple[str, str | None]] = field(default_factory=set)
    """What was found while the run lived."""

    def __post_init__(self) -> None:
        units = (Unit("u"), Unit("v"))
        self.verifier = Verifier(Scenario("s", "/", "circuit.toml", units, (Circuit("c", self.world.path),)))
        self.take(None, Listed(0))

    def take(self, process: Process | None, said: Said) -> None:
        verifier = self.verifier
        match said:
            case Listed(at_ns) if self.listens:
                for each in self.world.processes:
                    if each.begun_ns <= at_ns:
                        verifier.join(each.unit, each.incarnation, ["@local"])
                verifier.listed("@local", at_ns)
            case Batch(records, watermark_ns):
                assert process is not None
                batch: list[Record] = [[seq, ns, step, 0, key, None] for seq, ns, step, key in records]
                verifier.batch(process.unit, process.incarnation, batch, watermark_ns)
            case Final(last):
                assert process is not None
                verifier.final(process.unit, process.incarnation, last)
        verifier.settle()
        self.early |= self.found

    @property
    def found(self) -> set[tuple[str, str | None]]:
        return {(str(finding.cls), finding.key) for finding in self.verifier.findings({})}

    def end(self) -> set[tuple[str, str | None]]:
        for unit in ("u", "v"):
            self.verifier.end_unit(unit)
        self.verifier.close()
        return self.found


def merged(draw: st.DrawFn, world: World) -> list[tuple[Process | None, Said]]:
    """A log of the world."""
    queues: list[list[tuple[Process | None, Said]]] = [
        [(process, said) for said in process.says] for process in world.processes
    ]
    queues.append([(None, Listed(at_ns)) for at_ns in world.listings])
    log = []
    while queues := [queue for queue in queues if queue]:
        log.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    return log


def read(world: World, log: list[tuple[Process | None, Said]], *, listens: bool = True) -> Reader:
    reader = Reader(world, listens)
    for process, said in log:
        reader.take(process, said)
    return reader


@thorough
@given(st.data())
def test_findings_are_the_same_whenever_a_journal_is_read_and_none_is_taken_back(data: st.DataObject) -> None:
    world = data.draw(worlds())
    found = []
    for _ in range(2):
        reader = read(world, merged(data.draw, world))
        keys = {key for _, key in reader.early}  # what is missing when its time is over may turn out to be late
        found.append(reader.end())
        assert keys <= {key for _, key in found[-1]}, "found while it lived, and not in the end"
    assert found[0] == found[1]


def test_without_listings_the_journal_of_a_child_that_was_never_heard_comes_too_late() -> None:
    """What they are for: the child is in the log when it has been judged without it."""
    parent = Process("u", 1, ((1, "a", "k"), (3, "c", "k"), (30, "b", "k"), (50, "d", "l")), (1, 2, 3))
    child = Process("u", 2, ((2, "b", "k"),), ())
    world = World(PATHS[0], (parent, child), (0, 60))
    log: list[tuple[Process | None, Said]] = [(parent, said) for said in parent.says[:-1]]
    log += [(None, Listed(60)), *((child, said) for said in child.says), (parent, parent.says[-1])]
    heedless, reader = read(world, log, listens=False), read(world, log)
    assert ("acausal", "k") in heedless.early
    assert reader.early == {("duplicate", "k")} == reader.end()
