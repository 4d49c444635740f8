"""One unit of a running scenario: what has happened to it so far, and the sentences that say so.

Belongs here: the record that `lifecycle` keeps for every unit, its orders, its deadlines and its sentences. Must not
decide what happens next. Times are nanoseconds of CLOCK_MONOTONIC on the runner's host.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from probe.message import Away, Gone, Start, Stop
from runner.core.lifecycle.report import UnitReport
from runner.model.duration import span
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import FormerLife, State, UnitStatus
from runner.model.scenario.model import Unit
from runner.model.signals import signal_name

SHOWN_LINES: Final = 12
"""How many of the last lines of standard error explain a failure."""
OBEYED: Final = frozenset({0, -15, 143, -2, 130})
"""Exit codes of a unit that obeyed an order to end: 0, or SIGTERM or SIGINT as the system and as a shell report it."""
REMEMBERED_STEPS: Final = 8
"""How many different probes of a unit that is not ready are remembered, to show what it fired instead."""


@dataclass(slots=True)
class UnitState:
    """What is known of one unit. `why` completes the sentence "<unit> ..."."""

    spec: Unit
    """What the scenario declares."""
    service: bool
    head_start_ns: int = 0
    """How long after its import it counts as ready, if it has no ready probe."""
    out: str = ""
    """Path of the file that takes its standard output."""
    err: str = ""
    """The same for its standard error."""
    state: State = State.CREATED
    why: str = ""
    alive: bool = False
    """A process was asked for and its end was not reported yet."""
    at_gate: bool = False
    """It is blocked at the start gate and waits for an answer."""
    up: bool = False
    """It has been ready."""
    restarting: bool = False
    """It is stopped only to be started again."""
    leftover_ns: int | None = None
    """Since when processes that its main process left behind are being ended; None: it left none."""
    killed: bool = False
    """It did not end in its time and got SIGKILL."""
    away: tuple[State, str] | None = None
    """State and `why` that it had when its host was away; None: its host is there."""
    lost: bool = False
    """Its host is gone, so what it emitted last is not known."""
    restarts: int = 0
    former: list[FormerLife] = field(default_factory=list)
    pid: int | None = None
    exit_code: int | None = None
    tail: tuple[str, ...] = ()
    tail_of: str = ""
    """The path of `out` or `err`: the file that ends with `tail`."""
    steps: list[str] = field(default_factory=list)
    """Different probes that fired while it was not ready."""
    missing: set[str] = field(default_factory=set)
    """Required probes (`ready` and `expect`) that have not fired."""
    talking: set[int] = field(default_factory=set)
    """Incarnations since its last start that have joined and not sent FINAL."""
    incarnations: set[int] = field(default_factory=set)
    """All incarnations since its last start."""
    asked_ns: int | None = None
    """When it was last ordered to start, or let through the gate."""
    started_ns: int | None = None
    imported_ns: int | None = None
    ready_ns: int | None = None
    stopping_ns: int | None = None
    ended_ns: int | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def external(self) -> bool:
        """Whether it is started by other means than this run."""
        return self.spec.launcher == "external"

    @property
    def owes_final(self) -> bool:
        """Whether it is external, and one of its incarnations has not sent FINAL."""
        return self.external and bool(self.talking)

    @property
    def is_left(self) -> bool:
        """Whether it has not ended, or a process of it is left."""
        return self.alive or not self.state.ended

    @property
    def stopped_ns(self) -> int | None:
        """Since when it was not left to its own end; None: it was."""
        return self.stopping_ns or self.leftover_ns or (self.ended_ns if self.state is State.STOPPED else None)

    @property
    def obeyed(self) -> bool:
        """Whether its exit code is that of a unit which ended because it was ordered to, or had no time for it."""
        return self.exit_code in OBEYED or (self.exit_code == -9 and not self.spec.stop_timeout_ns)

    def unended(self, now_ns: int, patience_ns: int) -> bool:
        """Whether the supervisor should have reported its end by now."""
        ordered_ns = self.stopping_ns
        here = self.alive and self.away is None
        return here and ordered_ns is not None and now_ns > ordered_ns + self.spec.stop_timeout_ns + patience_ns

    @property
    def supports(self) -> bool:
        """Whether those that come after it may begin."""
        return self.up and not self.restarting

    @property
    def gated(self) -> bool:
        """Whether its process is started at once and waits at the start gate."""
        return self.spec.entrypoint is not None and not self.external

    # --- what happened to it ------------------------------------------------------------------------------------------

    def join(self, incarnation: int, now_ns: int) -> None:
        """A process has joined as this unit."""
        if self.external and not self.incarnations and self.asked_ns is not None:
            self.asked_ns = now_ns  # its time to join is over, and that to get ready begins
        self.talking.add(incarnation)
        self.incarnations.add(incarnation)

    def remember_step(self, step: str) -> None:
        """A probe fired that is not its ready probe."""
        if not self.up and step not in self.steps and len(self.steps) < REMEMBERED_STEPS:
            self.steps.append(step)

    def take_exit(self, report: UnitReport) -> None:
        """Its process has ended, as its supervisor reports."""
        self.alive = False
        self.ended_ns, self.exit_code = report.stamp_ns, report.code
        self.tail, self.tail_of = report.tail, self.out if report.of_output else self.err
        if report.by_itself:
            self.stopping_ns = None
        if report.leftover:
            self.leftover_ns = report.stamp_ns - report.leftover_ms * 1_000_000
            self.add_finding(FindingClass.LEFTOVER, f"left processes behind: {', '.join(report.leftover)}")

    def renew(self) -> None:
        """Forget everything since its last start, but not how that ended: the unit is to be started again."""
        if self.ended_ns is not None:
            self.former.append(FormerLife(self.ended_ns, self.end()))
        self.state, self.why, self.restarts = State.CREATED, "", self.restarts + 1
        self.alive = self.at_gate = self.up = self.restarting = self.killed = False
        self.pid = self.exit_code = self.asked_ns = self.started_ns = self.imported_ns = None
        self.ready_ns = self.stopping_ns = self.ended_ns = None
        self.tail, self.steps, self.talking, self.incarnations = (), [], set(), set()
        if self.spec.ready is not None:
            self.missing.add(self.spec.ready)

    def host_away(self, why: str, now_ns: int) -> None:
        """Its host is away; `why` completes "<unit> ..."."""
        self.away = self.state, self.why
        self.state, self.why, self.ended_ns = State.FAILED, why, now_ns

    def host_back(self, now_ns: int) -> None:
        """Its host is there: if it was away, the unit is as it was. An order to end may have reached it only now."""
        if self.away is None:
            return
        if self.asked_ns is not None and not self.up:  # nothing could be heard of it, so it could not get ready
            self.asked_ns += now_ns - (self.ended_ns or now_ns)
        self.state, self.why = self.away
        self.away = self.ended_ns = None
        self.stopping_ns = now_ns if self.stopping_ns is not None else None

    # --- orders -------------------------------------------------------------------------------------------------------

    def start(self, launch: Callable[[Unit], Start]) -> Start:
        """The order that starts it; `launch` makes it for the first time."""
        return replace(launch(self.spec), life=self.restarts + 1)

    def stop(self) -> Stop:
        """The order that ends it."""
        return Stop(self.name, self.spec.stop_timeout_ns // 1_000_000)

    def begin_to_start(self, now_ns: int, launch: Callable[[Unit], Start]) -> Start:
        """Its order to start is given now."""
        start = self.start(launch)
        self.alive, self.out, self.err, self.asked_ns = True, start.out, start.err, now_ns
        return start

    def begin_to_stop(self, now_ns: int, why: str) -> Stop:
        """Its order to end is given now; `why` completes "<unit> ..."."""
        self.stopping_ns = now_ns
        if not self.state.ended:
            self.why = why
        return self.stop()

    def unconfirmed(self, launch: Callable[[Unit], Start]) -> list[Start | Stop]:
        """Those of them that were given, and whose effect was not reported."""
        orders: list[Start | Stop] = [self.start(launch)] if self.alive and self.pid is None else []
        return [*orders, self.stop()] if self.alive and self.stopping_ns is not None else orders

    # --- deadlines ----------------------------------------------------------------------------------------------------

    @property
    def ready_due_ns(self) -> int | None:
        """When it must be ready; None: it is, or it may not begin yet."""
        waits_at_gate = self.state is State.CREATED and (self.at_gate or not self.alive)
        if self.up or waits_at_gate or self.asked_ns is None:
            return None
        return self.asked_ns + self.patience_ns

    @property
    def patience_ns(self) -> int:
        """Longest until it is ready, or has joined."""
        if self.external and not self.incarnations and self.spec.expect_within_ns is not None:
            return self.spec.expect_within_ns
        return self.spec.ready_timeout_ns

    @property
    def head_start_end_ns(self) -> int | None:
        """When it counts as ready because it has worked long enough."""
        if self.up or not self.head_start_ns or self.imported_ns is None:
            return None
        return self.imported_ns + self.head_start_ns

    @property
    def end_due_ns(self) -> int | None:
        """When it must have ended by itself."""
        if self.spec.timeout_ns is None or self.started_ns is None:
            return None
        return self.started_ns + self.spec.timeout_ns

    # --- sentences ----------------------------------------------------------------------------------------------------

    def add_finding(self, cls: FindingClass, sentence: str, details: tuple[str, ...] = ()) -> None:
        """A finding; `sentence` completes "<unit> ..."."""
        step = self.spec.ready if cls is FindingClass.NOT_READY else None
        self.findings.append(
            Finding(cls, f"{self.name} {sentence}", unit=self.name, step=step, stamp_ns=self.ended_ns, details=details)
        )

    def explained(self) -> list[Finding]:
        """Its findings; those about its end close with its last output and where to read all of it."""
        words = self.tail[-SHOWN_LINES:]
        if self.tail_of and self.tail and self.exit_code is not None:
            words = (*words, f"whole output: {self.tail_of}")
        return [
            finding if finding.cls is FindingClass.LEFTOVER else replace(finding, details=(*finding.details, *words))
            for finding in self.findings
        ]

    def status(self, waits_for: str) -> UnitStatus:
        """This moment as a value; `waits_for` says what a unit that has not begun waits for."""
        return UnitStatus(
            name=self.name,
            state=self.state,
            host=self.spec.host,
            pid=self.pid,
            exit_code=self.exit_code,
            why=self.why or waits_for,
            last_lines=self.tail if self.state is State.FAILED else (),
            started_ns=self.started_ns,
            ready_ns=self.ready_ns,
            ended_ns=self.ended_ns,
            former=tuple(self.former),
        )

    def end(self) -> str:
        """How its process ended: "exited with code 1 after 0.2 s", "was killed by SIGSEGV after 3.1 s"."""
        code = self.exit_code or 0
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code}"
        if self.started_ns is None or self.ended_ns is None:
            return how
        return f"{how} after {span(self.ended_ns - self.started_ns)}"

    def before(self) -> str:
        """What was still to come when it ended too early."""
        if self.spec.ready is not None:
            return f"before its probe {self.spec.ready}"
        if self.gated and self.state is State.CREATED:
            return "before its start"
        return f"while {self.spec.entrypoint} was imported" if self.gated else "before it was ready"

    def overdue(self) -> str:
        """How its time to get ready ran out."""
        patience = f"within {span(self.patience_ns)}"
        if self.external and not self.incarnations:
            return f"did not join {patience}; it is started by someone else"
        if self.gated and self.state is State.CREATED:
            return f"did not come to its start {patience}"
        if self.spec.ready is not None:
            return f"did not get ready: its probe {self.spec.ready} did not fire {patience}"
        return f"did not get ready: {self.spec.entrypoint or 'its command'} did not begin {patience}"

    def instead(self) -> tuple[str, ...]:
        """What it fired while its ready probe was awaited."""
        if self.spec.ready is None or not self.incarnations:
            return ()
        return (f"it fired instead: {', '.join(self.steps)}" if self.steps else "it fired no probe at all",)


def lost_with(change: Away | Gone) -> str:
    """What happened to a unit whose host vanished; completes "<unit> ..."."""
    return f"was lost with host {change.host}, which {change.why}"
