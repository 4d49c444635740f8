"""The shop of ../orders with one fault in it, chosen by the environment variable FAULT; its victim is order-17.

A fault is a function that takes the place of one of the shop's own, so that the shop itself stays as it is.
"""

import os
import sqlite3
import sys
import time
from pathlib import Path

import probe

sys.path.append(str(Path(__file__).parent.parent / "orders"))

import shop
from units import api, client, worker

__all__ = ["api", "client", "worker"]

VICTIM = "order-17"

shop.ANSWER_WITHIN_S = 1.0
enqueue, write_row, work, emit = shop.Api.enqueue, shop.write_row, shop.work, probe.emit


def lost_message(service: shop.Api, order: shop.Order) -> None:
    """The queue loses the order."""
    if order["id"] != VICTIM:
        enqueue(service, order)


def duplicate_delivery(service: shop.Api, order: shop.Order) -> None:
    """The queue delivers the order twice."""
    enqueue(service, order)
    if order["id"] == VICTIM:
        enqueue(service, order)


def wrong_key(rows: sqlite3.Connection, order: shop.Order) -> None:
    """A worker swaps two digits."""
    write_row(rows, order | {"id": "order-71"} if order["id"] == VICTIM else order)


def slow_hop(rows: sqlite3.Connection, order: shop.Order) -> None:
    """The database takes longer than the circuit allows."""
    if order["id"] == VICTIM:
        time.sleep(0.7)
    write_row(rows, order)


def crash(rows: sqlite3.Connection, order: shop.Order) -> None:
    """A worker dies before it has written the row."""
    if order["id"] == VICTIM:
        sys.exit("no space left on device")
    write_row(rows, order)


def never_ready(queue: str, done: str, database: str) -> None:
    """worker-2 hangs before it is ready."""
    if os.environ["CIRCUIT_UNIT"] == "worker-2":
        time.sleep(60)
    work(queue, done, database)


def misspelt_probe(step: str, **more: object) -> None:
    """The code says row-writen, the circuit row-written."""
    emit(step.replace("written", "writen"), **more)


match os.environ.get("FAULT", "lost-message"):
    case "lost-message":
        shop.Api.enqueue = lost_message
    case "duplicate-delivery":
        shop.Api.enqueue = duplicate_delivery
    case "wrong-key":
        shop.write_row = wrong_key
    case "slow-hop":
        shop.write_row = slow_hop
    case "crash":
        shop.write_row = crash
    case "never-ready":
        shop.work = never_ready
    case "misspelt-probe":
        probe.emit = misspelt_probe
    case unknown:
        sys.exit(f"FAULT={unknown} is not one of the faults in {__file__}")
