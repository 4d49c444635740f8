"""A barrier of 1,000 parties: from the last arrival to the last release, and the same fan-out over bare sockets.

The parties are 1,000 units of one process, each with its own connection and journal; the broker is its own process;
the releasing side is this one. Bare: 1,000 DEALERs in one process and a ROUTER here that answers all when the last has
spoken.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, at_most
from probe.event import Kind
from probe.message import Events
from probe.wire import event_of, unpack_records
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.leased_process import Broker, private_endpoint
from runner.core.lockstep.barriers import Barriers

PARTIES = 1_000
ROUNDS = 7
NAMES = tuple(f"party-{number}" for number in range(PARTIES))


def rows() -> list[Row]:
    ours, bare = fabric_ms(), bare_ms()
    return [at_most(f"barrier of {PARTIES:,} parties, last arrival to last release", min(ours), min(bare), "ms", 2.0)]


def fabric_ms() -> list[float]:
    """Each round: milliseconds from the call of the last party to the return of the last one."""
    with tempfile.TemporaryDirectory() as folder, private_endpoint() as endpoint, contextlib.ExitStack() as stack:
        broker = stack.enter_context(contextlib.closing(Broker(endpoint, "bench", Path(folder))))
        broker.endpoint()
        listener = stack.enter_context(contextlib.closing(LogReader(endpoint, "bench")))
        parties = stack.enter_context(_parties("fabric", endpoint))
        barriers, arrived, times = Barriers((), NAMES), 0, []
        while len(times) < ROUNDS:
            listener.wait((), 1_000)
            for entry in listener.receive():
                if not isinstance(entry.message, Events):
                    continue
                for record in unpack_records(entry.body):
                    if record[3] != Kind.ARRIVE:
                        continue
                    arrived += 1
                    event = event_of(entry.unit, entry.incarnation, record)
                    for directed in barriers.arrive(event, time.monotonic_ns()):
                        listener.command(directed.order, directed.to)
            if arrived % PARTIES == PARTIES - 1:
                _say(parties, "last")
                arrived_before = arrived
                while arrived == arrived_before:
                    listener.wait((), 1_000)
                    for entry in listener.receive():
                        if isinstance(entry.message, Events):
                            for record in unpack_records(entry.body):
                                arrived += record[3] == Kind.ARRIVE
                                event = event_of(entry.unit, entry.incarnation, record)
                                for directed in barriers.arrive(event, time.monotonic_ns()):
                                    listener.command(directed.order, directed.to)
                times.append(_hear(parties))
        return times


def bare_ms() -> list[float]:
    """The same with nothing but sockets."""
    import zmq

    with private_endpoint() as endpoint, contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        router = stack.enter_context(context.socket(zmq.ROUTER))
        router.sndhwm = router.rcvhwm = 0
        router.bind(endpoint)
        parties = stack.enter_context(_parties("bare", endpoint))
        times = []
        for _ in range(ROUNDS):
            peers = [router.recv_multipart()[0] for _ in range(PARTIES - 1)]
            _say(parties, "last")
            peers.append(router.recv_multipart()[0])
            for peer in peers:
                router.send_multipart([peer, b"COMMAND", b"release"])
            times.append(_hear(parties))
        return times


@contextlib.contextmanager
def _parties(kind: str, endpoint: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-m", "benchmarks.barrier", kind, endpoint]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _say(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()


def _hear(process: "subprocess.Popen[str]") -> float:
    assert process.stdout is not None
    return float(process.stdout.readline())


# --- the process with the parties -------------------------------------------------------------------------------------


def fabric_parties(endpoint: str) -> None:
    """1,000 units, a task each; the last one goes when it is told to."""
    import asyncio

    from probe.environment import Environment
    from probe.units import Unit

    with tempfile.TemporaryDirectory() as folder:
        told = Environment(broker=endpoint, run="bench", unit="", journal=folder, keys="", disabled=False)
        units = [Unit(name, environment=told) for name in NAMES]

        async def rounds() -> None:
            loop = asyncio.get_running_loop()
            for _ in range(ROUNDS):
                early = [asyncio.create_task(unit.barrier_async("go")) for unit in units[:-1]]
                await loop.run_in_executor(None, sys.stdin.readline)
                begin = time.perf_counter()
                await asyncio.gather(units[-1].barrier_async("go"), *early)
                print((time.perf_counter() - begin) * 1e3, flush=True)

        asyncio.run(rounds())
        threading.Event().wait()  # until we are ended: how the parties leave is not what is measured


def bare_parties(endpoint: str) -> None:
    """1,000 DEALERs and one poller."""
    import zmq

    context = zmq.Context()
    context.max_sockets = PARTIES + 10
    sockets = []
    poller = zmq.Poller()
    for _ in range(PARTIES):
        socket = context.socket(zmq.DEALER)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        sockets.append(socket)
    for _ in range(ROUNDS):
        for socket in sockets[:-1]:
            socket.send_multipart([b"EVENTS", b"arrive"])
        sys.stdin.readline()
        begin = time.perf_counter()
        sockets[-1].send_multipart([b"EVENTS", b"arrive"])
        released = 0
        while released < PARTIES:
            for socket, _ in poller.poll():
                socket.recv_multipart()
                released += 1
        print((time.perf_counter() - begin) * 1e3, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"fabric": fabric_parties, "bare": bare_parties}[sys.argv[1]](sys.argv[2])
