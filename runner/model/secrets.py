"""What looks like a secret: files that are keys, and variables whose values are for the unit alone.

Belongs here: how they are recognised. Values in, answers out; what is done about it is not known here. Files and
variables are recognised by their names, and where those say nothing by what they hold.
"""

import re
from fnmatch import fnmatchcase
from typing import Final

HEAD_BYTES: Final = 64 * 1024
"""How much of a file is looked at."""
OUR_KEYS: Final = b"circuit-keys "
"""How files of keys of our own begin (see `probe.keys`)."""
KEYRING: Final = frozenset({"broker", "access"})
"""What a keyring has in it (see `broker.keyring`)."""
_KEY_FILES: Final = (
    "id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk",
    "*.key", "*.keys", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg",
)  # fmt: skip
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|^PuTTY-User-Key-File-")
_SECRET_NAMES: Final = re.compile(
    r"passw|passphrase|secret|token|credential|private|cookie|apikey|(^|_)(pass|pwd|auth|pin|salt|dsn|jwt|key)(_|$)",
    re.IGNORECASE,
)
_SECRET_VALUES: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
    r"|^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"  # a URL with a password
    r"|^(gh[pousr]|github_pat|glpat|xox[abeoprs]|sk|pk|rk|npm|pypi|hf)[_-][A-Za-z0-9_-]{16,}$"
    r"|^(AKIA|ASIA)[A-Z0-9]{16}$"
    r"|^eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$"
    r"|^(Bearer|Basic) \S+$"
)


def is_key_file(name: str, head: bytes) -> bool:
    """Whether the file called `name`, which begins with `head`, is a key or holds one."""
    return (
        any(fnmatchcase(name.lower(), pattern) for pattern in _KEY_FILES)
        or head.startswith(OUR_KEYS)
        or _PRIVATE_KEY.search(head) is not None
    )


def is_secret(name: str, value: str) -> bool:
    """Whether the environment variable `name` holds a secret."""
    return bool(value) and bool(_SECRET_NAMES.search(name) or _SECRET_VALUES.search(value))
