"""Barriers that know their members: arrivals and deaths in, releases and breaks out.

Belongs here: who is a party, when a round opens, when it breaks and which units are named as the reason. Must not know
sockets or read a clock; the time is an argument, in nanoseconds on the clock of the runner's host.

A barrier may be used again and again: a unit's n-th arrival belongs to round n. A round opens when every party has
arrived. It breaks, for all units that wait there, as soon as a party has ended without being released, or at the first
deadline of a unit that waits there. A unit that was restarted begins with round 1 again and is released from the rounds
that opened without it. A barrier with `at` opens at a moment of the run's timeline, a while after the last arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from probe.event import Event
from probe.message import Break, Order, Release
from runner.core.lockstep.quota import Quota
from runner.core.lockstep.timeouts import Timeouts
from runner.model.orders import KEPT_ANSWERS, Directed, is_pattern, meant, patience_of
from runner.model.scenario.model import Barrier

KEPT_PARTIES: Final = 1000
"""For so many lists of parties the units that they mean are remembered; a run has a few."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parties:
    """The units that have to arrive, in the scenario's order. One object for all rounds of the same parties."""

    names: tuple[str, ...]
    all: frozenset[str]


@dataclass(slots=True, eq=False)
class _Round:
    name: str
    number: int
    ask: str
    parties: _Parties
    arrived: dict[str, int] = field(default_factory=dict)
    """Unit -> size of its ask (see `Quota`), in the order in which they came."""
    patience_s: float = 0.0
    deadline_ns: int | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(party for party in self.parties.names if party not in self.arrived)


class Barriers:
    """All barriers of one run. `units` are the units of the scenario, the default parties."""

    def __init__(self, declared: Sequence[Barrier], units: Sequence[str], quota: Quota | None = None) -> None:
        self._declared = {barrier.name: barrier for barrier in declared}
        self._units = tuple(units)
        self._quota = quota or Quota()
        self._ended: dict[str, str] = {}
        self._waiting: dict[str, _Round] = {}
        self._by_parties: dict[_Parties, dict[_Round, None]] = {}
        """Rounds that have not opened or broken, by their parties."""
        self._parties: dict[tuple[str, ...], _Parties] = {}
        """Parties as a call or the scenario names them -> the units that are meant; see `KEPT_PARTIES`."""
        self._timeouts: Timeouts[_Round] = Timeouts()
        self._opened: dict[str, int] = {}
        self._answers: dict[str, Order] = {}

    def arrive(self, event: Event, now_ns: int) -> list[Directed]:
        """A unit waits at barrier `event.step`; `event.data` is as in docs/design.md. A unit that reports it again is
        answered again."""
        unit, name = event.unit, event.step
        ask, number = str(event.data.get("ask", "")), event.data.get("round", 1)
        number = number if type(number) is int else 0
        if 0 < number <= self._opened.get(name, 0):
            return [Directed(Release(ask), (unit,))]
        if (answer := self._answers.get(ask)) is not None:
            return [Directed(answer, (unit,))]
        named = event.data.get("parties")
        listed = tuple(map(str, named)) if isinstance(named, list | tuple) else ()
        round_ = self._waiting.get(ask)
        if round_ is None or unit not in round_.arrived:
            size = len(ask) + len(name) + sum(map(len, listed))
            if not self._quota.admit(unit, size):
                broken = Break(ask, (unit,), self._quota.why)
                return [Directed(broken, (unit,))] if self._quota.is_answered(unit) else []
            if round_ is None:
                round_ = self._open(_Round(name, number, ask, self._parties_of(name, listed)))
            round_.arrived[unit] = size
        self._set_deadline(round_, event, now_ns)
        parties = self._parties_of(name, listed)
        if parties is not round_.parties and parties.names != round_.parties.names:
            return self._break(round_, (unit,), f"names other parties than {next(iter(round_.arrived))}")
        if unit not in parties.all:
            return self._break(round_, (unit,), f"arrived but is no party; parties are {', '.join(parties.names)}")
        return self._judge(round_, now_ns)

    def ended(self, unit: str, why: str) -> list[Directed]:
        """`unit` will do nothing more; `why` completes the sentence "<unit> ..."."""
        self._ended[unit] = why
        hit = [rounds for parties, rounds in self._by_parties.items() if unit in parties.all]
        return [order for rounds in hit for round_ in list(rounds) for order in self._break_if_dead(round_)]

    def restarted(self, unit: str) -> None:
        """`unit` lives again."""
        self._ended.pop(unit, None)

    def again(self, unit: str, asks: Sequence[str]) -> list[Directed]:
        """`unit` connected anew and is still blocked on `asks`: repeat the answers that may have been lost."""
        return [Directed(self._answers[ask], (unit,)) for ask in asks if ask in self._answers]

    def answered(self, answer: Release | Break) -> None:
        """The process that drives the run has answered, perhaps because of a timeout that is not measured here."""
        if (round_ := self._waiting.get(answer.ask)) is not None:
            self._close(round_)
            self._answers[answer.ask] = answer

    def tick(self, now_ns: int) -> list[Directed]:
        """Breaks what ran out of time."""
        late = self._timeouts.take_due(now_ns)
        return [order for r in late for order in self._break(r, r.missing, _too_late(r.patience_s), timeout=True)]

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do; None: never, as things are."""
        return self._timeouts.next_ns

    def blocked(self) -> dict[str, str]:
        """Unit -> what it waits for, for those that wait at a barrier."""
        blocked = {}
        for round_ in self._waiting.values():
            what = f"barrier {round_.name} (missing: {', '.join(round_.missing)})"
            blocked.update(dict.fromkeys(round_.arrived, what))
        return blocked

    def _parties_of(self, name: str, listed: tuple[str, ...]) -> _Parties:
        """What the scenario declares, else what the call says, else every unit."""
        declared = self._declared.get(name)
        patterns = (declared.parties if declared else ()) or listed
        parties = self._parties.get(patterns)
        if parties is None:
            strangers = (name for name in patterns if name not in self._units and not is_pattern(name))
            names = meant(patterns, (*self._units, *dict.fromkeys(strangers))) or self._units
            parties = _Parties(names, frozenset(names))
            if len(self._parties) >= KEPT_PARTIES:
                self._parties.clear()
            self._parties[patterns] = parties
        return parties

    def _set_deadline(self, round_: _Round, event: Event, now_ns: int) -> None:
        """The timeout of the call, else that of the scenario; the first deadline of a round ends it."""
        patience_s = patience_of(event.data.get("timeout_s"))
        declared = self._declared.get(round_.name)
        if patience_s is None and declared and declared.timeout_ns is not None:
            patience_s = declared.timeout_ns / 1e9
        if patience_s is None:
            return
        deadline_ns = now_ns + int(patience_s * 1e9)
        if round_.deadline_ns is None or deadline_ns < round_.deadline_ns:
            round_.deadline_ns, round_.patience_s = deadline_ns, patience_s
            self._timeouts.put(round_, deadline_ns)

    def _judge(self, round_: _Round, now_ns: int) -> list[Directed]:
        if broken := self._break_if_dead(round_):
            return broken
        if len(round_.arrived) < len(round_.parties.names):
            return []
        self._opened[round_.name] = max(self._opened.get(round_.name, 0), round_.number)
        declared = self._declared.get(round_.name)
        at_ns = now_ns + declared.at_ns if declared is not None and declared.at_ns is not None else 0
        return self._answer(round_, Release(round_.ask, at_ns=at_ns))

    def _break_if_dead(self, round_: _Round) -> list[Directed]:
        if round_.parties.all.isdisjoint(self._ended):
            return []
        dead = tuple(party for party in round_.parties.names if party in self._ended)
        return self._break(round_, dead, self._ended[dead[0]])

    def _break(self, round_: _Round, who: tuple[str, ...], why: str, *, timeout: bool = False) -> list[Directed]:
        return self._answer(round_, Break(round_.ask, who, why, timeout))

    def _answer(self, round_: _Round, answer: Order) -> list[Directed]:
        self._close(round_)
        self._answers[round_.ask] = answer
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return [Directed(answer, tuple(round_.arrived))]

    def _open(self, round_: _Round) -> _Round:
        self._waiting[round_.ask] = round_
        self._by_parties.setdefault(round_.parties, {})[round_] = None
        return round_

    def _close(self, round_: _Round) -> None:
        del self._waiting[round_.ask]
        rounds = self._by_parties[round_.parties]
        del rounds[round_]
        if not rounds:
            del self._by_parties[round_.parties]
        self._timeouts.drop(round_)
        for unit, size in round_.arrived.items():
            self._quota.release(unit, size)


def _too_late(patience_s: float) -> str:
    return f"did not arrive within {patience_s:g} s"
