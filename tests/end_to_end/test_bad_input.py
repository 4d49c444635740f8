"""Units that fail or trouble us after they have begun, through the real command line: each is named, nothing stays."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from probe import message as m
from probe import wire
from tests.support.scenarios import COMMAND, Place, Run, place_in


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


# --- units that fail after they have begun ----------------------------------------------------------------------------

UNITS = """
    import asyncio, multiprocessing, os, signal, sys, threading, time
    import probe

    def raises():
        probe.emit("begun")
        raise ValueError("no such order: 17")

    def leaves():
        probe.emit("begun")
        print("going now", file=sys.stderr)
        sys.exit(3)

    def vanishes():
        for n in range(200):
            probe.send("last-words", key=f"v-{n}")
        os._exit(7)

    def killed():
        for n in range(300):
            probe.send("last-words", key=f"k-{n}")
        os.kill(os.getpid(), signal.SIGKILL)

    def witness():
        probe.wait("vanishes: last-words", key="v-199", timeout=20)
        probe.wait("killed: last-words", key="k-299", timeout=20)
        for n in range(200):
            probe.receive("heard", key=f"v-{n}")
        for n in range(300):
            probe.receive("heard", key=f"k-{n}")

    def accepted():
        sys.exit(3)

    def flood():
        line = b"x" * 1023 + b"\\n"
        chunk = line * 1024
        for _ in range(50):
            os.write(2, chunk)
        os.write(2, b"the very last line\\n")
        sys.exit(1)

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        probe.ready("deaf-ready")
        while True:
            signal.pause()

    def needs_deaf():
        pass

    def gentle():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        probe.ready("gentle-ready")
        try:
            while True:
                signal.pause()
        finally:
            probe.emit("cleaned-up")

    def flaky():
        probe.emit("tried")
        if not os.path.exists("tried-before"):
            open("tried-before", "w").close()
            sys.exit(1)

    def child(n):
        probe.emit("from-child", key=n)

    def families():
        for method in ("fork", "spawn"):
            one = multiprocessing.get_context(method).Process(target=child, args=(method,))
            one.start()
            one.join()
            assert one.exitcode == 0
        pid = os.fork()
        if not pid:
            probe.emit("from-child", key="os.fork")
            sys.exit(0)
        os.waitpid(pid, 0)
        probe.emit("from-parent")

    def crowded():
        threads = [threading.Thread(target=lambda: [probe.emit("from-thread") for _ in range(500)]) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        async def task():
            probe.emit("from-task")
            await asyncio.sleep(0)
        async def main():
            await asyncio.gather(*(task() for _ in range(100)))
        asyncio.run(main())

    class Rude:
        def __repr__(self): raise RuntimeError("rude")
        __str__ = __repr__

    class RudeError(Exception):
        def __str__(self): raise RuntimeError("rude")

    def odd():
        keys = 7, None, b"bytes", "k" * 100_000, object(), "\\udce4", 2**70, 1.5, ("a", 1), Rude(), "", "new\\nline"
        for key in keys:
            probe.emit("odd-key", key=key)
        plain = "x" * 5_000_000, "\\udce4", 2**70, {1: {2: 3}}, b"\\xff", float("nan"), [[[]]] * 9
        for data in (*plain, object(), Rude(), {"a": Rude()}, {"a set"}, lambda: 1):
            probe.emit("odd-data", value=data)
        probe.emit("s" * 10_000)
        probe.emit(None)
        probe.emit(17)
        probe.error(RudeError())
        probe.emit("survived")

    def monotone():
        for _ in range(10_000):
            probe.emit("again", key="the-only-key")
"""

SCENARIO = """
    [scenario]
    name = "bad-units"
    timeout = "30s"
    [units.raises]
    entrypoint = "units:raises"
    [units.leaves]
    entrypoint = "units:leaves"
    [units.vanishes]
    entrypoint = "units:vanishes"
    [units.killed]
    entrypoint = "units:killed"
    [units.witness]
    entrypoint = "units:witness"
    [units.accepted]
    entrypoint = "units:accepted"
    exit_codes = [0, 3]
    [units.flood]
    entrypoint = "units:flood"
    [units.deaf]
    entrypoint = "units:deaf"
    ready = "deaf-ready"
    service = true
    stop_timeout = "50ms"
    [units.gentle]
    entrypoint = "units:gentle"
    ready = "gentle-ready"
    service = true
    [units.flaky]
    entrypoint = "units:flaky"
    restart = "on-failure"
    [units.families]
    entrypoint = "units:families"
    [units.crowded]
    entrypoint = "units:crowded"
    [units.odd]
    entrypoint = "units:odd"
    expect = ["survived"]
    [units.monotone]
    entrypoint = "units:monotone"
    [units.shell]
    command = ["sh", "-c", "echo to nobody; exit 9"]
    [circuits.last-words]
    path = [{ quorum = 1, of = ["vanishes: last-words", "killed: last-words"] }, "witness: heard"]
    instances = 500
"""


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Fifteen units, most of them bad, in one run."""
    with place_in(tmp_path_factory.mktemp("bad")) as place:
        place.write(SCENARIO, UNITS)
        yield place.run(".", "--plain")


def test_a_failed_unit_fails_the_run_and_is_named_with_its_end(bad: Run) -> None:
    assert bad.code == 1, bad.text
    ends = {name: (unit["state"], unit["exit_code"]) for name, unit in bad.units.items()}
    assert ends["raises"] == ("failed", 1)
    assert ends["leaves"] == ("failed", 3)
    assert ends["vanishes"] == ("failed", 7)
    assert ends["killed"] == ("failed", -9)
    assert ends["shell"] == ("failed", 9)
    assert "killed by SIGKILL" in bad.finding("killed")["message"]
    assert "exited with code 3" in bad.finding("leaves")["message"]
    assert "going now" in bad.finding("leaves")["details"]


def test_a_unit_that_raises_shows_its_own_traceback_and_none_of_our_frames(bad: Run) -> None:
    assert {cls for cls, _ in bad.findings("raises")} == {"exception", "unit-failed"}
    printed = bad.printed("raises")
    assert "ValueError: no such order: 17" in printed
    assert "units.py" in printed
    for ours in ("bootstrap", "entry.py", "importlib", "runner"):
        assert ours not in printed


def test_nothing_is_lost_of_units_that_are_gone_from_one_instruction_to_the_next(bad: Run) -> None:
    evidence = bad.result["evidence"]
    assert evidence["lost"] == []
    assert evidence["emitted"] == evidence["received"]
    assert evidence["recovered"] > 0
    assert (bad.units["vanishes"]["events"], bad.units["killed"]["events"]) == (200, 300)
    (circuit,) = bad.result["circuits"]
    assert circuit["instances"] == {"started": 500, "complete": 500, "failed": 0, "open": 0, "inconclusive": 0}
    assert bad.result["pairs"]["paired"] == 500


def test_exit_codes_that_the_scenario_accepts_are_no_failure(bad: Run) -> None:
    assert (bad.units["accepted"]["state"], bad.units["accepted"]["exit_code"]) == ("finished", 3)
    assert bad.findings("accepted") == []


def test_a_flood_of_output_is_kept_and_only_its_end_is_shown(bad: Run) -> None:
    assert (bad.folder.units / "flood.err").stat().st_size > 50 * 1024 * 1024
    assert "the very last line" in bad.finding("flood")["details"]
    assert len(bad.text) < 20_000


def test_a_unit_that_ignores_sigterm_is_killed_and_named(bad: Run) -> None:
    assert bad.units["deaf"]["exit_code"] == -9
    assert bad.finding("deaf")["message"] == "deaf did not end within 50 ms of SIGTERM and had to be killed"


def test_a_service_is_stopped_at_the_end_and_may_clean_up(bad: Run) -> None:
    assert bad.units["gentle"]["state"] == "stopped"
    assert bad.units["gentle"]["events"] == 2
    assert bad.findings("gentle") == []


def test_a_unit_that_is_started_again_and_then_works_is_no_failure(bad: Run) -> None:
    assert bad.units["flaky"]["state"] == "finished"
    assert bad.findings("flaky") == []


def test_children_threads_and_tasks_emit_for_their_unit(bad: Run) -> None:
    assert bad.units["families"]["events"] == 4
    assert bad.units["crowded"]["events"] == 8 * 500 + 100
    for unit in ("families", "crowded"):
        assert bad.units[unit]["state"] == "finished", bad.printed(unit)
        assert bad.findings(unit) == []


def test_odd_keys_and_data_never_hurt_the_unit_that_emits_them(bad: Run) -> None:
    assert bad.units["odd"]["state"] == "finished", bad.printed("odd")
    assert {"unit": "odd", "step": "survived"} in bad.result["required"]["completed"]
    assert bad.findings("odd") == [("exception", "odd")]


def test_ten_thousand_events_with_one_key_are_ten_thousand_events(bad: Run) -> None:
    assert bad.units["monotone"]["events"] == 10_000
    assert bad.findings("monotone") == []


# --- beside each other ------------------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_do_not_disturb_each_other(place: Place) -> None:
    place.write(
        '[units.one]\nentrypoint = "units:main"\n',
        "import probe\ndef main():\n    for n in range(500):\n        probe.emit('step', key=n)\n",
    )
    with place.start(".", "--json", "a.json") as one, place.start(".", "--json", "b.json") as other:
        assert (one.end().code, other.end().code) == (0, 0)
    results = [json.loads((place.folder / name).read_text()) for name in ("a.json", "b.json")]
    assert results[0]["run"] != results[1]["run"]
    assert [result["units"][0]["events"] for result in results] == [500, 500]


def test_a_supervisor_that_is_gone_before_its_units_ends_the_run(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sleep", "60"]\n')
    with place.start(".", "--plain") as living:
        living.until("running")
        context = zmq.Context()
        impostor = context.socket(zmq.DEALER)
        impostor.connect((place.newest().path / "broker").read_text().strip())
        for message in (m.Hello(m.VERSION, "agent", place.newest().run, "@local", 1 << 62), m.Final(0)):
            impostor.send_multipart(wire.encode(message))
        run = living.end()
        context.destroy(linger=0)
    assert run.code == 3, run.text
    assert "the supervisor left before the end of one" in run.text
    assert "Traceback" not in run.text


def test_a_run_whose_supervisor_was_ordered_to_end_is_no_pass(place: Place) -> None:
    place.write('[units.one]\nentrypoint = "units:main"\n', "import signal\ndef main():\n    signal.pause()\n")
    with place.start(".", "--plain") as living:
        living.until("running")
        (supervisor,) = [
            pid for pid, words in place.processes().items() if " runner.adapters.supervisor.supervisor " in words
        ]
        os.kill(supervisor, signal.SIGTERM)
        run = living.end()
    assert run.code == 3, run.text
    assert "it got SIGTERM" in run.text
    assert "Traceback" not in run.text


def test_a_unit_may_be_given_any_time_to_end(place: Place) -> None:
    place.write('[units.one]\ncommand = ["sleep", "60"]\nstop_timeout = "1000h"\n')
    run = place.run(".", "--timeout", "200ms", expect=1)
    assert run.units["one"]["exit_code"] == -15


@pytest.mark.parametrize(("where", "code", "said"), [(">&-", 0, ""), (">/dev/full", 3, "No space left on device")])
def test_output_that_cannot_be_written_is_no_verdict(place: Place, where: str, code: int, said: str) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" --plain {where}', COMMAND],
        cwd=place.folder,
        env=os.environ | {"TMPDIR": str(place.temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


NO_TEXT = "x\udcffy"
"""As Python gives us a word that is not UTF-8."""


@pytest.mark.parametrize(
    "words",
    [
        (".", "--env", f"A={NO_TEXT}"),
        (".", "--listen", f"tcp://{NO_TEXT}:0"),
        (".", "--broker", f"tcp://{NO_TEXT}:5000"),
        ("show", "latest", "--key", NO_TEXT),
        ("watch", f"tcp://{NO_TEXT}:5000", "--plain"),
        (NO_TEXT,),
    ],
    ids=["env", "listen", "broker", "show", "watch", "scenario"],
)
def test_what_is_not_utf_8_is_refused_in_a_sentence(place: Place, words: tuple[str, ...]) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    place.write('[units.one]\ncommand = ["true"]\n', name=f"{NO_TEXT}/circuit.toml")
    place.run("circuit.toml", expect=0)
    run = place.run(*words, expect=4)
    assert "Traceback" not in run.text
    assert "UTF-8" in run.err
    assert len(list((place.folder / ".circuit" / "runs").iterdir())) == 1, "nothing was started"


def test_a_run_may_be_kept_in_a_folder_whose_name_is_not_utf_8(place: Place) -> None:
    place.write('[units.one]\ncommand = ["false"]\n')
    run = place.run("circuit.toml", "--runs", f"r{NO_TEXT}", "--json", "copy.json", expect=1)
    (kept,) = (place.folder / f"r{NO_TEXT}" / "runs").iterdir()
    assert json.loads((kept / "result.json").read_text())["verdict"] == "failed"
    assert (place.folder / "copy.json").read_bytes() == (kept / "result.json").read_bytes()
    assert "Traceback" not in run.text


@pytest.mark.parametrize("to", ["-", "copy.json"])
def test_a_result_is_written_whatever_the_locale_knows(place: Place, to: str) -> None:
    place.write('[units.one]\nentrypoint = "units:main"\nexpect = ["né"]\n', "def main(): pass\n")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = place.run("circuit.toml", "--json", to, expect=1, env=ascii_only)
    written = run.out if to == "-" else (place.folder / to).read_text()
    assert json.loads(written)["required"]["missing"] == [{"unit": "one", "step": "né"}]


def test_a_complaint_that_cannot_be_written_leaves_the_exit_code(place: Place) -> None:
    done = subprocess.run(["sh", "-c", 'exec "$0" nowhere 2>/dev/full', COMMAND], cwd=place.folder)
    assert done.returncode == 4


def test_a_reader_who_has_gone_is_no_error(place: Place) -> None:
    place.write('[units.one]\ncommand = ["true"]\n')
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([COMMAND, "check"], cwd=place.folder, stdout=writer)
    os.close(writer)
    assert done.returncode == 0
