"""One live run: start the broker and the supervisor, follow the log, send orders, end everything.

Belongs here: the loop, and when a run is over. Must not decide anything that could be decided from the log alone (that
is `dispatcher` and the parts behind it).
"""

import contextlib
from dataclasses import replace

from probe.clock import monotonic
from probe.event import Event
from probe.message import Interrupted, Settled, Sync
from runner.adapters import files
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.history.log_file import LogCopy
from runner.adapters.history.lookup import Lookup
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.launch import callback
from runner.adapters.launch.run_processes import RunProcesses
from runner.adapters.signals import Signals
from runner.adapters.terminal import Screen
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.core.verifier.run_result import result_of
from runner.model.errors import BrokerFailed, SupervisorFailed
from runner.model.orders import SUPERVISOR, Directed
from runner.model.result import result_json
from runner.model.result.result import Evidence, Finding, Result
from runner.model.scenario import redacted, save
from runner.model.scenario.model import Scenario
from runner.session import legacy, post_checks
from runner.session.clock import Clock
from runner.session.dispatcher import BATCH, Dispatcher
from runner.session.output import Output
from runner.session.people import People
from runner.session.remote_hosts import RemoteHosts
from runner.session.snapshotter import FRAME_NS, Snapshotter, statuses_of
from runner.session.watchdog import Watchdog

SYNC_NS = 20_000_000
"""How often a unit is asked for its watermark at most, while a deadline waits for it."""
FAR_SYNC_NS = 100_000_000
"""The same where what units say has to wait for their clocks anyway."""
ANSWER_NS = 1_000_000_000
"""How long a supervisor that does not answer is not asked again: orders wait for it, were it stopped."""
ANSWERS_NS = 2_000_000_000
"""How long an external unit may take to say up to when all is known of it."""
LOOP_MS = 100
END_NS = 15_000_000_000
"""How long the supervisor may take to say its last word after every unit has ended."""
LAG_NS = 1_000_000_000
"""How far the clock may stay behind while the log grows faster than it is read."""
OBEY_S = 0.1
"""How long a batch of log entries is digested before the loop looks for signals and keys."""


def run(
    scenario: Scenario,
    folder: RunFolder,
    processes: RunProcesses,
    screen: Screen,
    signals: Signals,
    *,
    verbose: bool = False,
) -> Result:
    """Run `scenario` once on `processes`, keep everything in `folder`, show it on `screen`; a signal ends it early.

    Raises BrokerFailed or SupervisorFailed when the run's own processes do not come up; what units do is a finding, not
    an error. No unit is alive when this returns.
    """
    files.write(folder.scenario, save(redacted(scenario)[0]))
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(_reader(processes, folder, stack)))
        if processes.external_broker is not None:
            reader.disregard_incidents()  # and it has taken the introduction by then
        processes.begin()
        files.write(folder.endpoint, processes.endpoint + "\n")
        stack.callback(folder.endpoint.unlink, missing_ok=True)
        rest = stack.enter_context(legacy.rest_of(scenario, processes.context))
        return _Live(scenario, folder, screen, reader, processes, signals, verbose=verbose).run(rest)


def _reader(processes: RunProcesses, folder: RunFolder, stack: contextlib.ExitStack) -> LogReader:
    copy = None
    if processes.external_broker is not None:
        copy = stack.enter_context(contextlib.closing(LogCopy(folder.log))).append
    while True:
        processes.ready()
        try:
            ours = processes.external_broker.keys if processes.external_broker else None
            return LogReader(processes.endpoint, folder.run, keys=ours, copy=copy, introduction=processes.introduction)
        except BrokerFailed:
            if not processes.revive():  # else it was killed in this very moment
                raise


class _Live:
    """The state of one run while it lives."""

    def __init__(
        self,
        scenario: Scenario,
        folder: RunFolder,
        screen: Screen,
        reader: LogReader,
        processes: RunProcesses,
        signals: Signals,
        *,
        verbose: bool,
    ) -> None:
        self._scenario = scenario
        self._folder = folder
        self._screen = screen
        self._reader = reader
        self._processes = processes
        self._supervisor = processes.supervisor
        self._people = People(signals, screen)
        self._context = processes.context
        self._started_ns = reader.now_ns()
        lifecycle = Lifecycle(scenario, processes.launcher)
        self._dispatcher = Dispatcher(scenario, lifecycle, Lookup(folder.log), self._supervised)
        self._dispatcher.timeline.reference = reader.host
        self._remote_hosts = RemoteHosts(scenario, processes, reader, self._dispatcher, folder.units)
        self._snapshotter = Snapshotter(scenario, self._dispatcher, reader, self._started_ns)
        self._output = Output(scenario, folder.units) if verbose else None
        self._begun = False
        """The log has a first command."""
        self._doing = ""
        """What user code that the runner has called does now, in a word."""
        self._clock = Clock(self._started_ns)
        self._watchdog = Watchdog(processes, reader, self._dispatcher, self._clock, folder.path)
        self._next_frame_ns = 0
        self._next_sync_ns = 0
        self._asked_ns: dict[str, int] = {}
        """Supervisor that was asked who keeps a journal there, and has not answered -> when it was."""
        self._quiet_since_ns: int | None = None
        self._unsettled = False
        """There is more to judge than one turn has time for."""
        self._settled = False
        """No journey needs the services any more."""

    def run(self, rest: legacy.LegacyHooks | None) -> Result:
        """From `setup` to the verdict."""
        lifecycle = self._dispatcher.lifecycle
        prepared = callback.setup(self._scenario, self._context, self._turning("setup"))
        findings = post_checks.finding("setup", self._scenario.setup, prepared)
        if findings:
            lifecycle.stop(f"setup {prepared.why}")
        now_ns = self._reader.now_ns()
        lifecycle.begin(now_ns)
        if self._output is not None:
            for host, line in self._remote_hosts.sent:
                self._screen.unit_output(host, line)
        self._remote_hosts.begin(now_ns)  # the first command: it tells the log when the run began
        self._begun = True
        if self._people.interrupted:
            self._tell_log(Interrupted())
        while not lifecycle.units.over:
            self._turn()
            self._watchdog.check_supervised()
        if rest is not None and not self._people.interrupted:
            rest.tests(self._turning("testing"))
        self._finish()
        result = self._judged(findings)
        checking = self._turning("checking")
        if not self._people.interrupted:
            answer = callback.check(self._scenario, self._context, result_json.plain(result), checking)
            result = post_checks.with_findings(result, post_checks.finding("check", self._scenario.check, answer))
        if rest is not None:
            result = rest.judged(self._final(result), checking)
            rest.write(self._final(result), self._folder.path)
        self._show(self._reader.now_ns(), last=True)
        return self._final(result)

    def _final(self, result: Result) -> Result:
        return post_checks.interrupted(result) if self._people.interrupted else result

    def _finish(self) -> None:
        """Let the supervisor publish what is left and say its last word."""
        until_ns = self._clock.now_ns + ANSWERS_NS
        while self._dispatcher.awaited and not self._people.interrupted and self._clock.now_ns < until_ns:
            self._turn()
        self._remote_hosts.finish(self._clock.now_ns)
        until_ns = self._clock.now_ns + END_NS
        while not self._dispatcher.over or self._supervisor.code is None:  # it lives until all is taken
            if self._clock.now_ns > until_ns:
                raise SupervisorFailed(f"the supervisor did not come to its end; see {self._folder.path}")
            self._turn()
        while self._remote_hosts.expected and not self._people.insisted:  # each is heard, or its lease is over
            self._turn()
        self._watchdog.release()
        self._echo()
        self._dispatcher.close()

    def _judged(self, findings: tuple[Finding, ...]) -> Result:
        if self._processes.broker.code is None:
            with contextlib.suppress(BrokerFailed):  # what counts is in the log
                self._reader.ping()
        now_ns = self._reader.now_ns()
        self._supervisor.check()  # units that it ended on its own are no verdict
        result = result_of(
            self._dispatcher.verifier,
            run=self._folder.run,
            duration_s=(now_ns - self._started_ns) / 1e9,
            statuses=statuses_of(self._dispatcher),
            findings=(*findings, *self._dispatcher.lifecycle.units.findings()),
            counted=Evidence(
                recovered=self._dispatcher.recovered,
                duplicates_dropped=self._reader.duplicates,
                incidents=dict((self._reader.incidents + self._dispatcher.incidents).most_common()),
                broker_restarts=self._processes.restarts,
            ),
            notes=(
                *self._scenario.notes,
                *self._dispatcher.notes(),
                *post_checks.restarts_note(self._processes.restarts),
                *self._remote_hosts.notes(),
            ),
        )
        result = post_checks.with_hosts(result, self._dispatcher, now_ns)
        return replace(result, redacted=redacted(self._scenario)[1])

    # --- one turn of the loop -----------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Do what is due, sleep until there is more. True when a person wants the run to end (for the caller that
        runs user code meanwhile)."""
        now_ns = self._clock.now_ns
        self._remote_hosts.tick(now_ns)
        if not self._dispatcher.over:
            self._send(self._dispatcher.lifecycle.tick(now_ns), now_ns)
            self._send([*self._dispatcher.barriers.tick(now_ns), *self._dispatcher.waits.tick(now_ns)], now_ns)
            self._send(self._dispatcher.note_endings(), now_ns)
            self._ask_for_watermarks(now_ns)
            self._see_whether_settled(now_ns)
        self._echo()
        self._reader.ask()
        self._show(self._reader.now_ns())
        self._reader.wait([*self._people.sources(), *self._watchdog.sources()], self._timeout_ms(now_ns))
        self._obey_people()
        if not self._digest() and self._watchdog.watching:
            self._people.check()
            self._watchdog.look()
        return self._people.interrupted

    def _tell_time(self, now_ns: int) -> None:
        """All is read that the log had at `now_ns`. When the broker is back, orders that it may have taken and not
        passed on are given again."""
        heard = self._reader.current and not self._reader.silent
        if self._clock.tell(now_ns, heard=heard, connection=self._reader.connection):
            self._send(self._dispatcher.lifecycle.repeat(), self._clock.now_ns)
            if self._remote_hosts.finishing:
                self._remote_hosts.finish(self._clock.now_ns)

    def _supervised(self, host: str, event: Event) -> None:
        if event.step == "journals":
            self._asked_ns.pop(event.unit, None)
        self._remote_hosts.heard(host, event, self._clock.now_ns)

    def _digest(self) -> bool:
        """Log entries that have come, and what follows from them; whether there were any."""
        now_ns = self._reader.now_ns()
        entries = self._reader.receive(BATCH)
        if self._reader.drained or now_ns - self._clock.now_ns > LAG_NS:
            self._tell_time(now_ns)
        now_ns = self._clock.now_ns
        obey_s = monotonic() + OBEY_S
        for entry in entries:
            self._send(self._dispatcher.take(entry, now_ns), now_ns)
            if monotonic() > obey_s:
                self._obey_people()
                obey_s = monotonic() + OBEY_S
        self._unsettled = self._dispatcher.settle()
        return bool(entries)

    def _ask_for_watermarks(self, now_ns: int) -> None:
        """A deadline that has passed here is decided by what the units say about the time up to it."""
        deadline_ns = self._dispatcher.verifier.progress.next_deadline_ns
        if deadline_ns is None or deadline_ns > now_ns or now_ns < self._next_sync_ns:
            return
        self._next_sync_ns = now_ns + (FAR_SYNC_NS if self._remote_hosts.supervisors else SYNC_NS)
        laggards = self._dispatcher.verifier.progress.laggards(deadline_ns)
        laggards -= {who for who, asked_ns in self._asked_ns.items() if now_ns < asked_ns + ANSWER_NS}
        if laggards:
            self._asked_ns.update((who, now_ns) for who in laggards if who.startswith("@"))
            self._reader.command(Sync(), tuple(sorted(laggards)))

    def _see_whether_settled(self, now_ns: int) -> None:
        """Tells the lifecycle when only services are left and no journey still needs them."""
        lifecycle, progress = self._dispatcher.lifecycle, self._dispatcher.verifier.progress
        if self._settled or not lifecycle.units.idle:
            self._quiet_since_ns = None
            return
        if self._quiet_since_ns is None:
            self._quiet_since_ns = now_ns
        patience_over = now_ns - self._quiet_since_ns > self._scenario.settle_ns
        if progress.satisfied() or (patience_over and not progress.open_instances(with_deadline=True)):
            self._settled = True
            lifecycle.settled()
            self._tell_log(Settled())

    def _obey_people(self) -> None:
        """Signals and keys."""
        for first in self._people.requests():
            if first:
                self._processes.hurry()
                self._dispatcher.lifecycle.interrupt()
                if self._begun:
                    self._tell_log(Interrupted())
            else:
                self._remote_hosts.finish(self._clock.now_ns)
                self._remote_hosts.hurry()
        if self._people.reads_no_more:
            self._dispatcher.hurry()

    def _tell_log(self, decision: Settled | Interrupted) -> None:
        """What was decided here and not by the log, so that `Replay` need not guess; then the orders that follow
        from it, at the same moment."""
        now_ns = self._clock.now_ns
        self._reader.command(decision, (SUPERVISOR,), now_ns)
        self._send(self._dispatcher.lifecycle.tick(now_ns), now_ns)

    def _show(self, now_ns: int, *, last: bool = False) -> None:
        if now_ns < self._next_frame_ns and not last:
            return
        self._screen.show(self._snapshotter.take("done" if last else self._phase(), now_ns))
        self._next_frame_ns = self._reader.now_ns() + FRAME_NS

    def _turning(self, doing: str) -> callback.Meanwhile:
        """`_turn` for a time in which user code that the runner has called is `doing` something."""

        def turn() -> bool:
            self._doing = doing
            try:
                return self._turn()
            finally:
                self._doing = ""

        return turn

    def _phase(self) -> str:
        lifecycle = self._dispatcher.lifecycle
        if self._doing:
            return self._doing
        if lifecycle.units.over or lifecycle.stopped_why:
            return "stopping"
        return "starting" if not lifecycle.units.all_up else "settling" if lifecycle.units.idle else "running"

    def _echo(self) -> None:
        """What units print. While a person waits for the end of the run, only the end of it is shown."""
        over = self._dispatcher.over
        if self._output is not None and (over or not self._people.interrupted):
            for name, line in self._output.lines(last=over):
                self._screen.unit_output(name, line)

    def _timeout_ms(self, now_ns: int) -> int:
        """How long the loop may sleep: until the next frame, deadline or sync."""
        frame_ns = self._next_frame_ns - self._reader.now_ns()
        moments = [
            self._remote_hosts.next_deadline_ns,
            self._dispatcher.lifecycle.next_deadline_ns,
            self._dispatcher.barriers.next_deadline_ns,
            self._dispatcher.waits.next_deadline_ns,
        ]
        if (deadline_ns := self._dispatcher.verifier.progress.next_deadline_ns) is not None:
            moments.append(max(deadline_ns, self._next_sync_ns))
        if self._unsettled:
            return 0
        soonest_ns = min((moment - now_ns for moment in moments if moment is not None), default=frame_ns)
        return max(0, min(LOOP_MS, -(-min(frame_ns, soonest_ns) // 1_000_000)))

    def _send(self, orders: list[Directed], now_ns: int) -> None:
        for directed in orders:
            for order, to in self._remote_hosts.in_their_time(directed):
                self._reader.command(order, to, now_ns)
