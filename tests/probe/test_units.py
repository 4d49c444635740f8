"""From a call to a record in the journal: what fits and what does not, threads, interruptions, forks, process ends."""

import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import ExtType

import probe
from probe import journal, limits, units, wire
from probe import message as m
from probe.environment import Environment
from probe.event import MAX_DATA_BYTES, MAX_KEY_BYTES, MAX_STEP_BYTES, TRUNCATED, Kind
from probe.link import Link
from probe.recovery import recover
from probe.units import Unit
from tests.support.small_broker import PATIENCE_S, SmallBroker


def said(broker: SmallBroker, unit: Unit) -> list[Any]:
    """[step, kind, key, data] of everything the unit emitted, once all of it has arrived."""
    assert unit.close(PATIENCE_S)
    records = broker.all_records()
    assert [record[0] for record in records] == list(range(1, len(records) + 1))
    return [record[2:] for record in records]


# --- importing, and without a broker ---


def test_importing_opens_nothing_starts_nothing_and_leaves_zmq_alone() -> None:
    code = (
        "import os, sys, threading; before = os.listdir('/proc/self/fd'); import probe;"
        "assert os.listdir('/proc/self/fd') == before; assert threading.active_count() == 1;"
        "assert not {'zmq', 'asyncio', 'subprocess', 'tempfile', 'json'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "CIRCUIT_BROKER": "ipc:///nowhere"})


def test_without_a_broker_every_probe_is_a_no_op(capfd: pytest.CaptureFixture[str]) -> None:
    unit = Unit("off", environment=Environment("", "", "off", "", "", disabled=False))
    unit.emit("a", key=object(), step="b", self=1, data=2)
    unit.error(ValueError("c"))
    unit.ready()
    assert unit.close()
    assert (unit.incarnation, capfd.readouterr().err) == (0, "")


@pytest.mark.parametrize("name", ["emit", "send", "receive", "error", "ready", "wait", "barrier_async"])
def test_a_call_is_found_where_its_name_says(name: str) -> None:
    """So who pickles functions by what they are made of (cloudpickle) has no need to."""
    function = getattr(probe, name).__func__
    found: Any = sys.modules[function.__module__]
    for part in function.__qualname__.split("."):
        found = getattr(found, part)
    assert found is function


def test_a_unit_of_the_same_name_is_the_same_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUIT_UNIT", "main")
    assert probe.unit("other") is probe.unit("other")
    assert probe.unit("main") is units.default


# --- what is recorded ---


def test_every_kind_of_probe_has_its_kind(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a", key="k", n=1)
    unit.send("b", key="k")
    unit.receive("c", key="k")
    unit.error("d")
    unit.ready()
    unit.state("f", key="g")
    assert said(broker, unit) == [
        ["a", Kind.DEFAULT, "k", {"n": 1}],
        ["b", Kind.SEND, "k", {}],
        ["c", Kind.RECEIVE, "k", {}],
        ["d", Kind.EXCEPTION, None, {}],
        ["ready", Kind.READY, None, {}],
        ["f", Kind.STATE, "g", {}],
    ]


def test_an_exception_is_described_by_class_message_and_place(broker: SmallBroker, unit: Unit) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    try:
        raise KeyError("order 17")
    except KeyError as error:
        unit.error(error, key="17", attempt=2)
    unit.error(Odd())
    first, second = said(broker, unit)
    assert first[:3] == ["KeyError", Kind.EXCEPTION, "17"]
    assert first[3]["message"] == "'order 17'"
    assert first[3]["attempt"] == 2
    assert __file__ in first[3]["where"]
    assert second[3] == {"message": ""}


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Text(str):
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)

ODD = {
    "key that is a number": (("a",), {"key": 17}, ["a", 0, "17", {}]),
    "key that cannot be text": (("a",), {"key": Hostile()}, ["a", 0, "<Hostile: RuntimeError in str()>", {}]),
    "step that is no text": ((17,), {}, ["17", 0, None, {}]),
    "step of a class of its own": ((Text("a"),), {"key": Text("k")}, ["a", 0, "k", {}]),
    "object": (("a",), {"x": Hostile()}, ["a", 0, None, {"x": "<Hostile: RuntimeError in repr()>"}]),
    "huge number": (("a",), {"x": 1 << 64}, ["a", 0, None, {"x": "0x10000000000000000"}]),
    "lone surrogate": (("a\ud800",), {"key": "\udfff", "x": "\ud800"}, ["a?", 0, "?", {"x": "?"}]),
    "odd keys in a map": (("a",), {"x": {(1, 2): 3, None: 4}}, ["a", 0, None, {"x": {"(1, 2)": 3, "None": 4}}]),
    "set and tuple": (("a",), {"x": ({1}, (2,))}, ["a", 0, None, {"x": [[1], [2]]}]),
    "bytes": (("a",), {"x": b"\xff"}, ["a", 0, None, {"x": b"\xff"}]),
}


@pytest.mark.parametrize(("args", "named", "expected"), ODD.values(), ids=ODD.keys())
def test_odd_arguments_become_something_readable(
    broker: SmallBroker, unit: Unit, args: tuple[Any], named: dict[str, Any], expected: list[Any]
) -> None:
    unit.emit(*args, **named)
    assert said(broker, unit) == [expected]


def test_an_extension_type_does_not_cost_the_events_around_it(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    unit.emit("b", x=ExtType(5, b"12"))
    assert said(broker, unit) == [["a", 0, None, {}], ["b", 0, None, {"x": "<extension 5, 2 bytes: 3132>"}]]


def test_data_without_end_is_cut(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a", x=LOOP)
    ((_, _, _, data),) = said(broker, unit)
    assert "..." in str(data["x"])


def test_what_is_too_long_is_cut_and_marked(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("s" * 300, key="ä" * 150, small=1, large="x" * 100_000)
    ((step, _, key, data),) = said(broker, unit)
    assert step == "s" * MAX_STEP_BYTES
    assert key == "ä" * (MAX_KEY_BYTES // 2)
    assert data == {"small": 1, TRUNCATED: ["step", "key", "large"]}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.builds(object),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.one_of(st.integers(), st.text(), st.tuples(st.integers())), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(anything, st.none() | anything, st.dictionaries(st.text(st.characters(exclude_categories=())), anything))
def test_fit_makes_a_record_of_anything(step: object, key: object, data: dict[str, Any]) -> None:
    short, tie, fields = limits.fit(step, key, data)
    body = wire.record_packer(strict=True)([1, 2, short, 0, tie, fields])
    ((*_, found_step, _, found_key, found_data),) = wire.unpack_records(body)
    assert len(found_step.encode()) <= MAX_STEP_BYTES
    assert found_key is None or len(found_key.encode()) <= MAX_KEY_BYTES
    assert len(wire.record_packer()(found_data)) <= MAX_DATA_BYTES
    assert found_step == short


# --- threads and interruptions ---


def test_threads_share_a_unit_and_lose_nothing(broker: SmallBroker, unit: Unit) -> None:
    def work(name: int) -> None:
        for number in range(2000):
            unit.emit("step", key=str(name), n=number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = said(broker, unit)
    for name in range(4):
        assert [data["n"] for _, _, key, data in records if key == str(name)] == list(range(2000))


@pytest.fixture
def on_alarm() -> Iterator[Callable[..., None]]:
    """`on_alarm(handler)`: what SIGALRM calls from now on, until the test is over."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_emit_in_the_middle_of_an_emit(broker: SmallBroker, unit: Unit, on_alarm: Any) -> None:
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        unit.emit("handled")

    on_alarm(handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    outer = 0
    while handled < 200:
        outer += 1
        unit.emit("outer", n=outer, text="x" * (outer % 300))
    signal.setitimer(signal.ITIMER_REAL, 0)
    records = said(broker, unit)
    assert [data["n"] for step, _, _, data in records if step == "outer"] == list(range(1, outer + 1))
    assert len([step for step, *_ in records if step == "handled"]) == handled


def test_a_signal_handler_that_comes_between_two_records_doubles_none(broker: SmallBroker, unit: Unit) -> None:
    class Deferred(list[Any]):
        """What was put off; a signal comes right behind the second look whether there is something."""

        looks = 0

        def __bool__(self) -> bool:
            found = len(self) > 0
            self.looks += 1
            if self.looks == 2:
                unit.emit("handled")
            return found

    unit.emit("first")
    unit._deferred = Deferred([(time.monotonic_ns(), 0, "put off", None, {})])
    unit.emit("outer")
    unit._deferred = []
    assert sorted(step for step, *_ in said(broker, unit)) == ["first", "handled", "outer", "put off"]


def test_a_signal_handler_that_comes_while_probes_begin_doubles_none(broker: SmallBroker, unit: Unit) -> None:
    class Deferred(list[Any]):
        """What was put off while the journal was opened; a signal comes while it is gone through."""

        looked = False

        def __iter__(self) -> Iterator[Any]:
            for each in super().__iter__():
                yield each
                if not self.looked:
                    self.looked = True
                    unit.emit("handled")

    unit._deferred = Deferred([(time.monotonic_ns(), 0, "put off", None, {})])
    unit.emit("first")
    assert sorted(step for step, *_ in said(broker, unit)) == ["first", "handled", "put off"]


def test_an_interruption_in_the_middle_of_an_emit_tears_nothing(
    broker: SmallBroker, unit: Unit, on_alarm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FIRST_SEGMENT_BYTES", 16 << 20)  # opening a file is no work for such a main thread

    class Interrupted(BaseException):
        pass

    def handler(*_: object) -> None:
        raise Interrupted

    unit.emit("first")
    on_alarm(handler)
    completed: list[int] = []
    number = 0
    for after_us in range(100, 300):
        try:
            signal.setitimer(signal.ITIMER_REAL, after_us / 1e6)
            while True:
                number += 1
                unit.emit("step", n=number)
                completed.append(number)
        except Interrupted:
            pass
    unit.emit("last")
    records = said(broker, unit)
    assert records[-1][0] == "last"
    assert set(completed) <= {data["n"] for step, _, _, data in records if step == "step"}


class _Odd:
    """Has to be described before it can be recorded."""

    def __repr__(self) -> str:
        return "odd" * 40


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, TimeoutError])
def test_what_a_signal_handler_raises_in_the_middle_of_an_emit_is_its_programs(
    broker: SmallBroker, unit: Unit, on_alarm: Any, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every lane: a record that just fits, one that has to be made fit, a sender that is woken."""
    monkeypatch.setattr(journal, "FIRST_SEGMENT_BYTES", 16 << 20)  # opening a file is no work for such a main thread

    class Handler:
        def __call__(self, *_: object) -> None:
            raise kind("time is over")

    unit.emit("first")
    on_alarm(functools.partial(Handler()))
    completed: list[int] = []
    number = 0
    for after_us in range(400, 2000, 4):
        try:
            begun = number
            signal.setitimer(signal.ITIMER_REAL, after_us / 1e6)
            while number < begun + 200_000:
                number += 1
                data = {"odd": _Odd()} if number % 3 else {"text": "x" * 500}
                unit.emit("step", n=number, **data)
                completed.append(number)
            pytest.fail("it did not get through")
        except kind:
            pass
    unit.emit("last")
    records = said(broker, unit)
    assert records[-1][0] == "last"
    assert set(completed) <= {data["n"] for step, _, _, data in records if step == "step"}
    assert broker.lost == []


def test_a_first_emit_that_a_signal_handler_ends_leaves_probes_on(
    broker: SmallBroker, unit: Unit, on_alarm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(*_: object) -> None:
        raise TimeoutError

    def begin(*_: object) -> None:
        signal.raise_signal(signal.SIGALRM)

    on_alarm(handler)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "begin", begin)
        with pytest.raises(TimeoutError):
            unit.emit("first")
    unit.emit("second")
    assert [step for step, *_ in said(broker, unit)] == ["second"]


def test_a_finalizer_may_emit_in_the_middle_of_an_emit(broker: SmallBroker, unit: Unit) -> None:
    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            unit.emit("finalized")
            finalized.append(1)

    finalized: list[int] = []
    before = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(500):
            Finalized()
            unit.emit("outer", n=number)
    finally:
        gc.set_threshold(*before)
    while len(finalized) < 500:  # another thread may be collecting just now
        gc.collect()
    steps = [step for step, *_ in said(broker, unit)]
    assert (steps.count("outer"), steps.count("finalized")) == (500, 500)


def test_a_repr_that_emits_and_waits_for_another_thread_does_not_hang(broker: SmallBroker, unit: Unit) -> None:
    class Slow:
        def __repr__(self) -> str:
            thread = threading.Thread(target=unit.emit, args=("from another thread",))
            thread.start()
            thread.join(PATIENCE_S)
            return "slow" if not thread.is_alive() else "hung"

    unit.emit("outer", x=Slow())
    assert said(broker, unit) == [["from another thread", 0, None, {}], ["outer", 0, None, {"x": "slow"}]]


def test_an_event_that_is_recorded_while_its_unit_is_closed_belongs_to_the_next_incarnation(
    broker: SmallBroker, unit: Unit
) -> None:
    class Closes:
        def __repr__(self) -> str:
            unit.close(PATIENCE_S)
            return "closed"

    unit.emit("before")
    unit.emit("meanwhile", x=Closes())
    assert unit.close(PATIENCE_S)
    assert incarnations(broker) == [["before"], ["meanwhile"]]


@pytest.mark.parametrize(("where", "what"), [(Link, "seal"), (Unit, "_shut_journal"), (Unit, "position")])
def test_what_a_signal_handler_emits_while_its_unit_is_closed_is_kept(
    broker: SmallBroker, unit: Unit, on_alarm: Any, monkeypatch: pytest.MonkeyPatch, where: Any, what: str
) -> None:
    """At whichever moment: it is the last event of this incarnation, or the first one of the next."""
    usual, ours = getattr(where, what), threading.get_ident()

    def interrupted(*arguments: Any) -> Any:
        result = None if what == "_shut_journal" else usual(*arguments)
        if threading.get_ident() == ours:
            signal.raise_signal(signal.SIGALRM)
        return usual(*arguments) if what == "_shut_journal" else result

    def handler(*_: object) -> None:
        unit.emit("handled")

    unit.emit("first")
    on_alarm(handler)
    with monkeypatch.context() as patch:
        patch.setattr(where, what, interrupted)
        assert unit.close(PATIENCE_S)
    assert unit.close(PATIENCE_S)
    assert incarnations(broker) == [["first"], ["handled"]]


# --- processes ---


def run(broker: SmallBroker, code: str) -> None:
    found = broker.environment()
    variables = {"CIRCUIT_BROKER": found.broker, "CIRCUIT_RUN": "run", "CIRCUIT_UNIT": "unit"}
    environ = {**os.environ, **variables, "CIRCUIT_JOURNAL": found.journal}
    finished = subprocess.run([sys.executable, "-c", code], env=environ, timeout=30, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")


def incarnations(broker: SmallBroker) -> list[list[str]]:
    """The steps of each incarnation."""
    return [[record[2] for record in records] for records in broker.records.values()]


def test_a_forked_child_is_an_incarnation_of_its_own(broker: SmallBroker) -> None:
    run(
        broker,
        """
import os, probe
probe.emit("before")
pid = os.fork()
probe.emit("child" if pid == 0 else "parent")
if pid: os.waitpid(pid, 0)
""",
    )
    assert sorted(incarnations(broker)) == [["before", "parent"], ["child"]]
    assert len(broker.heard(m.Final)) == 2


def test_a_child_that_only_exits_does_no_harm(broker: SmallBroker) -> None:
    run(
        broker,
        """
import os, probe
probe.emit("before")
for number in range(3):
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
probe.emit("after")
""",
    )
    assert incarnations(broker) == [["before", "after"]]
    assert list(Path(broker.environment().journal).iterdir()) == []


def test_threads_may_fork_while_others_emit(broker: SmallBroker) -> None:
    run(
        broker,
        """
import os, threading, probe
def work(name):
    for number in range(5):
        probe.emit("parent")
        pid = os.fork()
        if pid == 0:
            probe.emit("child")
            from probe.units import close_all
            assert close_all(10)
            os._exit(0)
        os.waitpid(pid, 0)
threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""",
    )
    found = sorted(incarnations(broker))
    assert found == [["child"]] * 15 + [["parent"] * 15]


def test_what_the_program_does_at_exit_comes_before_the_last_word(broker: SmallBroker) -> None:
    run(
        broker,
        """
import atexit, probe
atexit.register(probe.emit, "at exit")
probe.emit("first")
""",
    )
    assert incarnations(broker) == [["first", "at exit"]]
    assert [final.last for final in broker.heard(m.Final)] == [2]


FINALIZER = """
import sys, types, threading, probe, probe.errors
class Last:
    def __del__(self):
        probe.emit("finalized")
        try:
            probe.barrier("go")
        except probe.errors.BarrierBroken as broken:
            probe.emit("went on", why=broken.why)
keeper = sys.modules["keeper"] = types.ModuleType("keeper")  # no thread that is stopped holds on to it
keeper.last = Last()
"""
THREADS = """
def emit():
    while True: probe.emit("noise")
for _ in range(3): threading.Thread(target=emit, daemon=True).start()
threading.Event().wait(0.02)
"""


@pytest.mark.parametrize("before", ["", 'probe.emit("first")', THREADS], ids=["first", "last", "beside threads"])
def test_a_finalizer_may_emit_while_the_interpreter_shuts_down(broker: SmallBroker, before: str) -> None:
    run(broker, FINALIZER + before)
    for found in recover(broker.environment().journal, broker.endpoint, timeout_s=PATIENCE_S):
        assert found.problem == ""
    last = [steps for steps in incarnations(broker) if "finalized" in steps]
    assert [[step for step in steps if step != "noise"] for steps in last] == [["finalized", "go", "went on"]]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children_bring_everything(broker: SmallBroker, method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing, probe
def work(number):
    probe.emit("child", n=number)
if __name__ == "__main__":
    probe.emit("parent")
    context = multiprocessing.get_context({method!r})
    processes = [context.Process(target=work, args=(number,)) for number in range(3)]
    for process in processes: process.start()
    for process in processes: process.join()
"""
    )
    run(broker, f"import os, sys; os.execv(sys.executable, [sys.executable, {str(script)!r}])")
    assert sorted(incarnations(broker)) == [["child"], ["child"], ["child"], ["parent"]]
    assert len(broker.heard(m.Final)) == 4
