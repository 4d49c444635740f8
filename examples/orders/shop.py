"""A small shop of several programs, the system under test. Ordinary code; each `probe.` line says what just happened.

    POST /orders -> Api -> queue (ZeroMQ) -> a worker -> row (SQLite) -> done (ZeroMQ) -> Api -> 201

It is given its addresses and knows nothing of the test: without a broker a probe does nothing.
"""

import json
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import zmq

import probe

Order = dict[str, Any]

ANSWER_WITHIN_S = 5.0
"""How long the API waits for a worker before it answers 504."""


class Api:
    """Takes orders over HTTP, queues them, and answers when a worker has stored them."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._context.linger = 0
        self._queue = self._context.socket(zmq.PUSH)
        self._done = self._context.socket(zmq.PULL)
        self._queue_lock = threading.Lock()  # a ZeroMQ socket belongs to one thread at a time, requests come in many
        self._stored: dict[str, threading.Event] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.queue = f"tcp://127.0.0.1:{self._queue.bind_to_random_port('tcp://127.0.0.1')}"
        self.done = f"tcp://127.0.0.1:{self._done.bind_to_random_port('tcp://127.0.0.1')}"

    def serve(self) -> None:
        """Serves until the process ends."""
        threading.Thread(target=self._collect, daemon=True).start()
        self._http.serve_forever()

    def place(self, order: Order) -> bool:
        """Queues `order`; whether a worker has stored it in time."""
        stored = self._stored[order["id"]] = threading.Event()
        probe.send("order-queued", key=order["id"])
        self.enqueue(order)
        return stored.wait(ANSWER_WITHIN_S)

    def enqueue(self, order: Order) -> None:
        """Hands `order` to one of the workers."""
        with self._queue_lock:
            self._queue.send_json(order)

    def _collect(self) -> None:
        while True:
            stored = self._stored.pop(self._done.recv_string(), None)
            if stored is not None:
                stored.set()


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(201 if api.place(order) else 504)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def work(queue: str, done: str, database: str) -> None:
    """A worker's whole life: take an order from the queue, store it, say so."""
    with zmq.Context() as context, context.socket(zmq.PULL) as orders, context.socket(zmq.PUSH) as stored:
        stored.linger = 0  # an API that is gone needs no answer
        orders.connect(queue)
        stored.connect(done)
        with closing(sqlite3.connect(database)) as rows:
            probe.ready("worker-ready")
            while True:
                order = orders.recv_json()
                probe.receive("order-received", key=order["id"])
                write_row(rows, order)
                stored.send_string(order["id"])


def write_row(rows: sqlite3.Connection, order: Order) -> None:
    """Stores `order` for good; storing it again changes nothing."""
    with rows:
        rows.execute("INSERT OR REPLACE INTO orders VALUES (?, ?)", (order["id"], order["item"]))
    probe.emit("row-written", key=order["id"])


def create_database(path: str) -> None:
    """An empty database that several workers may write to at once."""
    with closing(sqlite3.connect(path)) as rows:
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT)")
