"""The folder of a scenario, packed for other hosts.

Belongs here: how it is packed, and in which pieces. Must not know who gets it, nor which files those are (`selection`).
"""

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from probe.message import Ship
from runner.adapters.supervisor.unpack import MOST_BYTES as MOST_UNPACKED
from runner.adapters.supervisor.unpack import MOST_MEMBERS
from runner.model.errors import UsageError
from runner.session.selection import IGNORE, listed, select

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 8 * 1024 * 1024
"""Largest bundle: it travels on the bus, and is kept in the log of the run."""
PIECE_BYTES: Final = 48 * 1024


class Bundle(NamedTuple):
    """`pieces` are orders, in order. `names` are the files in it, `withheld` those that stay at home only because they
    look like keys; both from the scenario's folder on."""

    pieces: tuple[Ship, ...]
    names: tuple[str, ...]
    withheld: tuple[str, ...]


class _TooLarge(Exception):
    """More has been packed than may be sent."""


class _TooMuch(Exception):
    """No host would unpack so much."""


class _Packed(io.BytesIO):
    """What is packed, in memory, so long as it is not too large."""

    def write(self, data: "ReadableBuffer", /) -> int:
        if self.tell() > MOST_BYTES:
            raise _TooLarge
        return super().write(data)


def packed(folder: Path, ship: Sequence[str] = (), *, without: Path | None = None) -> Bundle:
    """`folder` for a host that also wants what `ship` names; `without` a folder in it that holds runs (see `select`).

    Raises UsageError if it is too large, or cannot be read or sent."""
    buffer = _Packed()
    path = folder
    try:
        chosen = select(folder, ship, without)
        if len(chosen.paths) >= MOST_MEMBERS or sum(path.lstat().st_size for path in chosen.paths) > MOST_UNPACKED:
            raise _TooMuch
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
            archive.add(folder, arcname=".", recursive=False, filter=_without_owner)
            for path in chosen.paths:
                archive.add(path, arcname=os.path.relpath(path, folder), recursive=False, filter=_without_owner)
        if buffer.tell() > MOST_BYTES:
            raise _TooLarge
    except _TooMuch:
        raise UsageError(
            f"{folder} has more than {MOST_MEMBERS:,} files, or {MOST_UNPACKED >> 20} MiB, to be sent to other hosts: "
            f"name what is not needed there in {folder / IGNORE}, or keep it there already (hosts.NAME.cwd)"
        ) from None
    except _TooLarge:
        raise UsageError(
            f"{folder} has more than {MOST_BYTES >> 20} MiB, packed, to be sent to other hosts (with {path.name}): "
            "keep large files there already, and name their folder with hosts.NAME.cwd"
        ) from None
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else f"{error}: {path}"
        raise UsageError(f"{folder} cannot be packed for other hosts: {why}") from None
    whole = buffer.getvalue()
    pieces = tuple(Ship(at, len(whole), whole[at : at + PIECE_BYTES]) for at in range(0, len(whole), PIECE_BYTES))
    return Bundle(pieces, tuple(listed(folder, chosen.paths)), chosen.withheld)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The owners of the files are not sent."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
