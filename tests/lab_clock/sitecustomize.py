"""A clock that is wrong as told: put this folder on PYTHONPATH and every Python process counts another monotonic time.

Belongs here: the replacement of `time.monotonic_ns`, which is what stamps are taken with, before any module can import
it. Must not touch `time.monotonic`, which timeouts are kept with, nor import anything that a process would not have.

Told by LAB_CLOCK_OFFSET_NS, LAB_CLOCK_PPM (integers) and LAB_CLOCK_ORIGIN_NS, the true moment at which the drift began;
`lab_hosts.HostClock` says the same thing and knows the way back. Other clocks and other languages stay right.
"""

import os
import time
from collections.abc import Callable


def _wrong(real: Callable[[], int], offset_ns: int, ppm: int, origin_ns: int) -> Callable[[], int]:
    def monotonic_ns() -> int:
        now_ns = real()
        return now_ns + offset_ns + (now_ns - origin_ns) * ppm // 1_000_000

    return monotonic_ns


if "LAB_CLOCK_ORIGIN_NS" in os.environ:
    time.monotonic_ns = _wrong(
        time.monotonic_ns, *(int(os.environ[f"LAB_CLOCK_{what}"]) for what in ("OFFSET_NS", "PPM", "ORIGIN_NS"))
    )
