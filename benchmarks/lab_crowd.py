"""200 units on one host: how far apart a barrier lets them go, and how soon all learn that one has been killed.

As 200 processes of one `circuit-run`, and as four processes with 50 units each (threads). A unit emits `on` as soon as
it goes on; the skew of an opening is from the first `on` to the last. Without `at` that includes telling everybody,
one after the other. The barriers at the end have one more party each, which never comes and is killed with SIGKILL
when all others stand there; counted is from just before the kill to the `broken` of the last of them, by one clock.

*Bare* is what the system makes of it: so many Python processes that sleep until one moment, with no probe and no bus.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from benchmarks.lab_barrier import bare
from benchmarks.lab_stage import Played, Stage, quantile
from benchmarks.measure import Row, below
from broker import log
from broker.errors import LogError
from probe.event import Kind
from probe.message import Events, Hello
from probe.wire import unpack_records

UNITS = 200
PROCESSES = 4
ROUNDS = 100
"""With `at`; without it is a third of that."""
AT = "300ms"
"""It takes up to 130 ms to tell everybody."""
WARM = 1
VICTIMS = 5
LIMIT_MS = 10
NAMED_MS = 250

CODE = """\
import os
import threading
import time

import probe
from probe.errors import BarrierBroken

ROUNDS = int(os.environ["ROUNDS"])
VICTIMS = int(os.environ["VICTIMS"])
WORK_S = 0.05


def rounds(unit):
    for name in ("soon", "at"):
        for n in range(ROUNDS if name == "at" else ROUNDS // 3):
            unit.barrier(name)
            unit.emit(f"on-{name}", key=n)
            time.sleep(WORK_S)
    for n in range(VICTIMS):
        try:
            unit.barrier(f"last-{n}")
        except BarrierBroken as broken:
            unit.emit("broken", key=n, who=list(broken.who))


def party():
    rounds(probe)


def carrier():
    units = [probe.unit(name) for name in os.environ["CARRIED"].split()]
    threads = [threading.Thread(target=rounds, args=(unit,)) for unit in units]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def victim():
    probe.ready("here")
    threading.Event().wait()
"""


def rows() -> Iterator[Row]:
    for way in ("processes", "threads"):
        what = f"{UNITS} units of one host, {UNITS if way == 'processes' else PROCESSES} processes"
        played, kills = one_run(way)
        alone = bare(UNITS if way == "processes" else PROCESSES)
        told(f"{what}: bare", alone)
        for name in ("soon", "at"):
            skews = skews_of(played, f"on-{name}")
            label = f"{what}, {'with' if name == 'at' else 'without'} `at`"
            told(label, skews)
            yield below(f"{label}: release skew, p99", quantile(skews, 99) / 1e6, "ms", LIMIT_MS)
            yield below(f"{label}: release skew, p50", quantile(skews, 50) / 1e6, "ms", LIMIT_MS)
        took = named_ns(played, kills)
        print(f"       {what}: kill -> all know the name: {', '.join(f'{ns / 1e6:.0f}' for ns in took)} ms", flush=True)
        yield below(f"{what}: one is killed, all others know its name, worst", max(took) / 1e6, "ms", NAMED_MS)


def told(what: str, values: list[int]) -> None:
    shown = ", ".join(f"p{percent} {quantile(values, percent) / 1e6:.2f}" for percent in (5, 50, 90, 95, 99))
    print(f"       {what}: {shown}, most {max(values) / 1e6:.2f} ms, of {len(values)}", flush=True)


def skews_of(played: Played, step: str) -> list[int]:
    """Of each opening, from the first that went on to the last."""
    rounds: dict[str | None, list[int]] = {}
    for name, (found, key, _) in played.events.items():
        if found == step:
            rounds.setdefault(key, []).append(played.stamps[name])
    assert all(len(stamps) == UNITS for stamps in rounds.values()), "not everybody went on"
    return [max(stamps) - min(stamps) for stamps in rounds.values()][WARM:]


def named_ns(played: Played, kills: list[int]) -> list[int]:
    """Of each kill, until the last of those that stood there had the name."""
    last = [0] * VICTIMS
    count = 0
    for name, (step, key, data) in played.events.items():
        if step == "broken":
            assert data["who"] == [f"victim-{key}"], f"{name} blames {data['who']}"
            last[int(key or "")] = max(last[int(key or "")], played.stamps[name])
            count += 1
    assert count == UNITS * VICTIMS, "not everybody was told"
    return [end - begin for begin, end in zip(kills, last, strict=True)]


def one_run(way: str) -> tuple[Played, list[int]]:
    """A run, and when its victims were killed."""
    with Stage.here() as stage:
        stage.place.write(scenario(way), CODE)
        kills: list[int] = []
        with stage.place.start(".", "--plain") as living:
            watch = _Standing()
            for number in range(VICTIMS):
                while not watch.all_at(f"last-{number}", stage.place.newest().log):
                    if living.process.poll() is not None:
                        raise SystemExit(f"it ended too early:\n{living.out[-2000:]}")
                    time.sleep(0.02)
                time.sleep(0.2)  # all are asleep
                pid = watch.pids[f"victim-{number}"]
                kills.append(time.monotonic_ns())
                os.kill(pid, signal.SIGKILL)
            living.process.wait(60)
            run = living.end()
        return stage.played(run), kills


class _Standing:
    """Who stands where, from the log while it grows."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}
        self._arrived: dict[str, int] = {}
        self._offset = 0

    def all_at(self, barrier: str, path: os.PathLike[str]) -> bool:
        """Whether everybody but the victim stands there."""
        with suppress(LogError):
            for entry in log.scan(path, self._offset):  # type: ignore[arg-type]
                self._offset = entry.end
                if isinstance(entry.message, Hello):
                    self.pids[entry.unit] = entry.message.pid
                elif isinstance(entry.message, Events):
                    for record in unpack_records(entry.body):
                        if record[3] == Kind.ARRIVE:
                            self._arrived[record[2]] = self._arrived.get(record[2], 0) + 1
        return self._arrived.get(barrier, 0) >= UNITS


def scenario(way: str) -> str:
    """Everybody on one host."""
    parts = [
        f"""\
[scenario]
name = "crowd"
timeout = "150s"
env = {{ ROUNDS = "{ROUNDS + WARM}", VICTIMS = "{VICTIMS}" }}

[barriers.soon]
parties = ["p-*"]

[barriers.at]
parties = ["p-*"]
at = "{AT}"
"""
    ]
    names = [f"p-{number}" for number in range(UNITS)]
    if way == "processes":
        parts += [f'[units.{name}]\nentrypoint = "units:party"\nready_timeout = "90s"\n' for name in names]
    else:
        for number in range(PROCESSES):
            carried = names[number::PROCESSES]
            parts.append(
                f'[units.carrier-{number}]\nentrypoint = "units:carrier"\nenv = {{ CARRIED = "{" ".join(carried)}" }}\n'
            )
            parts += [f'[units.{name}]\nlauncher = "external"\n' for name in carried]
    for number in range(VICTIMS):
        parts.append(f'[barriers.last-{number}]\nparties = ["p-*", "victim-{number}"]\n')
        parts.append(f'[units.victim-{number}]\nentrypoint = "units:victim"\nready = "here"\nexit_codes = [0, -9]\n')
    return "\n".join(parts)
