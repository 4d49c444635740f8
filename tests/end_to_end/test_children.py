"""Children of units: what they emit counts like anything else, whatever they are and however early they die."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest

from probe import wire
from probe.message import Events
from runner.adapters.history import log_file
from tests.support.scenarios import Place, place_in


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def keys_of(place: Place, unit: str, step: str) -> list[str]:
    """The keys with which a probe of a unit stands in the log of the newest run."""
    return [
        record[4]
        for entry in log_file.entries(place.newest().log)
        if isinstance(entry.message, Events) and entry.unit == unit
        for record in wire.unpack_records(entry.body)
        if record[2] == step
    ]


def test_children_that_were_forked_after_the_wall_clock_was_set_back_lose_nothing(place: Place) -> None:
    place.write(
        """
        [units.pool]
        entrypoint = "units:pool"
        """,
        """
        import os, time
        import probe

        def pool():
            probe.emit("begun")
            time.time_ns = lambda: 1
            for child in range(4):
                if os.fork() == 0:
                    for number in range(50):
                        probe.emit("job", key=f"{child}-{number}")
                    return
            for child in range(4):
                os.wait()
        """,
    )
    place.run(".", expect=0)
    keys = keys_of(place, "pool", "job")
    assert sorted(keys) == sorted(f"{child}-{number}" for child in range(4) for number in range(50))


def test_a_process_that_takes_the_incarnation_of_another_one_leaves_the_verdict_open_and_is_named(place: Place) -> None:
    place.write(
        """
        [units.twin]
        command = ["python", "units.py"]
        """,
        """
        import os
        import zmq
        from probe import message as m, wire

        def say(pid):
            socket = zmq.Context.instance().socket(zmq.DEALER)
            socket.connect(os.environ["CIRCUIT_BROKER"])
            run, unit = os.environ["CIRCUIT_RUN"], os.environ["CIRCUIT_UNIT"]
            socket.send_multipart(wire.encode(m.Hello(m.VERSION, "unit", run, unit, 7, "boot", pid)))
            answer, _ = wire.decode(socket.recv_multipart())
            if isinstance(answer, m.Welcome):
                socket.send_multipart(wire.encode(m.Final(0)))
                socket.recv_multipart()
            return answer

        if __name__ == "__main__":
            assert isinstance(say(1), m.Welcome)
            assert isinstance(say(2), m.Refused)
        """,
    )
    run = place.run(".", expect=6)
    finding = run.finding("twin")
    assert (finding["class"], finding["inconclusive"]) == ("lost-evidence", True)
    assert "another process (pid 2) spoke as it, and was refused" in finding["message"]
    assert "some may be lost" in run.out
    assert run.result["evidence"]["unknown"] == [{"unit": "twin", "incarnation": 7, "why": ANY}]
    verified = place.run("verify", "--json", "again.json", expect=6)
    assert "another process (pid 2) spoke as it" in verified.out


FORKS = """
    import os, pathlib, signal
    import probe

    def in_child(work, end=lambda: os._exit(0)):
        if (pid := os.fork()) == 0:
            work()
            end()
        os.waitpid(pid, 0)

    def until(word):
        while not pathlib.Path(word).exists():
            signal.sigtimedwait([], 0.005)
"""


def test_a_child_that_dies_unheard_is_heard_while_its_parent_lives_and_no_unit_is_accused(place: Place) -> None:
    """Each request is handled by a child that is gone before it has said HELLO."""
    place.write(
        """
        [units.main]
        entrypoint = "units:main"
        [circuits.request]
        path = ["main: accepted", { probe = "main: handled", within = "1s" }]
        instances = 3
        """,
        FORKS
        + """
    def main():
        for n in range(3):
            probe.emit("accepted", key=str(n))
            in_child(lambda: probe.emit("handled", key=str(n)))
        until("end")
        """,
    )
    with place.start(".", "--plain") as living:
        living.until("3 of 3 complete")
        (place.folder / "end").touch()
        run = living.end()
    assert run.code == 0, run.out
    assert "✗" not in run.out
    assert run.result["evidence"]["recovered"] == 3


def test_what_comes_after_a_child_that_died_unheard_is_not_judged_without_it(place: Place) -> None:
    """`paid` of the child is the first one: the second is too many, and nothing is out of order or late."""
    place.write(
        """
        [units.main]
        entrypoint = "units:main"
        [circuits.payment]
        path = ["main: submitted", "main: paid", "main: collected"]
        [circuits.refund]
        path = ["main: asked", { probe = "main: done", within = "1s" }]
        """,
        FORKS
        + """
    def child():
        probe.emit("paid", key="p")
        probe.emit("done", key="r")

    def main():
        probe.emit("submitted", key="p")
        probe.emit("asked", key="r")
        in_child(child, lambda: os.kill(os.getpid(), signal.SIGKILL))
        probe.emit("collected", key="p")
        signal.sigtimedwait([], 1.2)
        child()
        """,
    )
    run = place.run(".", "--plain", expect=1)
    assert sorted((f["class"], f["key"]) for f in run.result["findings"]) == [("duplicate", "p"), ("duplicate", "r")]
    for word in ("acausal", "late:", "missing", "orphan"):
        assert word not in run.out
    verified = json.loads(place.run("verify", "--json", "-", expect=1).out)
    assert [f["message"] for f in verified["findings"]] == [f["message"] for f in run.result["findings"]]


def test_another_unit_gets_an_answer_from_the_probe_of_a_child_that_died_unheard(place: Place) -> None:
    place.write(
        """
        [units.main]
        entrypoint = "units:main"
        [units.other]
        entrypoint = "units:other"
        expect = ["told"]
        """,
        FORKS
        + """
    def main():
        in_child(lambda: probe.emit("handled", key="k"))
        until("end")

    def other():
        assert probe.wait("main: handled", key="k", timeout=20).key == "k"
        probe.emit("told")
        pathlib.Path("end").touch()
        """,
    )
    place.run(".", expect=0)


def test_children_of_children_and_programs_that_are_spawned_count_like_forked_ones(place: Place) -> None:
    place.write(
        """
        [units.main]
        entrypoint = "units:main"
        [circuits.c]
        path = ["main: begun", "main: grandchild", "main: spawned", { probe = "main: ended", within = "9s" }]
        """,
        FORKS
        + """
    import subprocess, sys

    def main():
        probe.emit("begun", key="k")
        in_child(lambda: in_child(lambda: probe.emit("grandchild", key="k")))
        subprocess.run([sys.executable, "-c", "import os, probe; probe.emit('spawned', key='k'); os._exit(0)"])
        probe.emit("ended", key="k")
        until("end")
        """,
    )
    with place.start(".", "--plain") as living:
        living.until("first instance complete")
        (place.folder / "end").touch()
        assert living.end().code == 0


def test_a_hook_of_the_program_that_comes_before_ours_may_wait_in_a_child(place: Place) -> None:
    place.write(
        """
        [units.u]
        command = ["python", "units.py"]
        [circuits.job]
        path = ["u: begun", "u: worked", "u: done"]
        """,
        """
        import os

        def hook():
            import probe
            probe.wait("u: begun", key="1")
            probe.emit("worked", key="1")

        os.register_at_fork(after_in_child=hook)
        import probe

        probe.emit("begun", key="1")
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        probe.emit("done", key="1")
        """,
    )
    place.run(".", expect=0)


def test_objects_that_hold_a_unit_go_to_other_processes_and_into_copies(place: Place) -> None:
    place.write(
        """
        [units.u]
        entrypoint = "units:main"
        [units.belt]
        launcher = "external"
        [circuits.job]
        path = ["u: begun", { probe = "belt: worked", times = 3 }, "u: pooled"]
        """,
        """
        import copy, multiprocessing
        import probe

        class Line:
            def __init__(self):
                self.belt = probe.unit("belt")

            def work(self):
                self.belt.emit("worked", key="1")

        def main():
            probe.emit("begun", key="1")
            line = Line()
            line.work()
            copy.deepcopy(line).work()
            spawned = multiprocessing.get_context("spawn")
            process = spawned.Process(target=line.work)
            process.start()
            process.join()
            with spawned.Pool(1) as pool:
                pool.apply(probe.emit, ("pooled", "1"))
        """,
    )
    place.run(".", expect=0)


def test_a_program_with_a_limit_of_the_size_of_files_is_not_ended_by_its_probes(place: Place) -> None:
    """A limit of the size of files ends a program that has given SIGXFSZ its default back, as soon as it tries."""
    place.write(
        """
        [units.u]
        command = ["python", "units.py"]
        """,
        """
        import os, resource, signal
        import probe

        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        probe.emit("begun")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for number in range(30_000):
            probe.emit("more", n=number)
        if os.fork() == 0:
            probe.emit("child")
            os._exit(0)
        assert os.wait()[1] == 0
        """,
    )
    run = place.run(".", expect=6)
    assert run.units["u"]["state"] == "finished"


@pytest.mark.parametrize("where", ["probe.units._link_class", "probe.link.Link.enlist"])
def test_a_first_probe_that_is_interrupted_leaves_no_doubt(place: Place, where: str) -> None:
    """Neither when a supervisor may have seen the journal already, nor when the broker has heard of the process."""
    place.write(
        """
        [units.u]
        command = ["python", "units.py"]
        """,
        """
        import signal, time, unittest.mock
        import probe, probe.link, probe.units

        WHERE =
        module, _, name = WHERE.rpartition(".")
        usual = probe.units._link_class if name == "_link_class" else probe.link.Link.enlist

        def handler(*_):
            raise TimeoutError

        def interrupted(*arguments):
            usual(*arguments)
            time.sleep(0.5)
            signal.raise_signal(signal.SIGALRM)

        signal.signal(signal.SIGALRM, handler)
        with unittest.mock.patch(WHERE, interrupted):
            try:
                probe.emit("never")
            except TimeoutError:
                pass
        """.replace("WHERE =", f"WHERE = {where!r} #"),
    )
    run = place.run(".", expect=0)
    assert run.findings() == []


def test_a_package_that_the_program_has_thrown_away_gets_its_answers_in_a_child(place: Place) -> None:
    place.write(
        """
        [units.u]
        command = ["python", "units.py"]
        """,
        """
        import os, sys
        import probe

        probe.emit("begun")
        for name in [name for name in sys.modules if name.partition(".")[0] == "probe"]:
            del sys.modules[name]
        if os.fork() == 0:
            probe.wait("u: begun")
            os._exit(0)
        assert os.wait()[1] == 0
        """,
    )
    place.run(".", expect=0)


def test_a_program_that_empties_its_environment_has_children_that_take_part(place: Place) -> None:
    """And so do other units of it, and what it does at its end."""
    place.write(
        """
        [units.u]
        command = ["python", "units.py"]
        [units.other]
        launcher = "external"
        [circuits.job]
        path = ["u: begun", "u: child", "other: child", "u: at-exit", "u: finalized"]
        """,
        """
        import atexit, os, sys
        import probe

        class Last:
            def __del__(self):
                probe.emit("finalized", key="1")

        sys.modules["keeper"] = Last()
        atexit.register(probe.emit, "at-exit", "1")
        probe.emit("begun", key="1")
        os.environ.clear()
        if os.fork() == 0:
            probe.emit("child", key="1")
            probe.unit("other").emit("child", key="1")
            os._exit(0)
        os.wait()
        """,
    )
    place.run(".", expect=0)
