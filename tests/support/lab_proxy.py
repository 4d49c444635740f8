"""A bad network for one TCP port: what it forwards comes late, stalls, or not at all.

Belongs here: the proxy, a program that runs on a host, and `Proxy`, which is how a test has one. The program imports
nothing of ours.

    python tests/support/lab_proxy.py LISTEN_PORT TO_HOST TO_PORT    prints "listening on PORT"; ends with its input

Lines on standard input tell it what to be, and each is printed when it holds:

    delay THERE BACK [JITTER]   milliseconds from the side that connects to the other end, and back; up to JITTER more
    loss P [STALL]              a chunk is lost with probability P: as TCP has it, its way stalls for STALL (200) ms
    cut                         connections are reset, new ones refused
    hole                        nothing goes through and neither side is informed; `restore` lets through what was held
    back restore                     neither cut nor hole

What is sent first arrives first, whatever the jitter. A delay is that of the bytes, not of connecting.
"""

import argparse
import asyncio
import random
import selectors
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from tests.support.lab_hosts import Host

CHUNK: Final = 64 * 1024
RESET: Final = struct.pack("ii", 1, 0)
"""A socket that lingers for no time is not ended, but reset."""
IN_FLIGHT: Final = 1024
"""Chunks that one direction holds; then the sender has to wait."""


class Network:
    """What the network is like just now, and who is on it."""

    def __init__(self, port: int, to: tuple[str, int], seed: int) -> None:
        self._port = port
        self._to = to
        self._random = random.Random(seed)
        self._delays_s = (0.0, 0.0)
        self._jitter_s = self._loss = self._stall_s = 0.0
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def tell(self, line: str) -> None:
        """One line of standard input."""
        word, *values = line.split()
        numbers = [float(value) for value in values]
        if word == "delay":
            self._delays_s = (numbers[0] / 1000, numbers[1] / 1000)
            self._jitter_s = numbers[2] / 1000 if numbers[2:] else 0.0
        elif word == "loss":
            self._loss, self._stall_s = numbers[0], (numbers[1] if numbers[1:] else 200.0) / 1000
        elif word == "hole":
            self._passes.clear()
        elif word == "cut":
            await self._cut()
        elif word == "restore":
            self._passes.set()
            if self._server is None:
                await self.listen()
        else:
            raise ValueError(f"not a word of this network: {line}")

    async def listen(self) -> int:
        """Lets connections come; returns the port."""
        self._server = await asyncio.start_server(self._come, "0.0.0.0", self._port, limit=CHUNK)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        carriers = list(self._open)
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)

    def _come(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        carrier = asyncio.create_task(self._carry(near_in, near_out))
        self._open.add(carrier)
        carrier.add_done_callback(self._open.discard)

    async def _carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        ends = [near_out]
        try:
            far_in, far_out = await asyncio.open_connection(*self._to, limit=CHUNK)
            ends.append(far_out)
            async with asyncio.TaskGroup() as group:
                for way, (source, target) in enumerate(((near_in, far_out), (far_in, near_out))):
                    flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
                    group.create_task(self._take(way, source, flight))
                    group.create_task(self._give(flight, target))
        except* (OSError, asyncio.CancelledError):  # one end is gone, and the other is to know; or we cut
            for end in ends:
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.transport.abort()
        finally:
            for end in ends:
                end.close()

    async def _take(self, way: int, source: asyncio.StreamReader, flight: "asyncio.Queue[tuple[float, bytes]]") -> None:
        data, due = b"-", 0.0
        while data:
            data = await source.read(CHUNK)
            late_s = self._delays_s[way] + self._random.random() * self._jitter_s
            if self._random.random() < self._loss:
                late_s += self._stall_s
            due = max(due, asyncio.get_running_loop().time() + late_s)
            await flight.put((due, data))

    async def _give(self, flight: "asyncio.Queue[tuple[float, bytes]]", target: asyncio.StreamWriter) -> None:
        while True:
            due, data = await flight.get()
            if (early_s := due - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(early_s)
            await self._passes.wait()
            if not data:
                target.write_eof()
                return
            target.write(data)
            await target.drain()


async def _serve(port: int, to: tuple[str, int], seed: int) -> None:
    network = Network(port, to, seed)
    print(f"listening on {await network.listen()}", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().strip():
        await network.tell(line)
        print(line, flush=True)
    await network.tell("cut")


def _precise_loop() -> asyncio.AbstractEventLoop:
    """One whose timers are not rounded to milliseconds, as those on epoll are."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class Proxy:
    """The proxy on a host of a lab, between the side that connects to `port` there and another host's port."""

    def __init__(self, host: "Host", to: "Host", to_port: int, *, port: int = 0, seed: int = 0) -> None:
        words = [str(port), to.address, str(to_port), f"--seed={seed}"]
        self._process = host.start([sys.executable, Path(__file__).resolve(), *words], stdin=subprocess.PIPE)
        self.host = host
        self.port = int(self._hear().removeprefix("listening on "))

    def tell(self, line: str) -> None:
        """A line, such as "delay 20 5"; it holds when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._hear() == line

    def close(self) -> None:
        """Ends it, and every connection through it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, help="0: any")
    parser.add_argument("to_host")
    parser.add_argument("to_port", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of jitter and loss")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        runner.run(_serve(options.port, (options.to_host, options.to_port), options.seed))
