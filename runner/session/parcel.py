"""The folder of a scenario, packed for other hosts.

Belongs here: what of it is sent, and in which pieces. Must not know who gets it.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from probe.message import Ship
from runner.errors import UsageError

MOST_BYTES: Final = 8 * 1024 * 1024
"""Largest parcel: it travels on the bus, and is kept in the log of the run."""
PIECE_BYTES: Final = 48 * 1024
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
"""Folders that are not sent, beside hidden ones and virtual environments."""


def pieces(folder: Path) -> list[Ship]:
    """`folder` as orders, in order. Raises UsageError if it is too large, or cannot be read."""
    packed = io.BytesIO()
    try:
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            archive.add(folder, arcname=".", recursive=False)
            for path in _files(folder):
                archive.add(path, arcname=os.path.relpath(path, folder), recursive=False)
                if packed.tell() > MOST_BYTES:
                    raise UsageError(
                        f"{folder} has more than {MOST_BYTES >> 20} MiB, packed, to be sent to other hosts (with "
                        f"{path.name}): keep large files there already, and name their folder with hosts.NAME.cwd"
                    )
    except OSError as error:
        raise UsageError(f"{folder} cannot be packed for other hosts: {error.strerror}: {error.filename}") from None
    whole = packed.getvalue()
    return [Ship(at, len(whole), whole[at : at + PIECE_BYTES]) for at in range(0, len(whole), PIECE_BYTES)]


def _files(folder: Path) -> Iterator[Path]:
    """Folders, files and symbolic links in it; each folder before what it holds."""
    for root, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not _is_left_out(Path(root, name)))
        yield from (Path(root, name) for name in [*names, *sorted(files)])


def _is_left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in LEFT_OUT or (folder / "pyvenv.cfg").exists()
