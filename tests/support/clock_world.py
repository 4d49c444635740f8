"""A small world of hosts whose clocks are wrong, with the truth at hand: what they would have written to the log.

The broker's clock is the truth. Everything random comes from one seed. `play` gives the log to a `Timeline` as a run
does: an event waits until its clock is known.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from probe.event import Kind
from probe.sampling import Sampler
from runner.core.clocks import Timeline

MS = 1_000_000
SECOND = 1_000 * MS
BEGIN = 100 * SECOND
"""When the world begins; no clock shows less than nothing."""
DESK = "desk"
"""The broker's host."""

Delay = Callable[[random.Random], int]


def quick(chance: random.Random) -> int:
    """A cable: a tenth of a millisecond and more, and now and then a spike."""
    spike = chance.expovariate(1 / 30e6) if chance.random() < 0.03 else 0
    return round(100_000 + chance.expovariate(1 / 150_000) + spike)


def slow(chance: random.Random) -> int:
    """A link over land: 20 ms and more."""
    return round(20e6 + chance.expovariate(1 / 5e6))


def slower(chance: random.Random) -> int:
    """The other direction of that link."""
    return round(45e6 + chance.expovariate(1 / 8e6))


@dataclass
class Clock:
    """A clock that is off by `offset_ns` at the beginning and goes wrong at rates that change every ten seconds."""

    offset_ns: int
    ppm: list[float]
    every_ns: int = 10 * SECOND

    def at(self, true_ns: float) -> int:
        value = true_ns + self.offset_ns
        left = true_ns - BEGIN
        for ppm in self.ppm:
            span = min(left, self.every_ns)
            value += span * ppm / 1e6
            left -= span
        return round(value + left * self.ppm[-1] / 1e6)


@dataclass
class Hop:
    """One message of the application. `sent` and `received` are its stamps, each of its own host."""

    sender: str
    receiver: str
    true_ns: int
    sent: int
    received: int
    common: list[int] = field(default_factory=lambda: [0, 0])
    error: int = -1


@dataclass
class World:
    """What happened. `log` is what the broker wrote, in its order."""

    clocks: dict[str, Clock]
    hops: list[Hop]
    log: list[tuple[str, str, object]]
    """(host, what, of what): a report as (stamp, data), or one end of a hop as (hop, 0 or 1)."""
    samples: dict[str, list[tuple[int, int, int]]]
    """Host -> (sent, returned, round trip) of every exchange, by its clock."""


def world(
    seed: int,
    *,
    hops: int = 10_000,
    length_ns: int = 60 * SECOND,
    to_broker: tuple[Delay, Delay] = (quick, quick),
    between: Delay = quick,
    most_ppm: float = 200,
    hosts: int = 3,
) -> World:
    chance = random.Random(seed)
    rates = length_ns // (10 * SECOND) + 1
    clocks = {
        f"lab-{number}": Clock(
            chance.randint(-5 * SECOND, 5 * SECOND), [chance.uniform(-most_ppm, most_ppm) for _ in range(rates)]
        )
        for number in range(hosts)
    }
    clocks[DESK] = Clock(0, [0])
    made = World(clocks, [], [], {})
    entries: list[tuple[float, int, str, str, object]] = []  # (true moment of its writing, number, host, what, of what)

    def write(true_ns: float, host: str, what: str, of: object) -> None:
        entries.append((true_ns + (0 if host == DESK else delays[host]), len(entries), host, what, of))

    delays = {host: chance.randint(0, 200 * MS) for host in clocks}
    for host, clock in clocks.items():
        if host != DESK:
            made.samples[host] = []
            for true_ns, stamp, data in _reports(chance, clock, length_ns, to_broker, made.samples[host]):
                write(true_ns, host, "report", (stamp, data))
    for _ in range(hops):
        sender, receiver = chance.sample(sorted(clocks), 2)
        true_ns = between(chance)
        at = BEGIN + chance.randint(0, length_ns - 200 * MS)
        hop = Hop(sender, receiver, true_ns, clocks[sender].at(at), clocks[receiver].at(at + true_ns))
        made.hops.append(hop)
        write(at, sender, "hop", (hop, 0))
        write(at + true_ns, receiver, "hop", (hop, 1))
    made.log = [(host, what, of) for _, _, host, what, of in sorted(entries, key=lambda entry: entry[:2])]
    return made


def _reports(
    chance: random.Random,
    clock: Clock,
    length_ns: int,
    delays: tuple[Delay, Delay],
    samples: list[tuple[int, int, int]],
) -> Iterator[tuple[float, int, dict[str, object]]]:
    """What a supervisor would report: (true moment, stamp, data)."""
    sampler = Sampler()
    exchanges: list[tuple[int, tuple[int, int, int, int]]] = []
    for sent in range(BEGIN, BEGIN + length_ns, 50 * MS):
        read = sent + delays[0](chance)
        written = read + chance.randint(10_000, 300_000)
        returned = written + delays[1](chance)
        exchanges.append((returned, (clock.at(sent), read, written, clock.at(returned))))
    exchanges.sort()
    for true_ns in range(BEGIN + 50 * MS, BEGIN + length_ns, 250 * MS):
        while exchanges and exchanges[0][0] < true_ns:
            _, (sent, read, written, returned) = exchanges.pop(0)
            sampler.add(sent, read, written, returned)
            samples.append((sent, returned, returned - sent - (written - read)))
        stamp = clock.at(true_ns)
        yield true_ns, stamp, sampler.report()
        sampler.reported(stamp)


def play(made: World, *, hints: bool) -> Timeline:
    """Give a timeline the log. Afterwards every hop has its stamps on the timeline, and their error."""
    timeline = Timeline(DESK)
    for host in made.clocks:
        timeline.join("@" + host, 1, host)
        timeline.join(host, 1, host)
    waiting: dict[str, list[tuple[Hop, int]]] = {host: [] for host in made.clocks}
    numbers = {id(hop): str(number) for number, hop in enumerate(made.hops)}
    known = [0] * len(made.hops)

    def stamp_of(hop: Hop, end: int) -> int:
        return (hop.sent, hop.received)[end]

    def translate(host: str) -> None:
        until = timeline.known_ns(host)
        ready = [(hop, end) for hop, end in waiting[host] if stamp_of(hop, end) < until]
        waiting[host] = [(hop, end) for hop, end in waiting[host] if stamp_of(hop, end) >= until]
        stamps = timeline.to_common_all(host, 1, [stamp_of(hop, end) for hop, end in ready])
        for (hop, end), stamp in zip(ready, stamps, strict=True):
            hop.common[end] = stamp
            number = int(numbers[id(hop)])
            known[number] += 1
            if known[number] == 2:
                hop.error = timeline.error(hop.receiver, hop.common[1], hop.sender, hop.common[0])

    for host, what, of in made.log:
        if what == "report":
            stamp, data = of  # type: ignore[misc]
            if timeline.report("@" + host, 1, stamp, data):
                translate(host)
            continue
        hop, end = of  # type: ignore[misc]
        if hints:
            timeline.hint(host, 1, (Kind.SEND, Kind.RECEIVE)[end], numbers[id(hop)], stamp_of(hop, end))
        waiting[host].append((hop, end))
        if host == DESK:
            translate(host)
    timeline.close()
    for host in made.clocks:
        translate(host)
    return timeline
