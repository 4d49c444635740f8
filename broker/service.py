"""The broker as a process: the port, the signals, the lease, and the loop that turns the relay.

Belongs here: what opens and closes, and why it ends. Must not know what messages mean.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import zmq

from broker import endpoints, files
from broker.access import Grant
from broker.connections import Connections
from broker.errors import BrokerError, EndpointError, complain
from broker.issued import Issued
from broker.quotas import USUAL, Quotas, fitted
from broker.relay import Relay
from broker.retention import Retention
from broker.runs import Runs
from probe import shortage, wire
from probe.clock import monotonic
from probe.connection import keep_alive

QUEUED_IN: Final = 32
"""Messages of a peer that may wait for us; each may be three frames of 1 MiB."""
QUEUED_OUT: Final = 256
"""Messages that may wait for a peer."""
CHECK_S: Final = 0.2
CHECK_MS: Final = int(CHECK_S * 1000)
"""How often is checked which peers have left, and which take more than there is."""
IDLE_MS: Final = 1000
"""The same for a broker of many runs, while no peer is there."""
LAST_CHECK_MS: Final = 50
"""How often a broker whose lease is over checks whether a unit is left."""
LINGER_MS: Final = 500
"""How long the last words may take at the end."""
_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LEASE_LINGER_S: Final = 5.0
"""After the lease ended: how long units and supervisors may still bring their last words."""


def serve(
    listen: Sequence[str],
    folder: Path,
    *,
    run: str | None = None,
    lease_fd: int | None = None,
    keys: Sequence[Path] = (),
    insecure: bool = False,
    durable: bool = False,
    keep_for_s: float | None = None,
    keep_bytes: int | None = None,
    expect_peers: int = 0,
    quotas: Quotas = USUAL,
    announce: Callable[[str], None] = lambda _endpoint: None,
) -> None:
    """Listen on the endpoints `listen` until SIGTERM, SIGINT or SIGHUP, or until the lease is over.

    `announce` gets each real endpoint, in that order, once peers may connect. With `run`, that run alone is served and
    `folder` is its folder; else every run gets a folder in it. `lease_fd` is the read end of a pipe; when no
    process holds the other end any more, the broker ends as soon as every unit and supervisor has left, at the latest
    after 5 s. `keys` are the keyrings (see `keyring`) that say who may come in over TCP; the first one's broker keys
    are ours. `insecure` lets every peer in; without either, TCP is refused. With `durable` what is acknowledged
    survives the machine, not only this process. Without `run`, old ones are removed: those whose last entry is older
    than `keep_for_s` seconds, and the oldest as long as all logs together have more than `keep_bytes` (None: no limit),
    of the key that has most. `quotas` are those of each key.

    Raises BrokerError if it cannot start, also when its limit of open files is too low for `expect_peers` connections,
    or LogError when the disk refuses.
    """
    parsed = [endpoints.parse(text) for text in listen]
    guarded = insecure or bool(keys)
    for endpoint in parsed:
        endpoints.check(endpoint, guarded=guarded)
    secret, grant = _keyrings(keys)
    limit = files.allow_many()
    room = _room(limit, expect_peers, many_runs=run is None)
    quotas = fitted(quotas, room, files.logs(limit), expect_peers)
    runs = Runs(folder, run, durable=durable, quotas=quotas)
    retention = Retention(folder, keep_for_s, keep_bytes)
    sweep = None if run else partial(retention.sweep, runs)
    try:
        if sweep is not None:
            sweep()
        with ExitStack() as stack:
            for endpoint in parsed:
                stack.enter_context(endpoints.prepared(endpoint))
            shortage.ask_for_a_bus()
            context = stack.enter_context(zmq.Context())
            socket = stack.enter_context(_router(context))
            issued = Issued(folder)
            connections = stack.enter_context(closing(Connections(context, socket, grant, issued, room, quotas)))
            bound = _bind(socket, parsed, secret)
            stop_fd = stack.enter_context(_stop_pipe())
            for endpoint in parsed:
                announce(bound[endpoint])
            relay = Relay(socket, runs, connections)
            over = _loop(relay, socket, connections, stop_fd, lease_fd, sweep)
        if over:  # the process that started us may be dead
            issued.discard()
            for keyring in keys:
                if keyring.parent == folder:
                    _remove(keyring)
            for endpoint in parsed:
                endpoints.leave(endpoint)
    finally:
        runs.close()
        retention.close()


def _loop(
    relay: Relay,
    socket: zmq.Socket[bytes],
    connections: Connections,
    stop_fd: int,
    lease_fd: int | None,
    sweep: Callable[[], None] | None,
) -> bool:
    """Until there is a reason to end; whether that is the end of the lease. `sweep` is called between turns, as often
    as `Relay.housekeep`, also while no peer is there."""
    poller = zmq.Poller()
    for source in (socket, *connections.sockets, stop_fd, lease_fd):
        if source is not None:
            poller.register(source, zmq.POLLIN)
    deadline: float | None = None
    slept = False
    check_at = 0.0
    while True:
        # what ends a sleep comes alone, as a rule: it goes on its way before we ask in vain for more
        wait_ms = relay.step(1) if slept else relay.step()
        slept = wait_ms != 0
        if deadline is not None:
            if monotonic() > deadline or (slept and relay.no_units_left()):
                return True
            wait_ms = LAST_CHECK_MS if wait_ms is None else wait_ms
        now = monotonic()
        if now >= check_at:
            relay.housekeep()
            if sweep is not None:
                sweep()
            check_at = now + CHECK_S
        if wait_ms is None and (len(connections) or sweep is not None):
            wait_ms = CHECK_MS if len(connections) else IDLE_MS
        ready = dict(poller.poll(wait_ms))
        if stop_fd in ready:
            relay.step()
            return deadline is not None
        if len(ready) > (socket in ready):
            connections.answer()
        if lease_fd is not None and lease_fd in ready and not os.read(lease_fd, 64):
            poller.unregister(lease_fd)
            deadline = monotonic() + LEASE_LINGER_S


def _room(limit: int, expected: int, *, many_runs: bool) -> int:
    """How many connections there is room for. Raises BrokerError if that are fewer than `expected`."""
    if why := files.why_not_enough(expected, limit, many_runs=many_runs):
        raise BrokerError(why)
    if not expected and (word := files.warning(limit, many_runs=many_runs)):
        complain(f"broker: {word}")
    return files.room(limit, many_runs=many_runs)


def _keyrings(folders: Sequence[Path]) -> tuple[bytes, Callable[[str], Grant | None] | None]:
    """The broker's own secret key (b"": there are no keys), and who may do what."""
    if not folders:
        return b"", None
    from broker import keyring  # a run without keys need not wait for it

    ours, grant = keyring.any_of(folders)
    return ours.secret.encode(), grant


@contextmanager
def _router(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[zmq.Socket[bytes]]:
    """The ROUTER socket, not listening yet."""
    with context.socket(zmq.ROUTER) as socket:
        socket.linger = LINGER_MS
        socket.router_mandatory = True
        socket.rcvhwm, socket.sndhwm = QUEUED_IN, QUEUED_OUT
        socket.maxmsgsize = wire.MAX_FRAME_BYTES
        socket.backlog = 4096
        yield socket


def _bind(
    socket: zmq.Socket[bytes], wanted: Sequence[endpoints.Endpoint], secret: bytes
) -> dict[endpoints.Endpoint, str]:
    """Listen; gives the real endpoints. Options hold for what is bound after them, and keys are for TCP alone."""
    bound = {}
    for where in sorted(wanted, key=lambda endpoint: endpoint.transport):  # ipc before tcp
        if where.transport == "tcp":
            socket.ipv6 = where.address.startswith("[")
            keep_alive(socket)
            if secret:
                socket.curve_server, socket.curve_secretkey, socket.zap_domain = True, secret, b"circuit"
        try:
            socket.bind(str(where))
        except zmq.ZMQError as error:
            remedy = (
                "end who listens there, or choose port 0" if error.errno == zmq.EADDRINUSE else "choose another one"
            )
            raise EndpointError(f"{where}: {zmq.strerror(error.errno or 0)}; {remedy}") from None
        bound[where] = socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
    return bound


def _remove(keyring: Path) -> None:
    """A keyring in the folder of the run was made for it, and opens nothing any more."""
    import shutil  # slow to load, and every run waits for its broker

    shutil.rmtree(keyring, ignore_errors=True)


@contextmanager
def _stop_pipe() -> Iterator[int]:
    """A file descriptor that becomes readable on SIGTERM, SIGINT and SIGHUP (in the main thread, which has them).

    The interpreter itself writes to it, at once; a handler in Python would wait for the poll that it is to end.
    """
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    before = {}
    main = threading.current_thread() is threading.main_thread()
    if main:
        wakeup_fd = signal.set_wakeup_fd(write_fd)
        before = {number: signal.signal(number, lambda *_: None) for number in _ENDING}
    try:
        yield read_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if main:
            signal.set_wakeup_fd(wakeup_fd)
        os.close(read_fd)
        os.close(write_fd)
