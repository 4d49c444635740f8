"""Disks without room, and files that may not be so large: which errors mean that, and what is to be said of the disk.

Belongs here: nothing else. Must not know what was to be written.
"""

import errno
import os
import resource
from pathlib import Path

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def is_full(error: OSError) -> bool:
    """Whether a disk, or this user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def may_write(size: int) -> None:
    """Raises OSError where this process may have no file of `size` bytes. To try it would end a program in which
    SIGXFSZ does what it does by default; Python ignores it unless the program wants that."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != resource.RLIM_INFINITY and size > soft:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def why(error: OSError, path: Path | str) -> str:
    """What `error` says of something at `path`; of a disk without room, which one that is and what is left."""
    return f"{error.strerror or error}{f' ({room(path)})' if is_full(error) else ''}"


def room(path: Path | str) -> str:
    """The disk that `path` is on, or would be, and how much of it is left."""
    place = Path(os.path.abspath(path))
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    while not place.is_mount():
        place = place.parent
    left, size = (_size(blocks * found.f_frsize) for blocks in (found.f_bavail, found.f_blocks))
    return f"the disk mounted at {place} has {left} of {size} left"


def _size(amount: int) -> str:
    size = amount / 1024
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
