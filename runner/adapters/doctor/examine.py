"""Answers questions about the machine on which it runs: a line of JSON in, a line of JSON out, until no more come.

This file is a script that travels: it is given to a Python on the machine that is examined, which need not have
anything of ours. So it stands alone, with the standard library and syntax that Python 3.6 understands, or an old Python
could not even say that it is old; what it would like to have beyond that (pyzmq, `probe`) it imports where it is used,
and says so when it is not there. Belongs here: looking. Must not know what is good or bad (`judge`). It leaves nothing
behind, and never answers with a secret.
"""

import errno
import json
import os
import socket
import struct
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Tuple

MARK = "circuit-doctor "
"""How an answer begins; a shell may have printed other lines before it."""
PACKAGES = ("circuit-run", "pyzmq", "msgpack")
CONNECT_S = 5.0
"""How long a connection may take to come about."""

SUCCEEDED, FAILED_NO_DETAIL, FAILED_PROTOCOL, FAILED_AUTH = 0x1000, 0x0800, 0x2000, 0x4000
CONNECT_RETRIED = 0x0004
"""Numbers of libzmq's ZMQ_EVENT_*, which never change."""
PATIENCE = 3
"""So many handshakes in a row that broke without a word are an answer."""


def facts() -> Dict[str, Any]:
    """What stands still: interpreter, packages, limits, folders."""
    soft, hard = _file_limits()
    libzmq, curve = _libzmq()
    return {
        "python": list(sys.version_info[:3]),
        "executable": _text(sys.executable or ""),
        "packages": dict((name, _version(name)) for name in PACKAGES),
        "libzmq": libzmq,
        "curve": curve,
        "boot_id": _boot_id(),
        "files_soft": soft,
        "files_hard": hard,
        "work": _folder(os.environ.get("XDG_STATE_HOME") or os.path.join("~", ".local", "state")),
        "tmp": _folder(tempfile.gettempdir()) if _has_tmp() else {"path": "", "why": "there is no folder for it"},
        "seen_at": os.environ.get("SSH_CONNECTION", "").split(" ")[0],
    }


def ping() -> Dict[str, int]:
    """Both clocks, now, in nanoseconds."""
    return {"monotonic_ns": _ns("monotonic"), "wall_ns": _ns("time")}


def back(addresses: List[str], port: int, token: str) -> Dict[str, Any]:
    """Tries to reach the machine that asks, and says `token` there. Which address it was ("": none), and what became of
    each."""
    failures = []
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), CONNECT_S)
        except OSError as error:
            failures.append(_why(error))
            continue
        with connection:
            connection.sendall(token.encode("ascii"))
            connection.shutdown(socket.SHUT_WR)
        return {"reached": address, "failures": failures}
    return {"reached": "", "failures": failures}


def join(host: str, port: int, keys: str) -> Dict[str, Any]:
    """Reads the file `keys` ("": none) and connects to the broker ("" for `host`: does not). What libzmq's monitor said
    of the handshake, or why there was none."""
    found: Dict[str, Any] = {"key": "", "keys_why": "", "events": [], "bus": True, "tcp": None}
    ours = None
    if keys:
        try:
            from probe import keys as reader

            ours = reader.read(os.path.expanduser(keys), "tcp:")
            found["key"] = ours.name if ours else ""
        except ImportError:
            found["bus"] = False
        except Exception as error:  # KeysError; an older release may say it otherwise
            found["keys_why"] = str(error)
            return found
    if not host:
        return found
    if found["bus"]:
        try:
            found["events"] = _handshake(host, port, ours)
        except ImportError:
            found["bus"] = False
    if not found["events"]:
        found["tcp"] = _connects(host, port)
    return found


def _handshake(host: str, port: int, keys: Any) -> List[Tuple[int, int]]:
    """Events of the monitor of a socket that connects there, until they are an answer; [] when nothing answers."""
    import zmq

    events: List[Tuple[int, int]] = []
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.linger = 0
        dealer.ipv6 = ":" in host
        if keys is not None:
            keys.secure(dealer)
        watched = SUCCEEDED | FAILED_NO_DETAIL | FAILED_PROTOCOL | FAILED_AUTH | CONNECT_RETRIED
        monitor = dealer.get_monitor_socket(watched)
        dealer.connect("tcp://%s:%d" % ("[%s]" % host if ":" in host else host, port))
        end_s = time.monotonic() + CONNECT_S
        while monitor.poll(max(0, int((end_s - time.monotonic()) * 1000))):
            event, value = struct.unpack("=Hi", monitor.recv_multipart()[0])
            if event == CONNECT_RETRIED:
                if events:
                    continue
                break
            events.append((event, value))
            if event != FAILED_NO_DETAIL or len(events) >= PATIENCE:
                break
        dealer.disable_monitor()
        monitor.close(0)
    except zmq.ZMQError:  # no address for ZeroMQ; why not, a plain connection says better
        events = []
    finally:
        dealer.close(0)
        context.term()
    return events


def _connects(host: str, port: int) -> Dict[str, str]:
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        return _why(error)
    return {"code": "", "text": ""}


def _why(error: OSError) -> Dict[str, str]:
    """`error` as the name of its number and its words."""
    if isinstance(error, socket.gaierror):
        return {"code": "ENAME", "text": str(error.strerror or error)}
    if isinstance(error, socket.timeout):
        return {"code": "ETIMEDOUT", "text": "nothing came back within %g s" % CONNECT_S}
    return {"code": errno.errorcode.get(error.errno or 0, ""), "text": str(error.strerror or error)}


def _version(package: str) -> str:
    """Its version; "" where it is not installed."""
    try:
        from importlib import metadata  # since Python 3.8
    except ImportError:
        return ""
    try:
        return str(metadata.version(package))
    except Exception:  # PackageNotFoundError; and what is damaged is not installed either
        return ""


def _libzmq() -> Tuple[str, bool]:
    """Its version ("": pyzmq cannot be imported), and whether it was built with keys."""
    try:
        import zmq

        return str(zmq.zmq_version()), bool(zmq.has("curve"))
    except Exception:  # not there, or its library does not fit this machine
        return "", False


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _file_limits() -> Tuple[int, int]:
    """How many files a process may have open, soft and hard; -1: without limit, or not known."""
    try:
        import resource
    except ImportError:
        return -1, -1
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(-1 if n == resource.RLIM_INFINITY else n for n in (soft, hard))  # type: ignore[return-value]


def _has_tmp() -> bool:
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


def _folder(name: str) -> Dict[str, Any]:
    """Whether files can be made in the folder, or where it would be made, and how many bytes are free there."""
    path = os.path.abspath(os.path.expanduser(name))
    found: Dict[str, Any] = {"path": _text(path), "why": "", "free_bytes": -1}
    there = path
    while not os.path.isdir(there) and there != os.path.dirname(there):
        if os.path.lexists(there):
            found["why"] = _text("%s is no folder" % there)
            return found
        there = os.path.dirname(there)
    try:
        usage = os.statvfs(there)
        found["free_bytes"] = usage.f_bavail * usage.f_frsize
        with tempfile.TemporaryFile(dir=there) as file:  # it has no name, so nothing can be left of it
            file.write(b"x")
    except OSError as error:
        found["why"] = error.strerror or str(error)
    return found


def _ns(clock: str) -> int:
    exact = getattr(time, clock + "_ns", None)  # since Python 3.7
    return int(exact() if exact else getattr(time, clock)() * 1e9)


def _text(name: str) -> str:
    """`name` without bytes that are no text."""
    return name.encode("utf-8", "replace").decode("utf-8")


ANSWERS: Dict[str, Callable[..., Dict[str, Any]]] = {"facts": facts, "ping": ping, "back": back, "join": join}


def main() -> None:
    """Answer what stands on standard input."""
    sys.path[:] = [folder for folder in sys.path if folder]  # what lies about in the folder here is not installed
    for line in iter(sys.stdin.buffer.readline, b""):
        question = json.loads(line.decode("utf-8"))
        answer = ANSWERS[question.pop("ask")](**question)
        sys.stdout.write(MARK + json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
