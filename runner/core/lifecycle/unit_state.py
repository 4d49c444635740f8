"""One unit of a running scenario: what became of it so far, and the sentences that tell it.

Belongs here: the record that `lifecycle` keeps for every unit, its orders, its deadlines and its words. Must not decide
what happens next. Times are nanoseconds of CLOCK_MONOTONIC on the runner's host.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from probe.message import Start, Stop
from runner.model.duration import span
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import FormerLife, State, UnitStatus
from runner.model.scenario.model import Unit
from runner.model.signals import signal_name

SHOWN_LINES: Final = 12
"""How many of the last lines of standard error explain a failure."""
REMEMBERED_STEPS: Final = 8
"""How many different probes of a unit that is not ready are remembered, to show what it fired instead."""


@dataclass(slots=True)
class UnitState:
    """What is known of one unit. `why` completes the sentence "<unit> ..."."""

    unit: Unit
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
    """It stands at the start gate and waits for an answer."""
    up: bool = False
    """It has been ready."""
    again: bool = False
    """It is stopped only to be started again."""
    leftover_ns: int | None = None
    """Since when processes that its main process left behind were ended; None: it left none."""
    killed: bool = False
    """It did not end in its time and got SIGKILL."""
    away: tuple[State, str] | None = None
    """State and `why` that it had when its host was lost sight of; None: its host is there."""
    lost: bool = False
    """Its host is gone, so nobody knows what it emitted last."""
    restarts: int = 0
    former: list[FormerLife] = field(default_factory=list)
    pid: int | None = None
    exit_code: int | None = None
    tail: tuple[str, ...] = ()
    tail_of: str = ""
    """Which of these files ends so."""
    steps: list[str] = field(default_factory=list)
    """Different probes that fired while it was not ready."""
    missing: set[str] = field(default_factory=set)
    """Required probes (`ready` and `expect`) that have not fired."""
    talking: set[int] = field(default_factory=set)
    """Incarnations of this life that have joined and not said FINAL."""
    incarnations: set[int] = field(default_factory=set)
    """All incarnations of this life."""
    asked_ns: int | None = None
    """When it was last told to start, or let through the gate."""
    started_ns: int | None = None
    imported_ns: int | None = None
    ready_ns: int | None = None
    stopping_ns: int | None = None
    ended_ns: int | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.unit.name

    @property
    def external(self) -> bool:
        """Whether someone else starts it."""
        return self.unit.launcher == "external"

    @property
    def owes_a_word(self) -> bool:
        """Whether somebody else started it, and one of its incarnations has not said FINAL."""
        return self.external and bool(self.talking)

    @property
    def stopped_ns(self) -> int | None:
        """Since when it was not left to its own end; None: it was."""
        return self.stopping_ns or self.leftover_ns or (self.ended_ns if self.state is State.STOPPED else None)

    def unended(self, now_ns: int, patience_ns: int) -> bool:
        """Whether the supervisor should have said long ago that it has ended."""
        told_ns = self.stopping_ns
        here = self.alive and self.away is None
        return here and told_ns is not None and now_ns > told_ns + self.unit.stop_timeout_ns + patience_ns

    @property
    def supports(self) -> bool:
        """Whether those that come after it may begin."""
        return self.up and not self.again

    @property
    def gated(self) -> bool:
        """Whether its process is started at once and waits at the start gate."""
        return self.unit.entrypoint is not None and not self.external

    def renew(self) -> None:
        """Forget this life, but not how it ended: the unit is to be started again."""
        if self.ended_ns is not None:
            self.former.append(FormerLife(self.ended_ns, self.end()))
        self.state, self.why, self.restarts = State.CREATED, "", self.restarts + 1
        self.alive = self.at_gate = self.up = self.again = self.killed = False
        self.pid = self.exit_code = self.asked_ns = self.started_ns = self.imported_ns = None
        self.ready_ns = self.stopping_ns = self.ended_ns = None
        self.tail, self.steps, self.talking, self.incarnations = (), [], set(), set()
        if self.unit.ready is not None:
            self.missing.add(self.unit.ready)

    # --- its host -----------------------------------------------------------------------------------------------------

    def lose_sight(self, why: str, now_ns: int) -> None:
        """Its host is away; `why` completes "<unit> ..."."""
        self.away = self.state, self.why
        self.state, self.why, self.ended_ns = State.FAILED, why, now_ns

    def find_again(self, now_ns: int) -> None:
        """Its host is back, and it as it was. If it was told to end, it may have heard of that only now."""
        assert self.away is not None
        if self.asked_ns is not None and not self.up:  # it could not get ready while nobody could hear it
            self.asked_ns += now_ns - (self.ended_ns or now_ns)
        self.state, self.why = self.away
        self.away = self.ended_ns = None
        self.stopping_ns = now_ns if self.stopping_ns is not None else None

    # --- orders -------------------------------------------------------------------------------------------------------

    def start(self, launch: Callable[[Unit], Start]) -> Start:
        """What begins this life; `launch` makes it for the first one."""
        return replace(launch(self.unit), life=self.restarts + 1)

    def stop(self) -> Stop:
        """What ends it."""
        return Stop(self.name, self.unit.stop_timeout_ns // 1_000_000)

    def unconfirmed(self, launch: Callable[[Unit], Start]) -> list[Start | Stop]:
        """Those of them that were given, and whose effect was not reported."""
        orders: list[Start | Stop] = [self.start(launch)] if self.alive and self.pid is None else []
        return [*orders, self.stop()] if self.alive and self.stopping_ns is not None else orders

    # --- deadlines ----------------------------------------------------------------------------------------------------

    @property
    def ready_due_ns(self) -> int | None:
        """When it must be ready; None: it is, or it has not been let go yet."""
        waits_at_gate = self.state is State.CREATED and (self.at_gate or not self.alive)
        if self.up or waits_at_gate or self.asked_ns is None:
            return None
        return self.asked_ns + self.patience_ns

    @property
    def patience_ns(self) -> int:
        """Longest until it is ready, or has joined."""
        if self.external and not self.incarnations and self.unit.expect_within_ns is not None:
            return self.unit.expect_within_ns
        return self.unit.ready_timeout_ns

    @property
    def head_start_end_ns(self) -> int | None:
        """When it counts as ready because it has worked long enough."""
        if self.up or not self.head_start_ns or self.imported_ns is None:
            return None
        return self.imported_ns + self.head_start_ns

    @property
    def end_due_ns(self) -> int | None:
        """When it must have ended by itself."""
        if self.unit.timeout_ns is None or self.started_ns is None:
            return None
        return self.started_ns + self.unit.timeout_ns

    # --- words --------------------------------------------------------------------------------------------------------

    def accuse(self, cls: FindingClass, sentence: str, details: tuple[str, ...] = ()) -> None:
        """A finding; `sentence` completes "<unit> ..."."""
        step = self.unit.ready if cls is FindingClass.NOT_READY else None
        self.findings.append(
            Finding(cls, f"{self.name} {sentence}", unit=self.name, step=step, stamp_ns=self.ended_ns, details=details)
        )

    def explained(self) -> list[Finding]:
        """Its findings; those about its end close with its last words and where to read all of them."""
        words = self.tail[-SHOWN_LINES:]
        if self.tail_of and self.tail and self.exit_code is not None:
            words = (*words, f"whole output: {self.tail_of}")
        return [
            finding if finding.cls is FindingClass.LEFTOVER else replace(finding, details=(*finding.details, *words))
            for finding in self.findings
        ]

    def status(self, waits_for: str) -> UnitStatus:
        """This moment as a value; `waits_for` says what keeps a unit that was not let go yet."""
        return UnitStatus(
            name=self.name,
            state=self.state,
            host=self.unit.host,
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
        if self.unit.ready is not None:
            return f"before its probe {self.unit.ready}"
        if self.gated and self.state is State.CREATED:
            return "before its start"
        return f"while {self.unit.entrypoint} was imported" if self.gated else "before it was ready"

    def overdue(self) -> str:
        """How its time to get ready ran out."""
        patience = f"within {span(self.patience_ns)}"
        if self.external and not self.incarnations:
            return f"did not join {patience}; it is started by someone else"
        if self.gated and self.state is State.CREATED:
            return f"did not come to its start {patience}"
        if self.unit.ready is not None:
            return f"did not get ready: its probe {self.unit.ready} did not fire {patience}"
        return f"did not get ready: {self.unit.entrypoint or 'its command'} did not begin {patience}"

    def instead(self) -> tuple[str, ...]:
        """What it fired while its ready probe was awaited."""
        if self.unit.ready is None or not self.incarnations:
            return ()
        return (f"it fired instead: {', '.join(self.steps)}" if self.steps else "it fired no probe at all",)
