"""The first scenario of a new user: what `circuit-run init` writes.

Belongs here: the files' texts, and writing them without touching what is there already. Must not know how they run.
"""

from pathlib import Path
from typing import Final

from runner.model.errors import UsageError

CIRCUIT: Final = """\
# A scenario: who takes part, and which way an event has to travel. Run it:  circuit-run .
# Every key is described in docs/circuit.md.

[scenario]
name = "first-circuit"
timeout = "30s"                     # nothing runs longer than this

# --- who takes part --------------------------------------------------------------------------------------------------

[units.worker]
entrypoint = "units:worker"         # the function `worker` in units.py, in a process of its own
ready = "worker-ready"              # up when this probe has fired

[units.client]
entrypoint = "units:client"
after = ["worker"]                  # starts when the worker is ready
# command = ["node", "client.js"]   # in place of entrypoint: any program can be a unit

# --- what has to happen ----------------------------------------------------------------------------------------------

[circuits.order]
path = [
  "client: order-sent",
  { probe = "worker: order-received", within = "1s" },   # this hop has a deadline
  "worker: order-packed",
  "client: order-confirmed",
]
within = "2s"                       # from end to end, every order
instances = 10                      # ten orders are started, no more and no less
budget = { p99 = "500ms" }          # and 99 of 100 are this fast
"""

UNITS: Final = '''\
"""Two units: a client that orders, a worker that packs. Each `probe` line says what just happened."""

import socket

import probe


def worker() -> None:
    """Packs what it is asked to pack, until the client hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe.ready("worker-ready", port=server.getsockname()[1])
        connection, _ = server.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            for line in stream:
                order = line.strip()
                probe.receive("order-received", key=order)
                probe.emit("order-packed", key=order)
                stream.write(f"{order}\\n")
                stream.flush()


def client() -> None:
    """Sends ten orders and waits for each to be confirmed."""
    port = probe.wait("worker: worker-ready").data["port"]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        with connection.makefile("rw", encoding="utf-8") as stream:
            for number in range(1, 11):
                order = f"order-{number}"
                probe.send("order-sent", key=order)
                stream.write(f"{order}\\n")
                stream.flush()
                probe.emit("order-confirmed", key=stream.readline().strip())
'''

FILES: Final = {"circuit.toml": CIRCUIT, "units.py": UNITS}


def write(directory: Path) -> list[Path]:
    """Writes a scenario that works into `directory`, which is made if need be; the paths written.

    Raises UsageError, and writes nothing, when one of the files is there already or cannot be written.
    """
    paths = {directory / name: text for name, text in FILES.items()}
    if there := [str(path) for path in paths if path.exists()]:
        raise UsageError(f"{' and '.join(there)} would be overwritten; name a new folder, as in circuit-run init first")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None
    return list(paths)
