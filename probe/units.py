"""Units: the objects behind `probe.emit` and the other probes, one for each actor in this process.

Belongs here: when an incarnation begins and ends, and what becomes of units at a fork and at the process's end. How an
event is recorded is `recorder`'s business, how it is sent the sender's.
"""

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from probe import ancestry, clock, environment, forks, gate, handlers
from probe import journal as journals
from probe.backlog import NOTHING
from probe.barrier import Question, pass_barrier, pass_barrier_async, wait_for, wait_for_async
from probe.clock import monotonic
from probe.environment import Environment
from probe.errors import warn
from probe.event import Event, Kind
from probe.failure import described
from probe.forks import Forks
from probe.journal import Journal
from probe.message import Break, Order, Pong, Release
from probe.recorder import Collector, Recorder, closed
from probe.segment import Owner

EXIT_TIMEOUT_S: Final = 2.0
"""How long a process that ends waits for its last events to be acknowledged; the journal keeps what is not."""
FAKED: Final = "clock-faked"
"""Step by which an incarnation says that a preloaded library fakes the clocks of its process."""
FORGOTTEN: Final = (
    f"was started without the variables of the run ({environment.BROKER} and others), so its probes are off; pass them "
    f"on, or set {environment.DISABLED}=1 if that is meant"
)

_units: "weakref.WeakSet[Unit]" = weakref.WeakSet()
_named: "dict[str, Unit]" = {}
_collector: Collector | None = None
"""Where events of all units go instead (see `probe.testing`)."""
_minded_pid = 0
"""The process of which `multiprocessing` knows how it is to end."""
_Link: Any = None
_settings_at_start: Environment | None = None
"""The settings of this process when its probes began, or of the one that it was forked from: a program may empty its
environment afterwards, and is still a part of the run."""
_ends = False
"""Whether this process ends, and no more is sent: what is emitted now is for a process that outlives it."""


class Unit(Recorder):
    """One actor, and its present incarnation. Nothing is opened or started before its first event.

    `name` "" is the unit that CIRCUIT_UNIT names. `environment` says where the broker is (default: the variables of
    this process, read when the first probe fires). A unit with `on_order` is an agent: it gets
    every order that is not the answer to something the unit asked, in the sender's thread. One with `on_pong` measures
    its clock, whether the broker wants it or not, and gets every answer of the broker, in that thread too. `units_key`
    is the public key of what it starts.
    """

    def __init__(
        self,
        name: str = "",
        *,
        environment: Environment | None = None,
        on_order: Callable[[Order], None] | None = None,
        on_pong: Callable[[Pong], None] | None = None,
        units_key: str = "",
    ) -> None:
        self._given_name = name
        self._given_environment = environment
        self.on_order = on_order
        self.on_pong = on_pong
        self.units_key = units_key
        super().__init__()
        _units.add(self)
        if _collector is not None:
            self.divert(_collector)

    def reset(self) -> None:
        super().reset()
        self.waiting: dict[str, Question] = {}
        """Ask -> what was asked, and who gets the answer."""
        self.rounds: dict[str, int] = {}
        """Barrier -> how often this incarnation has arrived there."""
        self.incarnation = 0
        """0: none yet."""
        self.kept: Path | None = None
        """The journal that `close` had to leave behind: what is in it may still be published."""
        self._link: Any = None
        """The `probe.link.Link` of this incarnation."""

    # --- what user code calls ---

    @property
    def name(self) -> str:
        """Its name; for the default unit what CIRCUIT_UNIT says, else the name of the program."""
        return self._given_name or self._settings().unit or os.path.basename((sys.argv or [""])[0] or "python")

    def error(self, what: str | BaseException, /, key: object = None, **data: object) -> None:
        """Say that something went wrong. Of an exception the step is its class; `data` has its message and place."""
        if isinstance(what, BaseException):
            self.record(Kind.EXCEPTION, type(what).__name__, key, {**described(what), **data})
        else:
            self.record(Kind.EXCEPTION, what, key, data)

    def ready(self, step: str = "ready", /, key: object = None, **data: object) -> None:
        """Say that this unit can do its work now."""
        self.record(Kind.READY, step, key, data)

    def state(self, step: str, /, key: object = None, **data: object) -> None:
        """For the fabric's own parts: say what became of a process."""
        self.record(Kind.STATE, step, key, data)

    def barrier(self, name: str, /, *, timeout: float | None = None, parties: Sequence[str] | None = None) -> None:
        """Block until every party has arrived at the barrier `name`. Returns at once when probes are off.

        `timeout` is in seconds (default: what the scenario says, else no limit), `parties` are unit names or patterns
        (default: what the scenario says, else all its units). Raises BarrierBroken as soon as a party cannot come any
        more, BarrierTimeout when time is over.
        """
        pass_barrier(self, name, timeout, parties)

    async def barrier_async(
        self, name: str, /, *, timeout: float | None = None, parties: Sequence[str] | None = None
    ) -> None:
        """`barrier` for asyncio: the loop goes on meanwhile."""
        await pass_barrier_async(self, name, timeout, parties)

    def wait(self, what: str, /, *, key: str | None = None, timeout: float | None = None) -> Event | None:
        """Block until the probe `what`, written "unit: step", has fired, maybe long ago. Gives its event, of which
        unit, step, key, time and data are known; None when probes are off.

        Without a `key` any will do. `timeout` is in seconds (default: no limit). Raises WaitTimeout when time is over,
        WaitBroken when the unit has ended and the probe will never fire.
        """
        return wait_for(self, what, key, timeout)

    async def wait_async(self, what: str, /, *, key: str | None = None, timeout: float | None = None) -> Event | None:
        """`wait` for asyncio: the loop goes on meanwhile."""
        return await wait_for_async(self, what, key, timeout)

    checkpoint = staticmethod(gate.checkpoint)
    checkpoint_async = staticmethod(gate.checkpoint_async)

    def close(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """End this incarnation: what it emitted is sent and acknowledged, and its journal deleted. True if that was
        possible within `timeout_s`; otherwise the journal stays for a supervisor. The next probe begins a new one."""
        deadline_s = monotonic() + timeout_s
        if (link := self._link) is not None:
            link.say_last(timeout_s)
        with self.lock:
            link, journal = self._link, self._journal
            if link is None or journal is None:
                return True
            self._drain_unless_busy()
            was_busy, self._busy = self._busy, True  # what a signal handler emits from now on is the next incarnation's
            try:
                place = journal.place
                timeout_s = max(0.0, deadline_s - monotonic())
                link.seal(self.position(journal) or NOTHING, timeout_s)
                self._link = None
                self._shut_journal()
            finally:
                self._busy = was_busy
        if self._deferred and not was_busy:
            self._start()
        self._answer_all("has closed its unit")
        finished: bool = link.wait_final(timeout_s)
        self.kept = place.path if place is not None and place.path.exists() else None
        return finished

    def __reduce__(self) -> tuple[Callable[..., "Unit"], tuple[str, ...]]:
        """A copy is the unit itself, and what another process unpickles is its unit of that name: whatever holds on to
        one may be copied, and sent to other processes."""
        if self._given_environment is not None:
            raise TypeError(f"unit {self.name!r} with an environment of its own cannot be pickled")
        return unit, (self._given_name,)

    # --- what the sender and the blocking calls use ---

    @property
    def enabled(self) -> bool:
        """Whether an event would go to a broker."""
        if self._off or self.collector is not None:
            return False
        with self.lock:  # in a child, this is when it notices
            begun = self._link is not None
        return begun or self._start()

    @property
    def cut_off(self) -> str:
        """Why nothing that this unit asks will be answered; "" if it may be."""
        if self.refused or self._journal is None:
            return self.refused
        return self._link.cut_off if self._link is not None else "is about to end"

    @property
    def speechless(self) -> str:
        """Why nothing that is emitted can be sent any more; "" if it can, or will be able to."""
        return self._link.cut_off if self._link is not None else ""

    def refuse(self, why: str) -> None:
        """This unit's events will not be taken, and `why`. From now on they are only counted."""
        with self.lock:
            self.refused = why
            self._pack = closed
        self._answer_all(why)

    def answer(self, order: Release | Break) -> None:
        """The answer to something that was asked, perhaps for the second time."""
        if (question := self.waiting.get(order.ask)) is not None:
            question.take(order)

    def ask_again(self) -> None:
        """Record once more what has not been answered."""
        for kind, step, key, data, _ in list(self.waiting.values()):
            self.record(kind, step, key, data)

    def _answer_all(self, why: str) -> None:
        for ask in list(self.waiting):
            self.answer(Break(ask, (self.name,), why))

    # --- the beginning of an incarnation ---

    def _start(self) -> bool:
        global _settings_at_start
        with self.lock:
            if self._journal is not None or self._busy:  # busy: a signal handler while this thread is in here already
                return True
            self._busy = True
            settings = self._settings()
            owner: Owner | None = None
            journal: Journal | None = None
            try:
                if not settings.enabled:
                    self._off = True
                    self._deferred.clear()
                    if self._given_environment is None and not settings.disabled:
                        self._report_missing_settings()
                    return False
                owner = Owner(settings.run, self.name, clock.new_incarnation(), os.getpid(), clock.boot_id())
                journal = journals.begin(settings, owner)
                if self._given_environment is None:
                    _settings_at_start = settings
                self.incarnation, self.refused = owner.incarnation, ""
                self.rounds.clear()
                if _ends:
                    self._open_journal(journal)
                else:
                    self._link = _link_class()(self, journal, settings.broker, settings.keys)
                    self._open_journal(journal, self._link.wake)
                    self._link.enlist()
                if clock.FAKED_BY:
                    self.state(FAKED, by=clock.FAKED_BY)
            except BaseException as error:
                if self._link is not None:  # the broker may know it already, and is to hear that nothing comes
                    self._link.seal(NOTHING, EXIT_TIMEOUT_S)
                    self._link.wake()
                elif journal is not None:  # a supervisor may have seen it, and says that nothing came
                    journal.close() if journal.supervised and journal.is_kept else journal.remove()
                self._link = None
                self._shut_journal()
                if not isinstance(error, Exception):  # a Ctrl-C: the next probe tries again
                    raise
                if theirs := handlers.raised(error):
                    raise theirs from theirs.__cause__
                self._off = True
                why = f"{type(error).__name__}: {error}"
                if owner is not None:
                    journals.mark(settings, owner, f"its probes were off ({why})")
                warn(f"probes of unit {self.name!r} are off: {why}")
                return False
            finally:
                self._busy = False
            # What came meanwhile is as old as the journal: a listing of journals before that has not missed it.
            begun_ns = clock.monotonic_ns()
            self._busy = True  # signal handlers put off what they emit, and leave what is there
            try:
                for place, each in enumerate(self._deferred):
                    self._deferred[place] = (max(each[0], begun_ns), *each[1:])
            finally:
                self._busy = False
            self._drain()
        _mind_multiprocessing()
        return True

    def _settings(self) -> Environment:
        """The settings of this process: those of now, else those when its probes began."""
        now = self._given_environment or environment.read()
        return now if now.broker or now.disabled or _settings_at_start is None else _settings_at_start

    def _report_missing_settings(self) -> None:
        """If the process that started this one takes part in a run, and has not passed that on, what is emitted here is
        lost without a word: say it."""
        ancestor = ancestry.with_settings()
        if ancestor is not None:
            pid, settings = ancestor
            name = self._given_name or settings.unit or ancestry.unit_by_output(settings.journal)
            if not name:
                warn(f"a process (pid {os.getpid()}) {FORGOTTEN}. Process {pid} has them")
                return
            owner = Owner(settings.run, name, clock.new_incarnation(), os.getpid(), clock.boot_id())
            journals.mark(settings, owner, f"it {FORGOTTEN}")
            warn(f"a process of unit {name!r} (pid {os.getpid()}) {FORGOTTEN}. Process {pid} has them")

    def forget(self) -> None:
        """In a forked child: what is open belongs to the parent, and the child is a new incarnation."""
        try:
            if self._journal is not None:
                self._journal.close()
        finally:  # else the child would write into the journal of its parent
            self.reset()


# --- all units of this process ---


def unit(name: str) -> Unit:
    """The unit called `name` in this process, for programs that are several units: it has the methods `emit`, `send`,
    `barrier` and so on, and a journal and a connection of its own. The same name gives the same unit."""
    if name in ("", default.name):
        return default
    return _named.setdefault(name, Unit(name))


def all_units() -> list[Unit]:
    """Every unit there is."""
    return list(_units)


def divert(collector: Collector | None) -> Collector | None:
    """From now on `collector` gets what any unit emits, and it goes nowhere else; None: as usual. Gives the one
    before."""
    global _collector
    before, _collector = _collector, collector
    for each in all_units():
        each.divert(collector)
    return before


def close_all(timeout_s: float = EXIT_TIMEOUT_S) -> bool:
    """Close every unit of this process (see `Unit.close`) within `timeout_s` for all of them together."""
    deadline = monotonic() + timeout_s
    closed = [each.close(max(0.0, deadline - monotonic())) for each in all_units()]
    return all(closed)


def _mind_multiprocessing() -> None:
    """Its children end with os._exit, without atexit."""
    global _minded_pid
    if _minded_pid == os.getpid():
        return
    _minded_pid = os.getpid()
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        sys.modules["multiprocessing.util"].Finalize(None, close_all, exitpriority=-1)


def _close_at_exit() -> None:
    """The process ends. What still emits (a finalizer, a thread that is not waited for) begins an incarnation that has
    a journal and no sender: the interpreter stops that at any moment, and starts no threads any more."""
    global _ends
    _ends = True
    close_all()
    for each in all_units():
        each.outlive_threads()


def _link_class() -> Any:
    """`probe.link.Link`: imported only now, because it is not needed where probes are off, and once, because a program
    may import the package again (which gives another one) while this one goes on."""
    global _Link
    if _Link is None:
        with forks.importing.lock:
            from probe.link import Link
        _Link = Link
    return _Link


def _begin_anew() -> None:
    """In a forked child."""
    global _ends
    _ends = False
    clock.boot_id.cache_clear()  # it may be in a time namespace that was made for children
    if _Link is not None:
        _Link.forget_sender()
    for each in all_units():
        each.forget()


_forks: Final = Forks(all_units, _begin_anew)


default: Final = Unit()
"""The unit behind `probe.emit` and the other probes."""

atexit.register(_close_at_exit)  # now, so that what the program registers later has its turn before
_forks.watch()
