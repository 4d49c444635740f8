"""Why a machine did not answer, in words: what ssh, the shell there or Python there said, and what to do about it.

Belongs here: knowing their exit codes and sentences. Values in, values out.
"""

import shlex
from collections.abc import Callable
from typing import Final

from runner.core.doctor.facts import Machine, Silence
from runner.model.checkup import Checkup, Level

SSH_FAILED: Final = 255
"""Exit code of ssh when it is ssh itself that failed, and not the command there."""
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

QUOTED: Final = 3
"""So many last lines of standard error are quoted."""
_CHANGED: Final = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "has changed and you have requested strict")
_SSHD: Final = "is sshd running there, and on that port? Start it there, or name the port in ~/.ssh/config (Port):"
_FIREWALL: Final = "is it switched on, and does a firewall let ssh through? Look by hand with:"
# What ssh says -> what that means, what to do, what to type for it (from the destination).
_MEANINGS: Final[tuple[tuple[tuple[str, ...], str, str, Callable[[str], str]], ...]] = (
    (
        ("Could not resolve hostname",),
        "no host of that name is known here",
        "look at its spelling; a name of your own needs `Host` and `HostName` in ~/.ssh/config",
        lambda _: "",
    ),
    (
        _CHANGED,
        "it shows another host key than the one that is known of it",
        "if the machine was made anew, forget its old key, log in once by hand and compare the new one:",
        lambda to: f"ssh-keygen -R {_host(to)}",
    ),
    (
        ("Host key verification failed", "host key is known for"),
        "its host key is not known here yet",
        "log in once by hand and compare the fingerprint (or fetch it with ssh-keyscan):",
        lambda to: f"ssh {to}",
    ),
    (
        ("Permission denied",),
        "it does not let this user in without a password",
        "put your key there, or load it with ssh-add:",
        lambda to: f"ssh-copy-id {to}",
    ),
    (
        ("Too many authentication failures",),
        "it refused before the right key was tried",
        "name the key in ~/.ssh/config (IdentityFile, and IdentitiesOnly yes); see which are tried:",
        lambda to: f"ssh -v {to} true",
    ),
    (("Connection refused",), "nothing listens for ssh there", _SSHD, lambda to: f"ssh -v {to} true"),
    (("timed out",), "no connection came about in time", _FIREWALL, lambda to: f"ssh -v {to} true"),
    (
        ("No route to host", "Network is unreachable"),
        "there is no way to it from here",
        _FIREWALL,
        lambda to: f"ssh -v {to} true",
    ),
    (
        ("Connection closed", "Connection reset", "kex_exchange_identification"),
        "it ended the connection before a login was possible",
        "look at the log of sshd there (AllowUsers, MaxStartups, an expired account), and from here with:",
        lambda to: f"ssh -v {to} true",
    ),
    (
        ("Bad configuration option", "terminating, ", "Bad owner or permissions"),
        "ssh does not understand its own configuration",
        "mend the file and line that it names",
        lambda _: "",
    ),
)


def refusal(target: Machine, silence: Silence) -> Checkup:
    """What it means that `target` did not answer."""
    if silence.begun:
        return _problem(
            "it answered, and then nothing more came",
            "was the connection cut, or the program ended there? Try again",
            said=silence.said,
        )
    if silence.missing:
        return _problem(
            f"there is no {silence.missing} on this machine",
            f"install it here (the package openssh-client), so that {silence.missing} can be typed",
            said=silence.said,
        )
    if silence.waited_s:
        return _problem(
            f"nothing came within {silence.waited_s:g} s",
            "does it answer when you ask by hand?",
            f"ssh {shlex.quote(target.ssh)} {target.python} -V" if target.ssh else f"{target.python} -V",
            silence.said,
        )
    if silence.code == SSH_FAILED and target.ssh is not None:
        return _of_ssh(shlex.quote(target.ssh), silence.said)
    return _of_python(target, silence)


def _of_ssh(to: str, said: tuple[str, ...]) -> Checkup:
    words = "\n".join(said)
    forget = next((line.strip() for line in said if line.strip().startswith("ssh-keygen ")), "")
    for signs, found, remedy, command in _MEANINGS:
        if any(sign in words for sign in signs):
            return _problem(found, remedy, (signs is _CHANGED and forget) or command(to), said)
    return _problem("ssh does not get in", "see where it stops:", f"ssh -v {to} true", said)


def _of_python(target: Machine, silence: Silence) -> Checkup:
    """The machine was reached, and what was to be its Python did not do as it should."""
    command = target.python
    remedy = "install Python 3.11 or newer there, or name the one that is there, e.g. --python /usr/bin/python3.12"
    if silence.code == NOT_FOUND:
        found = f"there is no {command} there"
    elif silence.code == NOT_EXECUTABLE:
        found = f"{command} is no program there"
    elif any("SyntaxError" in line for line in silence.said):
        found = f"{command} is older than Python 3.6, or no Python"
    elif silence.code is None:
        found = f"{command} says nothing"
    else:
        found = f"{command} ended with code {silence.code} and did not answer"
    return _problem(found, remedy, said=silence.said, name="python")


def _problem(
    found: str, remedy: str, command: str = "", said: tuple[str, ...] = (), name: str = "reachable"
) -> Checkup:
    return Checkup(name, Level.PROBLEM, found, remedy, command, said[-QUOTED:])


def _host(destination: str) -> str:
    """The host of a destination, as a file of known hosts has it."""
    return destination.removeprefix("ssh://").rpartition("@")[2]
