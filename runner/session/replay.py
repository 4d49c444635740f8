"""A run that another process drives, or that is over: followed from its log alone.

Belongs here: giving the deciding parts the time and the decisions that the log holds. Sends no orders.

The deciding parts are the same as in a live run and decide the same things at the same times. What was decided by
others (that a person interrupted the run, that the circuits were settled) the log says. What user code said (`setup`,
`check`) is not in it; that is taken from the result.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from broker.log import Entry
from probe import recovery
from probe.errors import WireError
from probe.event import Kind
from probe.message import (
    Away,
    Back,
    Begin,
    Break,
    Command,
    Events,
    Finish,
    Gone,
    Interrupted,
    Order,
    Release,
    Settled,
    Start,
    Stop,
)
from probe.sift import sound
from probe.wire import decode_order
from runner.adapters.history import log_file, run_folder
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.launch import audit
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.core.verifier.run_result import result_of
from runner.model.errors import RecordingError
from runner.model.orders import SUPERVISOR, host_of
from runner.model.result import result_json
from runner.model.result.result import Evidence, Result, Verdict
from runner.model.scenario.model import LOCAL, Scenario, Unit
from runner.session import legacy, post_checks
from runner.session.collector import calm_collector
from runner.session.dispatcher import Dispatcher
from runner.session.end_guess import EndGuess
from runner.session.snapshotter import statuses_of


class Replay:
    """Takes the entries of one log, in order."""

    def __init__(
        self,
        scenario: Scenario,
        started_ns: int,
        outlived: Callable[[Entry], bool] = lambda _entry: False,
        units: Path | None = None,
    ) -> None:
        """`outlived` says whether the runner has still ordered something after an entry; `units` is where the output of
        units is kept."""
        self._outlived = outlived
        lifecycle = Lifecycle(scenario, lambda unit: _start(unit, units), started_ns)
        self.dispatcher = Dispatcher(scenario, lifecycle)
        self.now_ns = started_ns
        """The latest moment that the log names."""
        self._decided_ns = started_ns
        """The latest moment at which the runner decided something. Time by others may be ahead of what the runner had
        heard, as after a restart of the broker: no unit is late by that."""
        self.finished = False
        """The runner ordered the supervisor to finish, as it does at the end of every run unless it is killed."""
        self.interrupted = False
        """A person wanted the run to end, and the runner heard of it."""
        self.runner_gone = False
        """The supervisor ended units without an order: its runner was gone, or it was ended itself."""
        self._began = False
        self._end_guess = EndGuess(lifecycle)
        self._stop_ordered: set[str] = set()
        """Units that the runner ordered to be stopped; a supervisor that stops another one has lost its runner."""
        self._begun: Counter[str] = Counter()
        """Unit -> its last life that was ordered to begin."""
        self._units = {unit.name: unit.host for unit in scenario.units}
        self._hosts_away: set[str] = set()
        """Hosts that were away for the runner: such a host may end its units by itself."""

    def take(self, entry: Entry) -> None:
        """Digest one entry."""
        match entry.message:
            case Events(watermark_ns=ns) if not self.dispatcher.timeline.is_remote(entry.unit, entry.incarnation):
                self.now_ns = max(self.now_ns, ns)
            case Command(at_ns=ns):
                self.now_ns = max(self.now_ns, ns)
                self._decided_ns = max(self._decided_ns, ns)
        order = _order_in(entry)
        if isinstance(order, Settled | Interrupted):
            self._learn(order)
        self._tick()
        if isinstance(entry.message, Command):
            if not self._began:  # and it has decided nothing yet
                self._began = True
                self.dispatcher.lifecycle.begin(entry.message.at_ns or self.now_ns)
            self._obey(entry.message.to, order)
        else:
            if self._says_runner_gone(entry):
                self.runner_gone = True
                self.dispatcher.lifecycle.interrupt()
                self._tick()
            self.dispatcher.take(entry, self.now_ns)

    def _says_runner_gone(self, entry: Entry) -> bool:
        """Whether a supervisor says here that it ends units because it has no runner any more. One on another host may
        only not have heard of it for long enough."""
        host = host_of(entry.unit)
        if host is None or host in self._hosts_away:
            return False
        ended = {name for name in _stopped_in(entry) if self._units.get(name) == host}
        return not ended <= self._stop_ordered and (host == LOCAL or not self._outlived(entry))

    def _tick(self) -> None:
        if not self._began:  # the runner has decided nothing yet
            return
        self._end_guess.wanted(self.dispatcher.lifecycle.tick(self._decided_ns))
        self.dispatcher.note_endings()

    def _learn(self, decision: Settled | Interrupted) -> None:
        """What the runner knew by something else than the log."""
        self._end_guess.explained()
        if isinstance(decision, Settled):
            self.dispatcher.lifecycle.settled()
        else:
            self.interrupted = True
            self.dispatcher.lifecycle.interrupt()

    def _obey(self, to: tuple[str, ...], order: Order | None) -> None:
        match order:
            case Begin(host):
                self.dispatcher.timeline.reference = host
            case Away() | Back() | Gone():
                self._hosts_away.add(order.host)
                self.dispatcher.host(order, self._decided_ns)
            case Release() | Break():
                self.dispatcher.answered(to, order)
            case Stop(unit) if unit in self._stop_ordered:
                return  # given again, as a broker that died might not have passed it on
            case Stop(unit):
                self._stop_ordered.add(unit)
            case Finish():
                self.finished = True
                self._stop_ordered |= set(self._units)
            case Start(unit, life=life) if life > self._begun[unit]:
                self._begun[unit] = life
                self._stop_ordered.discard(unit)
        if isinstance(order, Stop | Finish):
            if self._end_guess.follow(order):
                self._tick()
            self._end_guess.forget(order)


def verify(scenario: Scenario, folder: RunFolder) -> Result:
    """Judge the run in `folder` by `scenario`. Raises RecordingError when its log cannot be read."""
    started_ns = _beginning_ns(folder.log)
    replay = Replay(scenario, started_ns, lambda entry: _ordered_after(folder.log, entry), folder.units)
    recording = log_file.entries(folder.log)
    with calm_collector():
        for entry in recording:
            replay.take(entry)
    dispatcher = replay.dispatcher
    whole = replay.finished and not replay.runner_gone
    cut = _cut(recording.torn, ended=dispatcher.over and dispatcher.lifecycle.units.over and whole)
    if cut and recovery.left(folder.journals).published:
        cut = (
            *cut,
            f"what units wrote down last is not in the log; publish it with: circuit-run recover {folder.display_name}",
        )
    dispatcher.close()
    before = _result(folder)
    if before is None and scenario.check is not None:
        cut = (*cut, "the runner was gone before it could call the check: what that would have said is not known")
    counted = before.evidence if before is not None else Evidence()
    result = result_of(
        dispatcher.verifier,
        run=log_file.run_of(folder),
        duration_s=before.duration_s if before is not None else (replay.now_ns - started_ns) / 1e9,
        statuses=statuses_of(dispatcher),
        findings=dispatcher.lifecycle.units.findings(),
        counted=replace(counted, recovered=dispatcher.recovered),
        notes=(*scenario.notes, *dispatcher.notes(), *post_checks.restarts_note(counted.broker_restarts), *cut),
    )
    result = post_checks.with_hosts(result, dispatcher, replay.now_ns)
    if scenario.legacy is not None:
        result = legacy.tolerant(result, scenario.legacy)
    if before is not None:
        result = replace(result, redacted=before.redacted)
    interrupted = replay.interrupted
    if not cut:  # else that is among its notes
        left = audit.unpublished(folder.journals, folder.display_name)
        result = post_checks.with_findings(result, post_checks.left_behind(left))
    if before is not None and _is_of(scenario, folder):
        result = post_checks.with_findings(result, post_checks.said_before(before))
        # Of an interruption of the check the log knows nothing.
        interrupted = interrupted or before.verdict is Verdict.INTERRUPTED
    if cut and result.verdict is Verdict.PASSED:
        result = replace(result, verdict=Verdict.INCONCLUSIVE)
    return post_checks.interrupted(result) if interrupted else result


def _order_in(entry: Entry) -> Order | None:
    """The command that an entry is; None: it is none, or of another version."""
    if isinstance(entry.message, Command):
        with contextlib.suppress(WireError):
            return decode_order(entry.body)
    return None


def _stopped_in(entry: Entry) -> set[str]:
    """The units of which the supervisor says here that it stops them. One on another host only counts when its lease
    is over: whatever else ended it there is the end of its units, and not of the run."""
    if b"stopping" not in entry.body or not isinstance(entry.message, Events):
        return set()
    records = sound(entry.body, entry.message.first, entry.message.count)
    stops = [(key, data or {}) for _, _, step, kind, key, data in records if step == "stopping" and kind == Kind.STATE]
    return {key for key, data in stops if key is not None and (entry.unit == SUPERVISOR or data.get("deserted"))}


def _cut(torn: str, *, ended: bool) -> tuple[str, ...]:
    """What to know of a log that does not reach to the end of its run: what it lacks may be what was wrong."""
    if not torn and ended:
        return ()
    return (f"{torn or 'the log ends before the run did'}: what came after is not judged",)


def _ordered_after(log: Path, entry: Entry) -> bool:
    """Whether the runner has ordered something after `entry` of its log."""
    return any(isinstance(later.message, Command) for later in log_file.entries(log) if later.end > entry.end)


def _beginning_ns(log: Path) -> int:
    """The first moment that the log speaks of: the runner's first command, or what a supervisor said before it."""
    said = 0
    for entry in log_file.entries(log):
        if isinstance(entry.message, Command) and entry.message.at_ns:
            return entry.message.at_ns
        if isinstance(entry.message, Events):
            said = said or entry.message.watermark_ns
    return said


def _start(unit: Unit, units: Path | None) -> Start:
    """Nothing is started any more; the lifecycle only has to believe it was."""
    out, err = ("" if units is None else str(units / f"{unit.name}{ending}") for ending in (".out", ".err"))
    return Start(unit=unit.name, argv=(), cwd="", env={}, out=out, err=err)


def _is_of(scenario: Scenario, folder: RunFolder) -> bool:
    """Whether `scenario` is what was run."""
    with contextlib.suppress(RecordingError):
        return scenario == run_folder.scenario_of(folder)
    return False


def _result(folder: RunFolder) -> Result | None:
    """What the run came to when it lived; None if it did not come to its end."""
    with contextlib.suppress(OSError, RecordingError):
        return result_json.load(folder.result.read_text(encoding="utf-8", errors="replace"), str(folder.result))
    return None
