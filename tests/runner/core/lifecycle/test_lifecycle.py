"""The rules of a run, driven by hand: events and the time in, orders and states out."""

from typing import Any

import pytest

from probe.event import Event, Kind
from probe.message import Away, Back, Gone, Release, Start, Stop
from runner.core.lifecycle.lifecycle import RESTARTS, Lifecycle
from runner.model.orders import SUPERVISOR, Directed
from runner.model.result.result import FindingClass
from runner.model.result.unit_status import State
from runner.model.scenario.model import Host, Legacy, Scenario, Unit

SECOND = 1_000_000_000


class Play:
    """A lifecycle, and a clock that moves by hand."""

    def __init__(self, *units: Unit, served: bool = True, begins: bool = True, **options: Any) -> None:
        scenario = Scenario("s", "/s", "circuit.toml", units, **options)
        self.lifecycle = Lifecycle(scenario, self._start, 0 if begins else None)
        self.now_ns = 0
        self._seq = 0
        if served:
            self.supervisor("serving", None)

    @staticmethod
    def _start(unit: Unit) -> Start:
        return Start(unit.name, ("true",), "/s", {}, f"run/{unit.name}.out", f"run/{unit.name}.err")

    def happens(self, unit: str, step: str, kind: Kind = Kind.DEFAULT, key: str | None = None, **data: Any) -> None:
        self._seq += 1
        incarnation = data.pop("incarnation", 1)
        self.lifecycle.event(Event(unit, incarnation, self._seq, self.now_ns, step, kind, key, data))

    def supervisor(self, step: str, unit: str | None, *, host: str = "local", **data: Any) -> None:
        self.happens(f"@{host}", step, Kind.STATE, unit, **data)

    def tick(self, seconds: float = 0.0) -> list[Directed]:
        self.now_ns += int(seconds * SECOND)
        return self.lifecycle.tick(self.now_ns)

    def orders(self, seconds: float = 0.0) -> list[str]:
        """The orders of one tick, in short: "start a", "release a", "stop a"."""
        found = []
        for order in self.tick(seconds):
            unit = order.order.unit if isinstance(order.order, Start | Stop) else order.to[0]
            found.append(f"{type(order.order).__name__.lower()} {unit}")
        return found

    def comes_up(self, *names: str) -> None:
        """Python units come to the gate, pass it, and are imported."""
        self.tick()
        for name in names:
            self.supervisor("spawned", name, pid=100)
            self.happens(name, "start", Kind.ARRIVE, ask="start")
        self.tick()
        for name in names:
            self.happens(name, "imported", Kind.STATE)
        self.tick()

    def exits(self, name: str, code: int = 0, **data: Any) -> None:
        self.supervisor("exited", name, pid=100, code=code, recovered=0, **{"tail": [], **data})

    def repeat(self) -> list[Directed]:
        return self.lifecycle.repeat()

    def state(self, name: str) -> State:
        return self.status(name).state

    def status(self, name: str) -> Any:
        return {status.name: status for status in self.lifecycle.units.statuses()}[name]

    @property
    def findings(self) -> list[tuple[FindingClass, str]]:
        return [(finding.cls, finding.message) for finding in self.lifecycle.units.findings()]


def python(name: str, **options: Any) -> Unit:
    return Unit(name, entrypoint=f"app:{name}", **options)


def command(name: str, **options: Any) -> Unit:
    return Unit(name, command=("run", name), **options)


# --- the beginning ----------------------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_supervisor_serves() -> None:
    play = Play(python("a"), served=False)
    assert play.orders() == []
    play.supervisor("serving", None)
    assert play.orders() == ["start a"]


def test_python_units_are_started_at_once_and_commands_when_they_may_begin() -> None:
    play = Play(python("a", ready="up"), python("b", after=("a",)), command("c", after=("a",)))
    assert play.orders() == ["start a", "start b"]
    assert play.orders() == []


def test_a_unit_is_let_through_its_gate_when_everything_it_needs_is_ready() -> None:
    play = Play(python("a", ready="up"), python("b", after=("a",)))
    play.tick()
    play.happens("b", "start", Kind.ARRIVE, ask="start")
    assert play.orders() == []
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    assert play.orders() == ["release a"]
    play.happens("a", "imported", Kind.STATE)
    assert play.orders() == []
    play.happens("a", "up")
    (order,) = play.tick()
    assert order == Directed(Release("start"), ("b",))


def test_a_unit_that_waits_says_for_whom() -> None:
    play = Play(python("a", ready="up"), python("b", after=("a",)))
    play.tick()
    assert (play.state("b"), play.status("b").why) == (State.CREATED, "waits for a")


def test_a_release_that_was_lost_with_the_connection_is_given_again() -> None:
    play = Play(python("a"))
    play.tick()
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    assert play.orders() == ["release a"]
    play.lifecycle.joined("a", 1, waiting=("start",))
    assert play.orders() == ["release a"]


@pytest.mark.parametrize("kind", [Kind.DEFAULT, Kind.READY, Kind.SEND])
def test_the_ready_probe_may_be_of_any_kind(kind: Kind) -> None:
    play = Play(python("a", ready="up"))
    play.comes_up("a")
    assert play.state("a") is State.STARTING
    play.happens("a", "up", kind, key="k")
    assert play.state("a") is State.RUNNING


def test_without_a_ready_probe_a_python_unit_is_ready_when_imported_and_a_command_when_spawned() -> None:
    play = Play(python("a"), command("c"))
    play.comes_up("a")
    assert (play.state("a"), play.state("c")) == (State.READY, State.STARTING)
    play.supervisor("spawned", "c", pid=7)
    assert (play.state("a"), play.state("c"), play.status("c").pid) == (State.RUNNING, State.RUNNING, 7)


def test_states_go_from_created_over_starting_and_ready_to_running() -> None:
    play = Play(python("a"), python("b", ready="up"))
    seen = [play.state("a")]
    play.tick()
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    play.tick()
    seen.append(play.state("a"))
    play.happens("a", "imported", Kind.STATE)
    seen.append(play.state("a"))
    play.happens("b", "up")
    seen.append(play.state("a"))
    assert seen == [State.CREATED, State.STARTING, State.READY, State.RUNNING]


def test_the_time_to_get_ready_counts_from_the_gate_and_not_from_the_process() -> None:
    play = Play(
        python("a", ready="up", ready_timeout_ns=60 * SECOND), python("b", after=("a",), ready_timeout_ns=SECOND)
    )
    play.tick()
    play.happens("b", "start", Kind.ARRIVE, ask="start")
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    play.tick(30)
    play.happens("a", "up")
    assert play.orders() == ["release b"]
    assert play.findings == []


# --- units that do not get ready --------------------------------------------------------------------------------------


def test_a_unit_that_dies_while_it_is_awaited_ends_the_run_at_once_and_says_why() -> None:
    play = Play(
        python("worker", ready="worker-ready"), python("api", after=("worker",)), command("late", after=("api",))
    )
    play.tick()
    play.happens("worker", "start", Kind.ARRIVE, ask="start")
    play.tick()
    play.now_ns = SECOND // 5
    play.exits("worker", 1, tail=["Traceback", "sqlite3.OperationalError: unable to open database file"])
    assert play.orders() == ["stop api"]
    why = "exited with code 1 after 200 ms, before its probe worker-ready"
    assert play.findings == [(FindingClass.NOT_READY, f"worker {why}")]
    assert play.status("worker").why == why
    assert play.lifecycle.units.findings()[0].details == (
        "it fired no probe at all",
        "Traceback",
        "sqlite3.OperationalError: unable to open database file",
        "whole output: run/worker.err",
    )
    play.exits("api", 143)
    assert (play.state("api"), play.status("api").why) == (State.STOPPED, f"was stopped: worker {why}")
    assert (play.state("late"), play.status("late").why) == (State.STOPPED, f"was not started: worker {why}")
    assert play.lifecycle.units.over


def test_output_is_named_where_there_is_some() -> None:
    play = Play(python("worker"))
    play.comes_up("worker")
    play.exits("worker", -9)
    assert play.lifecycle.units.findings()[0].details == ()


def test_a_unit_whose_time_to_get_ready_is_over_tells_what_it_fired_instead() -> None:
    play = Play(python("worker", ready="worker-ready", ready_timeout_ns=2 * SECOND))
    play.comes_up("worker")
    play.happens("worker", "worker-raedy")
    assert play.lifecycle.next_deadline_ns == 2 * SECOND
    assert play.orders(2) == ["stop worker"]
    (finding,) = play.lifecycle.units.findings()
    assert finding.cls is FindingClass.NOT_READY
    assert finding.message == "worker did not get ready: its probe worker-ready did not fire within 2 s"
    assert (finding.unit, finding.step) == ("worker", "worker-ready")
    assert finding.details == ("it fired instead: worker-raedy",)
    play.exits("worker", 143, tail=["waiting for the database"])
    assert play.lifecycle.units.findings()[0].details[1:] == (
        "waiting for the database",
        "whole output: run/worker.err",
    )
    assert (play.state("worker"), play.lifecycle.units.over) == (State.FAILED, True)


def test_a_unit_that_cannot_be_imported_has_failed() -> None:
    play = Play(python("a"))
    play.tick()
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    play.tick()
    play.exits("a", 1)
    assert play.findings == [(FindingClass.UNIT_FAILED, "a exited with code 1 after 0 ns, while app:a was imported")]


def test_a_command_that_does_not_start_has_failed_with_the_supervisors_reason() -> None:
    play = Play(command("c"))
    play.tick()
    play.supervisor("not-started", "c", why="command not found: run")
    assert play.findings == [(FindingClass.UNIT_FAILED, "c did not start: command not found: run")]
    assert play.tick() == []
    assert play.lifecycle.units.over


def test_a_unit_that_ends_well_without_its_ready_probe_did_not_get_ready() -> None:
    play = Play(python("a", ready="up"))
    play.comes_up("a")
    play.exits("a", 0)
    assert play.findings == [(FindingClass.NOT_READY, "a exited with code 0 after 0 ns, before its probe up")]


def test_a_process_that_never_comes_to_its_gate_is_not_waited_for_for_ever() -> None:
    play = Play(python("a", ready_timeout_ns=SECOND))
    play.tick()
    assert play.orders(1) == ["stop a"]
    assert play.findings == [(FindingClass.UNIT_FAILED, "a did not come to its start within 1 s")]


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_unit_that_ends_with_an_accepted_code_has_finished() -> None:
    play = Play(python("a"), python("b", exit_codes=(0, 3)))
    play.comes_up("a", "b")
    play.exits("a")
    play.exits("b", 3)
    assert (play.state("a"), play.state("b"), play.lifecycle.units.over) == (State.FINISHED, State.FINISHED, True)
    assert play.findings == []


def test_a_unit_that_fails_later_lets_the_others_go_on() -> None:
    play = Play(python("a"), python("b"))
    play.comes_up("a", "b")
    play.now_ns = 3 * SECOND
    play.exits("a", -11, tail=["core dumped"])
    assert play.orders() == []
    assert play.findings == [(FindingClass.UNIT_FAILED, "a was killed by SIGSEGV after 3 s")]
    assert (play.state("a"), play.status("a").last_lines) == (State.FAILED, ("core dumped",))
    assert not play.lifecycle.units.over
    play.exits("b")
    assert play.lifecycle.units.over


def test_services_are_stopped_when_all_others_have_ended_and_the_circuits_are_settled() -> None:
    play = Play(python("db"), python("worker", after=("db",)), python("api", after=("worker",)))
    play.comes_up("db")
    play.comes_up("worker")
    play.comes_up("api")
    play.lifecycle.settled()
    assert (play.lifecycle.units.idle, play.orders()) == (False, [])
    play.exits("api")
    assert play.lifecycle.units.idle
    assert play.orders() == ["stop worker"]
    assert play.orders() == []
    play.exits("worker", -15)
    assert play.orders() == ["stop db"]
    play.exits("db", 143)
    assert play.lifecycle.units.over
    assert play.findings == []
    assert {status.why for status in play.lifecycle.units.statuses()[:2]} == {"was stopped at the end"}


def test_what_is_a_service_can_be_said() -> None:
    play = Play(python("a", service=False), python("b", after=("a",), service=True))
    play.comes_up("a")
    play.comes_up("b")
    assert not play.lifecycle.units.idle
    play.exits("a")
    assert play.lifecycle.units.idle


def test_a_service_that_answers_its_stop_with_an_error_has_failed() -> None:
    play = Play(python("db", service=True), python("a"))
    play.comes_up("db", "a")
    play.exits("a")
    play.lifecycle.settled()
    play.tick()
    play.exits("db", 1)
    assert play.findings == [(FindingClass.UNIT_FAILED, "db exited with code 1 after 0 ns, when it was stopped")]


def test_a_service_that_is_given_no_time_to_end_and_is_killed_has_not_failed() -> None:
    play = Play(python("db", service=True, stop_timeout_ns=0), python("a"))
    play.comes_up("db", "a")
    play.exits("a")
    play.lifecycle.settled()
    play.tick()
    play.supervisor("silent-end", "db", waited_ms=0)
    play.exits("db", -9)
    assert play.findings == []
    assert [status.state for status in play.lifecycle.units.statuses()] == [State.STOPPED, State.FINISHED]


def test_a_unit_that_had_to_be_killed_has_failed() -> None:
    play = Play(python("a", stop_timeout_ns=2 * SECOND))
    play.comes_up("a")
    play.lifecycle.stop("the run was interrupted")
    (stop,) = play.tick()
    assert stop == Directed(Stop("a", 2000), (SUPERVISOR,))
    play.supervisor("silent-end", "a", waited_ms=2000)
    play.exits("a", -9)
    assert play.findings == [(FindingClass.UNIT_FAILED, "a did not end within 2 s of SIGTERM and had to be killed")]
    assert play.state("a") is State.FAILED


def test_a_unit_that_a_person_gave_no_time_has_not_failed() -> None:
    play = Play(python("a"))
    play.comes_up("a")
    play.lifecycle.stop("the run was interrupted")
    play.tick()
    play.supervisor("silent-end", "a", waited_ms=300)
    play.exits("a", -9)
    assert (play.findings, play.state("a")) == ([], State.STOPPED)


def test_processes_that_a_unit_left_behind_are_a_finding() -> None:
    play = Play(python("a"))
    play.comes_up("a")
    play.exits("a", 0, leftover=["sleep 1000 (pid 7)"])
    assert play.findings == [(FindingClass.LEFTOVER, "a left processes behind: sleep 1000 (pid 7)")]
    assert play.state("a") is State.FINISHED


def test_a_units_own_time_is_over() -> None:
    play = Play(python("a", timeout_ns=5 * SECOND), python("b"))
    play.comes_up("a", "b")
    assert play.orders(5) == ["stop a"]
    assert play.findings == [(FindingClass.UNIT_FAILED, "a still ran after its time of 5 s")]
    play.exits("a", 143)
    play.exits("b")
    assert (play.state("a"), play.lifecycle.units.over) == (State.FAILED, True)


def test_the_scenarios_time_is_over_for_units_that_still_run_except_services() -> None:
    play = Play(python("db"), python("a", after=("db",)), timeout_ns=30 * SECOND)
    play.comes_up("db")
    play.comes_up("a")
    assert sorted(play.orders(30)) == ["stop a", "stop db"]
    assert play.findings == [(FindingClass.UNIT_FAILED, "a still ran when the scenario's time of 30 s was over")]


def test_nothing_is_started_and_no_time_runs_before_the_beginning() -> None:
    play = Play(python("a"), timeout_ns=10 * SECOND, begins=False)
    assert (play.orders(), play.lifecycle.next_deadline_ns) == ([], None)
    play.lifecycle.begin(5 * SECOND)
    play.now_ns = 5 * SECOND
    play.comes_up("a")
    assert play.lifecycle.next_deadline_ns == 15 * SECOND


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_a_unit_that_failed_is_started_again_a_few_times_and_forgiven_so_long() -> None:
    play = Play(python("a", restart="on-failure"), python("b"))
    play.comes_up("b")
    for life in range(1, RESTARTS + 1):
        play.comes_up("a")
        play.happens("a", "work", incarnation=life)
        play.exits("a", 1)
        assert play.findings == []
        assert play.orders() == ["start a"]
    play.comes_up("a")
    play.exits("a", 1)
    assert play.orders() == []
    assert [cls for cls, _ in play.findings] == [FindingClass.UNIT_FAILED]
    assert play.lifecycle.forgiven == {("a", life) for life in range(1, RESTARTS + 1)}


def test_a_unit_that_would_have_been_started_again_has_not_failed_when_the_run_is_interrupted() -> None:
    play = Play(python("a", restart="on-failure"), python("b"))
    play.comes_up("a", "b")
    play.lifecycle.interrupt()
    play.exits("a", -9)
    assert play.findings == []
    assert play.state("a") is State.STOPPED
    assert play.lifecycle.is_cut_off("a")
    play.exits("b", -9)
    assert [cls for cls, _ in play.findings] == [FindingClass.UNIT_FAILED]


def test_each_start_says_which_life_of_the_unit_it_begins() -> None:
    play = Play(command("a", restart="on-failure"))
    lives = []
    for _ in range(3):
        lives += [order.order.life for order in play.tick() if isinstance(order.order, Start)]
        play.supervisor("spawned", "a", pid=100)
        play.exits("a", 1)
    assert lives == [1, 2, 3]


def test_orders_are_repeated_until_the_supervisor_says_what_came_of_them() -> None:
    play = Play(command("a", restart="on-failure"), command("b"))
    play.tick()
    play.supervisor("spawned", "a", pid=100)
    assert [order.order.unit for order in play.repeat()] == ["b"]
    play.exits("a", 1)
    play.tick()
    play.lifecycle.stop("the test is over")
    play.tick()
    again = play.repeat()
    assert [order.to for order in again] == [(SUPERVISOR,)] * 4
    assert [(type(o.order), o.order.unit, getattr(o.order, "life", 0)) for o in again] == [
        (Start, "a", 2),
        (Stop, "a", 0),
        (Start, "b", 1),
        (Stop, "b", 0),
    ]
    for name in ("a", "b"):
        play.exits(name, -15)
    assert play.repeat() == []


def test_a_unit_that_is_restarted_before_it_was_ready_keeps_the_others_waiting() -> None:
    play = Play(python("a", restart="on-failure", ready="up"), python("b", after=("a",)))
    play.comes_up("a")
    play.happens("b", "start", Kind.ARRIVE, ask="start")
    play.exits("a", 1)
    assert play.orders() == ["start a"]
    play.happens("a", "start", Kind.ARRIVE, ask="start", incarnation=2)
    assert play.orders() == ["release a"]
    play.happens("a", "up", incarnation=2)
    assert play.orders() == ["release b"]


# --- units that someone else starts -----------------------------------------------------------------------------------


def test_an_external_unit_is_ready_when_it_joins_and_has_finished_when_all_of_it_is_final() -> None:
    play = Play(Unit("lab", launcher="external", expect=("measured",)))
    play.tick()
    play.lifecycle.joined("lab", 1)
    assert play.state("lab") is State.RUNNING
    play.lifecycle.joined("lab", 2)
    play.happens("lab", "hello")
    play.lifecycle.final("lab", 1)
    play.lifecycle.final("lab", 2)
    assert play.state("lab") is State.RUNNING  # its required probe is still to come
    play.lifecycle.joined("lab", 3)
    play.happens("lab", "measured", incarnation=3)
    play.lifecycle.final("lab", 3)
    assert (play.state("lab"), play.lifecycle.units.over) == (State.FINISHED, True)


def test_an_external_unit_that_does_not_join_did_not_get_ready() -> None:
    play = Play(Unit("lab", launcher="external", ready="up", ready_timeout_ns=SECOND))
    play.tick()
    assert play.orders(1) == []
    assert play.findings == [(FindingClass.NOT_READY, "lab did not join within 1 s; it is started by someone else")]
    assert play.lifecycle.units.over


def test_an_external_unit_that_fell_silent_may_still_have_said_something() -> None:
    play = Play(Unit("lab", launcher="external"), Unit("phone", launcher="external"), timeout_ns=SECOND)
    play.tick()
    for name in ("lab", "phone"):
        play.lifecycle.joined(name, 1)
    play.tick(2)
    assert (play.state("lab"), play.lifecycle.silent) == (State.STOPPED, ("lab", "phone"))
    assert play.lifecycle.units.gone == frozenset()
    play.lifecycle.final("lab", 1)
    assert (play.lifecycle.units.gone, play.lifecycle.silent) == ({"lab"}, ("phone",))


def test_events_of_a_unit_matter_until_it_is_ready() -> None:
    play = Play(python("a", ready="up", expect=("done",)), python("b"))
    assert play.lifecycle.units.wants == {"a", "b"}
    play.comes_up("a", "b")
    play.happens("a", "up")
    assert play.lifecycle.units.wants == frozenset()


# --- other hosts ------------------------------------------------------------------------------------------------------

LAB = Host("lab", ssh="lab")
SILENT = "has not been heard for 2.5 s"


def remote_hosts(*units: Unit, serves: bool = True, **options: Any) -> Play:
    """With a host "lab", whose supervisor serves."""
    play = Play(*units, hosts=(LAB,), **options)
    if serves:
        play.supervisor("serving", None, host="lab", lease_s=15.0)
    return play


def running(*units: Unit, **options: Any) -> Play:
    """Commands, on whatever host, that run."""
    play = remote_hosts(*units, **options)
    play.tick()
    for unit in units:
        play.supervisor("spawned", unit.name, host=unit.host, pid=100)
    play.tick()
    return play


def test_orders_go_to_the_supervisor_of_the_units_host() -> None:
    play = remote_hosts(command("a"), command("b", host="lab"))
    assert [(order.order.unit, order.to) for order in play.tick() if isinstance(order.order, Start)] == [
        ("a", ("@local",)),
        ("b", ("@lab",)),
    ]
    assert [order.to for order in play.repeat()] == [("@local",), ("@lab",)]
    play.lifecycle.stop("the test is over")
    assert [order.to for order in play.tick()] == [("@local",), ("@lab",)]


def test_nothing_is_started_on_a_host_before_its_supervisor_serves() -> None:
    play = remote_hosts(command("a"), command("b", host="lab"), python("c", host="lab"), serves=False)
    assert play.orders() == ["start a"]
    play.supervisor("clock", None, host="lab")
    assert play.orders() == []
    play.supervisor("serving", None, host="lab")
    assert play.orders() == ["start b", "start c"]


def test_nothing_is_started_elsewhere_before_the_runners_own_supervisor_serves() -> None:
    play = remote_hosts(command("b", host="lab"), served=False)
    assert play.orders() == []
    play.supervisor("serving", None)
    assert play.orders() == ["start b"]


def test_units_of_a_host_that_is_away_have_failed_with_the_reason_and_there_is_no_finding_yet() -> None:
    play = running(command("a"), command("b", host="lab"))
    play.lifecycle.host(Away("lab", SILENT))
    assert play.state("a") is State.RUNNING
    assert (play.state("b"), play.status("b").why) == (State.FAILED, f"was lost with host lab, which {SILENT}")
    assert play.findings == []


def test_units_of_a_host_that_is_back_are_what_they_were() -> None:
    play = running(command("a"), command("b", host="lab"), python("c", host="lab"))
    before = play.lifecycle.units.statuses()
    play.lifecycle.host(Away("lab", SILENT))
    play.lifecycle.host(Away("lab", "is away, as was said"))
    play.lifecycle.host(Back("lab"))
    assert play.lifecycle.units.statuses() == before
    play.lifecycle.host(Back("lab"))
    assert play.lifecycle.units.statuses() == before
    assert play.findings == []
    play.exits("b", host="lab")
    assert play.state("b") is State.FINISHED


def test_a_unit_that_had_ended_before_its_host_was_away_stays_as_it_was() -> None:
    play = running(command("b", host="lab"))
    play.exits("b", 1, host="lab")
    before = play.status("b")
    play.lifecycle.host(Away("lab", SILENT))
    assert play.status("b") == before
    play.lifecycle.host(Gone("lab", SILENT))
    assert (play.status("b"), play.lifecycle.silent, play.lifecycle.units.gone) == (before, (), {"b"})


def test_a_host_that_is_gone_has_failed_its_units_and_what_they_said_last_is_not_known() -> None:
    play = running(command("a"), command("b", host="lab"))
    play.lifecycle.host(Away("lab", SILENT))
    play.lifecycle.host(Gone("lab", "was away for 15 s"))
    assert play.findings == [(FindingClass.UNIT_FAILED, "b was lost with host lab, which was away for 15 s")]
    assert play.state("b") is State.FAILED
    assert (play.lifecycle.silent, play.lifecycle.units.gone) == (("b",), frozenset())
    play.exits("a")
    assert (play.lifecycle.units.over, play.lifecycle.units.gone) == (True, {"a"})


def test_a_host_that_never_came_ends_the_run() -> None:
    play = remote_hosts(command("a"), command("b", host="lab"), serves=False)
    assert play.orders() == ["start a"]
    play.lifecycle.host(Gone("lab", "did not come within 30 s"))
    assert play.findings == [(FindingClass.UNIT_FAILED, "b did not start: host lab did not come within 30 s")]
    assert play.lifecycle.stopped_why == "b did not start: host lab did not come within 30 s"
    assert (play.lifecycle.silent, play.orders()) == ((), ["stop a"])


def test_a_unit_that_was_not_ready_when_its_host_vanished_ends_the_run() -> None:
    play = remote_hosts(python("b", ready="up", host="lab"))
    play.tick()
    play.supervisor("spawned", "b", host="lab", pid=1)
    play.lifecycle.host(Away("lab", SILENT))
    assert play.orders(31) == []  # its time to get ready is not counted against it
    play.lifecycle.host(Gone("lab", SILENT))
    assert play.findings == [(FindingClass.NOT_READY, f"b was lost with host lab, which {SILENT}")]
    play.tick()
    assert play.lifecycle.units.over


def test_a_unit_on_a_host_that_is_away_is_not_ordered_to_stop_and_keeps_the_run_from_being_over() -> None:
    play = running(command("db", service=True, host="lab"), command("a"))
    play.lifecycle.host(Away("lab", SILENT))
    play.exits("a")
    assert play.lifecycle.units.idle, "it is a service: only circuits can want more"
    play.lifecycle.settled()
    assert play.orders() == []
    assert not play.lifecycle.units.over
    play.lifecycle.host(Back("lab"))
    assert play.orders() == ["stop db"]


def test_a_unit_on_a_host_that_is_away_may_have_more_to_say() -> None:
    play = running(command("a"), command("b", host="lab"))
    play.exits("a")
    play.lifecycle.host(Away("lab", SILENT))
    assert (play.lifecycle.units.idle, play.lifecycle.units.over, play.lifecycle.units.gone) == (False, False, {"a"})
    assert play.lifecycle.units.waits_for == "the end of b"
    play.lifecycle.host(Gone("lab", SILENT))
    assert (play.lifecycle.units.idle, play.lifecycle.units.over) == (True, True)


def test_a_command_that_was_to_start_on_a_host_that_is_away_waits_until_it_is_back() -> None:
    play = remote_hosts(command("a", ready="up"), command("b", after=("a",), host="lab"))
    play.tick()
    play.supervisor("spawned", "a", pid=1)
    play.lifecycle.host(Away("lab", SILENT))
    play.happens("a", "up")
    assert play.orders() == []
    play.lifecycle.host(Back("lab"))
    assert play.orders() == ["start b"]


@pytest.mark.parametrize("back_first", [True, False])
def test_what_happened_to_a_unit_while_its_host_was_away_counts_when_it_is_heard(back_first: bool) -> None:
    """In the log, the word of the supervisor stands before what the runner makes of it."""
    for code, state in ((0, State.FINISHED), (3, State.FAILED)):
        play = running(command("b", host="lab"))
        play.lifecycle.host(Away("lab", SILENT))
        if back_first:
            play.lifecycle.host(Back("lab"))
        play.exits("b", code, host="lab")
        if not back_first:
            play.lifecycle.host(Back("lab"))
        assert (play.state("b"), play.status("b").exit_code) == (state, code)
        assert [sentence for _, sentence in play.findings] == (["b exited with code 3 after 0 ns"] if code else [])
        assert play.lifecycle.units.over


@pytest.mark.parametrize("away", [True, False])
def test_a_unit_that_its_own_supervisor_ended_as_it_heard_of_no_runner_has_failed(away: bool) -> None:
    play = running(command("b", host="lab"))
    if away:
        play.lifecycle.host(Away("lab", SILENT))
    play.supervisor("stopping", "b", host="lab", pid=100, grace_ms=1000, why="got SIGTERM")
    play.exits("b", -15, host="lab")
    if away:
        play.lifecycle.host(Back("lab"))
    assert play.findings == [(FindingClass.UNIT_FAILED, "b was ended on host lab, whose supervisor got SIGTERM")]
    assert (play.state("b"), play.lifecycle.units.over) == (State.FAILED, True)


def test_a_unit_that_was_ordered_to_stop_and_whose_host_was_away_then_has_time_to_end_when_it_is_back() -> None:
    play = running(command("b", host="lab", stop_timeout_ns=5 * SECOND))
    play.lifecycle.host(Away("lab", SILENT))
    play.lifecycle.stop("the run was interrupted")
    assert play.orders() == ["stop b"]  # it waits for the supervisor at the broker
    play.tick(60)
    assert play.lifecycle.unended(15 * SECOND) == ()
    play.lifecycle.host(Back("lab"))
    play.tick()
    assert play.lifecycle.unended(15 * SECOND) == ()
    play.tick(21)
    assert play.lifecycle.unended(15 * SECOND) == ("b",)
    play.supervisor("stopping", "b", host="lab")
    play.exits("b", -15, host="lab")
    assert (play.state("b"), play.findings) == (State.STOPPED, [])


def test_another_supervisor_of_a_host_means_that_the_first_was_killed_with_its_units() -> None:
    play = running(command("a"), command("b", host="lab"), command("c", host="lab", restart="on-failure"))
    play.supervisor("serving", None, host="lab")  # the same one, published once more
    assert play.state("b") is State.RUNNING
    play.supervisor("serving", None, host="lab", incarnation=2)
    assert play.findings == [(FindingClass.UNIT_FAILED, "b was killed by SIGKILL after 0 ns")]
    assert play.status("b").exit_code == -9
    assert play.state("a") is State.RUNNING
    assert play.orders() == ["start c"]


def test_a_supervisor_that_came_while_its_host_was_away_means_the_same() -> None:
    play = running(command("b", host="lab"))
    play.lifecycle.host(Away("lab", SILENT))
    play.supervisor("serving", None, host="lab", incarnation=2)
    play.lifecycle.host(Back("lab"))
    assert play.findings == [(FindingClass.UNIT_FAILED, "b was killed by SIGKILL after 0 ns")]
    assert play.lifecycle.units.over


def test_a_report_of_its_clock_before_it_serves_does_not_hide_that_a_supervisor_is_another_one() -> None:
    play = running(command("b", host="lab"))
    play.supervisor("clock", None, host="lab", incarnation=2)
    play.supervisor("serving", None, host="lab", incarnation=2)
    assert play.status("b").exit_code == -9


def test_a_unit_whose_end_the_first_supervisor_had_reported_is_not_ended_again() -> None:
    play = running(command("b", host="lab"))
    play.exits("b", host="lab")
    play.supervisor("serving", None, host="lab", incarnation=2)
    assert (play.state("b"), play.findings) == (State.FINISHED, [])


def test_only_the_supervisor_of_its_host_can_tell_of_a_unit() -> None:
    play = running(command("a"), command("b", host="lab"))
    play.exits("a", 1, host="lab")
    play.exits("b", 1)
    assert (play.state("a"), play.state("b"), play.findings) == (State.RUNNING, State.RUNNING, [])


def test_an_external_unit_has_its_own_time_to_join_and_then_that_to_get_ready() -> None:
    unit = Unit("cam", launcher="external", ready="up", ready_timeout_ns=SECOND, expect_within_ns=60 * SECOND)
    play = Play(unit)
    play.tick()
    assert play.lifecycle.next_deadline_ns == 60 * SECOND
    play.tick(59)
    play.lifecycle.joined("cam", 1)
    assert play.orders(0.5) == []
    play.tick(0.5)
    assert play.findings == [(FindingClass.NOT_READY, "cam did not get ready: its probe up did not fire within 1 s")]


def test_an_external_unit_that_does_not_come_in_its_own_time_is_reported_with_that_time() -> None:
    play = Play(Unit("cam", launcher="external", expect_within_ns=60 * SECOND, ready_timeout_ns=SECOND))
    play.tick()
    play.tick(60)
    assert play.findings == [(FindingClass.UNIT_FAILED, "cam did not join within 60 s; it is started by someone else")]


# --- the older folder -------------------------------------------------------------------------------------------------


def test_resume_all_starts_every_unit_again_in_order() -> None:
    play = Play(
        python("a", service=False),
        python("b", after=("a",), service=False),
        python("done", service=False),
        legacy=Legacy(restart_all=("b",)),
    )
    play.comes_up("a", "done")
    play.comes_up("b")
    play.exits("done")
    play.exits("b", 1)
    assert play.orders() == ["start b", "start done", "stop a"]
    play.happens("b", "start", Kind.ARRIVE, ask="start")
    assert play.orders() == []
    play.exits("a", 143)
    assert play.orders() == ["start a"]
    play.happens("a", "start", Kind.ARRIVE, ask="start")
    assert play.orders() == ["release a"]
    play.happens("a", "imported", Kind.STATE)
    assert play.orders() == ["release b"]
    assert play.findings == []


def test_units_of_a_legacy_folder_are_stopped_a_little_after_every_required_probe_has_fired() -> None:
    units = (python("a", ready="up", expect=("done",), service=False), python("b", service=False))
    play = Play(*units, legacy=Legacy(linger_ns=SECOND // 2))
    play.comes_up("a", "b")
    play.happens("a", "up")
    assert play.lifecycle.units.wants == {"a"}
    assert play.orders(10) == []
    play.happens("a", "done")
    assert play.orders() == []
    assert play.lifecycle.next_deadline_ns == play.now_ns + SECOND // 2
    assert play.orders(0.5) == ["stop a", "stop b"]
    play.exits("a", 143)
    play.exits("b", 143)
    assert (play.findings, play.lifecycle.units.over) == ([], True)
    assert (play.state("a"), play.state("b")) == (State.STOPPED, State.STOPPED)


def test_setup_counts_as_ready_when_it_has_returned_or_worked_for_a_moment() -> None:
    setup = python("setup", service=True)
    for returns in (True, False):
        play = Play(setup, python("a", after=("setup",), service=False), legacy=Legacy())
        play.tick()
        play.happens("a", "start", Kind.ARRIVE, ask="start")
        play.comes_up("setup")
        assert play.state("setup") is State.STARTING
        if returns:
            play.exits("setup")
            assert (play.orders(), play.state("setup")) == (["release a"], State.FINISHED)
        else:
            assert play.orders(0.2) == ["release a"]


def test_a_legacy_unit_without_entrypoint_is_not_waited_for() -> None:
    play = Play(python("a", service=False), Unit("api", launcher="external", expect=("x",)), legacy=Legacy())
    play.comes_up("a")
    assert play.state("a") is State.RUNNING
    play.exits("a")
    assert play.lifecycle.units.idle
    play.lifecycle.settled()
    play.tick()
    assert play.lifecycle.units.over


def test_a_unit_that_was_getting_ready_when_its_host_was_away_has_the_time_that_it_lost() -> None:
    play = remote_hosts(command("a", ready="up", ready_timeout_ns=10 * SECOND, host="lab"))
    play.tick()
    play.supervisor("spawned", "a", host="lab", pid=1)
    play.tick(8)
    play.lifecycle.host(Away("lab", SILENT))
    play.tick(30)
    play.lifecycle.host(Back("lab"))
    assert play.orders() == []
    assert play.orders(1.5) == []
    assert play.state("a") is State.STARTING
    play.orders(1)
    assert play.state("a") is State.FAILED
