"""The bus: how many events a second reach the verifier, and how long one alone takes, against bare ZeroMQ.

Sustained. Ours: a unit that emits two steps for every key, the broker with its log, a listener here that gives every
record to the verifier. Bare: the same records in batches over DEALER -> ROUTER -> PUSH -> PULL, decoded here and paired
in a dict. Three processes each; a rate counts from the stamp of the first event to the last one digested.

Alone. One event every few milliseconds, from its stamp to the moment its record is decoded here. Bare: PUSH ->
zmq.proxy -> PULL.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import monotonic_ns

import zmq

from benchmarks.measure import Row, at_least, at_most
from probe.environment import Environment
from probe.message import Events
from probe.units import Unit
from probe.wire import Record, record_packer, unpack_records
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.leased_process import Broker, private_endpoint
from runner.core.verifier import Verifier
from runner.model.scenario import model

RUN = "bench"
STEPS = ("order-sent", "row-written")
KEYS = 200_000
"""Each makes two events."""
BATCH = 5_000
"""Events in one message of the bare pipe; about what the sender puts into one under load."""
ALONE = 200
BETWEEN_S = 0.004
"""Long enough for everybody to have gone to sleep."""
ROUNDS = 3


def rows() -> list[Row]:
    ours, bare, alone, alone_bare = 0.0, 0.0, float("inf"), float("inf")
    for _ in range(ROUNDS):
        bare = max(bare, bare_rate())
        ours = max(ours, fabric_rate())
        alone_bare = min(alone_bare, bare_alone_us())
        alone = min(alone, fabric_alone_us())
    return [
        at_least("emit -> log -> verified circuits / batched bare pipe", ours, bare, "events/s", 0.45),
        at_most("one event alone, emit -> decoded, p50 / PUSH -> proxy -> PULL", alone, alone_bare, "µs", 1.6),
    ]


# --- ours -------------------------------------------------------------------------------------------------------------


def fabric_rate() -> float:
    """Events a second through probe, broker, listener and verifier."""
    api = model.Probe("api", STEPS[0]), model.Probe("api", STEPS[1])
    circuit = model.Circuit("order", api, within_ns=10_000_000_000)
    verifier = Verifier(model.Scenario("bench", "", "", (model.Unit("api"),), (circuit,)))
    first_ns = 0
    with _fabric("emit-many") as listener:
        seen = 0
        while seen < 2 * KEYS:
            listener.wait(timeout_ms=1_000)
            for entry in listener.receive():
                if isinstance(entry.message, Events):
                    records = unpack_records(entry.body)
                    first_ns = first_ns or records[0][1]
                    verifier.batch(entry.unit, entry.incarnation, records, entry.message.watermark_ns)
                    seen += len(records)
            verifier.settle()
        elapsed_ns = monotonic_ns() - first_ns
    return 2 * KEYS / elapsed_ns * 1e9


def fabric_alone_us() -> float:
    """Median microseconds from a lone emit to its decoded record."""
    delays: list[int] = []
    with _fabric("emit-alone") as listener:
        while len(delays) < ALONE:
            listener.wait(timeout_ms=1_000)
            for entry in listener.receive():
                if isinstance(entry.message, Events):
                    delays += [monotonic_ns() - record[1] for record in unpack_records(entry.body)]
    return median(delays) / 1e3


@contextlib.contextmanager
def _fabric(what: str) -> Iterator[LogReader]:
    """A broker, a unit that does `what`, and a listener."""
    with tempfile.TemporaryDirectory() as folder, private_endpoint() as endpoint, contextlib.ExitStack() as stack:
        broker = stack.enter_context(contextlib.closing(Broker(endpoint, RUN, Path(folder))))
        broker.endpoint()
        listener = stack.enter_context(contextlib.closing(LogReader(endpoint, RUN)))
        with _child(what, endpoint, folder):
            yield listener


def emit_many(endpoint: str, folder: str) -> None:
    """In the unit's process."""
    unit = Unit("api", environment=Environment(endpoint, RUN, "api", folder, "", disabled=False))
    for number in range(KEYS):
        key = f"order-{number}"
        unit.emit(STEPS[0], key)
        unit.emit(STEPS[1], key)
    unit.close(30.0)


def emit_alone(endpoint: str, folder: str) -> None:
    """In the unit's process."""
    unit = Unit("api", environment=Environment(endpoint, RUN, "api", folder, "", disabled=False))
    for number in range(ALONE):
        unit.emit(STEPS[0], f"order-{number}")
        time.sleep(BETWEEN_S)
    unit.close(30.0)


# --- bare -------------------------------------------------------------------------------------------------------------


def bare_rate() -> float:
    """Events a second through the same three processes with nothing but sockets, msgpack and a dict."""
    first_ns, seen = 0, 0
    open_: dict[str, int] = {}
    with _pipe("bare-many", "forward") as pull:
        while seen < 2 * KEYS:
            records = unpack_records(pull.recv())
            first_ns = first_ns or records[0][1]
            for _, stamp_ns, step, _, key, _ in records:
                if step == STEPS[0]:
                    open_[key] = stamp_ns
                else:
                    del open_[key]
            seen += len(records)
        elapsed_ns = monotonic_ns() - first_ns
    return 2 * KEYS / elapsed_ns * 1e9


def bare_alone_us() -> float:
    """Median microseconds from a lone stamp to its decoded record."""
    delays: list[int] = []
    with _pipe("bare-alone", "proxy") as pull:
        while len(delays) < ALONE:
            ((_, stamp_ns, *_),) = unpack_records(pull.recv())
            delays.append(monotonic_ns() - stamp_ns)
    return median(delays) / 1e3


@contextlib.contextmanager
def _pipe(what: str, middle: str) -> Iterator["zmq.Socket[bytes]"]:
    """A process that does `what`, one in the middle, and the socket at the end."""
    with private_endpoint() as entry, private_endpoint() as exit_, contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        pull = stack.enter_context(context.socket(zmq.PULL))
        pull.connect(exit_)
        stack.enter_context(_child(middle, entry, exit_))
        stack.enter_context(_child(what, entry, ""))
        yield pull


def forward(entry: str, exit_: str) -> None:
    """The middle of the bare pipe: ROUTER -> PUSH."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.PUSH) as push:
        router.bind(entry)
        push.bind(exit_)
        while True:
            push.send(router.recv_multipart()[1])


def proxy(entry: str, exit_: str) -> None:
    """The middle when one goes alone: PULL -> PUSH, in C."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind(entry)
        push.bind(exit_)
        zmq.proxy(pull, push)


def bare_many(entry: str, _: str) -> None:
    """The sending end: the same records, in batches."""
    pack, batch = record_packer(), list[bytes]()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(entry)
        for seq in range(2 * KEYS):
            record: Record = [seq, monotonic_ns(), STEPS[seq % 2], 0, f"order-{seq // 2}", None]
            batch.append(pack(record))
            if len(batch) == BATCH:
                dealer.send(b"".join(batch))
                batch.clear()
        sys.stdin.read()


def bare_alone(entry: str, _: str) -> None:
    """The sending end, one at a time."""
    pack = record_packer()
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(entry)
        for seq in range(ALONE):
            time.sleep(BETWEEN_S)
            push.send(pack([seq, monotonic_ns(), STEPS[0], 0, f"order-{seq}", None]))
        sys.stdin.read()


# --- processes --------------------------------------------------------------------------------------------------------


CHILDREN: dict[str, Callable[[str, str], None]] = {
    "emit-many": emit_many,
    "emit-alone": emit_alone,
    "forward": forward,
    "proxy": proxy,
    "bare-many": bare_many,
    "bare-alone": bare_alone,
}


@contextlib.contextmanager
def _child(what: str, *arguments: str) -> Iterator[None]:
    """A process of this file that does `what` and is gone afterwards."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bus", what, *arguments], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    CHILDREN[sys.argv[1]](sys.argv[2], sys.argv[3])
