"""The broker as a process: the port, the signals, the lease, and the loop that turns the relay.

Belongs here: what opens and closes, and why it ends. Must not know what messages mean.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import zmq

from broker import endpoints
from broker.errors import EndpointError
from broker.relay import Relay
from broker.run import Runs
from probe import wire

QUEUE_MESSAGES: Final = 256
"""Messages that may wait in a peer's queue, each way."""
DESERTED_MS: Final = 50
"""How often a broker whose lease is over looks whether anybody is left."""
LINGER_MS: Final = 500
"""How long the last words may take at the end."""
LEASE_LINGER_S: Final = 5.0
"""After the lease ended: how long units and supervisors may still bring their last words."""


def serve(
    endpoint: str,
    folder: Path,
    *,
    run: str | None = None,
    lease_fd: int | None = None,
    announce: Callable[[str], None] = lambda _endpoint: None,
) -> None:
    """Listen on `endpoint` until SIGTERM or SIGINT, or until the lease is over.

    `announce` gets the real endpoint once peers may connect. With `run`, that run alone is served and `folder` is its
    folder; else every run gets a folder in it. `lease_fd` is the read end of a pipe; when nobody holds the other end
    any more, the broker ends as soon as every unit and supervisor has said FINAL or left, at the latest after 5 s.

    Raises BrokerError if it cannot start, or LogError when the disk refuses.
    """
    where = endpoints.parse(endpoint)
    _allow_many_files()
    runs = Runs(folder, run)
    try:
        with endpoints.prepared(where), _bound(where) as socket, _stop_pipe() as stop_fd:
            announce(socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0"))
            _loop(Relay(socket, runs), socket, stop_fd, lease_fd)
    finally:
        runs.close()


def _loop(relay: Relay, socket: zmq.Socket[bytes], stop_fd: int, lease_fd: int | None) -> None:
    poller = zmq.Poller()
    for source in (socket, stop_fd, lease_fd):
        if source is not None:
            poller.register(source, zmq.POLLIN)
    deadline: float | None = None
    slept = False
    while True:
        # what ends a sleep comes alone, as a rule: it goes on its way before anybody asks in vain for more
        wait_ms = relay.step(1) if slept else relay.step()
        slept = wait_ms != 0
        if deadline is not None:
            if time.monotonic() > deadline or (slept and relay.deserted()):
                return
            wait_ms = DESERTED_MS if wait_ms is None else wait_ms
        ready = dict(poller.poll(wait_ms))
        if stop_fd in ready:
            relay.step()
            return
        if lease_fd is not None and lease_fd in ready and not os.read(lease_fd, 64):
            poller.unregister(lease_fd)
            deadline = time.monotonic() + LEASE_LINGER_S


@contextmanager
def _bound(where: endpoints.Endpoint) -> Iterator[zmq.Socket[bytes]]:
    """The ROUTER socket, listening."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = LINGER_MS
        socket.router_mandatory = True
        socket.sndhwm = socket.rcvhwm = QUEUE_MESSAGES
        socket.maxmsgsize = wire.MAX_FRAME_BYTES
        socket.backlog = 4096
        if where.transport == "tcp":
            socket.ipv6 = where.address.startswith("[")
            socket.tcp_keepalive = 1
            socket.heartbeat_ivl, socket.heartbeat_timeout = 5_000, 15_000
        try:
            socket.bind(str(where))
        except zmq.ZMQError as error:
            remedy = (
                "end who listens there, or choose port 0" if error.errno == zmq.EADDRINUSE else "choose another one"
            )
            raise EndpointError(f"{where}: {zmq.strerror(error.errno or 0)}; {remedy}") from None
        yield socket


@contextmanager
def _stop_pipe() -> Iterator[int]:
    """A file descriptor that becomes readable on SIGTERM and SIGINT (where signals can be had: in the main thread).

    The interpreter itself writes to it, at once; a handler in Python would wait for the poll that it is to end.
    """
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    before = {}
    main = threading.current_thread() is threading.main_thread()
    if main:
        wakeup_fd = signal.set_wakeup_fd(write_fd)
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield read_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if main:
            signal.set_wakeup_fd(wakeup_fd)
        os.close(read_fd)
        os.close(write_fd)


def _allow_many_files() -> None:
    """Each peer is an open file, and the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
