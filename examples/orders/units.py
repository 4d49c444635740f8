"""How the test starts the shop and drives it: one function a unit.

Nothing has a fixed address. The API takes free ports and says which in the event that makes it ready; the others wait
for that event, which is there for them even if it fired before they came.
"""

import http.client
import json
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import shop

import probe


def api() -> None:
    """The API. It owns the folder that the database is in, which goes when it is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        database = os.path.join(folder, "orders.db")
        shop.create_database(database)
        service = shop.Api()
        probe.ready("api-listening", url=service.url, queue=service.queue, done=service.done, database=database)
        service.serve()


def worker() -> None:
    """One of several workers that share the queue."""
    where = probe.wait("api: api-listening").data
    shop.work(where["queue"], where["done"], where["database"])


def client() -> None:
    """Places ORDERS orders over CLIENTS connections, one every PACE seconds (0: as fast as they are answered)."""
    address = probe.wait("api: api-listening").data["url"].removeprefix("http://")
    orders, clients = int(os.environ["ORDERS"]), int(os.environ["CLIENTS"])
    pause = float(os.environ.get("PACE", "0.03")) * clients

    def place(numbers: range) -> None:
        with closing(http.client.HTTPConnection(address)) as connection:
            for number in numbers:
                order = {"id": f"order-{number}", "item": "tea"}
                probe.send("order-sent", key=order["id"])
                connection.request("POST", "/orders", json.dumps(order))
                response = connection.getresponse()
                response.read()
                if response.status == 201:
                    probe.receive("response-received", key=order["id"])
                time.sleep(pause)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(place, [range(first, orders + 1, clients) for first in range(1, clients + 1)]))
