"""Files that their user alone can read and write, whatever the umask is: everything that a run keeps.

Belongs here: making and opening one. Must stay light, because it is imported before the first unit is started.
"""

import os
import stat
from pathlib import Path
from typing import Final

MODE: Final = 0o600


def opener(path: "str | os.PathLike[str]", flags: int) -> int:
    """For `open(..., opener=opener)`. A file that is there already and lets others in does so no longer."""
    fd = os.open(path, flags | os.O_CLOEXEC, MODE)
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != MODE:
            os.fchmod(fd, MODE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write(path: Path, content: str | bytes) -> None:
    """Make the file, or what is in it anew: all of it or, where that raises OSError, nothing.

    A device or a pipe, such as /dev/null, takes the content and stays what it is.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(_bytes(content))
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(fresh, "wb", opener=opener) as file:
            file.write(_bytes(content))
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
