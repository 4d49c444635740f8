"""Addresses the broker listens on: understanding them, and preparing and clearing what they need on disk.

tcp://HOST:PORT         PORT may be 0 or *: any free one; only with keys, or where every peer is to be let in
ipc:///folder/name      the folder is made, and removed at the end, if it is not there; it is for its owner alone
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from broker.access import why_not_listening
from broker.errors import EndpointError
from probe import private

MAX_IPC_BYTES: Final = 103
"""Longest path of a Unix socket that every system accepts."""


class Endpoint(NamedTuple):
    """`transport` is tcp or ipc, `address` what stands behind the `://`."""

    transport: str
    address: str

    def __str__(self) -> str:
        return f"{self.transport}://{self.address}"


def parse(text: str) -> Endpoint:
    """The endpoint that `text` means. Raises EndpointError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EndpointError(f"{text}: an endpoint has to be UTF-8") from None
    transport, separator, address = text.partition("://")
    if not separator or transport not in ("tcp", "ipc"):
        raise EndpointError(f"{text}: not an endpoint; expected tcp://127.0.0.1:PORT or ipc:///path")
    if transport == "ipc":
        if not address.startswith("/"):
            raise EndpointError(f"{text}: the path of an ipc endpoint starts with /, as in ipc:///run/user/1000/bus")
        if len(os.fsencode(address)) > MAX_IPC_BYTES:
            raise EndpointError(
                f"{text}: the path has {len(os.fsencode(address))} bytes, the system takes {MAX_IPC_BYTES}; "
                "choose a shorter folder"
            )
        return Endpoint(transport, address)
    host, _, port = address.rpartition(":")
    port = "0" if port == "*" else port
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise EndpointError(f"{text}: expected a host and a port, as in tcp://127.0.0.1:0")
    return Endpoint(transport, f"{'127.0.0.1' if host == 'localhost' else host}:{port}")


def check(endpoint: Endpoint, *, guarded: bool) -> None:
    """Raises EndpointError if such an endpoint may not be opened. `guarded`: there are keys for who comes over TCP, or
    the owner wants none."""
    if why := why_not_listening(endpoint.transport, guarded=guarded):
        raise EndpointError(f"{endpoint}: {why}")


@contextmanager
def prepared(endpoint: Endpoint) -> Iterator[None]:
    """While it lasts the endpoint may be bound; afterwards nothing of it is left on disk.

    Raises EndpointError if it may not be opened or a process listens there.
    """
    if endpoint.transport != "ipc":
        yield
        return
    path = Path(endpoint.address)
    with held(path.parent):
        _check_folder(endpoint, path.parent)
        _check_free(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove the private folder of an ipc endpoint if its broker was killed. One that a broker holds stays, and so does
    one with anything but sockets in it, or of another user. `folder` is where only its owner can exchange it."""
    with suppress(OSError):
        if private.why_not(folder):
            return
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        finally:
            os.close(fd)


@contextmanager
def held(folder: Path, *, new: bool = False) -> Iterator[None]:
    """`folder`, made and removed again if it is not there; locked meanwhile, so that no process clears it away. With
    `new` it may not be there. Raises EndpointError."""
    made = _make_folder(folder, new=new)
    while (lock := _lock(folder)) is None:  # another process has just cleared it away, as it was not locked
        made = _make_folder(folder, new=new)
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                _remove(folder)
        os.close(lock)


def leave(endpoint: Endpoint) -> None:
    """Remove the private folder of an endpoint, once no process listens there: the one that made it may have been
    killed."""
    if endpoint.transport == "ipc":
        with suppress(OSError):
            Path(endpoint.address).parent.rmdir()


def _remove(folder: Path) -> None:
    """The folder, if nothing but sockets is in it. Raises OSError."""
    for path in folder.iterdir():
        if path.is_socket():
            path.unlink()
    folder.rmdir()


def _lock(folder: Path) -> int | None:
    """A file descriptor that holds `folder`; None: it is not there any more."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EndpointError(f"{folder}: {error.strerror}; choose a folder that is yours") from None
    with suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_SH)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(fd), folder.lstat()):
            return fd
    os.close(fd)
    return None


def _check_folder(endpoint: Endpoint, folder: Path) -> None:
    """Raises EndpointError if another user can enter the folder, or put another one in its place."""
    if why := private.why_not(folder) or private.why_not_safe(folder.parent.resolve()):
        raise EndpointError(f"{endpoint}: {why}; name a folder that does not exist yet, in one that is yours alone")


def _make_folder(folder: Path, *, new: bool) -> bool:
    try:
        private.make(folder)
    except FileExistsError:
        if new:
            raise EndpointError(f"{folder} was made by another process just now, and is not used; try again") from None
        return False
    except OSError as error:
        raise EndpointError(
            f"{folder}: {error.strerror}; choose a folder inside one that exists and is yours"
        ) from None
    return True


def _check_free(path: Path) -> None:
    """Binding takes over the path from a process that listens there, so ask first."""
    if not path.exists():
        return
    import socket  # seldom needed, and slow to import for a process that others wait for

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise EndpointError(f"ipc://{path}: another process listens there already; end that broker or choose another path")
