"""Which files of a scenario's folder go to another host, and which stay at home.

Belongs here: that choice. What is sent stands in the log of the run, and lies on a machine that others may use: so
what is hidden stays, and so does what is a key. Must not know how it is packed.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from runner.adapters.supervisor.unpack import leads_inside
from runner.model import secrets
from runner.model.errors import UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE: Final = ".circuitignore"
"""Names what stays at home, in the patterns of a .gitignore."""
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
"""Folders that stay, beside hidden ones and virtual environments."""


class Selection(NamedTuple):
    """`paths` are folders, files and symbolic links, each folder before what it holds. `withheld` are names, from the
    scenario's folder on, of what stays only because it looks like a key."""

    paths: tuple[Path, ...]
    withheld: tuple[str, ...]


def select(folder: Path, ship: Sequence[str] = (), without: Path | None = None) -> Selection:
    """What of `folder` is sent: all but what stays at home, and what `ship`, patterns of a .gitignore, names besides.
    `without` is a folder in it that holds runs.

    Raises UsageError for a keyring, for what leads out of the folder, and for a pattern that means nothing; OSError.
    """
    return _Choice(folder, ship, without).made()


class _Choice:
    def __init__(self, folder: Path, ship: Sequence[str], without: Path | None) -> None:
        self._folder = folder
        self._ship = {pattern: _spec([pattern]) for pattern in ship}
        self._meant: set[str] = set()
        self._ignored = _spec(_ignored_in(folder))
        self._kept = without.resolve() if without is not None else None
        self._left: set[Path] = set()
        """Folders that stay; they are entered only for what is named."""
        self._chosen: dict[Path, None] = {}
        self._withheld: list[str] = []

    def made(self) -> Selection:
        for root, names, files in os.walk(self._folder, onerror=_fail):
            here = Path(root)
            names[:] = sorted(name for name in names if self._kept is None or (here / name).resolve() != self._kept)
            if {*files} >= secrets.KEYRING and here not in self._left and _begins_like_keys(here / "broker"):
                raise self._keyring(here)
            for name in names:
                self._folder_there(here / name, inside_left=here in self._left)
            if not self._ship:
                names[:] = [name for name in names if here / name not in self._left]
            for name in sorted(files):
                self._file_there(here / name, inside_left=here in self._left)
        if unmeant := [pattern for pattern in self._ship if pattern not in self._meant]:
            raise UsageError(
                f"`ship` of a host names {unmeant[0]!r}, and there is nothing of that name in {self._folder}; it is a "
                "pattern as in a .gitignore"
            )
        return Selection(tuple(self._chosen), tuple(self._withheld))

    def _folder_there(self, path: Path, *, inside_left: bool) -> None:
        if path.is_symlink():
            self._file_there(path, inside_left=inside_left)
        elif (inside_left or self._stays(path, "/") or _is_left_out(path)) and not self._is_named(path, "/"):
            self._left.add(path)
        else:
            self._take(path)

    def _file_there(self, path: Path, *, inside_left: bool) -> None:
        """What is neither a file nor a link, as a socket, means nothing elsewhere."""
        if not (path.is_symlink() or path.is_file()):
            return
        if self._is_named(path):
            if _begins_like_keys(path) and path.name in secrets.KEYRING:
                raise self._keyring(path.parent)
            self._take(path)
        elif not inside_left and not self._stays(path):
            if not path.is_symlink() and secrets.is_key_file(path.name, _head(path)):
                self._withheld.append(os.path.relpath(path, self._folder))
            else:
                self._take(path)

    def _stays(self, path: Path, ending: str = "") -> bool:
        return path.name.startswith(".") or self._ignored.match_file(os.path.relpath(path, self._folder) + ending)

    def _is_named(self, path: Path, ending: str = "") -> bool:
        name = os.path.relpath(path, self._folder) + ending
        means = [pattern for pattern, spec in self._ship.items() if spec.match_file(name)]
        self._meant.update(means)
        return bool(means)

    def _take(self, path: Path) -> None:
        if path.is_symlink():
            _see_where_it_leads(path, self._folder)
        for above in reversed(path.relative_to(self._folder).parents[:-1]):
            self._chosen.setdefault(self._folder / above)
        self._chosen.setdefault(path)

    def _keyring(self, path: Path) -> UsageError:
        name = os.path.relpath(path, self._folder)
        return UsageError(
            f"{path} is a keyring: who has it can let any peer into its broker, and {self._folder} is sent to other "
            f"hosts. Move it out of there, or name it in {self._folder / IGNORE}: {name}/"
        )


def _ignored_in(folder: Path) -> list[str]:
    path = folder / IGNORE
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8; it has one pattern on each line, as a .gitignore") from None


def _spec(patterns: Sequence[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # a twelfth of a second, which a run without other hosts need not wait

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise UsageError(f"{error}: not a pattern of a .gitignore, in {IGNORE} or hosts.NAME.ship") from None


def _is_left_out(folder: Path) -> bool:
    return folder.name in LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(secrets.HEAD_BYTES)


def _begins_like_keys(path: Path) -> bool:
    return path.is_file() and _head(path).startswith(secrets.OUR_KEYS)


def _see_where_it_leads(link: Path, folder: Path) -> None:
    """Another host does not unpack what leads out of the folder, and would not have it."""
    target = os.readlink(link)
    if not leads_inside(target, len(link.relative_to(folder).parts) - 1):
        raise UsageError(
            f"{link} is a link to {target}, which is not below {folder} and so is not sent to other hosts: put what it "
            "means in its place, or name a folder there with hosts.NAME.cwd"
        )


def _fail(error: OSError) -> None:
    raise error


def listed(folder: Path, paths: Sequence[Path]) -> Iterator[str]:
    """The files among `paths`, as their user knows them: name from `folder` on."""
    return (os.path.relpath(path, folder) for path in paths if path.is_symlink() or not path.is_dir())
