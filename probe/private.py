"""Private folders: those that this user alone can enter, on a machine that others use, too.

Belongs here: where one may be, making one, and whether one that is there is private. Must not know what is kept in it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from probe.errors import FolderError

MODE: Final = 0o700
_RANDOM_BYTES: Final = 8
_OTHERS: Final = 0o077


def base(longest: int = 4096) -> Path:
    """Where a private folder may be made: in the user's runtime directory, else in a folder for temporary files; not
    where another user could exchange it, nor where the path has more than `longest` bytes. Raises FolderError if there
    is no such place."""
    found = []
    for place in _places():
        path = Path(os.path.realpath(place))
        if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            continue
        why = why_not_safe(path)
        if not why and len(os.fsencode(path)) <= longest:
            return path
        found.append(why or f"{path} has more than {longest} bytes")
    listed = "; ".join(dict.fromkeys(found)) or "there is none that can be written to"
    raise FolderError(
        f"there is no folder for private files ({listed}); set XDG_RUNTIME_DIR to a folder of yours that has mode 700"
    )


def make(path: Path) -> None:
    """Make the folder `path`, private whatever the umask is. Raises OSError, also when anything is there."""
    path.mkdir(mode=MODE)
    if stat.S_IMODE(path.lstat().st_mode) != MODE:  # the umask takes from the owner, too
        path.chmod(MODE)


def ensure(path: Path) -> None:
    """Make the folder `path`, and those above it, where there are none: private ones. Raises OSError."""
    if not path.is_dir():
        ensure(path.parent)
        try:
            make(path)
        except FileExistsError:
            if not path.is_dir():  # else another process was faster
                raise


def name(prefix: str) -> str:
    """A name that cannot be guessed."""
    return f"{prefix}{os.urandom(_RANDOM_BYTES).hex()}"


def why_not(path: Path) -> str:
    """Why `path` is no private folder, in words; "": it is one. Raises OSError if nothing is there."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a link"
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is no folder"
    if found.st_uid != os.geteuid():
        return f"{path} belongs to another user (uid {found.st_uid})"
    if found.st_mode & _OTHERS:
        return f"{path} can be entered by others (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def why_not_safe(path: Path) -> str:
    """Why another user could exchange what is in the folder `path`, which has no links on its way; "": none can. In
    a sticky folder, such as /tmp, each user's files are that user's."""
    trusted = {0, os.geteuid(), os.stat("/").st_uid}
    for folder in (path, *path.parents):
        found = folder.stat()
        if found.st_uid not in trusted:
            return f"{folder} belongs to another user (uid {found.st_uid})"
        if _shared(found) and not found.st_mode & stat.S_ISVTX:
            return f"in {folder} others can exchange files (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def why_not_kept(path: Path) -> str:
    """Why what is to be kept in the folder `path` could be exchanged by others; "": it cannot, or only by the owner
    of the folder in which `path` lies, whom this user has trusted by going there."""
    found = path.stat()
    if found.st_uid not in {0, os.geteuid(), os.stat("/").st_uid, path.resolve().parent.stat().st_uid}:
        return f"{path} belongs to another user (uid {found.st_uid})"
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return f"in {path} others can exchange files (mode {stat.S_IMODE(found.st_mode):o}; chmod o-w)"
    return ""


def _shared(found: os.stat_result) -> bool:
    """Whether others than its owner may write there. The group of the same number as a user is theirs alone, where each
    user has such a group."""
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != found.st_uid))


def _places() -> Iterator[str]:
    if runtime := os.environ.get("XDG_RUNTIME_DIR", ""):
        yield runtime
    import tempfile  # not cheap, and not needed where there is a runtime directory

    with suppress(OSError):
        yield tempfile.gettempdir()
    yield "/tmp"
