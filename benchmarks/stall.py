"""What a broker that does not answer does to the program under test: the slowest single emit of a paced loop.

The same loop, 50,000 times a second for ten seconds, in a process of its own: without any probe (what the machine
itself does to such a loop), with a healthy broker, and with a broker that SIGSTOP holds from before the first event to
after the last. The three take turns, and the best round of each counts.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.measure import Row
from probe.environment import Environment
from probe.units import Unit
from runner.adapters.bus.log_reader import LogReader

RATE: Final = 50_000
SECONDS: Final = 10
ROUNDS: Final = 3
BURST: Final = 50
"""So many are due at a time: a program that handles a batch every millisecond. Sleeping 20 µs is not possible."""
ALLOWED_MS: Final = 1.0
MODES: Final = ("bare", "healthy", "stalled")


def rows(rounds: int = ROUNDS, seconds: float = SECONDS) -> Iterator[Row]:
    found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode in MODES:
            found[mode].append(play(mode, seconds))
    largest, rare = ({mode: min(one[name] for one in found[mode]) for mode in MODES} for name in ("max", "p99.99"))
    yield beyond("largest emit, broker stopped / healthy", largest["stalled"], largest["healthy"])
    yield beyond("emit p99.99, broker stopped / healthy", rare["stalled"], rare["healthy"], judged=False)
    yield beyond("largest emit, healthy broker / no probe at all", largest["healthy"], largest["bare"], judged=False)
    lost = max(one["lost"] for one in found["stalled"])
    yield Row("events lost while the broker was stopped", lost, 0, "events", 0.0, "<= 0 events", lost == 0)


def beyond(name: str, ours: float, bare: float, *, judged: bool = True) -> Row:
    """A row whose difference may be a millisecond."""
    target = f"<= +{ALLOWED_MS:g} ms" if judged else "none"
    return Row(name, ours, bare, "ms", ours / bare, target, not judged or ours - bare <= ALLOWED_MS)


def play(mode: str, seconds: float) -> dict[str, Any]:
    """One round in a new process, with a new broker beside it."""
    with tempfile.TemporaryDirectory() as home:
        listen = ["--listen", f"ipc://{home}/bus", "--folder", f"{home}/runs", "--run", "bench"]
        broker = subprocess.Popen([sys.executable, "-m", "broker", *listen], stdout=subprocess.PIPE, text=True)
        assert broker.stdout is not None
        with broker, broker.stdout:
            endpoint = broker.stdout.readline().split()[-1]
            argv = [sys.executable, "-m", "benchmarks.stall", mode, endpoint, home, str(seconds)]
            loop = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert loop.stdin is not None
            assert loop.stdout is not None
            with loop, loop.stdin, loop.stdout:
                loop.stdout.readline()  # it is connected
                if mode == "stalled":
                    broker.send_signal(signal.SIGSTOP)
                print("go", file=loop.stdin, flush=True)
                answer: dict[str, Any] = json.loads(loop.stdout.readline())
                broker.send_signal(signal.SIGCONT)
                closed = json.loads(loop.stdout.readline())
            listener = LogReader(endpoint, "bench", role="watcher")
            counters = listener.ping()
            listener.close()
            broker.terminate()
    expected = 0 if mode == "bare" else round(RATE * seconds) + 1
    answer["lost"] = expected - counters.get("events", 0)
    assert closed or mode == "bare", "the unit could not say its last word"
    return answer


def loop(mode: str, endpoint: str, home: str, seconds: float) -> None:
    """The paced loop, in the process that is measured. Says one line when it is connected, one with what it measured,
    and one when the broker has it all."""
    unit = Unit("bench", environment=Environment(endpoint, "bench", "bench", f"{home}/journal", "", disabled=False))
    if mode != "bare":
        unit.emit("warm-up")
        time.sleep(1.0)
    emit = unit.emit if mode != "bare" else nothing
    print("connected", flush=True)
    sys.stdin.readline()
    took = paced(emit, round(RATE * seconds))
    print(json.dumps(took), flush=True)
    print(json.dumps(unit.close(30.0)), flush=True)


def nothing(_step: str, /, key: object = None, **data: object) -> None:
    """In place of a probe."""


def paced(emit: Any, count: int) -> dict[str, float]:
    """Call `emit` so often; milliseconds of one call."""
    clock, took = time.perf_counter_ns, array("q", bytes(8 * count))
    begin = clock()
    for number in range(count):
        if number % BURST == 0:
            ahead_s = (begin + number * 1_000_000_000 // RATE - clock()) / 1e9
            if ahead_s > 0:
                time.sleep(ahead_s)
        start = clock()
        emit("order-sent", key="order-17", n=number)
        took[number] = clock() - start
    late_ms = (clock() - begin) / 1e6 - count / RATE * 1e3
    ranked = sorted(took)
    return {
        "p50": ranked[count // 2] / 1e6,
        "p99": ranked[count * 99 // 100] / 1e6,
        "p99.99": ranked[count * 9999 // 10_000] / 1e6,
        "max": ranked[-1] / 1e6,
        "late": late_ms,
    }


if __name__ == "__main__":
    word, where, folder, length = sys.argv[1:]
    loop(word, where, folder, float(length))
