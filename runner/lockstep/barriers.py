"""Barriers that know their members: arrivals and deaths in, releases and breaks out.

Belongs here: who is a party, when a round opens, when it breaks and whom to blame. Must not know sockets or read a
clock; the time is an argument, in nanoseconds on the clock of the runner's host.

A barrier may be used again and again: a unit's n-th arrival belongs to round n. A round opens when every party has
arrived. It breaks, for all who stand there, as soon as a party has ended without being let through, or at the first
deadline of anybody who stands there. A unit that was restarted begins with round 1 again and is let through the rounds
that opened without it. A barrier with `at` opens at a moment of the run's timeline, a while after the last arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from probe.event import Event
from probe.message import Break, Order, Release
from runner.orders import KEPT_ANSWERS, Directed, is_pattern, meant, patience_of
from runner.scenario.model import Barrier


@dataclass(slots=True)
class _Round:
    name: str
    number: int
    ask: str
    parties: tuple[str, ...]
    arrived: dict[str, int] = field(default_factory=dict)
    """Unit -> stamp of its arrival."""
    deadline_ns: int | None = None
    patience_s: float = 0.0

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(party for party in self.parties if party not in self.arrived)


class Barriers:
    """All barriers of one run. `units` are the units of the scenario, the default parties."""

    def __init__(self, declared: Sequence[Barrier], units: Sequence[str]) -> None:
        self._declared = {barrier.name: barrier for barrier in declared}
        self._units = tuple(units)
        self._ended: dict[str, str] = {}
        self._standing: dict[str, _Round] = {}
        self._opened: dict[str, int] = {}
        self._answers: dict[str, Order] = {}

    def arrive(self, event: Event, now_ns: int) -> list[Directed]:
        """A unit stands at barrier `event.step`; `event.data` is as in docs/design.md."""
        unit, name = event.unit, event.step
        ask, number = str(event.data.get("ask", "")), event.data.get("round", 1)
        number = number if type(number) is int else 0
        if 0 < number <= self._opened.get(name, 0):
            return [Directed(Release(ask), (unit,))]
        if (answer := self._answers.get(ask)) is not None:
            return [Directed(answer, (unit,))]
        parties, patience_s = self._terms(event)
        standing = self._standing.setdefault(ask, _Round(name, number, ask, parties))
        standing.arrived[unit] = event.stamp_ns
        if patience_s is not None:
            deadline = now_ns + int(patience_s * 1e9)
            if standing.deadline_ns is None or deadline < standing.deadline_ns:
                standing.deadline_ns, standing.patience_s = deadline, patience_s
        if parties != standing.parties:
            return self._break(standing, (unit,), f"names other parties than {next(iter(standing.arrived))}")
        if unit not in parties:
            return self._break(standing, (unit,), f"arrived but is no party; parties are {', '.join(parties)}")
        return self._judge(standing, now_ns)

    def ended(self, unit: str, why: str) -> list[Directed]:
        """`unit` will do nothing more; `why` completes the sentence "<unit> ..."."""
        self._ended[unit] = why
        return [order for standing in list(self._standing.values()) for order in self._break_if_dead(standing)]

    def restarted(self, unit: str) -> None:
        """`unit` lives again."""
        self._ended.pop(unit, None)

    def again(self, unit: str, asks: Sequence[str]) -> list[Directed]:
        """`unit` connected anew and is still blocked on `asks`: repeat the answers that may have been lost."""
        return [Directed(self._answers[ask], (unit,)) for ask in asks if ask in self._answers]

    def answered(self, answer: Release | Break) -> None:
        """Whoever drives the run has answered, were it because a time ran out that nobody measures here."""
        if self._standing.pop(answer.ask, None) is not None:
            self._answers[answer.ask] = answer

    def tick(self, now_ns: int) -> list[Directed]:
        """Breaks what ran out of time."""
        late = [r for r in self._standing.values() if r.deadline_ns is not None and now_ns >= r.deadline_ns]
        return [order for r in late for order in self._break(r, r.missing, _too_late(r.patience_s), timeout=True)]

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do; None: never, as things stand."""
        return min((r.deadline_ns for r in self._standing.values() if r.deadline_ns is not None), default=None)

    def blocked(self) -> dict[str, str]:
        """Unit -> what it waits for, for those that stand at a barrier."""
        return {
            unit: f"barrier {standing.name} (missing: {', '.join(standing.missing)})"
            for standing in self._standing.values()
            for unit in standing.arrived
        }

    def _terms(self, event: Event) -> tuple[tuple[str, ...], float | None]:
        """Parties and patience (s): what the scenario declares, else what the call says, else every unit, for ever."""
        declared = self._declared.get(event.step)
        named, timeout_s = event.data.get("parties"), patience_of(event.data.get("timeout_s"))
        patterns = declared.parties if declared and declared.parties else ()
        if not patterns and isinstance(named, list | tuple):
            patterns = tuple(str(party) for party in named)
        strangers = (name for name in patterns if name not in self._units and not is_pattern(name))
        parties = meant(patterns, (*self._units, *strangers)) or self._units
        if timeout_s is None and declared and declared.timeout_ns is not None:
            timeout_s = declared.timeout_ns / 1e9
        return parties, timeout_s

    def _judge(self, standing: _Round, now_ns: int) -> list[Directed]:
        if broken := self._break_if_dead(standing):
            return broken
        if len(standing.arrived) < len(standing.parties):
            return []
        self._opened[standing.name] = max(self._opened.get(standing.name, 0), standing.number)
        declared = self._declared.get(standing.name)
        at_ns = now_ns + declared.at_ns if declared is not None and declared.at_ns is not None else 0
        return self._answer(standing, Release(standing.ask, at_ns=at_ns))

    def _break_if_dead(self, standing: _Round) -> list[Directed]:
        dead = [party for party in standing.parties if party in self._ended]
        return self._break(standing, tuple(dead), self._ended[dead[0]]) if dead else []

    def _break(self, standing: _Round, who: tuple[str, ...], why: str, *, timeout: bool = False) -> list[Directed]:
        return self._answer(standing, Break(standing.ask, who, why, timeout))

    def _answer(self, standing: _Round, answer: Order) -> list[Directed]:
        del self._standing[standing.ask]
        self._answers[standing.ask] = answer
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return [Directed(answer, tuple(standing.arrived))]


def _too_late(patience_s: float) -> str:
    return f"did not arrive within {patience_s:g} s"
