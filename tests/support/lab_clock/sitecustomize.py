"""A clock that is wrong as ordered: put this folder on PYTHONPATH and every Python process counts another monotonic
time.

Belongs here: the replacement of `monotonic_ns`, which is what stamps are taken with, in the module `time` and in every
copy of it (`probe.clock` makes one). Must not touch `monotonic`, which timeouts are kept with, nor import anything that
a process would not have.

Told by LAB_CLOCK_OFFSET_NS, LAB_CLOCK_PPM (integers) and LAB_CLOCK_ORIGIN_NS, the true moment at which the drift began;
`lab_hosts.HostClock` says the same thing and knows the way back. Other clocks and other languages stay right.
"""

import os
import time
from collections.abc import Callable
from types import ModuleType


def _wrong(real: Callable[[], int], offset_ns: int, ppm: int, origin_ns: int) -> Callable[[], int]:
    def monotonic_ns() -> int:
        now_ns = real()
        return now_ns + offset_ns + (now_ns - origin_ns) * ppm // 1_000_000

    return monotonic_ns


class _Copies:
    """Makes what `time.__spec__.loader` makes, with the wrong clock in it."""

    def __init__(self, wrong: Callable[[], int]) -> None:
        self._right = time.__spec__.loader
        self._wrong = wrong
        self.create_module = self._right.create_module

    def exec_module(self, module: ModuleType) -> None:
        self._right.exec_module(module)
        module.monotonic_ns = self._wrong


if "LAB_CLOCK_ORIGIN_NS" in os.environ:
    time.monotonic_ns = _wrong(
        time.monotonic_ns, *(int(os.environ[f"LAB_CLOCK_{what}"]) for what in ("OFFSET_NS", "PPM", "ORIGIN_NS"))
    )
    time.__spec__.loader = _Copies(time.monotonic_ns)
