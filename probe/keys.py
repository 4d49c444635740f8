"""Keys: what a peer proves itself with to a broker that listens on TCP, and how it knows that broker again.

Belongs here: the format, reading and writing it, and giving a socket its keys. Who may do what is `broker.access`'s
business. A file of keys (or the value of CIRCUIT_KEYS itself) is words, in pairs:

    circuit-keys 1
    name    lab-2
    broker  rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7     the broker's public key
    public  Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID     ours
    secret  D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs

Keys are CurveZMQ's (RFC 25 and 26 of ZeroMQ), 32 bytes as 40 characters of Z85 (RFC 32).
"""

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from probe.errors import KeysError

MAGIC: Final = "circuit-keys"
VERSION: Final = "1"
_NAMES: Final = ("name", "broker", "public", "secret")
MAX_FILE_BYTES: Final = 4096
"""Largest file that can be one of keys; a larger one is not read."""
_KEY_CHARS: Final = 40
_Z85: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_Z85_GROUP: Final = 5
"""So many digits of base 85 are 32 bits."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One peer's keys. `name` is for people; the broker knows its owner by `public`."""

    name: str
    broker: str
    public: str
    secret: str = field(repr=False)

    def secure(self, socket: Any) -> None:
        """Make `socket` (a `zmq.Socket` that has not connected yet) prove itself with these keys, and talk only
        to their broker."""
        socket.curve_serverkey = self.broker.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()

    def text(self) -> str:
        """What stands in a file of keys."""
        name = self.name.replace("%", "%25").replace(" ", "%20")
        words = zip(_NAMES, (name, self.broker, self.public, self.secret), strict=True)
        return "\n".join([f"{MAGIC} {VERSION}", *(f"{what:<7} {word}" for what, word in words), ""])


def made(name: str, broker: str) -> Keys:
    """New keys of the name `name`, for the broker with this public key ("": they are a broker's own)."""
    import zmq  # takes longer to load than all the rest, and only new keys need it

    public, secret = (key.decode() for key in zmq.curve_keypair())
    return Keys(name, broker or public, public, secret)


def read(variable: str, broker: str) -> Keys | None:
    """The keys that `variable` (the value of CIRCUIT_KEYS: a path, or the text of a file) stands for, to be used with
    the endpoint `broker`; None for "", and where it is not TCP: there the file system guards the broker.

    Raises KeysError.
    """
    if not variable or not broker.startswith("tcp:"):
        return None
    return parse(variable, "CIRCUIT_KEYS") if _is_text(variable) else load(Path(variable))


def anchored(variable: str) -> str:
    """`variable` as `read` takes it, and still the same when the process goes to another folder."""
    return variable if not variable or _is_text(variable) else os.path.abspath(variable)


def _is_text(variable: str) -> bool:
    return variable.split()[:1] == [MAGIC]


def load(path: Path) -> Keys:
    """The keys in a file. Raises KeysError, also for a file that others may read."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise _no_keys(str(path))
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeysError(f"{path} can be read by others, and has a secret in it: chmod 600 {path}")
        return parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise _no_keys(str(path)) from None
    except (OSError, ValueError) as error:  # ValueError: no path at all
        raise KeysError(f"cannot read keys from {str(path)!r} ({getattr(error, 'strerror', error)}); {_NEW}") from None


def parse(text: str, where: str) -> Keys:
    """The keys in `text`; `where` names it in the KeysError that anything else raises."""
    words = text.split()
    if words[:2] != [MAGIC, VERSION]:
        raise _no_keys(where)
    found = dict(zip(words[2::2], words[3::2], strict=False))
    if missing := [name for name in _NAMES if name not in found]:
        raise KeysError(f"{where} has no {' and no '.join(missing)} in it; {_NEW}")
    for name in _NAMES[1:]:
        if not is_key(found[name]):
            raise KeysError(f"{where}: what stands behind {name!r} is no key of {_KEY_CHARS} characters; {_NEW}")
    return Keys(
        found["name"].replace("%20", " ").replace("%25", "%"), found["broker"], found["public"], found["secret"]
    )


def is_key(word: str) -> bool:
    """Whether `word` is 32 bytes in Z85."""
    return len(word) == _KEY_CHARS and all(
        _is_group(word[at : at + _Z85_GROUP]) for at in range(0, _KEY_CHARS, _Z85_GROUP)
    )


def _is_group(digits: str) -> bool:
    value = 0
    for digit in digits:
        if (place := _Z85.find(digit)) < 0:
            return False
        value = value * len(_Z85) + place
    return value < 1 << 32


def write(path: Path, keys: Keys) -> None:
    """Put `keys` into a new file that only its owner can read, and that has all of them as soon as it is there. Raises
    OSError."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(keys.text())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


_NEW: Final = "a file of keys is made by: circuit-run keys new NAME"


def _no_keys(where: str) -> KeysError:
    return KeysError(f"{where} is no file of keys of version {VERSION}; {_NEW}")
