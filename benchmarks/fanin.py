"""Fan-in: 1,000 units with a connection each on one broker, 100 events a second from every one of them.

Four processes have 250 units each; a unit emits every ten milliseconds for twenty seconds, spread evenly, then says
FINAL. A reader here follows the log and counts every event of every unit: 1, 2, 3, ... without a hole and without
anything twice. Once over `ipc://`, and once over TCP with keys on loopback, which encrypts everything.

What it costs is measured while units emit: processor time from /proc, memory of the broker before the first
connection and at its largest. Delay: from the stamp of an event to the moment its record is decoded here, of one entry
in fifty.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Row, at_least, below
from broker import keyring
from probe import keys
from probe.message import Events, Final, Gap
from probe.wire import unpack_records
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.leased_process import Broker, private_endpoint

PROCESSES = 4
UNITS = 250
"""In each process."""
RATE = 100
"""Events a second of each unit."""
SECONDS = 20
EACH = RATE * SECONDS
ALL = PROCESSES * UNITS
TICK_S = 0.001
"""The units of a process take turns, so that some of them emit in every tick."""
SAMPLE = 50
LOOK_S = 0.25
RUN = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Figures:
    """What one round gave."""

    wrong: int = 0
    """Events that are missing, come twice or out of order."""
    rate: float = 0.0
    """Events a second, from the first stamp to the last one that was read."""
    delays_ns: list[int] = field(default_factory=list)
    broker_cores: float = 0.0
    units_cores: float = 0.0
    reader_cores: float = 0.0
    empty_bytes: int = 0
    """Memory of the broker before anybody came."""
    connected_bytes: int = 0
    """The same when all are there, before they emit."""
    peak_bytes: int = 0
    entries: int = 0
    """Log entries with events in them."""

    def delay_ms(self, share: float) -> float:
        """A quantile of the delays."""
        return sorted(self.delays_ns)[int(len(self.delays_ns) * share)] / 1e6


def rows() -> list[Row]:
    found = []
    events = ALL * EACH
    for way in ("ipc", "tcp with keys"):
        got = measured(tcp=way != "ipc")
        what = f"{ALL:,} units x {RATE} events/s, {way}"
        found += [
            Row(f"{what}: lost or doubled", got.wrong, events, "events", got.wrong / events, "0 events", not got.wrong),
            at_least(f"{what}: kept and read", got.rate, ALL * RATE, "events/s", 0.95),
            below(f"{what}: broker, processor", got.broker_cores, "cores", 1.0),
            below(f"{what}: broker, memory of a unit", (got.connected_bytes - got.empty_bytes) / ALL / 1024, "KiB", 64),
            below(f"{what}: broker, memory at most", got.peak_bytes / 2**20, "MiB", 512),
            *(_delay(f"{what}: emit -> read, p{share * 100:.0f}", got.delay_ms(share)) for share in (0.5, 0.99)),
        ]
        print(
            f"       {way}: {events / got.entries:.3g} events in an entry; cores: broker {got.broker_cores:.2f}, units "
            f"{got.units_cores:.2f}, reader {got.reader_cores:.2f}; the broker's memory: {got.empty_bytes / 2**20:.1f} "
            f"MiB empty, {got.connected_bytes / 2**20:.1f} with all connected, {got.peak_bytes / 2**20:.1f} at most",
            flush=True,
        )
    return found


def _delay(name: str, ms: float) -> Row:
    """Beside the time between two events of a unit: so many of them travel together. No target: under load a unit's
    events wait for each other, and how much load there is depends on what else the machine does."""
    return Row(name, ms, 1_000 / RATE, "ms", ms * RATE / 1_000, "no target", True)


def measured(*, tcp: bool) -> Figures:
    """One round."""
    got = Figures()
    with tempfile.TemporaryDirectory() as name, private_endpoint() as ipc, contextlib.ExitStack() as stack:
        folder = Path(name)
        ring = folder / "keys"
        keyring.create(ring)
        key = keyring.add(ring, "units", roles=["unit"], units=["unit-*"])
        desk = keyring.add(ring, "desk", roles=["runner"])
        listen = "tcp://127.0.0.1:0" if tcp else ipc
        broker = stack.enter_context(contextlib.closing(Broker(listen, RUN, folder, keys=ring if tcp else None)))
        endpoint = broker.endpoint()
        got.empty_bytes = _resident(broker.pid)
        listener = LogReader(endpoint, RUN, keys=keys.read(str(desk), endpoint))
        stack.enter_context(contextlib.closing(listener))
        processes = [stack.enter_context(_units(number, endpoint, key)) for number in range(PROCESSES)]
        heard: dict[str, int] = {}
        while len(heard) < ALL:  # every unit says that it is there
            listener.wait((), 1_000)
            heard.update((entry.unit, 1) for entry in listener.receive() if isinstance(entry.message, Events))
        got.connected_bytes = _resident(broker.pid)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        _follow(listener, broker.pid, [process.pid for process in processes], heard, got)
    return got


def _follow(listener: LogReader, broker: int, units: Sequence[int], heard: dict[str, int], got: Figures) -> None:
    """Read until every unit has said FINAL. `heard`: unit -> the last sequence number that was read."""
    finals = 0
    first_ns = last_ns = look_ns = 0
    everybody = (broker, *units, os.getpid())
    before = busy = [_busy_s(pid) for pid in everybody]
    begin_s = after_s = time.monotonic()
    while finals < ALL:
        listener.wait((), 1_000)
        for entry in listener.receive():
            match entry.message:
                case Events(first, count) if count:
                    if got.entries % SAMPLE == 0:
                        stamp_ns = unpack_records(entry.body)[0][1]
                        last_ns = time.monotonic_ns()
                        first_ns = first_ns or stamp_ns
                        got.delays_ns.append(last_ns - stamp_ns)
                    got.entries += 1
                    expected = heard.get(entry.unit, 0) + 1
                    got.wrong += abs(first - expected)
                    heard[entry.unit] = first + count - 1
                case Gap(first, last):
                    got.wrong += last - first + 1
                    heard[entry.unit] = last
                case Final(last):
                    finals += 1
                    got.wrong += abs(last - heard.get(entry.unit, 0))
        now_ns = time.monotonic_ns()
        if now_ns - look_ns > LOOK_S * 1e9:
            look_ns = now_ns
            got.peak_bytes = max(got.peak_bytes, _resident(broker))
            if not finals:
                busy = [_busy_s(pid) for pid in everybody]
                after_s = now_ns / 1e9
    got.wrong += sum(abs(EACH + 1 - heard.get(f"unit-{number}", 0)) for number in range(ALL))
    got.rate = ALL * EACH / (last_ns - first_ns) * 1e9
    cores = [(end - begin) / max(after_s - begin_s, LOOK_S) for begin, end in zip(before, busy, strict=True)]
    got.broker_cores, got.units_cores, got.reader_cores = cores[0], sum(cores[1:-1]), cores[-1]


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _busy_s(pid: int) -> float:
    """Processor time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


@contextlib.contextmanager
def _units(number: int, endpoint: str, key: Path) -> Iterator["subprocess.Popen[str]"]:
    counts = (str(UNITS), str(RATE), str(EACH))
    argv = [sys.executable, "-m", "benchmarks.fanin", str(number), endpoint, str(key), *counts]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# --- a process with units ---------------------------------------------------------------------------------------------


def emit(number: int, endpoint: str, key: str, count: int, rate: int, each: int) -> None:
    """`count` units; they connect with one event each, and emit `each` more when they are told to, `rate` a second."""
    from probe.environment import Environment
    from probe.units import Unit

    with tempfile.TemporaryDirectory() as folder:
        told = Environment(broker=endpoint, run=RUN, unit="", journal=folder, keys=key, disabled=False)
        units = [Unit(f"unit-{number * count + place}", environment=told) for place in range(count)]
        for unit in units:
            unit.emit("here")
        sys.stdin.readline()
        begin = time.perf_counter()
        done = 0
        while done < count * each:
            due = min(count * each, int((time.perf_counter() - begin) * count * rate) + 1)
            for turn in range(done, due):
                units[turn % count].emit("tick", key=str(turn // count))
            done = due
            time.sleep(TICK_S)
        for unit in units:
            unit.close(60.0)


if __name__ == "__main__":
    emit(int(sys.argv[1]), sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
