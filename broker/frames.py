"""The ROUTER socket, frame by frame: one message out of it, one message into it, and never a wait.

Belongs here: what of pyzmq has to be quick. Must not know messages or peers.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

import zmq

MAX_FRAMES: Final = 4
"""Frames of a message at most: those of a COMMAND with a private part. What comes after them is not kept."""
_NOBLOCK: Final = int(zmq.NOBLOCK)
_NOBLOCK_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""As numbers, because combining the names takes longer than sending a frame."""


class Sent(Enum):
    """What became of a message to a peer."""

    YES = "yes"
    FULL = "full"
    GONE = "gone"


def received(socket: zmq.Socket[bytes]) -> tuple[bytes, list[bytes], zmq.Frame]:
    """One message: who sent it, its frames (at most one too many), and the last one as it knows where it came from.
    Raises zmq.Again if there is none. Like `recv_multipart`, which takes twice as long because it asks the socket after
    every frame whether there is another."""
    frame = socket.recv(_NOBLOCK, copy=False)
    identity = frame.bytes
    frames: list[bytes] = []
    while frame.more:
        frame = socket.recv(_NOBLOCK, copy=False)
        if len(frames) <= MAX_FRAMES:
            frames.append(frame.bytes)
    return identity, frames, frame


def send(socket: zmq.Socket[bytes], identity: bytes, frames: Sequence[bytes | memoryview]) -> Sent:
    """Give `frames` to the peer with this routing id, if its queue has room and it is there."""
    try:
        first, *rest, last = identity, *frames
        socket.send(first, _NOBLOCK_MORE)
        for frame in rest:
            socket.send(frame, _NOBLOCK_MORE)
        socket.send(last, _NOBLOCK)
    except zmq.Again:
        return Sent.FULL
    except zmq.ZMQError as error:
        if error.errno != zmq.EHOSTUNREACH:
            raise
        return Sent.GONE
    return Sent.YES
