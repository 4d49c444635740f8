"""One log entry in, orders out: hands each entry to the parts that decide something from it.

Belongs here: which part of the run cares about which entry. Must not know where entries come from (a broker or a
file) or how orders travel; reads no clock.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Protocol

from broker.log import Entry
from probe.barrier import MOST_ASKS, PASSED, START
from probe.errors import WireError
from probe.event import Event, Kind
from probe.message import Away, Back, Break, Command, Events, Final, Gap, Gone, Hello, Release
from probe.sift import Nothing, why_not
from probe.units import FAKED
from probe.wire import Record, decode_order, event_of
from runner.core.clocks import Timeline
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.core.lockstep.barriers import Barriers
from runner.core.lockstep.quota import Quota
from runner.core.lockstep.skews import Skews
from runner.core.lockstep.waits import Waits
from runner.core.report.quantity import plural
from runner.core.verifier import Verifier
from runner.core.verifier.verifier import NO_RECORD
from runner.model.orders import RUNNER, SUPERVISOR, Directed, host_of, supervisor_of
from runner.model.result.unit_status import UnitStatus
from runner.model.scenario.model import Scenario
from runner.session.batch import Batch
from runner.session.host_results import HostResults
from runner.session.retiming import Retiming

BATCH = 256
"""Log entries that are digested before a loop looks at anything else."""
JUDGED_AT_ONCE = 5_000
"""So many instances of each circuit are judged one by one before a loop looks at anything else."""
JUDGED_IN_A_HURRY = 200
"""The same while a person waits for the run to end."""

REFUSED = "and was refused, so what that one emitted is in no log"

SURPLUS = "it sent more records than it said"
NOT_LOOKED_INTO = "in the log, and not looked into because the run was interrupted; circuit-run verify does"
TOO_MANY_ASKS = f"has more than {MOST_ASKS:,} waits and arrivals that are not answered"
"""What is counted (see `incidents`)."""

BREAK = Break.__name__.lower().encode()


class Past(Protocol):
    """What the log already holds; see `runner.adapters.history.lookup.Lookup`."""

    def take(self, entry: Entry, records: Sequence[Record | Nothing]) -> None: ...
    def expect(self, steps: Iterable[str]) -> None: ...
    def first(self, unit: str, step: str, key: str | None) -> Event | None: ...


class Dispatcher:
    """Everything that is decided from the log of one run. `past` finds probes that fired before a unit waited for
    them; without it the log itself says who was answered. `supervised` gets what supervisors say, with the name of
    their host."""

    def __init__(
        self,
        scenario: Scenario,
        lifecycle: Lifecycle,
        past: Past | None = None,
        supervised: Callable[[str, Event], None] = lambda _host, _event: None,
    ) -> None:
        names = tuple(unit.name for unit in scenario.units)
        self.timeline = Timeline(external=[u.name for u in scenario.units if u.launcher == "external"])
        self.skews = Skews()
        self.verifier = Verifier(scenario, self.timeline)
        self.lifecycle = lifecycle
        self.host_results = HostResults(scenario.used_hosts)
        self._evidence = Retiming(self.verifier, self.timeline, self.skews, self._may_list)
        self._homes = {unit.name: supervisor_of(unit.host) for unit in scenario.units if unit.launcher != "external"}
        self._supervisors = {
            SUPERVISOR: ("*",),
            **{supervisor_of(host.name): host.speaks_for for host in scenario.used_hosts},
        }
        """Supervisor of this run -> units of other hosts as which its processes may emit."""
        self._uncalled: set[str] = set()
        """Supervisors that spoke of hosts that have no part in this run."""
        self._supervised = supervised
        self._past = past
        self.quota = Quota()
        self._hurried = False
        self.barriers = Barriers(scenario.barriers, names, self.quota)
        self.waits = Waits(names, self._first, self.quota)
        self.recovered = 0
        """Events that a supervisor published after their unit's death."""
        self.closed: set[str] = set()
        """Supervisors ("@local") whose newest incarnation has said its last word."""
        self._faked: dict[str, str] = {}
        """Unit -> the library that fakes the clocks of its process."""
        self._supervising: dict[str, int] = {}
        """Supervisor -> its newest incarnation."""
        self._processes: dict[tuple[str, int], tuple[str, int]] = {}
        """Incarnation -> boot id and pid of the process that said HELLO as it."""
        self._wanted = lifecycle.units.wants
        self._ended: set[str] = set()
        self._gone: frozenset[str] = frozenset()

    def take(self, entry: Entry, now_ns: int) -> list[Directed]:
        """Digest `entry`; returns the orders that follow from it."""
        unit, message = entry.unit, entry.message
        if isinstance(message, Command):
            if BREAK in entry.body:
                self._note_break(message.to, entry.body)
            return []
        is_unit = not unit.startswith("@")
        if not is_unit and unit not in self._supervisors:  # the agent of a host that this run does not use
            if unit != RUNNER:
                self._uncalled.add(unit)
            return []
        if isinstance(message, Events):
            return self._unit_events(entry, message, now_ns) if is_unit else self._supervisor_events(entry, message)
        if isinstance(message, Hello):
            return self._hello(unit, entry.incarnation, message)
        if isinstance(message, Gap):
            self._evidence.lose(unit, entry.incarnation, message.first, message.last, message.why)
        elif isinstance(message, Final):
            return self._final(unit, entry.incarnation, message)
        return []

    def hurry(self) -> None:
        """A person wants the run to end: what units emit from now on is in the log, and is not looked into."""
        self._hurried = True

    def settle(self) -> bool:
        """Judge what can be judged by now, and no more than takes a moment. Returns whether there may be more."""
        most = JUDGED_IN_A_HURRY if self.lifecycle.interrupted else JUDGED_AT_ONCE
        return not self._hurried and self.verifier.settle(most)

    @property
    def incidents(self) -> Counter[str]:
        """What units did that they may not, as far as the broker cannot know: "who: what" -> how often."""
        return Counter({f"{unit}: {TOO_MANY_ASKS}": times for unit, times in self.quota.refused.items()})

    @property
    def over(self) -> bool:
        """The supervisor of the runner's own host has said its last word: there is nothing left to decide."""
        return SUPERVISOR in self.closed

    def answered(self, to: Iterable[str], answer: Release | Break) -> None:
        """The runner has given `answer` to the units `to`."""
        if isinstance(answer, Break):
            self._note_in_vain(to, answer)
        self.barriers.answered(answer)
        for unit in to:
            self.waits.answered(unit, answer.ask)

    def host(self, change: Away | Back | Gone, now_ns: int) -> None:
        """The runner has decided this about a host."""
        self.lifecycle.host(change, now_ns)
        self.host_results.changed(change, now_ns)
        if isinstance(change, Gone):
            self._evidence.supervisor_gone(supervisor_of(change.host))

    @property
    def awaited(self) -> bool:
        """Whether an external unit that was released has yet to say that all is known of it up to then."""
        return any(self.verifier.owing(unit, until_ns) for unit, until_ns in self.lifecycle.units.let_go.items())

    def close(self) -> None:
        """The log is at its end: judge what is left."""
        self._evidence.close()
        for unit, until_ns in {} if self.lifecycle.interrupted else self.lifecycle.units.let_go.items():
            self.verifier.has_to_be_known(unit, until_ns)
        self.verifier.forgive(self.lifecycle.forgiven)
        self.verifier.close(cut_off=self.lifecycle.interrupted)

    def notes(self) -> tuple[str, ...]:
        """What is no finding and yet worth knowing."""
        return (
            *(_restarts(status) for status in self.lifecycle.units.statuses() if status.former),
            *(
                f"{unit} never said its last word; what it emitted in the end is not known"
                for unit in self.lifecycle.silent
            ),
            *(
                f"the clocks of {unit} are faked by LD_PRELOAD={by}; its probes are stamped by the host's own clock"
                for unit, by in sorted(self._faked.items())
            ),
            *(
                f"{one} and {other} say that they are on one host, and contradict each other about its clock: "
                "no time that was measured there counts"
                for one, other in self.timeline.contested
            ),
            *(
                f"{unit} took part, and no unit of this run is started on its host: what it said counts for nothing"
                for unit in sorted(self._uncalled)
            ),
        )

    def _may_list(self, supervisor: str, unit: str) -> bool:
        """Whether the unit may have processes on the host of this supervisor."""
        if self._homes.get(unit, supervisor) == supervisor:
            return True
        return any(fnmatchcase(unit, pattern) for pattern in self._supervisors.get(supervisor, ()))

    def note_endings(self) -> list[Directed]:
        """Tell all units which of them have ended since the last call."""
        orders: list[Directed] = []
        for status in self.lifecycle.units.statuses():
            name = status.name
            if status.state.ended and name not in self._ended:
                self._ended.add(name)
                why = status.why or f"has {status.state}"
                if not self.lifecycle.interrupted:  # else the end of the run is all the answer they need
                    orders += [*self.barriers.ended(name, why), *self.waits.ended(name, why)]
            elif name in self._ended and not status.state.ended:  # started again
                self._ended.discard(name)
                self.barriers.restarted(name)
                self.waits.restarted(name)
        gone = self.lifecycle.units.gone
        for name in gone - self._gone:  # one that is judged to have failed may still speak until its process is gone
            stopped_ns = self.lifecycle.units[name].stopped_ns
            self._evidence.end_unit(name, stopped_ns, cut_off=self.lifecycle.is_cut_off(name))
        self._gone = gone
        return orders

    def _hello(self, unit: str, incarnation: int, message: Hello) -> list[Directed]:
        process = message.host, message.pid
        if self._processes.setdefault((unit, incarnation), process) != process:
            self._evidence.doubt(unit, incarnation, f"another process (pid {message.pid}) spoke as it, {REFUSED}")
            return []
        self._evidence.join(unit, incarnation, message.host, journal=message.journal)
        if unit not in self._supervisors:
            self.lifecycle.joined(unit, incarnation, message.waiting)
        elif not message.recovered and self._supervising.get(unit) != incarnation:
            self._supervising[unit] = incarnation
            self.closed.discard(unit)
        return [*self.barriers.again(unit, message.waiting), *self.waits.again(unit, message.waiting)]

    def _final(self, unit: str, incarnation: int, message: Final) -> list[Directed]:
        if message.unknown:
            self._evidence.doubt(unit, incarnation, message.unknown)
        self._evidence.final(unit, incarnation, message.last)
        if unit in self._supervisors and incarnation == self._supervising.get(unit, incarnation):
            self.closed.add(unit)
        self.lifecycle.final(unit, incarnation)
        return self.note_endings()

    def _unit_events(self, entry: Entry, message: Events, now_ns: int) -> list[Directed]:
        unit, incarnation = entry.unit, entry.incarnation
        if self._hurried:
            if message.count:
                last = message.first + message.count - 1
                self._evidence.lose(unit, incarnation, message.first, last, NOT_LOOKED_INTO)
            return []
        batch = Batch(entry, message)
        if batch.surplus:
            self._evidence.doubt(unit, incarnation, SURPLUS)
        if self._past is not None:
            self._past.take(entry, batch.places)
        if message.recovered:
            self.recovered += batch.user_events
        if unit in self._wanted:
            for event in batch.events():
                self.lifecycle.event(self._evidence.at_once(event))
            self._wanted = self.lifecycle.units.wants
        orders: list[Directed] = []
        if self.waits.waiting:
            orders += self._evidence.answers_at_once(incarnation, self.waits.saw(unit, batch.records))
        requests = batch.requests()
        # from here on the stamps of the records are those of the timeline
        self._evidence.batch(unit, incarnation, batch.places, message.watermark_ns, message.first)
        if self._past is not None and (steps := [step for event in requests if (step := self._fired_step(event))]):
            self._past.expect(steps)
        for event in requests:
            orders += self._request(event, now_ns)
        return orders

    def _request(self, event: Event, now_ns: int) -> list[Directed]:
        """What a unit asks for, or says about itself."""
        if event.kind is Kind.ARRIVE and event.data.get("ask") != START:
            return self.barriers.arrive(event, now_ns)
        if event.kind is Kind.WAIT:
            return self.waits.asked(event, now_ns)
        if event.kind is Kind.STATE:
            self._evidence.clock(event)
            if event.step == PASSED:
                self._evidence.passed(event)
            elif event.step == FAKED:
                self._faked[event.unit] = str(event.data.get("by"))
        return []

    def _supervisor_events(self, entry: Entry, message: Events) -> list[Directed]:
        unit, incarnation = entry.unit, entry.incarnation
        host = host_of(unit) or ""
        batch = Batch(entry, message)
        if batch.surplus:
            self._evidence.doubt(unit, incarnation, SURPLUS)
        for number, place in enumerate(batch.places, message.first):
            why = why_not(place, number)
            if why or isinstance(place, Nothing):
                self._evidence.lose(unit, incarnation, number, number, f"{NO_RECORD}: {why}")
                continue
            event = event_of(unit, incarnation, place)
            self._evidence.clock(event)
            self._evidence.listed(event)
            self.lifecycle.event(self._evidence.at_once(event))
            self._supervised(host, event)
        self.host_results.heard(host)
        self._wanted = self.lifecycle.units.wants
        return self.note_endings()

    def _note_break(self, to: Iterable[str], command: bytes) -> None:
        with suppress(WireError):
            if isinstance(order := decode_order(command), Break):
                self._note_in_vain(to, order)

    def _note_in_vain(self, to: Iterable[str], broken: Break) -> None:
        for unit in to:
            self._evidence.awaited_in_vain(unit, broken.who)

    def _fired_step(self, event: Event) -> str:
        """The step that is awaited, if it may have fired already."""
        unit, step = event.data.get("unit"), event.data.get("step")
        if event.kind is not Kind.WAIT or type(unit) is not str or type(step) is not str:
            return ""
        return step if self._evidence.may_have_fired(unit, step) else ""

    def _first(self, unit: str, step: str, key: str | None) -> Event | None:
        """The first such event in the log so far, for a unit that waits for it."""
        if self._past is None or not self._evidence.may_have_fired(unit, step):
            return None
        found = self._past.first(unit, step, key)
        return found and self._evidence.at_once(found)


def _restarts(status: UnitStatus) -> str:
    """How the lives of a unit ended that was started again."""
    ends = ", then ".join(life.how for life in status.former)
    times = f" {plural(len(status.former), 'time')}" if len(status.former) > 1 else ""
    return f"{status.name} {ends}, and was started again{times}"
