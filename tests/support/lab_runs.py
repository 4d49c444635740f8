"""Runs over several machines, as a user has them: commands on the desk of a lab, a small system whose parts are apart.

Belongs here: what tests of runs over hosts share. Knows nothing of any one test.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lab_hosts import Host, Lab
from tests.support.scenarios import COMMAND, PATIENCE_S, Living, Place, Run

CODE = """\
import os
import socket
import sys
import time

import probe

ORDERS = int(os.environ.get("ORDERS", "20"))
PAUSE_S = float(os.environ.get("PAUSE_S", "0"))


def worker():
    print("the worker runs on", os.uname().nodename)
    with socket.create_server(("", 7001)) as server:
        probe.ready("worker-ready")
        talk = server.accept()[0].makefile("rw")
    for line in talk:
        key = line.strip()
        probe.receive("order-received", key=key)
        talk.write(line)
        probe.emit("order-answered", key=key)
        talk.flush()
    print("the worker is done", file=sys.stderr)


def client():
    with socket.create_connection((os.environ["WORKER"], 7001)) as connection, connection.makefile("rw") as talk:
        for n in range(ORDERS):
            probe.send("order-sent", key=f"order-{n}")
            talk.write(f"order-{n}\\n")
            talk.flush()
            talk.readline()
            probe.emit("answer-received", key=f"order-{n}")
            time.sleep(PAUSE_S)
"""
"""A client sends orders to a worker on another host, and gets an answer to each."""

ORDER = """\
[circuits.order]
path = [
  "client: order-sent",
  "worker: order-received",
  "worker: order-answered",
  "client: answer-received",
]
"""


def scenario(*, orders: int = 20, pause_s: float = 0.0, worker: str = "lab-1", more: str = "", hosts: str = "") -> str:
    """The scenario of `CODE`: the worker on one host, the client on the desk."""
    declared = hosts or f'[hosts.{worker}]\nssh = "{worker}"\npython = "{sys.executable}"\n'
    return f"""\
[scenario]
name = "far"
timeout = "60s"
env = {{ ORDERS = "{orders}", PAUSE_S = "{pause_s}", WORKER = "{worker}" }}

{declared}
[units.worker]
entrypoint = "units:worker"
ready = "worker-ready"
host = "{worker}"

[units.client]
entrypoint = "units:client"
after = ["worker"]

{ORDER}
instances = {orders}
{more}
"""


class LabPlace(Place):
    """A folder on the desk of a lab, where commands are typed."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(folder, folder)
        self.lab = lab
        folder.mkdir(exist_ok=True)
        (folder / ".circuitignore").write_text("ring\n")  # where tests keep their keys

    def run(self, *words: str | Path, expect: int | None = None, env: dict[str, str] | None = None) -> Run:
        """`circuit-run WORDS` on the desk, to its end; with `expect`, that must be its exit code."""
        done = self.lab.desk.run([COMMAND, *words], cwd=self.folder, env={"NO_COLOR": "1", **(env or {})})
        assert expect in (None, done.returncode), f"exit code {done.returncode}:\n{done.stdout}{done.stderr}"
        return Run(done.returncode, done.stdout, done.stderr, self.newest())

    @contextmanager
    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> Iterator[Living]:
        """`circuit-run WORDS` on the desk, still running."""
        with started(self.lab.desk, [COMMAND, *words], self, cwd=self.folder, env=env) as living:
            yield living


@contextmanager
def started(
    host: Host,
    argv: list[str | Path],
    place: Place,
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Living]:
    """A command on a host, still running; its output is collected."""
    process = host.start(argv, cwd=cwd, env={"NO_COLOR": "1", **(env or {})}, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    living = Living(process, [os.dup(process.stdout.fileno())], place)  # type: ignore[arg-type]
    try:
        yield living
    finally:
        living.close()
        process.stdout.close()


def ended(run: Living, code: int) -> Run:
    """The end of a run that has to end with `code`."""
    run.process.wait(PATIENCE_S)
    done = run.end()
    assert done.code == code, done.out
    return done
