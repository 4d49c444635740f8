"""A photo studio on three machines: an operator asks for shots, a camera and a flash fire together, a store keeps them.

Who listens says where, in the event that makes it ready; so nothing here has a fixed address or port.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO
from urllib.parse import urlsplit

import probe

SHOTS = int(os.environ.get("SHOTS", "20"))
PAUSE = float(os.environ.get("PAUSE", "0"))
"""Seconds between two shots."""
EXPOSURE = 0.02
"""Seconds that the shutter is open."""


def our_address() -> str:
    """By which address other hosts reach this one: the one from which it reaches the broker."""
    broker = urlsplit(os.environ.get("CIRCUIT_BROKER", ""))
    if broker.scheme != "tcp" or not broker.hostname:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((broker.hostname, broker.port or 9))  # sends nothing
        return str(asked.getsockname()[0])


@contextmanager
def listening(step: str) -> Iterator[socket.socket]:
    """A server of this unit, ready for others once `step` has fired."""
    with socket.create_server(("", 0)) as server:
        probe.ready(step, address=[our_address(), server.getsockname()[1]])
        yield server


@contextmanager
def talking_to(what: str) -> Iterator[TextIO]:
    """A connection to the unit whose probe `what` says where it listens."""
    host, port = probe.wait(what).data["address"]
    with socket.create_connection((host, port)) as connection, connection.makefile("rw") as stream:
        yield stream


def ask(stream: TextIO, line: str) -> str:
    """Say a line, and wait for the answer."""
    stream.write(f"{line}\n")
    stream.flush()
    answer = stream.readline().strip()
    if not answer:
        raise ConnectionError("the other side has hung up")
    return answer


def lines_of(server: socket.socket) -> Iterator[tuple[str, TextIO]]:
    """What the one who connects says, line by line, and where to answer."""
    with server.accept()[0] as connection, connection.makefile("rw") as stream:
        for line in stream:
            yield line.strip(), stream


def answer(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def store() -> None:
    """Keeps pictures."""
    with listening("store-open") as server:
        for shot, back in lines_of(server):
            probe.receive("picture-received", key=f"{shot}-picture")
            probe.emit("picture-stored", key=shot)
            answer(back, shot)


def flash() -> None:
    """Fires when the camera does."""
    with listening("flash-charged") as server:
        for shot, back in lines_of(server):
            probe.barrier("shutter")
            probe.emit("fired", key=shot)
            answer(back, shot)


def camera() -> None:
    """Exposes when the flash fires, and brings the picture to the store."""
    with talking_to("store: store-open") as shelf, listening("camera-on") as server:
        for shot, back in lines_of(server):
            probe.barrier("shutter")
            time.sleep(EXPOSURE)
            probe.emit("exposed", key=shot)
            probe.send("picture-sent", key=f"{shot}-picture")
            answer(back, ask(shelf, shot))


def operator() -> None:
    """Asks both for every shot, and waits until it is stored."""
    with talking_to("camera: camera-on") as first, talking_to("flash: flash-charged") as second:
        for number in range(1, SHOTS + 1):
            shot = f"shot-{number}"
            probe.emit("shot-asked", key=shot)
            answer(second, shot)
            ask(first, shot)
            second.readline()
            probe.emit("shot-confirmed", key=shot)
            time.sleep(PAUSE)
