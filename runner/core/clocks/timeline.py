"""The timeline of a run: the broker's clock, and how every other clock relates to it.

Belongs here: which unit has which clock, and whose reports count. How a clock becomes known is `remote_clock`'s
business. Reads no clock itself: everything it knows was in the log.

A HELLO may claim to come from any host. So about the clock of a host only its supervisors are believed, and the clock
is named by the host's boot id. On a host without a supervisor each unit has a clock of its own, named by both, about
which only that unit is believed.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from probe.clock import MAX_DRIFT_PPM, drift_ns
from probe.event import Kind
from runner.core.clocks.clock_map import FOREVER, ROUNDING_NS
from runner.core.clocks.estimate import Estimate, drift_ppm
from runner.core.clocks.messages import Messages
from runner.core.clocks.pair import ClockPair
from runner.core.clocks.reference_clock import ReferenceClock
from runner.core.clocks.remote_clock import Clock, RemoteClock
from runner.core.clocks.reports import parse
from runner.model.result.result import UNKNOWN

DRIFT_SAMPLES: Final = 60
"""Knots from which the drift is estimated."""


class Timeline:
    """All clocks of one run. Stamps of a unit that has the broker's clock are on the timeline as they are."""

    def __init__(self, reference: str = "", external: Collection[str] = ()) -> None:
        """`reference` is the boot id of the broker's host; "": not known yet, and so no clock is remote. `external` are
        units that this run does not start: their messages say nothing about clocks."""
        self.malformed = 0
        """Reports that made no sense and were ignored."""
        self._reference = reference
        self._external = frozenset(external)
        self._clock_names: dict[tuple[str, int], str] = {}
        """(unit, incarnation) -> clock; "" where it is not known."""
        self._boots: dict[str, str] = {}
        """Clock of one unit alone -> boot id of the host on which the unit says it is."""
        self._units: dict[str, list[str]] = {}
        """Unit -> every clock it has had, the newest last."""
        self._reference_clock = ReferenceClock()
        self._remote: dict[str, RemoteClock] = {}
        self._supervised: set[str] = set()
        self._reporters: dict[str, set[tuple[str, int]]] = {}
        """Clock -> the incarnations that report about it."""
        self._messages = Messages()
        self._has_remote = False

    # --- what the log says ---

    @property
    def reference(self) -> str:
        """Boot id of the host whose clock this is; "" while it is not known."""
        return self._reference

    @reference.setter
    def reference(self, boot: str) -> None:
        self._reference = boot
        self._remote.pop(boot, None)
        for clock in [clock for clock, of in self._boots.items() if of == boot]:
            self._remote.pop(clock, None)
            self._rename(clock, boot)
        self._has_remote = bool(boot and self._remote)

    def join(self, unit: str, incarnation: int, boot: str) -> None:
        """A HELLO: this incarnation has the clock of the host with this boot id; "" counts as the broker's."""
        if unit.startswith("@"):
            self._supervised.add(boot)
        known = self._clock_names.get((unit, incarnation))
        clock = known if known is not None and self._boot_of(known) == boot else self._clock_on(boot, unit)
        self._clock_names[unit, incarnation] = clock
        clocks = self._units.setdefault(unit, [])
        if clock in clocks:
            clocks.remove(clock)
        clocks.append(clock)
        if boot and boot != self._reference:
            remote = self._remote.setdefault(clock, RemoteClock())
            self._has_remote = bool(self._reference)
            if unit.startswith("@"):
                remote.expect(unit)
                self._reporters.setdefault(clock, set()).add((unit, incarnation))

    def _clock_on(self, boot: str, unit: str) -> str:
        if not boot or boot == self._reference or boot in self._supervised:
            return boot
        clock = f"{boot} {unit}"
        self._boots[clock] = boot
        return clock

    def _boot_of(self, clock: str) -> str:
        return self._boots.get(clock, clock)

    def _rename(self, clock: str, boot: str) -> None:
        """What was taken for a clock of its own is that of `boot`."""
        del self._boots[clock]
        self._clock_names.update((one, boot) for one, name in self._clock_names.items() if name == clock)
        for unit, clocks in self._units.items():
            self._units[unit] = list(dict.fromkeys(boot if each == clock else each for each in clocks))

    def report(self, unit: str, incarnation: int, stamp_ns: object, data: object) -> bool:
        """A record `clock` of this incarnation. Returns whether more stamps can be translated now."""
        boot = self._clock_names.get((unit, incarnation), "")
        clock = self._remote.get(boot)
        if clock is None or (boot in self._supervised and not unit.startswith("@")):
            return False
        report = parse(stamp_ns, data)
        if report is None:
            self.malformed += 1
            return False
        self._reporters.setdefault(boot, set()).add((unit, incarnation))
        return clock.report(unit, report)

    def final(self, unit: str, incarnation: int) -> bool:
        """This incarnation emits nothing more. If it was the last to report about its clock, what is known has to do.
        Returns whether more stamps can be translated now."""
        boot = self._clock_names.get((unit, incarnation), "")
        reporters = self._reporters.get(boot, set())
        if (unit, incarnation) not in reporters:
            return False
        reporters.discard((unit, incarnation))
        if not reporters:
            return self.give_up(boot)
        return not any(name == unit for name, _ in reporters) and self._remote[boot].leave(unit)

    def lose(self, supervisor: str) -> bool:
        """This supervisor is gone without a FINAL: its reports are awaited no more. Returns whether more stamps can
        be translated now."""
        new = False
        for unit, incarnation in self._clock_names:
            if unit == supervisor:
                new |= self.final(unit, incarnation)
        return new

    def hint(self, unit: str, incarnation: int, kind: int, key: str | None, stamp_ns: int) -> None:
        """A record of kind send or receive: what is received was sent before. Others are ignored, and so is every key
        that is sent or received more than once."""
        if not self._has_remote or key is None or unit in self._external:
            return
        clock = self._clock_names.get((unit, incarnation), "") or self._reference
        if kind == Kind.SEND:
            message = self._messages.sent(key, clock, stamp_ns)
        elif kind == Kind.RECEIVE:
            message = self._messages.received(key, clock, stamp_ns)
        else:
            return
        if message is not None and message.sender != message.receiver:
            self._pair(message.sender, message.receiver).add(message)

    def give_up(self, boot: str) -> bool:
        """There are no more reports about this clock: everything can be translated, as well as can be. Returns whether
        that is new."""
        clock = self._remote.get(boot)
        if clock is None or clock.known_ns == FOREVER:
            return False
        clock.close()
        return True

    def close(self) -> None:
        """The log is at its end: the same for all clocks."""
        for boot in self._remote:
            self.give_up(boot)

    # --- what is known ---

    @property
    def contested(self) -> tuple[tuple[str, str], ...]:
        """Pairs of supervisors that contradict each other about the clock of their host: nothing is known about it."""
        return tuple(sorted(clock.contested for clock in self._remote.values() if clock.contested is not None))

    @property
    def one_clock(self) -> bool:
        """Whether no clock is remote so far: all stamps are on the timeline as they are."""
        return not self._has_remote

    def clock_of(self, unit: str, incarnation: int) -> str:
        """The name of this incarnation's clock."""
        return self._clock_names.get((unit, incarnation), "") or self._reference

    def newest_clock_of(self, unit: str) -> str:
        """The name of the clock of a unit's newest incarnation."""
        return (self._units.get(unit) or [""])[-1] or self._reference

    def units_of(self, boot: str) -> tuple[str, ...]:
        """The units that say they are on this host."""
        return tuple(sorted({unit for (unit, _), name in self._clock_names.items() if self._boot_of(name) == boot}))

    def is_remote(self, unit: str, incarnation: int) -> bool:
        """Whether stamps of this incarnation have to be translated."""
        return self._has_remote and self._clock_names.get((unit, incarnation), "") in self._remote

    def known_ns(self, boot: str) -> int:
        """Stamps of this clock below that can be translated for good; FOREVER of the timeline's own clock."""
        return self._clock(boot).known_ns

    def to_common(self, unit: str, incarnation: int, stamp_ns: int) -> int:
        """A stamp of this incarnation, on the timeline. As it is while nothing is known about its clock."""
        return self.to_common_all(unit, incarnation, (stamp_ns,))[0]

    def to_common_all(self, unit: str, incarnation: int, stamps: Sequence[int]) -> list[int]:
        """The same for many stamps; fast if they are close together."""
        return self._clock(self._clock_names.get((unit, incarnation), "")).to_common(stamps)

    def to_host(self, boot: str, common_ns: int) -> int:
        """What the clock `boot` shows at a moment of the timeline, which may be in the near future."""
        return self._clock(boot).to_host(common_ns)

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        """How far the difference of two stamps, which are on the timeline, may be off: 0 for two of one clock, UNKNOWN
        if nothing is known about one of the clocks. The worst case if a unit has had several."""
        if not self._has_remote:
            return 0
        return max(
            self._error(ours, stamp_ns, theirs, other_stamp_ns)
            for ours in self._clocks_of(unit)
            for theirs in self._clocks_of(other)
        )

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        """No `error` of two stamps between these moments of the timeline is larger. Cheap."""
        if not self._has_remote:
            return 0
        return max(
            0
            if ours == theirs
            else min(
                self._clock(ours).worst_ns(first_ns, last_ns) + self._clock(theirs).worst_ns(first_ns, last_ns), UNKNOWN
            )
            for ours in self._clocks_of(unit)
            for theirs in self._clocks_of(other)
        )

    @property
    def measured_ns(self) -> int:
        """The last moment of the timeline up to which a clock was measured; 0: none was."""
        return max((clock.knots.last_common_ns for clock in self._remote.values() if len(clock.knots)), default=0)

    def estimates(self, now_ns: int) -> tuple[Estimate, ...]:
        """Every remote clock as it is at this moment of the timeline, for people."""
        return tuple(self._estimate(boot, clock, now_ns) for boot, clock in sorted(self._remote.items()))

    # --- clocks by name ---

    def _clock(self, name: str) -> Clock:
        return self._remote.get(name, self._reference_clock) if self._has_remote else self._reference_clock

    def _clocks_of(self, unit: str) -> Iterator[str]:
        for boot in self._units.get(unit, ("",)):
            yield boot or self._reference

    def _error(self, ours: str, stamp_ns: int, theirs: str, other_ns: int) -> int:
        if ours == theirs:
            return 0
        if self._rank(ours) > self._rank(theirs):
            ours, stamp_ns, theirs, other_ns = theirs, other_ns, ours, stamp_ns
        mine, its = self._clock(ours), self._remote[theirs]
        if not (mine.is_known and its.is_known):
            return UNKNOWN
        view = its.knots.at_common(other_ns)
        if isinstance(mine, ReferenceClock):
            return view.error_ns  # the knots know already what messages say
        other = mine.knots.at_common(stamp_ns)
        error = other.error_ns + view.error_ns
        pair = its.pairs.get(mine)
        between = pair and pair.interval(view.host_ns)
        if between:
            value = view.offset_ns - other.offset_ns
            apart = drift_ns(abs(other_ns - stamp_ns) + error)
            error = min(error, max(between[1] - value, value - between[0], 0) + apart + 2 * ROUNDING_NS)
        return min(error, UNKNOWN)

    def _rank(self, boot: str) -> tuple[bool, str]:
        """Of two clocks the higher one has the pair; the reference clock is the lowest."""
        return boot in self._remote, boot

    def _pair(self, one: str, two: str) -> ClockPair:
        lower, upper = sorted((one, two), key=self._rank)
        theirs, ours = self._clock(lower), self._remote[upper]
        pair = ours.pairs.get(theirs)
        if pair is None and isinstance(theirs, RemoteClock):
            pair = ours.pairs[theirs] = ClockPair(upper)
            theirs.others.append(pair)
        elif pair is None:
            pair = ours.pairs[theirs] = ClockPair(upper, MAX_DRIFT_PPM)
        return pair

    def _estimate(self, boot: str, clock: RemoteClock, now_ns: int) -> Estimate:
        units = {unit for (unit, _), name in self._clock_names.items() if name == boot}
        names = tuple(sorted(units, key=lambda unit: (not unit.startswith("@"), unit)))
        if not clock.is_known:
            return Estimate(
                self._boot_of(boot),
                names,
                None,
                UNKNOWN,
                None,
                drift_ppm([])[1],
                clock.rtt_ns,
                None,
                UNKNOWN,
                clock.jumps,
            )
        view = clock.knots.at_common(now_ns)
        drift, drift_error = drift_ppm(clock.knots.history(clock.epoch_ns, DRIFT_SAMPLES))
        return Estimate(
            self._boot_of(boot),
            names,
            view.offset_ns,
            view.error_ns,
            drift,
            drift_error,
            clock.rtt_ns,
            max(0, view.host_ns - clock.newest_ns),
            clock.knots.largest_error_ns,
            clock.jumps,
        )
