"""The folder of a scenario, packed for other hosts.

Belongs here: what of it is sent, and in which pieces. Must not know who gets it.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from probe.message import Ship
from runner.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 8 * 1024 * 1024
"""Largest parcel: it travels on the bus, and is kept in the log of the run."""
PIECE_BYTES: Final = 48 * 1024
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
"""Folders that are not sent, beside hidden ones and virtual environments."""


class _TooLarge(Exception):
    """More has been packed than may be sent."""


class _Packed(io.BytesIO):
    """What is packed, in memory, so long as it is not too large."""

    def write(self, data: "ReadableBuffer", /) -> int:
        if self.tell() > MOST_BYTES:
            raise _TooLarge
        return super().write(data)


def pieces(folder: Path, *, without: Path | None = None) -> list[Ship]:
    """`folder` as orders, in order; `without` a folder in it that holds runs. Raises UsageError if it is too
    large, or cannot be read or sent."""
    packed = _Packed()
    path = folder
    try:
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            archive.add(folder, arcname=".", recursive=False)
            for path in _files(folder, without):
                archive.add(path, arcname=os.path.relpath(path, folder), recursive=False)
        if packed.tell() > MOST_BYTES:
            raise _TooLarge
    except _TooLarge:
        raise UsageError(
            f"{folder} has more than {MOST_BYTES >> 20} MiB, packed, to be sent to other hosts (with {path.name}): "
            "keep large files there already, and name their folder with hosts.NAME.cwd"
        ) from None
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else f"{error}: {path}"
        raise UsageError(f"{folder} cannot be packed for other hosts: {why}") from None
    whole = packed.getvalue()
    return [Ship(at, len(whole), whole[at : at + PIECE_BYTES]) for at in range(0, len(whole), PIECE_BYTES)]


def _files(folder: Path, without: Path | None) -> Iterator[Path]:
    """Folders, files and symbolic links in it; each folder before what it holds. What is nothing of that, as a socket,
    means nothing elsewhere."""
    kept = without.resolve() if without is not None else None
    for root, names, files in os.walk(folder, onerror=_fail):
        inside = (name for name in names if kept is None or Path(root, name).resolve() != kept)
        names[:] = sorted(name for name in inside if not _is_left_out(Path(root, name)))
        for path in (Path(root, name) for name in [*names, *sorted(files)]):
            if path.is_symlink():
                _see_where_it_leads(path, folder)
            elif not (path.is_dir() or path.is_file()):
                continue
            yield path


def _is_left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _see_where_it_leads(link: Path, folder: Path) -> None:
    """Another host does not unpack what leads out of the folder, and would not have it."""
    target = os.readlink(link)
    there = os.path.normpath(os.path.join(os.path.relpath(link.parent, folder), target))
    if os.path.isabs(target) or there.split(os.sep)[0] == os.pardir:
        raise UsageError(
            f"{link} is a link to {target}, which is not below {folder} and so is not sent to other hosts: put what it "
            "means in its place, or name a folder there with hosts.NAME.cwd"
        )


def _fail(error: OSError) -> None:
    raise error
