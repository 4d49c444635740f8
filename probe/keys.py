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

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from probe.errors import KeysError

MAGIC: Final = "circuit-keys"
VERSION: Final = "1"
_NAMES: Final = ("name", "broker", "public", "secret")
_KEY_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Keys:
    """One peer's keys. `name` is for people; the broker knows its owner by `public`."""

    name: str
    broker: str
    public: str
    secret: str = field(repr=False)

    def secure(self, socket: Any) -> None:
        """Make `socket` (a `zmq.Socket` that has not connected yet) prove itself with these keys, and talk to nobody
        but their broker."""
        socket.curve_serverkey = self.broker.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()

    def text(self) -> str:
        """What stands in a file of keys."""
        pairs = [f"{name:<7} {getattr(self, name)}" for name in _NAMES]
        return "\n".join([f"{MAGIC} {VERSION}", *pairs, ""])


def read(told: str) -> Keys | None:
    """The keys that `told` (the value of CIRCUIT_KEYS: a path, or the text of a file) stands for; None for "".

    Raises KeysError.
    """
    if not told:
        return None
    if told.split(maxsplit=1)[0] == MAGIC:
        return parse(told, "CIRCUIT_KEYS")
    return parse(_private_text(Path(told)), told)


def parse(text: str, where: str) -> Keys:
    """The keys in `text`; `where` names it in the KeysError that anything else raises."""
    words = text.split()
    if words[:2] != [MAGIC, VERSION]:
        raise KeysError(f"{where} is no file of keys of version {VERSION}; make one with: circuit-run keys new NAME")
    found = dict(zip(words[2::2], words[3::2], strict=False))
    if missing := [name for name in _NAMES if name not in found]:
        raise KeysError(f"{where} has no {' and no '.join(missing)}; make it again with: circuit-run keys new NAME")
    for name in _NAMES[1:]:
        if len(found[name]) != _KEY_CHARS or not found[name].isascii():
            raise KeysError(f"{where}: {name} is no key; expected {_KEY_CHARS} characters of Z85")
    return Keys(*(found[name] for name in _NAMES))


def _private_text(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeysError(f"{path} can be read by others; it has a secret in it: chmod 600 {path}")
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; CIRCUIT_KEYS has to name a file of keys") from None


def write(path: Path, keys: Keys) -> None:
    """Put `keys` into a new file that only its owner can read. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(keys.text())
