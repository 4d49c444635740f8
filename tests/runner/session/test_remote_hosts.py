"""The other hosts of a run, as one turn after the other sees them: what is decided becomes a command in the log."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe.event import Event, Kind
from probe.message import Away, Back, Begin, Break, Gone, Release, Ship, Start
from runner.core.clocks import Timeline
from runner.core.clocks.remote_clock import STEP_NS
from runner.core.lifecycle.roster import COME_NS, SILENT_NS
from runner.model.orders import Directed
from runner.model.scenario.model import Host, Scenario, Unit
from runner.session.remote_hosts import RemoteHosts

SECOND = 1_000_000_000
BEGIN = 1000 * SECOND
LAB, FIELD = Host("lab", ssh="lab"), Host("field", agent=True)
UNITS = (
    Unit("api", command=("x",)),
    Unit("worker", command=("x",), host="lab"),
    Unit("cam", command=("x",), host="field"),
)


class Play:
    """RemoteHosts with stand-ins for what it stands on: `orders` is what was commanded, `changes` what the dispatcher
    was ordered, `troubles` what the ssh processes say in the next turn."""

    def __init__(self, folder: Path, *units: Unit) -> None:
        scenario_folder = folder / "shop"
        scenario_folder.mkdir()
        (scenario_folder / "circuit.toml").write_text("")
        self.units = folder / "runs" / "run-1" / "units"
        self.units.mkdir(parents=True)
        self.now_s = 0.0
        self.orders: list[tuple[Any, tuple[str, ...]]] = []
        self.changes: list[Any] = []
        self.troubles: list[tuple[str, str, bool]] = []
        self.heard: list[str] = []
        self.looked: list[tuple[str, ...]] = []
        self.timeline = Timeline("desk")
        self.closed: set[str] = set()
        self.unconfirmed: list[Directed] = []
        self.reader = SimpleNamespace(host="desk", behind=False, now_ns=lambda: BEGIN, command=self._command)
        hosts = SimpleNamespace(look=self._look, heard=self.heard.append)
        scenario = Scenario("s", str(scenario_folder), "circuit.toml", units or UNITS, hosts=(LAB, FIELD))
        self.remote_hosts = RemoteHosts(
            scenario,
            SimpleNamespace(hosts=hosts),  # type: ignore[arg-type]
            self.reader,  # type: ignore[arg-type]
            SimpleNamespace(  # type: ignore[arg-type]
                timeline=self.timeline,
                closed=self.closed,
                host=lambda change, _now: self.changes.append(change),
                lifecycle=SimpleNamespace(repeat=lambda: self.unconfirmed),
            ),
            self.units,
        )

    def _command(self, order: Any, to: tuple[str, ...], _now_ns: int) -> None:
        self.orders.append((order, to))

    def _look(self, expected: tuple[str, ...]) -> list[tuple[str, str, bool]]:
        self.looked.append(expected)
        found, self.troubles = self.troubles, []
        return found

    def hears(self, host: str, at_s: float = 0, step: str = "clock", **data: Any) -> None:
        incarnation = data.pop("incarnation", 1)
        event = Event(f"@{host}", incarnation, 1, 0, step, Kind.STATE, data.pop("key", None), data)
        self.remote_hosts.heard(host, event, BEGIN + int(at_s * SECOND))

    def tick(self, at_s: float) -> list[tuple[Any, tuple[str, ...]]]:
        """What was commanded until then, by a runner that looks twice in a second."""
        before = len(self.orders)
        while self.now_s + 0.5 < at_s:
            self.now_s += 0.5
            self.remote_hosts.tick(BEGIN + int(self.now_s * SECOND))
        self.now_s = at_s
        self.remote_hosts.tick(BEGIN + int(at_s * SECOND))
        return self.orders[before:]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    play = Play(tmp_path)
    play.remote_hosts.begin(BEGIN)
    return play


def test_a_run_begins_with_the_clock_it_is_on_and_ships_the_folder_to_the_others(play: Play) -> None:
    first, *rest = play.orders
    assert first == (Begin("desk"), ("@local", "@lab", "@field"))
    assert rest
    assert all(isinstance(order, Ship) and to == ("@lab", "@field") for order, to in rest)
    assert play.looked == [()], "now the others are called"


def test_a_run_on_one_host_calls_no_host_and_ships_nothing(tmp_path: Path) -> None:
    play = Play(tmp_path, Unit("api", command=("x",)))
    play.remote_hosts.begin(BEGIN)
    assert play.orders == [(Begin("desk"), ("@local",))]
    assert play.tick(1000) == []
    assert (play.looked, play.remote_hosts.expected, play.remote_hosts.next_deadline_ns) == ([], (), None)


def test_what_is_decided_goes_to_the_dispatcher_and_into_the_log_by_way_of_its_supervisor(play: Play) -> None:
    play.hears("lab")
    play.hears("field")
    assert play.heard == ["lab", "field"]
    play.hears("field", 2)
    away = Away("lab", "has not been heard for 2.5 s")
    assert play.tick(2.6) == [(away, ("@lab",))]
    play.hears("lab", 4)
    assert play.orders[-1] == (Back("lab"), ("@lab",))
    assert play.changes == [away, Back("lab")]


def test_the_silence_of_a_host_means_nothing_while_the_log_has_more_than_was_read(play: Play) -> None:
    play.hears("lab")
    play.reader.behind = True
    assert play.tick(COME_NS / SECOND + 1) == []
    play.reader.behind = False
    assert [type(order) for order, _ in play.tick(COME_NS / SECOND + 1)] == [Away, Gone]


def test_a_host_that_ssh_does_not_reach_is_given_up_at_once_with_its_words(play: Play) -> None:
    play.troubles = [("lab", "cannot be reached", True)]
    assert play.tick(0.1) == [(Gone("lab", "cannot be reached"), ("@lab",))]
    assert play.remote_hosts.expected == ("field",)


def test_the_last_word_of_a_supervisor_is_no_silence(play: Play) -> None:
    play.hears("lab")
    play.closed.add("@lab")
    assert play.tick(10) == []
    assert play.remote_hosts.expected == ("field",)


def test_when_the_run_ends_who_has_not_come_is_not_waited_for(play: Play) -> None:
    play.hears("lab")
    play.remote_hosts.finish(BEGIN)
    assert play.remote_hosts.expected == ("lab",)
    assert play.remote_hosts.next_deadline_ns == BEGIN + SILENT_NS + 1


def test_the_supervisor_says_how_long_its_lease_is(play: Play) -> None:
    play.hears("field", step="serving", lease_s=60.0)
    play.closed.add("@lab")
    play.tick(3)
    assert play.tick(62) == []
    ((gone, _),) = play.tick(64)
    assert gone.why.endswith("its lease of 60 s is over")


@pytest.mark.parametrize("lease_s", [float("inf"), float("nan"), -1.0, 0.0, "60", None, True, 1 << 70, [60.0]])
def test_a_lease_that_makes_no_sense_is_ignored(play: Play, lease_s: Any) -> None:
    play.hears("field", step="serving", lease_s=lease_s)
    assert [type(order) for order, to in play.tick(3) if to == ("@field",)] == [Away]
    assert [type(order) for order, to in play.tick(19) if to == ("@field",)] == [Gone]


def test_a_host_of_which_the_scenario_knows_nothing_is_not_listened_to(play: Play) -> None:
    play.hears("stranger", step="output", key="worker", stream="out", at=0, bytes=b"x")
    play.hears("local", step="serving", lease_s=60.0)
    assert play.heard == []
    assert list(play.units.iterdir()) == []


def test_what_units_wrote_is_fetched_from_the_supervisor_of_their_host(play: Play) -> None:
    play.hears("lab", step="output", key="worker", stream="out", at=0, bytes=b"mine")
    play.hears("lab", step="output", key="cam", stream="out", at=0, bytes=b"not mine")
    play.hears("lab", step="output", key="api", stream="out", at=0, bytes=b"not mine")
    assert {path.name: path.read_bytes() for path in play.units.iterdir()} == {"worker.out": b"mine"}


def test_a_moment_is_given_to_each_clock_as_it_is_there(play: Play) -> None:
    for unit, boot in (("api", "desk"), ("@lab", "its-boot"), ("worker", "its-boot"), ("cam", "no-boot")):
        play.timeline.join(unit, 1, boot)
    for stamp in range(STEP_NS, 8 * STEP_NS, STEP_NS):
        bounds = {"low": [[stamp, 5 * SECOND]], "high": [[stamp, 5 * SECOND]], "rtt_ns": 0}
        play.timeline.report("@lab", 1, stamp + 1, bounds)
    order = Directed(Release("barrier/go/1", at_ns=BEGIN), ("api", "worker", "cam"))
    moments = {to: release.at_ns for release, to in play.remote_hosts.in_their_time(order)}  # type: ignore[union-attr]
    assert moments == {("api",): BEGIN, ("worker",): BEGIN + 5 * SECOND, ("cam",): BEGIN}


@pytest.mark.parametrize("order", [Release("barrier/go/1"), Break("barrier/go/1", (), "why")])
def test_an_order_without_a_moment_is_the_same_for_all_units(play: Play, order: Any) -> None:
    play.timeline.join("worker", 1, "its-boot")
    assert list(play.remote_hosts.in_their_time(Directed(order, ("api", "worker")))) == [(order, ("api", "worker"))]


def test_a_supervisor_that_takes_the_place_of_a_killed_one_gets_all_orders_again(play: Play) -> None:
    start = Start("worker", ("x",), "", {}, "", "")
    play.unconfirmed = [Directed(start, ("@lab",)), Directed(Start("cam", ("x",), "", {}, "", ""), ("@field",))]
    play.hears("lab", step="serving")
    before = len(play.orders)
    play.hears("lab", step="serving")
    assert play.orders[before:] == [], "the same one, as a journal may tell it twice"
    play.hears("lab", step="serving", incarnation=2)
    shipped, last = play.orders[before:-1], play.orders[-1]
    assert shipped
    assert all(isinstance(order, Ship) and to == ("@lab",) for order, to in shipped)
    assert last == (start, ("@lab",))
