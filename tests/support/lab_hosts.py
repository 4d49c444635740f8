"""Hosts that tests make for themselves: a desk, where the runner runs, and machines that it reaches over a network.

Belongs here: hosts, their network, sshd and clocks, and that nothing of them stays. Knows nothing of the product.

A host is a process, the first of a process namespace, with a network, a mount and a host name namespace of its own. So
it has its own pids, boot id, /etc/hosts, home, /run, /tmp and port 22; a process on it can neither see nor signal one
on another host. The networks meet in a bridge in one more namespace and touch no other network: labs stand side by side
with the same addresses. Nothing has a name that could be left over. When a first process ends, the kernel kills all
others of its host and drops what was mounted, and it ends when the lab is closed or the process that made the lab has
died, however that came about. What is left then is a folder, which the next lab sweeps up.

To look around on a host while a test stands still: `nsenter --target PID --all`, with `host.pid`.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from tests.support.scenarios import PATIENCE_S, poll

DESK: Final = "desk"
NETWORK: Final = "10.201.0"
PROJECT: Final = Path(__file__).resolve().parents[2]
ROOT: Final = pwd.getpwuid(0)
HOME: Final = Path(ROOT.pw_dir).resolve()
"""Here OpenSSH looks for a user's files, whatever $HOME says; so every host has a folder of its own mounted there."""
HIDDEN: Final = (HOME, Path("/run"), Path("/tmp"))
"""What every host has for itself; but the desk shares the test's temporary files."""
INSTALLED: Final = {PROJECT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
"""What every host has at the same place: the project and its Python."""
SSHD: Final = "/usr/sbin/sshd"
NEEDED: Final = ("ip", "mount", "nsenter", "unshare", SSHD, "ssh", "ssh-keygen")

_FIRST: Final = shlex.split(
    "unshare --net --mount --uts --pid --fork --kill-child --propagation private --mount-proc sh -ec"
)
_STAY: Final = "echo ready; exec env --ignore-signal=CHLD cat"
"""Until its standard input ends. A first process that ignores SIGCHLD keeps no zombies of the orphans that it gets."""
_FOLDER: Final = "circuit-lab-"
_CLONE: Final = {"net": 0x40000000, "pid": 0x20000000}
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

SSHD_CONFIG: Final = """\
HostKey /etc/ssh/key
KexAlgorithms curve25519-sha256
AuthorizedKeysFile {home}/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxSessions 100
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv {environment}
"""


@functools.cache
def why_not() -> str | None:
    """What this machine lacks for a lab; None when it lacks nothing."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a lab of hosts needs Linux and root"
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        return f"a lab of hosts needs iproute2, openssh-server and openssh-client: no {', '.join(missing)}"
    if any(place in INSTALLED for place in HIDDEN):
        return f"a lab of hosts hides {', '.join(map(str, HIDDEN))}: the project may be in one of them, but not be it"
    try:
        for space in _CLONE:
            with _entered(os.getpid(), space):
                pass
    except OSError as error:
        return f"a lab of hosts needs a root that may enter namespaces: {error.strerror}"
    attempt = "ip link add type bridge; ip link add type veth; mount --bind /etc /tmp; cat /etc/shadow >/dev/null"
    tried = subprocess.run([*_FIRST, attempt], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return f"a lab of hosts needs namespaces, veth and bridge: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class HostClock:
    """The monotonic clock of a host, and the truth about it: at the real moment `origin_ns` it is `offset_ns` ahead,
    and `ppm` microseconds more with every second since."""

    offset_ns: int = 0
    ppm: int = 0
    origin_ns: int = field(default_factory=time.monotonic_ns)

    def shows(self, real_ns: int) -> int:
        """What it shows at a real moment, to the nanosecond."""
        return real_ns + self.offset_ns + (real_ns - self.origin_ns) * self.ppm // 1_000_000

    def real(self, shown_ns: int) -> int:
        """The first real moment at which it shows this or more."""
        since_ns = shown_ns - self.offset_ns - self.origin_ns
        return self.origin_ns - (-since_ns * 1_000_000 // (1_000_000 + self.ppm))

    @property
    def environment(self) -> dict[str, str]:
        """What gives a Python process this clock; nothing where it is the real one."""
        if not self.offset_ns and not self.ppm:
            return {}
        return {
            "PYTHONPATH": str(PROJECT / "tests" / "support" / "lab_clock"),
            "LAB_CLOCK_OFFSET_NS": str(self.offset_ns),
            "LAB_CLOCK_PPM": str(self.ppm),
            "LAB_CLOCK_ORIGIN_NS": str(self.origin_ns),
        }


class Host:
    """One machine of a lab. `pid` is its first process as the test sees it."""

    def __init__(self, lab: "Lab", name: str, address: str, clock: HostClock) -> None:
        self.name = name
        self.address = address
        self.clock = clock
        self.boot_id = str(uuid.uuid4())
        self.pid = 0
        self._lab = lab
        self._folder = lab.folder / name
        self._started: list[subprocess.Popen[str]] = []
        self._first: subprocess.Popen[str] | None = None
        self._sshd: subprocess.Popen[str] | None = None

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        timeout: float = PATIENCE_S,
    ) -> "subprocess.CompletedProcess[str]":
        """A command on this host, to its end. It begins in the host's home, or in `cwd` as the host sees it; `env` is
        added to its environment."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        with self._spawn(argv, cwd, env, stdin, subprocess.PIPE, subprocess.PIPE) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        stderr: int | IO[Any] | None = None,
    ) -> "subprocess.Popen[str]":
        """A command on this host, still running, in a session of its own. Its pid is that of the command itself as the
        test sees it, to be signalled and waited for; what the test does not end and close, the lab does."""
        process = self._spawn(argv, cwd, env, stdin, stdout, stderr)
        self._started.append(process)
        return process

    def processes(self) -> dict[int, str]:
        """What lives on this host, without its first process and zombies: pid as the test sees it -> command line."""
        space, found = os.stat(f"/proc/{self.pid}/ns/pid").st_ino, {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(process.name) != self.pid and (process / "ns" / "pid").stat().st_ino == space:
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ").strip()
        return {pid: line for pid, line in found.items() if line}  # a zombie has none

    def left(self) -> list[str]:
        """What is on this host and was not there at first: processes, but for its sshd, and files in /tmp and
        $XDG_RUNTIME_DIR."""
        sshd = self._sshd.pid if self._sshd else 0
        places = [self._folder / "tmp", self._folder / "run" / "user"]
        files = [str(path) for place in places for path in place.rglob("*") if not path.is_dir()]
        return [*(line for pid, line in self.processes().items() if pid != sshd), *files]

    def kill_everything(self) -> None:
        """SIGKILL to every process on this host at once, its sshd included; the host and its files stay."""
        self.run(["sh", "-c", "kill -KILL -1"])
        assert poll(lambda: not self.processes()), f"still on {self.name}: {self.processes()}"

    def link_down(self) -> None:
        """Pulls the cable at the switch: no host is informed, and what is sent is gone."""
        self._lab.at_the_switch(f"link set {self.name} down")

    def link_up(self) -> None:
        """Puts the cable back."""
        self._lab.at_the_switch(f"link set {self.name} up")

    def connect(self, other: "Host", port: int, timeout: float = 1.0) -> socket.socket:
        """A TCP connection from this host to another, in the hands of the test."""
        with _entered(self.pid, "net"):
            return socket.create_connection((other.address, port), timeout)

    def reaches(self, other: "Host", port: int = 22, timeout: float = 1.0) -> bool:
        """Whether a TCP connection to another host comes about in time."""
        try:
            self.connect(other, port, timeout).close()
        except OSError:
            return False
        return True

    def path(self, path: str | Path) -> Path:
        """Where the test finds what is at an absolute path of this host."""
        return Path(f"/proc/{self.pid}/root{path}")

    @property
    def environment(self) -> dict[str, str]:
        """What commands of `run` and `start` find in their environment: the test's, as it would be on this host."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("CIRCUIT_", "XDG_", "SSH_"))}
        return ours | {"HOME": str(HOME)} | self._session

    def start_sshd(self) -> None:
        """Starts its sshd, and waits until that listens."""
        with (self._folder / "sshd.log").open("w") as log:
            self._sshd = sshd = self.start([SSHD, "-D", "-e"], stdout=None, stderr=log)
        assert poll(lambda: "listening" in self.sshd_log or sshd.poll() is not None), f"no sshd: {self.sshd_log}"
        assert sshd.poll() is None, f"no sshd: {self.sshd_log}"

    @property
    def sshd_log(self) -> str:
        """What its sshd has said since it was started last."""
        return (self._folder / "sshd.log").read_text()

    # --- how a host comes and goes, for its lab

    def begin(self) -> None:
        """Starts its first process."""
        furnish = [f"echo {self.name} > /proc/sys/kernel/hostname", *map(shlex.join, self._mounts())]
        self._first = subprocess.Popen(
            [*_FIRST, "\n".join([*furnish, _STAY])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def joins(self, switch: int) -> None:
        """Waits for its first process, and plugs its cable into the switch."""
        assert self._first is not None
        _hear_ready(self._first)
        self.pid = int(Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text())
        _ip(switch, f"link add {self.name} type veth peer name eth0 netns {self.pid}")
        _ip(switch, f"link set {self.name} master switch up")
        _ip(self.pid, "link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up")

    def end(self) -> None:
        """Kills everything on it, its first process too. Twice is harmless."""
        if self._first is None:
            return
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        for process in self._started:  # the first process does not end before those that only we can reap are reaped
            process.wait(PATIENCE_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        _end(self._first)
        self._first = None

    @property
    def _session(self) -> dict[str, str]:
        """What any session on this host has in its environment, one over ssh too."""
        temporary = self._folder / "tmp" if self.name == DESK else "/tmp"
        ours = {"XDG_RUNTIME_DIR": f"/run/user/{ROOT.pw_uid}", "TMPDIR": str(temporary)}
        return ours | self.clock.environment

    def _mounts(self) -> Iterator[list[str]]:
        """The commands that make it a machine of its own; what they need is written here."""
        (self._folder / "ssh" / "sshd_config").write_text(
            SSHD_CONFIG.format(home=HOME, environment=" ".join(f'"{k}={v}"' for k, v in self._session.items()))
        )
        yield ["mount", "--bind", str(self._folder / "ssh"), "/etc/ssh"]
        for target, text in {
            "/proc/sys/kernel/random/boot_id": f"{self.boot_id}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{self._lab.names}",
            "/etc/shadow": f"{ROOT.pw_name}:*:1::::::\n",  # sshd turns away a user whose account is locked
        }.items():
            source = self._folder / Path(target).name
            source.write_text(text)
            yield ["mount", "--bind", str(source), target]
        # The desk has the files of the test; the other hosts have none of them.
        kept = INSTALLED | ({Path(tempfile.gettempdir()).resolve()} if self.name == DESK else set())
        for place in sorted(self._hidden(), key=self._folder.is_relative_to):  # last the one that hides our own folder
            source = self._folder / (place.name if place in HIDDEN else "tmp")
            for path in kept:
                if path.is_relative_to(place) and not any(path.is_relative_to(other) for other in kept - {path}):
                    (source / path.relative_to(place)).mkdir(parents=True, exist_ok=True)
                    yield ["mount", "--rbind", str(path), str(source / path.relative_to(place))]
            yield ["mount", "--rbind", str(source), str(place)]

    def _hidden(self) -> list[Path]:
        """Places of the machine that it has otherwise."""
        if self.name == DESK:
            return [place for place in HIDDEN if place != Path("/tmp")]
        ours = Path(tempfile.gettempdir()).resolve()
        return [*HIDDEN, *([] if any(map(ours.is_relative_to, HIDDEN)) else [ours])]

    def _spawn(
        self,
        argv: Sequence[str | Path],
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        stdin: int | IO[Any] | None,
        stdout: int | IO[Any] | None,
        stderr: int | IO[Any] | None,
    ) -> "subprocess.Popen[str]":
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--", "env", f"--chdir={cwd or HOME}"]
        with _entered(self.pid, "pid"):  # by us: nsenter could only have a child in it, and would stand in between
            return subprocess.Popen(
                [*enter, *argv],
                env=self.environment | dict(env or {}),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                errors="replace",
                start_new_session=True,
            )


class Lab:
    """A desk and the hosts named, which know each other by name; from the desk, ssh to any of them asks no questions.

    `clocks` are those of hosts whose clock is not the real one. `folder` holds what the hosts have for themselves,
    `switch` is the process that holds the bridge.
    """

    def __init__(self, *names: str, clocks: Mapping[str, HostClock] | None = None) -> None:
        sweep()
        with ExitStack() as undo:
            self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")).resolve()
            undo.callback(shutil.rmtree, self.folder)
            undo.callback(os.close, _hold(self.folder))
            self.hosts = [
                Host(self, name, f"{NETWORK}.{number}", (clocks or {}).get(name) or HostClock())
                for number, name in enumerate((DESK, *names), 1)
            ]
            self._write_keys()
            self.switch = subprocess.Popen(
                ["unshare", "--net", "sh", "-ec", _STAY],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            undo.callback(_end, self.switch)
            for host in self.hosts:
                undo.callback(host.end)
                host.begin()
            _hear_ready(self.switch)
            self.at_the_switch("link add switch type bridge", "link set switch up")
            for host in self.hosts:
                host.joins(self.switch.pid)
            for host in self.hosts[1:]:
                host.start_sshd()
            self._undo = undo.pop_all()

    def host(self, name: str) -> Host:
        """The host of that name."""
        (found,) = (host for host in self.hosts if host.name == name)
        return found

    @property
    def desk(self) -> Host:
        """Where the runner runs. It sees the files of the test at their places, and has no sshd."""
        return self.hosts[0]

    @property
    def names(self) -> str:
        """The hosts' names as a file of hosts has them."""
        return "".join(f"{host.address} {host.name}\n" for host in self.hosts)

    def at_the_switch(self, *commands: str) -> None:
        """`ip` commands where the cables meet; a host's port there has the host's name."""
        _ip(self.switch.pid, *commands)

    def close(self) -> None:
        """Ends every process of every host and removes whatever there was. Twice is harmless."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()

    def _write_keys(self) -> None:
        """A key for every sshd, one for the user at the desk, and who knows which."""
        for host in self.hosts:
            for place in ("ssh", "run/sshd", f"run/user/{ROOT.pw_uid}", "tmp", f"{HOME.name}/.ssh"):
                (self.folder / host.name / place).mkdir(mode=0o700, parents=True)
            (self.folder / host.name / "tmp").chmod(0o1777)
            _make_key(self.folder / host.name / "ssh" / "key")
        user = self.folder / DESK / HOME.name / ".ssh"
        mine = _make_key(user / "id_ed25519")
        for host in self.hosts[1:]:
            (self.folder / host.name / HOME.name / ".ssh" / "authorized_keys").write_text(mine)
            key = (self.folder / host.name / "ssh" / "key.pub").read_text()
            with (user / "known_hosts").open("a") as known:
                known.write(f"{host.name},{host.address} {key}")


def sweep() -> None:
    """Removes the folders of labs whose makers were killed; the kernel has removed all else."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        maker = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if not Path(f"/proc/{maker}").exists():  # nor a process that inherited the lab, or lives where pids are others
            with contextlib.suppress(OSError):
                fd = _hold(folder)
                try:
                    shutil.rmtree(folder)
                finally:
                    os.close(fd)


def _hold(folder: Path) -> int:
    """A descriptor that says: this folder is in use. OSError if another process says so."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _make_key(path: Path) -> str:
    """A pair of keys; the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def _hear_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "ready\n":
        raise AssertionError(f"a host did not begin: {line}{process.stdout.read()}")


def _ip(pid: int, *commands: str) -> None:
    """`ip` commands in the network namespace of a process."""
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"],
        input="\n".join(commands),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{commands}: {done.stdout}"


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends the process that holds a namespace, if it has not ended, and closes its pipes."""
    process.kill()
    process.wait(PATIENCE_S)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@contextmanager
def _entered(pid: int, space: str) -> Iterator[None]:
    """This thread in a namespace of another process: sockets that it makes, or processes that it starts, are there."""
    own = os.open(f"/proc/thread-self/ns/{space}", os.O_RDONLY)
    try:
        there = os.open(f"/proc/{pid}/ns/{space}", os.O_RDONLY)
        try:
            _set_namespace(there, space)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _set_namespace(own, space)
    finally:
        os.close(own)


def _set_namespace(fd: int, space: str) -> None:
    if _LIBC.setns(fd, _CLONE[space]):
        raise OSError(ctypes.get_errno(), f"may not enter a {space} namespace")
