"""Time and identity of one life of a process: the host's clock, its boot id, incarnations, and how far clocks drift.

Must not know events, files or sockets. `monotonic_ns` and `monotonic` are the host's CLOCK_MONOTONIC. All three
packages use them and not those of `time`, which a program under test may have replaced; FAKED_BY is what has replaced
the clocks of the whole process, "" if nothing has, and PRELOADED what has or may.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from probe import handlers
from probe.native import untouched

MAX_DRIFT_PPM: Final = 500
"""How fast two clocks may drift apart, in millionths. A quartz is off by 100 at most; 500 is what a system's time
discipline (NTP, PTP) may slew CLOCK_MONOTONIC by."""

_FIRST_TIME_NAMESPACE: Final = "time:[4026531834]"
"""The kernel's name of the one that every process is in unless another was made."""

_PID_BITS: Final = 22
"""No pid of Linux has more."""


def _kernel_clock() -> Callable[[], int] | None:
    """CLOCK_MONOTONIC as the C library reads it, past any library that was preloaded; None: it is not found.

    It costs several times what `time.monotonic_ns` does, and imports ctypes.
    """
    import ctypes

    class Timespec(ctypes.Structure):
        _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))

    def c_library() -> ctypes.CDLL | None:
        for name in ("libc.so.6", "libc.so"):  # glibc, musl; looked up in one by name, a function is that one's own
            with suppress(OSError):
                return ctypes.CDLL(name)
        return None

    read = getattr(c_library(), "clock_gettime", None)
    if read is None:
        return None

    def kernel_ns() -> int:
        now = Timespec()
        read(time.CLOCK_MONOTONIC, ctypes.byref(now))
        return int(now.s) * 1_000_000_000 + int(now.ns)

    return kernel_ns


def _clocks() -> tuple[Callable[[], int], Callable[[], float], str, str]:
    """The host's CLOCK_MONOTONIC in nanoseconds and in seconds; the preloaded library that tells the whole process
    another time (libfaketime), if there is one; and the one that may do so later, or does."""
    own = untouched(time)
    usual: Callable[[], int] = own.monotonic_ns
    preloaded = os.environ.get("LD_PRELOAD", "")
    kernel = _kernel_clock() if preloaded else None
    if kernel is None:
        return usual, own.monotonic, "", ""
    is_faked = not usual() <= kernel() <= usual()
    if not is_faked and "faketime" not in preloaded:  # which may begin to fake at any later moment
        return usual, own.monotonic, "", ""
    return kernel, lambda: kernel() / 1e9, preloaded if is_faked else "", preloaded


monotonic_ns, monotonic, FAKED_BY, PRELOADED = _clocks()


@functools.cache
def boot_id() -> str:
    """Id of the clock of this process: monotonic stamps of processes with the same one can be compared.

    It is the boot id of the host; in a time namespace of its own, where CLOCK_MONOTONIC may be set off, with its name.
    """
    return _boot() + _time_namespace()


def drift_ns(elapsed_ns: int, ppm: int = MAX_DRIFT_PPM) -> int:
    """How far two clocks can drift apart in so long a time (of which the sign does not matter), rounded up."""
    return -(-abs(elapsed_ns) * ppm // 1_000_000)


def _time_namespace() -> str:
    try:
        name = os.readlink("/proc/self/ns/time")
    except OSError as error:
        if handlers.raised(error):
            raise
        return ""
    return "" if name == _FIRST_TIME_NAMESPACE else f"/{name}"


def _boot() -> str:
    try:
        file = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)  # finalizers have no `open`
        try:
            return os.read(file, 64).decode("ascii").strip()
        finally:
            os.close(file)
    except OSError as error:
        if handlers.raised(error):
            raise
    if sys.platform == "darwin":
        import subprocess  # rare, and not for free: only where there is no /proc

        answer = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    return os.uname().nodename


def new_incarnation() -> int:
    """A number of 63 bits that no other life of any unit has, whatever clocks do: random bits, and behind them the pid,
    so that processes that live at once on a host differ for certain. It says nothing about which life came first.
    """
    chance = int.from_bytes(os.urandom(8), "big") >> (1 + _PID_BITS)
    return chance << _PID_BITS | os.getpid() & ((1 << _PID_BITS) - 1)
