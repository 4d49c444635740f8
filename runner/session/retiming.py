"""What units emitted, on its way to the verifier, put on the run's timeline where another clock has stamped it.

Belongs here: which evidence waits until its clock is known, and in which order it goes on. How clocks are related is
the business of `clocks`; must not know how anything is judged.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final, TypeAlias, TypeGuard

from probe.clock_pings import CLOCK
from probe.event import Event, Kind
from probe.message import Release
from probe.sift import Nothing
from probe.wire import Record
from runner.core.clocks import Timeline
from runner.core.lockstep.skews import Skews
from runner.core.verifier import Verifier
from runner.core.verifier.unit_activity import STEPS
from runner.model.orders import Directed

Places: TypeAlias = Sequence[Record | Nothing]
_MESSAGES: Final = (int(Kind.SEND), int(Kind.RECEIVE))
FUTURE_NS = 60_000_000_000
"""No honest stamp is so far ahead of what is known of its clock; one that is does not hold back its host for ever."""
_LISTINGS = ("serving", "journals")
"""Steps under which a supervisor says who keeps a journal on its host."""
_EVER = -(1 << 63)
"""Needs no clock, and yet its turn."""


class Retiming:
    """Takes what `Verifier` takes of units. What a foreign clock has stamped waits for that clock, and whatever else
    the same clock's units have said waits behind it."""

    def __init__(
        self,
        verifier: Verifier,
        timeline: Timeline,
        skews: Skews,
        may_list: Callable[[str, str], bool] = lambda _supervisor, _unit: True,
    ) -> None:
        """`may_list` says of a supervisor and a unit whether the unit may have processes on that host."""
        self._verifier = verifier
        self._timeline = timeline
        self._skews = skews
        self._may_list = may_list
        self._held: dict[str, deque[tuple[int, Callable[[], None]]]] = {}
        """Boot id -> what waits: up to which of its stamps the clock has to be known, and what is to be done then."""
        self._fired: dict[str, set[str]] = {}
        """Unit -> steps that a foreign clock has stamped, up to STEPS: it has fired them, whenever that was."""
        self._boots: dict[str, set[str]] = {}
        """Unit -> foreign clocks that have stamped for it."""
        self._supervisors: dict[str, set[str]] = {}
        """Boot id -> the supervisors of that host."""

    @property
    def waiting(self) -> bool:
        """Whether anything is held back."""
        return any(self._held.values())

    def may_have_fired(self, name: str, step: str) -> bool:
        """Whether a unit has fired that probe, be it on its way to the verifier, as far as is remembered. `name` may be
        a pattern."""
        return self._verifier.may_have_fired(name, step) or any(
            (step in steps or len(steps) >= STEPS) and fnmatchcase(unit, name) for unit, steps in self._fired.items()
        )

    def join(self, unit: str, incarnation: int, boot: str, *, journal: bool = True) -> None:
        """A HELLO."""
        self._timeline.join(unit, incarnation, boot)
        if unit.startswith("@"):
            self._supervisors.setdefault(boot, set()).add(unit)
        else:
            self._verifier.join(unit, incarnation, self._supervisors.get(boot, ()), journal=journal)
            if self._timeline.is_remote(unit, incarnation):
                self._boots.setdefault(unit, set()).add(boot)

    def batch(self, unit: str, incarnation: int, places: Places, watermark_ns: int, first: int | None = None) -> None:
        """Records of one incarnation, with its own stamps, numbered from `first`; see `Verifier.batch`."""
        timeline = self._timeline
        if not timeline.one_clock:
            self._take_hints(unit, incarnation, places)
        if not timeline.is_remote(unit, incarnation):
            self._verifier.batch(unit, incarnation, places, watermark_ns, first)
            return
        stamps = [record[1] for record in places if _has_stamp(record)]
        fired = self._fired.setdefault(unit, set())
        if len(fired) < STEPS:
            fired.update(record[2] for record in places if _has_stamp(record) and type(record[2]) is str)
        until_ns = max([watermark_ns, *stamps])
        self._when_known(
            unit, incarnation, until_ns, lambda: self._translate(unit, incarnation, places, watermark_ns, first)
        )

    def _translate(self, unit: str, incarnation: int, places: Places, watermark_ns: int, first: int | None) -> None:
        stamped = [record for record in places if _has_stamp(record)]
        *moments, watermark_ns = self._timeline.to_common_all(
            unit, incarnation, [*(record[1] for record in stamped), watermark_ns]
        )
        for record, moment in zip(stamped, moments, strict=True):
            record[1] = moment
        self._verifier.batch(unit, incarnation, places, watermark_ns, first)

    def _take_hints(self, unit: str, incarnation: int, places: Places) -> None:
        """Messages of the application tell about clocks, too."""
        for record in places:
            if _has_stamp(record) and record[3] in _MESSAGES and type(record[3]) is int and type(record[4]) is str:
                self._timeline.hint(unit, incarnation, Kind(record[3]), record[4], record[1])

    def lose(self, unit: str, incarnation: int, first: int, last: int, why: str) -> None:
        """A GAP; it says nothing about time."""
        self._verifier.lose(unit, incarnation, first, last, why)

    def awaited_in_vain(self, asker: str, names: Iterable[str]) -> None:
        """See `Verifier.awaited_in_vain`."""
        self._verifier.awaited_in_vain(asker, names)

    def doubt(self, unit: str, incarnation: int, why: str) -> None:
        """What of this incarnation is lost is not known; it says nothing about time."""
        self._verifier.doubt(unit, incarnation, why)

    def final(self, unit: str, incarnation: int, last: int) -> None:
        """A FINAL, also of a supervisor: it was the last to say something about its clock."""
        if not unit.startswith("@"):
            self._when_known(unit, incarnation, _EVER, lambda: self._verifier.final(unit, incarnation, last))
        if self._timeline.final(unit, incarnation):
            self.release()

    def supervisor_gone(self, supervisor: str) -> None:
        """No event waits any more for what this supervisor says about its clock."""
        if self._timeline.lose(supervisor):
            self.release()

    def end_unit(self, unit: str, stopped_ns: int | None = None, *, cut_off: bool = False) -> None:
        """The unit's process is gone, and all it said has been taken here."""
        waits = [boot for boot in sorted(self._boots.get(unit, ())) if self._held.get(boot)]
        self._after(waits, lambda: self._verifier.end_unit(unit, stopped_ns, cut_off=cut_off))

    def _after(self, boots: list[str], do: Callable[[], None]) -> None:
        """One after the other: what waits now for each of these clocks goes on before that is done."""
        if boots:
            self._held[boots[0]].append((_EVER, lambda: self._after(boots[1:], do)))
        else:
            do()

    def clock(self, event: Event) -> None:
        """A unit or supervisor reports what it has measured."""
        if event.step == CLOCK and self._timeline.report(event.unit, event.incarnation, event.stamp_ns, event.data):
            self.release()

    def listed(self, event: Event) -> None:
        """A supervisor has looked who keeps a journal on its host: they are there, heard or not. About a unit that has
        no business there it is not believed: it could hold that back as long as it likes."""
        if event.kind is not Kind.STATE or event.step not in _LISTINGS:
            return
        at_ns, lives = event.data.get("at_ns"), event.data.get("lives")
        for life in lives if isinstance(lives, list) else ():
            if isinstance(life, list) and [*map(type, life)] == [str, int]:
                unit, incarnation = life
                if self._may_list(event.unit, unit):
                    self._verifier.join(unit, incarnation, (event.unit,))
        if type(at_ns) is not int:
            return

        def take() -> None:
            (moment,) = self._timeline.to_common_all(event.unit, event.incarnation, [at_ns])
            self._verifier.listed(event.unit, moment)

        self._when_known(event.unit, event.incarnation, at_ns, take)

    def passed(self, event: Event) -> None:
        """A unit went on at the moment that its release had named."""
        went_ns, ask = event.data.get("went_ns"), event.data.get("ask")
        if type(went_ns) is not int or type(ask) is not str:
            return
        unit, incarnation = event.unit, event.incarnation

        def take() -> None:
            (moment,) = self._timeline.to_common_all(unit, incarnation, [went_ns])
            self._skews.passed(event.key or "", ask, unit, moment)

        self._when_known(unit, incarnation, went_ns, take)

    def at_once(self, event: Event) -> Event:
        """The same event with its stamp on the timeline, as well as that is known now: for parts that cannot wait."""
        if not self._timeline.is_remote(event.unit, event.incarnation):
            return event
        return replace(event, stamp_ns=self._timeline.to_common(event.unit, event.incarnation, event.stamp_ns))

    def answers_at_once(self, incarnation: int, answers: Sequence[Directed]) -> list[Directed]:
        """Answers to waits for probes of this incarnation, with their stamps on the timeline in the same way."""
        if self._timeline.one_clock:
            return list(answers)
        return [
            replace(
                each, order=replace(each.order, stamp_ns=self._timeline.to_common(each.order.unit, incarnation, ns))
            )
            if isinstance(each.order, Release) and (ns := each.order.stamp_ns)
            else each
            for each in answers
        ]

    def release(self) -> None:
        """Let go on what needs to wait no longer."""
        for boot, held in self._held.items():
            known_ns = self._timeline.known_ns(boot)
            while held and held[0][0] < known_ns:
                held.popleft()[1]()

    def close(self) -> None:
        """No clock will be known any better."""
        self._timeline.close()
        while self.waiting:
            self.release()

    def _when_known(self, unit: str, incarnation: int, until_ns: int, do: Callable[[], None]) -> None:
        boot = self._timeline.clock_of(unit, incarnation)
        held = self._held.setdefault(boot, deque()) if self._timeline.is_remote(unit, incarnation) else None
        if known_ns := self._timeline.known_ns(boot):
            until_ns = min(until_ns, known_ns + FUTURE_NS)
        if held is None or (not held and until_ns < self._timeline.known_ns(boot)):
            do()
        else:
            held.append((until_ns, do))


def _has_stamp(place: Record | Nothing) -> TypeGuard[Record]:
    return type(place) is list and type(place[1]) is int and place[1] >= 0
