"""The keyring: a folder with the broker's own keys and the list of whom it lets in.

Belongs here: the folder's format, making it, changing it, and reading it again when it has changed. What a grant allows
is `access`'s business, which peers ask for it that of `connections`.

    FOLDER/              no other user may enter
        broker           the broker's own keys; stays here
        access           one line for each key that was ever made
        NAME.keys        the key NAME, until it is carried to where it is used

A line of `access` is six words; lists have commas, `-` is an empty one, and `%20` and the like stand for characters
that would be in the way. A line that begins with # is a comment: so names come first, for a public key may begin so.

    lab-2 valid agent worker-*,@lab-2 * Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID
"""

import fcntl
import glob
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from broker.access import Grant
from broker.errors import KeyringError, complain
from probe import keys, private
from probe import message as m
from probe.errors import KeysError
from probe.keys import Keys

BROKER: Final = "broker"
ACCESS: Final = "access"
WATCHER: Final = "@watcher"
"""The key of a run's own keyring for watchers; no unit has such a name."""
MAX_NAME: Final = 100
"""Longest name of a key, in characters."""

_HEAD: Final = """\
# Who may come in. `circuit-run keys new|list|revoke` changes it; a broker that runs reads it again.
# name  valid|revoked  roles  units  runs  public key
"""
_IGNORE: Final = ".gitignore"
_HALF_MADE: Final = (ACCESS, f"{ACCESS}.new", _IGNORE)
_STATES: Final = {"valid": False, "revoked": True}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NEW: Final = "circuit-run keys new NAME"


class KeyEntry(NamedTuple):
    """One key: who knows it by what, and what it may do."""

    public: str
    grant: Grant


class Keyring:
    """A keyring as a broker holds it. What is changed in the folder holds from the next question on."""

    def __init__(self, folder: Path, report: Callable[[str], None] | None = None) -> None:
        """Read it; raises KeyringError. `report` gets a sentence when the list becomes unreadable later (default:
        standard error): the list as it was then still holds, because a peer that is refused throws its events away."""
        _check_keyring(folder)
        self._path = folder / ACCESS
        self._report = report or _say
        self.broker: Final[Keys] = _load(folder / BROKER)
        """The broker's own keys."""
        self._seen = _version(self._path)
        self._grants = _grants(self._path)

    def grant(self, public: str) -> Grant | None:
        """What the owner of this key may do; None for a key that was not made here."""
        if (seen := _version(self._path)) != self._seen:
            self._seen = seen
            try:
                self._grants = _grants(self._path)
            except KeyringError as error:
                self._report(f"{error}; until then the list as it was before holds")
        return self._grants.get(public)


def any_of(folders: Sequence[Path]) -> tuple[Keys, Callable[[str], Grant | None]]:
    """Several keyrings as one: the broker's own keys, which are those of the first, and what the owner of a public key
    may do, as the first keyring says that knows it. Raises KeyringError."""
    rings = [Keyring(folder) for folder in folders]
    if strange := [
        folder for folder, ring in zip(folders, rings, strict=True) if ring.broker.public != rings[0].broker.public
    ]:
        raise KeyringError(
            f"{strange[0]} is for another broker than {folders[0]}, so its keys open nothing here; make it anew beside "
            "that one, or start a broker of its own"
        )

    def grant(public: str) -> Grant | None:
        return next((found for ring in rings if (found := ring.grant(public)) is not None), None)

    return rings[0].broker, grant


def create(folder: Path, like: Path | None = None) -> None:
    """Make the keyring `folder` with the broker's own keys, if it is not there: new ones, or those of the keyring
    `like`, so that one broker can use both. Raises KeyringError."""
    if like is not None:
        _check_keyring(like)
    try:
        private.ensure(folder)
        with _locked(folder):
            if (folder / BROKER).exists():
                _check_private(folder)
                if like is not None and _load(folder / BROKER).public != _load(like / BROKER).public:
                    raise KeyringError(f"{folder} is there already, for another broker than {like}; name a new folder")
                return
            if stat.S_IMODE(folder.stat().st_mode) & 0o077 or any(
                path.name not in _HALF_MADE for path in folder.iterdir()
            ):
                raise KeyringError(
                    f"{folder} is no keyring, and used for other things; name one that does not exist yet"
                )
            _write(folder / _IGNORE, "*\n")  # secrets are not for version control
            _save(folder, [])
            keys.write(folder / BROKER, _load(like / BROKER) if like is not None else keys.made(BROKER, ""))
    except OSError as error:
        raise _unusable(folder, error) from None


def add(
    folder: Path, name: str, *, roles: Sequence[str], units: Sequence[str] = (), runs: Sequence[str] = ("*",)
) -> Path:
    """Make the key `name` and put it on the list; gives its file, which only its owner can read.

    `roles` are among `message.ROLES`; `units` and `runs` are names or patterns. Raises KeyringError.
    """
    _check_name(name)
    return _add(folder, [Grant(name, tuple(roles), tuple(units), tuple(runs))])[0]


def for_run(
    folder: Path, units: Sequence[str], *, agents: Mapping[str, Sequence[str]] | None = None, like: Path | None = None
) -> dict[str, Path]:
    """Make the keyring of one run: a key for each of `units`, which may speak as that unit only, one for the supervisor
    of each host in `agents`, which may also speak as the units that the names or patterns there mean, and one for
    watchers. Its broker's own keys are new, or those of the keyring `like`.

    Gives the file of each key, by the unit's name, "@HOST" or WATCHER. Raises KeyringError.
    """
    grants = [Grant(unit, ("unit",), (glob.escape(unit),)) for unit in units]
    grants += [
        Grant(f"@{host}", ("agent", "unit"), (glob.escape(f"@{host}"), *its_units))
        for host, its_units in (agents or {}).items()
    ]
    grants.append(Grant(WATCHER, ("watcher",)))
    names = [grant.name for grant in grants]
    if twice := [name for name in names if names.count(name) > 1]:
        raise KeyringError(f"two keys of one run would be called {twice[0]!r}; rename that unit or host")
    create(folder, like)
    return dict(zip(names, _add(folder, grants), strict=True))


def revoke(folder: Path, name: str) -> None:
    """From now on the key `name` opens nothing. Raises KeyringError if there is none, or it was revoked before."""
    _check_keyring(folder)
    with _locked(folder):
        found = _entries(folder / ACCESS)
        if not any(entry.grant.name == name for entry in found):
            known = ", ".join(entry.grant.name for entry in found if not entry.grant.revoked)
            raise KeyringError(f"there is no key {name!r} in {folder}; there {f'is {known}' if known else 'are none'}")
        if not any(entry.grant.name == name and not entry.grant.revoked for entry in found):
            raise KeyringError(f"the key {name!r} in {folder} was revoked before; nothing is to be done")
        _save(folder, [_revoked(entry) if entry.grant.name == name else entry for entry in found])
        with suppress(OSError):  # it may have been carried away
            (folder / f"{name}.keys").unlink()


def listed(folder: Path) -> list[KeyEntry]:
    """Every key that was made, in that order, revoked ones too. Raises KeyringError."""
    _check_keyring(folder)
    return _entries(folder / ACCESS)


# --- changing the list ---


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """While it lasts no other process changes the folder."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
    except OSError as error:
        raise _unusable(folder, error) from None


def _add(folder: Path, grants: Sequence[Grant]) -> list[Path]:
    for grant in grants:
        _check_grant(grant)
    _check_keyring(folder)
    with _locked(folder):
        entries = _entries(folder / ACCESS)
        taken = {entry.grant.name for entry in entries if not entry.grant.revoked}
        broker = _load(folder / BROKER)
        files = []
        for grant in grants:
            file = folder / f"{grant.name}.keys"
            if grant.name in taken:
                raise KeyringError(
                    f"there is a key {grant.name!r} in {folder} already; choose another name, or make that one "
                    f"worthless first: circuit-run keys revoke {grant.name}{_at(folder)}"
                )
            if file.exists():
                raise KeyringError(f"{file} is in the way and not on the list; remove it")
            made = keys.made(grant.name, broker.public)
            keys.write(file, made)
            entries.append(KeyEntry(made.public, grant))
            files.append(file)
        _save(folder, entries)
    return files


def _save(folder: Path, entries: Sequence[KeyEntry]) -> None:
    """A reader has either the list as it was or as it is now."""
    new = folder / f"{ACCESS}.new"
    _write(new, _HEAD + "".join(_line(entry) for entry in entries))
    new.replace(folder / ACCESS)


def _write(path: Path, text: str) -> None:
    """A file that only its owner can read, in the place of any other."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _revoked(entry: KeyEntry) -> KeyEntry:
    return KeyEntry(entry.public, replace(entry.grant, revoked=True))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise KeyringError(
            f"{name!r} is no name for a key; use at most {MAX_NAME} letters, digits, '.', '_' and '-', and a letter "
            "or digit first"
        )


def _check_grant(grant: Grant) -> None:
    if unknown := [role for role in grant.roles if role not in m.ROLES]:
        raise KeyringError(f"unknown role {unknown[0]!r}; expected one of: {', '.join(m.ROLES)}")
    if not grant.roles:
        raise KeyringError(f"the key {grant.name!r} has no role; give it one of: {', '.join(m.ROLES)}")
    if not grant.units and {"unit", "agent"} & set(grant.roles):
        raise KeyringError(f"the key {grant.name!r} may not speak as any unit; name units or patterns, such as '*'")
    if bad := _nameless(grant):
        raise KeyringError(f"{bad[0]!r} is no name and no pattern; it has to be printable, and not empty")
    if "/" in grant.name:
        raise KeyringError(
            f"{grant.name!r} is no name for a key, because its file cannot be called so; leave out the /"
        )


def _nameless(grant: Grant) -> list[str]:
    """What in `grant` stands for a name and cannot be one."""
    return [text for text in (grant.name, *grant.units, *grant.runs) if not text or not text.isprintable()]


# --- reading it ---


def _line(entry: KeyEntry) -> str:
    grant = entry.grant
    state = "revoked" if grant.revoked else "valid"
    roles, units, runs = (_joined(texts) for texts in (grant.roles, grant.units, grant.runs))
    return f"{_escaped(grant.name)} {state} {roles} {units} {runs} {entry.public}\n"


def _entry(line: str) -> KeyEntry:
    """What a line says. Raises ValueError, with what is wrong, for anything else."""
    words = line.split()
    if len(words) != 6:
        raise ValueError(f"has {len(words)} words, not 6")
    name, state, roles, units, runs, public = words
    if state not in _STATES:
        raise ValueError(f"says {state!r} where valid or revoked is expected")
    if not keys.is_key(public):
        raise ValueError("does not end with a public key")
    grant = Grant(unquote(name), _split(roles), _split(units), _split(runs), _STATES[state])
    if unknown := [role for role in grant.roles if role not in m.ROLES]:
        raise ValueError(f"names the unknown role {unknown[0]!r}")
    if bad := _nameless(grant):
        raise ValueError(f"has {bad[0]!r} where a name or pattern is expected")
    return KeyEntry(public, grant)


def _joined(texts: Sequence[str]) -> str:
    return ",".join(map(_escaped, texts)) or "-"


def _split(word: str) -> tuple[str, ...]:
    return () if word == "-" else tuple(map(unquote, word.split(",")))


def _escaped(text: str) -> str:
    """`text` (which is printable) as part of a word, so that `unquote` gives it back."""
    if text.startswith("#") or text == "-":
        return f"%{ord(text[0]):02X}{_escaped(text[1:])}"
    return text.replace("%", "%25").replace(" ", "%20").replace(",", "%2C")


def _entries(path: Path) -> list[KeyEntry]:
    _check_private(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"{path} cannot be read ({error}); put back a copy, or make a new keyring") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            entries.append(_entry(line))
        except ValueError as error:
            raise KeyringError(f"{path}, line {number}: {error}; mend the line or take it out") from None
    return entries


def _grants(path: Path) -> dict[str, Grant]:
    return {entry.public: entry.grant for entry in _entries(path)}


def _version(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _load(path: Path) -> Keys:
    try:
        return keys.load(path)
    except KeysError as error:
        raise KeyringError(str(error)) from None


def _check_keyring(folder: Path) -> None:
    if not (folder / BROKER).exists():
        raise KeyringError(f"{folder} is no keyring; one is made by: {_NEW}{_at(folder)}")
    _check_private(folder)


def _at(folder: Path) -> str:
    """What makes a command mean this keyring."""
    return f" --folder {shlex.quote(str(folder))}"


def _check_private(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(path, error) from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyringError(
            f"{path} is open to others, and who reads or changes it can let any peer in: chmod go= {path}"
        )


def _unusable(path: Path, error: OSError) -> KeyringError:
    return KeyringError(f"{path}: {error.strerror}; choose another folder for the keyring")


def _say(text: str) -> None:
    complain(f"broker: {text}")
