"""The scenario's folder as it arrives on a host: unpacked into its place, and nothing of it anywhere else.

What comes may be anything: who ships it has a key, and may not be who it was given to. Belongs here: what may be in an
archive and how much. It does not lean on the filters of `tarfile`, which Python has only since 3.11.4, and which bound
nothing. Must not know where archives come from.
"""

import gzip
import io
import os
import shutil
import tarfile
import zlib
from itertools import takewhile
from pathlib import Path
from typing import Final, Self

MOST_BYTES: Final = 512 * 1024 * 1024
MOST_MEMBERS: Final = 65_536
"""What an archive may have, unpacked: bytes of all files together; files, folders and links."""
MOST_PACKED_BYTES: Final = 16 * 1024 * 1024
MOST_NAME_BYTES: Final = 255
_MOST_PATH_BYTES: Final = 4096
_MOST_HEADER_BYTES: Final = 1024 * 1024
"""No name is so long that its description is longer; an archive that says so wants our memory."""
_PIECE_BYTES: Final = 256 * 1024
_NUL: Final = b"\0"


class Unwelcome(Exception):
    """What is in the archive is not unpacked; the message says what it is, and why not."""


def unpack(archive: bytes, folder: Path) -> None:
    """Make `folder`, which is not there, of what is in the archive (tar, gzip). Raises Unwelcome, or OSError; what was
    unpacked until then is there."""
    if len(archive) > MOST_PACKED_BYTES:
        raise Unwelcome(f"it has more than {MOST_PACKED_BYTES >> 20} MiB, packed")
    folder.mkdir(mode=0o700)
    try:
        with gzip.open(io.BytesIO(archive)) as stream:
            whole = _Bounded(stream)
            with tarfile.open(fileobj=whole, mode="r:", tarinfo=_Header) as members:  # type: ignore[call-overload]
                _Place(folder).take(members)
            while whole.read(_PIECE_BYTES):  # to its end, where the checksum is
                pass
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise Unwelcome(f"it is no whole archive: {error}") from None


class _Header(tarfile.TarInfo):
    """One that does not end a name at a NUL as if nothing stood behind it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        for field in (buf[:100], buf[157:257]):  # the name, and where it links to
            name, _, rest = bytes(field).partition(b"\0")
            if rest.strip(b"\0"):
                raise Unwelcome(f"it has {name + _NUL + rest.rstrip(_NUL)!r}, which has a NUL in it")
        return super().frombuf(buf, encoding, errors)


class _Bounded:
    """The archive as `tarfile` reads it, which believes every number that stands in it."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise Unwelcome(f"a header in it claims {size} bytes")
        self._check(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        self._check(place)
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, place: int) -> None:
        if place > MOST_BYTES + 2 * _MOST_HEADER_BYTES + MOST_MEMBERS * 3 * tarfile.BLOCKSIZE:
            raise Unwelcome(f"it has more than {MOST_BYTES >> 20} MiB, unpacked")


class _Place:
    """A folder that is being filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = self._members = 0

    def take(self, members: tarfile.TarFile) -> None:
        for member in members:
            self._members += 1
            self._bytes += member.size
            if self._members > MOST_MEMBERS:
                raise Unwelcome(f"it has more than {MOST_MEMBERS:,} files, folders and links")
            if self._bytes > MOST_BYTES:
                raise Unwelcome(f"it has more than {MOST_BYTES >> 20} MiB, unpacked (with {member.name!r})")
            parts = _parts(member.name, "has a member")
            if parts:
                self._put(members, member, self._folder.joinpath(*parts))
            elif not member.isdir():
                raise Unwelcome(f"it has a member {member.name!r}, which is no name")

    def _put(self, members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        self._make_way(path.parent, member.name)
        try:
            if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                self._write(members, member, path)
            elif member.isdir():
                path.mkdir(exist_ok=True)
                if path.is_symlink():
                    raise FileExistsError
            elif member.issym():
                os.symlink(_target(member), path)
            elif member.islnk():
                self._link(member, path)
            else:
                raise Unwelcome(f"it has {member.name!r}, which is no file, folder or link")
        except FileExistsError:
            raise Unwelcome(f"it has {member.name!r} twice") from None

    def _make_way(self, folder: Path, name: str) -> None:
        """Every folder above it; a link in the place of one would lead elsewhere."""
        above = self._folder
        for part in folder.relative_to(self._folder).parts:
            above /= part
            if not os.path.lexists(above):
                above.mkdir()
            if above.is_symlink() or not above.is_dir():
                raise Unwelcome(f"it has {name!r}, which is below something that is no folder")

    def _write(self, members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        content = members.extractfile(member)
        assert content is not None
        mode = 0o755 if member.mode & 0o100 else 0o644  # no other user can enter the folder; no other bit is wanted
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
            shutil.copyfileobj(content, file, _PIECE_BYTES)
            if file.tell() != member.size:
                raise EOFError(f"{member.name!r} is cut off")

    def _link(self, member: tarfile.TarInfo, path: Path) -> None:
        """A second name of a file that was unpacked before."""
        first = self._folder.joinpath(*_parts(member.linkname, "has a link to"))
        self._make_way(first.parent, member.linkname)
        if first.is_symlink() or not first.is_file():
            raise Unwelcome(
                f"it has {member.name!r} as a second name of {member.linkname!r}, which is no file before it"
            )
        os.link(first, path)


def _parts(name: str, what: str) -> list[str]:
    """The way from the folder on. Raises Unwelcome for what leads out of it, or cannot be a name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if "\0" in name:
        why = "which has a NUL in it"
    elif name.startswith("/"):
        why = "which is outside of it"
    elif ".." in parts:
        why = "which may be outside of it"
    elif len(os.fsencode(name)) > _MOST_PATH_BYTES or any(len(os.fsencode(part)) > MOST_NAME_BYTES for part in parts):
        why = "which is longer than a name can be"
    else:
        return parts
    raise Unwelcome(f"it {what} {name[:80]!r}, {why}")


def _target(member: tarfile.TarInfo) -> str:
    """Where a symbolic link leads. Raises Unwelcome where that is, or may be, outside: what goes down and then up again
    does so from wherever a link below leads."""
    target = member.linkname
    if not target or "\0" in target or not leads_inside(target, len(_parts(member.name, "has a member")) - 1):
        raise Unwelcome(f"it has {member.name!r} as a link to {target[:80]!r}, which is outside of it")
    return target


def leads_inside(target: str, depth: int) -> bool:
    """Whether a link that lies so many folders below a place leads to something in that place."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = len(list(takewhile(lambda part: part == "..", parts)))
    return not target.startswith("/") and ups <= depth and ".." not in parts[ups:]
