"""A host that vanishes: from the moment its cable is pulled, or its processes are killed, to the line that names it.

Five times each, as a user sees it: on the screen of `circuit-run --plain`. The cable is pulled and put back five times
in one run. A host that is killed was reached by ssh, or had an agent there; each time that is another run.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lab_stage import COMMAND, HOME, Stage, hosts_toml, why_not
from benchmarks.measure import Row, below
from broker import log
from probe.message import Back, Command
from probe.wire import decode_order

TIMES = 5
LIMIT_S = 3
AWAY = "failed: was lost with host lab-1"
PORT = 17_821

CODE = """\
import time

import probe


def worker():
    probe.ready("here")
    for n in range(100_000):
        probe.emit("tick", key=n)
        time.sleep(0.01)
"""


def rows() -> Iterator[Row]:
    if reason := why_not():
        print(f"       skipped: {reason}")
        return
    for what, measure in (
        ("its cable is pulled", cable),
        ("its supervisor is killed, ssh", partial(killed, "supervisor")),
        ("all on it is killed, ssh", partial(killed, "ssh")),
        ("all on it is killed, agent", partial(killed, "agent")),
    ):
        seconds = measure()
        print(f"       {what}: {', '.join(f'{taken:.2f}' for taken in seconds)} s", flush=True)
        yield below(f"host vanishes, {what}: named, worst of {TIMES}", max(seconds), "s", LIMIT_S)


def cable() -> list[float]:
    """Pull it and put it back."""
    found = []
    with Stage.of_lab(wrong=False) as stage:
        assert stage.lab is not None
        host = stage.lab.host("lab-1")
        stage.place.write(scenario(agent=False), CODE)
        with stage.place.start(".", "--plain") as living:
            living.until("running, 1 unit")
            for number in range(1, TIMES + 1):
                time.sleep(0.5 + 0.06 * number)  # not always at the same place between two heartbeats
                begin = time.monotonic()
                host.link_down()
                living.until(partial(_shown, living, number))
                found.append(time.monotonic() - begin)
                host.link_up()
                living.until(partial(_back, stage, number))
    return found


def killed(how: str) -> list[float]:
    """Kill it, and make another one."""
    found = []
    for number in range(TIMES):
        with Stage.of_lab(wrong=False) as stage:
            assert stage.lab is not None
            host = stage.lab.host("lab-1")
            words: list[str | Path] = [".", "--plain"]
            stage.place.write(scenario(agent=how == "agent"), CODE)
            if how == "agent":
                ring = stage.place.folder / "ring"
                stage.place.run("keys", "new", "lab-1", "--agent", "--folder", ring, expect=0)
                there = HOME / "lab-1.keys"
                host.path(there).write_text((ring / "lab-1.keys").read_text())
                host.path(there).chmod(0o600)
                desk = f"tcp://{stage.lab.desk.address}:{PORT}"
                host.start([COMMAND, "agent", "--join", desk, "--keys", there], stdout=subprocess.DEVNULL)
                words += ["--listen", desk, "--keys", ring]
            with stage.place.start(*words) as living:
                living.until("running, 1 unit")
                time.sleep(0.5 + 0.06 * number)
                begin = time.monotonic()
                if how == "supervisor":
                    (pid,) = (
                        pid for pid, line in host.processes().items() if "runner.adapters.supervisor.supervisor" in line
                    )
                    os.kill(pid, signal.SIGKILL)
                else:
                    host.run(["sh", "-c", "kill -KILL -1"])
                living.until("worker  failed")
                found.append(time.monotonic() - begin)  # how the run ends is another matter: the lab's end is its own
    return found


def _shown(living: Any, times: int) -> bool:
    return living.out.count(AWAY) == times  # type: ignore[no-any-return]


def _back(stage: Stage, times: int) -> bool:
    """Whether the runner has decided so often that a host is back."""
    orders = (decode_order(e.body) for e in log.scan(stage.place.newest().log) if isinstance(e.message, Command))
    return sum(isinstance(order, Back) for order in orders) == times


def scenario(*, agent: bool) -> str:
    """A unit on lab-1 that goes on and on."""
    host = "[hosts.lab-1]\nagent = true\n" if agent else hosts_toml("lab-1")
    return f"""\
[scenario]
name = "gone"
timeout = "120s"

{host}

[units.worker]
entrypoint = "units:worker"
ready = "here"
host = "lab-1"
"""
