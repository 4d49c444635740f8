"""Is a machine fit? What it answered -> one finding for each thing looked at, each problem with its remedy.

Belongs here: every limit and every remedy. Values in, values out: must not know ssh, sockets or the time.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from probe.handshake import FAILED_NO_DETAIL, SUCCEEDED, Handshakes
from probe.keys import Keys
from runner.core.doctor.facts import (
    CallbackAttempt,
    Exchange,
    Facts,
    Failure,
    FolderFacts,
    Join,
    Joined,
    Machine,
    MachineAnswers,
    Silence,
    WayBack,
)
from runner.core.doctor.refusal import refusal
from runner.model.checkup import Checkup, Examined, Level
from runner.model.duration import span

WALL_NS: Final = 1_000_000_000
"""A wall clock that is further off is worth a note: names of runs have its time."""
RATE: Final = 1e-3
"""A monotonic clock that goes so much too fast or too slow is broken; quartz is off by a ten-thousandth at most."""
FEW_FILES: Final = 1024
"""A process that is a broker for several hundred units needs more, a unit a dozen."""
TOO_FEW_FILES: Final = 64
LITTLE_BYTES: Final = 1 << 30
"""Four units that fill their journals."""
TOO_LITTLE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions there should be."""

    circuit_run: str
    """The release that is here; "": not known."""
    python: str
    """As a package says it: ">=3.11"."""
    packages: Mapping[str, str]
    """Name -> the oldest version that will do."""


def judge(
    target: Machine, answers: MachineAnswers | Silence, wanted: Wanted, join: Join | None = None, boot_id: str = ""
) -> Examined:
    """The findings about `target`. `boot_id` is that of this machine."""
    if isinstance(answers, Silence):
        refused = refusal(target, answers)
        reached = refused.name != "reachable" and target.ssh is not None
        return Examined(
            target.name, (Checkup("reachable", Level.OK, str(target.ssh)), refused) if reached else (refused,)
        )
    facts = answers.facts
    checks: list[Checkup] = []
    if target.ssh is not None:
        checks.append(Checkup("reachable", Level.OK, f"{target.ssh} in {span(answers.took_ns)}"))
    checks += _programs(target, facts, wanted)
    if answers.exchanges:
        checks.append(_clock(target, answers.exchanges, same=bool(boot_id) and facts.boot_id == boot_id))
    checks.append(_files(facts))
    checks += _disks(facts.work, facts.tmp)
    if answers.callback is not None:
        checks.append(_way_back(answers.callback, answers.back))
    if join is not None and answers.joined is not None:
        checks += _joining(join, answers.joined)
    return Examined(target.name, tuple(checks))


def not_from_here(name: str, command: str) -> Examined:
    """The finding about a host that this machine cannot log in to."""
    found = "an agent speaks for it, and no ssh is named, so it cannot be looked at from here"
    check = Checkup("reachable", Level.NOTE, found, "on that machine:", command)
    return Examined(name, (check,), looked=False)


# --- programs ---


def _programs(target: Machine, facts: Facts, wanted: Wanted) -> Iterator[Checkup]:
    version = ".".join(map(str, facts.python))
    oldest = re.search(r">=\s*([\d.]+)", wanted.python)
    if oldest and facts.python < _numbers(oldest[1]):
        remedy = f"install Python {oldest[1]} or newer, and name it: --python python{oldest[1]}"
        yield Checkup("python", Level.PROBLEM, f"{version} {facts.executable}, too old", remedy)
        return  # what is installed for this one says nothing about the other
    yield Checkup("python", Level.OK, f"{version} {facts.executable}")
    ours, theirs = wanted.circuit_run, facts.packages.get("circuit-run", "")
    release = f"circuit-run=={ours}" if ours else "circuit-run"
    if not theirs:
        found = "not installed for this Python"
        named = "--python" if target.ssh is None else "--python, or hosts.NAME.python in the scenario"
        yield _install(
            "circuit-run", found, f"install it, or name the Python that has it ({named}):", target, facts, release
        )
    elif ours and theirs != ours:
        yield _install("circuit-run", f"{theirs}, here {ours}", "install the same release:", target, facts, release)
    else:
        yield Checkup("circuit-run", Level.OK, theirs)
    if theirs:
        yield _bus(target, facts, wanted)


def _bus(target: Machine, facts: Facts, wanted: Wanted) -> Checkup:
    """What speaks on the bus."""
    for name, oldest in wanted.packages.items():
        if name not in facts.packages:
            continue
        have = facts.packages[name]
        if not have or _numbers(have) < _numbers(oldest):
            found = f"{name} {have}, and {oldest} is the oldest that will do" if have else f"{name} is not installed"
            return _install("bus", found, "install it:", target, facts, f"{name}>={oldest}")
    pyzmq = facts.packages.get("pyzmq", "")
    if not facts.libzmq:
        found = f"pyzmq {pyzmq} is there and cannot be imported"
        return _install("bus", found, "install it anew:", target, facts, "pyzmq", "--force-reinstall")
    if not facts.curve:
        found = f"libzmq {facts.libzmq} was built without CurveZMQ, so it has no use for keys"
        return _install("bus", found, "install the wheel, which has it:", target, facts, "pyzmq", "--force-reinstall")
    msgpack = facts.packages.get("msgpack", "")
    return Checkup("bus", Level.OK, f"pyzmq {pyzmq} with libzmq {facts.libzmq}, msgpack {msgpack}")


def _install(name: str, found: str, remedy: str, target: Machine, facts: Facts, what: str, *options: str) -> Checkup:
    words = [facts.executable or "python3", "-m", "pip", "install", *options, what]
    return Checkup(name, Level.PROBLEM, found, remedy, _typed(target, *words))


def _typed(target: Machine, *words: str) -> str:
    """What to type here, so that `target` does it."""
    typed = shlex.join(words)
    if target.ssh is None:
        return typed
    terminal = ["-t"] if words[0] == "sudo" else []  # it may ask for a password
    return f"{shlex.join(['ssh', *terminal, target.ssh])} {_as_one_word(typed, words)}"


def _as_one_word(typed: str, words: Sequence[str]) -> str:
    """`typed` as an argument, with as few quotes as it takes."""
    if typed == " ".join(words):
        return typed
    return shlex.quote(typed) if re.search(r'["$`\\!]', typed) else f'"{typed}"'


def _numbers(version: str) -> tuple[int, ...]:
    """ "1.2.4rc1" -> (1, 2, 4): enough to say which of two comes first."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[^\d.]", version, maxsplit=1)[0]))


# --- clocks ---


def _clock(target: Machine, exchanges: Sequence[Exchange], *, same: bool) -> Checkup:
    best = min(exchanges, key=lambda exchange: exchange.round_trip_ns)
    if wrong := _rate(exchanges[0], exchanges[-1]):
        remedy = "it cannot be put on one timeline with the others; a virtual machine may need another clock source"
        return Checkup("clock", Level.PROBLEM, wrong, remedy)
    error_ns = (best.round_trip_ns + 1) // 2
    offset_ns = best.there.wall_ns - (best.sent.wall_ns + best.received.wall_ns) // 2
    found = f"wall clock {_signed(offset_ns)} ± {span(error_ns)} of ours"
    if same:
        return Checkup("clock", Level.OK, f"{found}; it is the same machine")
    if abs(offset_ns) - error_ns > WALL_NS:
        return Checkup(
            "clock",
            Level.NOTE,
            found,
            "verdicts do not depend on it, names of runs do; let NTP set it:",
            _typed(target, "sudo", "timedatectl", "set-ntp", "true"),
        )
    return Checkup("clock", Level.OK, found)


def _rate(first: Exchange, last: Exchange) -> str:
    """What is wrong with how fast its monotonic clock goes, by more than the round trips can explain; "" if nothing."""
    here_ns = last.sent.monotonic_ns - first.sent.monotonic_ns
    there_ns = last.there.monotonic_ns - first.there.monotonic_ns
    error_ns = first.round_trip_ns + last.round_trip_ns
    if there_ns < 0:
        return "its monotonic clock goes backwards"
    if abs(there_ns - here_ns) - error_ns > RATE * max(here_ns, 1):
        return f"its monotonic clock made {span(there_ns)} of {span(here_ns)} here"
    return ""


def _signed(ns: int) -> str:
    return f"+{span(ns)}" if ns >= 0 else f"-{span(-ns)}"


# --- files and disks ---


def _files(facts: Facts) -> Checkup:
    soft, hard = facts.files_soft, facts.files_hard
    if soft < 0:
        return Checkup("files", Level.OK, "as many open files as are wanted")
    found = f"{soft:,} open files for each process"
    if soft >= FEW_FILES:
        return Checkup("files", Level.OK, found)
    enough = 4 * FEW_FILES if hard < 0 else min(4 * FEW_FILES, hard)
    remedy = "raise it where units are started, in the shell or the service (LimitNOFILE):"
    if 0 <= hard < FEW_FILES:
        found += f", and {hard:,} at most"
        remedy = "raise it in /etc/security/limits.conf (nofile), or in the service (LimitNOFILE)"
    level = Level.PROBLEM if soft < TOO_FEW_FILES else Level.NOTE
    return Checkup("files", level, found, remedy, "" if 0 <= hard < FEW_FILES else f"ulimit -n {enough}")


def _disks(work: FolderFacts, tmp: FolderFacts) -> Iterator[Checkup]:
    yield _disk("disk", work, "XDG_STATE_HOME")
    yield _disk("tmp", tmp, "TMPDIR")


def _disk(name: str, folder: FolderFacts, variable: str) -> Checkup:
    if folder.why:
        remedy = f"make it writable for this user, or name another folder in {variable}"
        found = f"no file can be made in {folder.path}: {folder.why}" if folder.path else folder.why
        return Checkup(name, Level.PROBLEM, found, remedy)
    if folder.free_bytes < 0:
        return Checkup(name, Level.OK, f"can be written: {folder.path}")
    found = f"{size(folder.free_bytes)} free for {folder.path}"
    if folder.free_bytes >= LITTLE_BYTES:
        return Checkup(name, Level.OK, found)
    remedy = f"make room, or name a folder on another disk in {variable}: a unit may keep 256 MiB in its journal"
    level = Level.PROBLEM if folder.free_bytes < TOO_LITTLE_BYTES else Level.NOTE
    return Checkup(name, level, found, remedy)


def size(number: int) -> str:
    """Bytes as people read them: "12.3 GiB", "640 MiB"."""
    if number >= 10 << 30:
        return f"{number >> 30:,} GiB"
    return f"{number / (1 << 30):.1f} GiB" if number >= 1 << 30 else f"{number >> 20} MiB"


# --- the way back, and in ---


def _way_back(callback: CallbackAttempt, back: WayBack | None) -> Checkup:
    """Whether the host gets to a port of this machine, as it has to where the broker is here."""
    listen = "name an address of this machine that it can reach, and a port that firewalls let through:"
    again = "--listen tcp://HOST:PORT"
    if back is None:
        why = f"; {callback.why}, which is no address of this machine" if callback.why else ""
        return Checkup("ports", Level.PROBLEM, f"not known where it could reach this machine{why}", listen, again)
    if back.reached and callback.came:
        return Checkup("ports", Level.OK, f"it reaches this machine at {back.reached}")
    if back.reached:
        found = f"something else answers it at {back.reached}, port {callback.port}"
        return Checkup("ports", Level.PROBLEM, found, f"that is not this machine for it; {listen}", again)
    tried = "; ".join(
        f"{address}, port {callback.port}: {failure.text}"
        for address, failure in zip(callback.addresses, back.failures, strict=False)
    )
    remedy = f"does a firewall stand between them? Let the port of the broker through, or {listen}"
    return Checkup("ports", Level.PROBLEM, f"it does not reach this machine ({tried})", remedy, again)


def _joining(join: Join, joined: Joined) -> Iterator[Checkup]:
    if joined.keys_why:
        found, remedy = _remedy_apart(joined.keys_why)
        yield Checkup("keys", Level.PROBLEM, found, remedy)
        return
    if joined.key:
        yield Checkup("keys", Level.OK, f"the key {joined.key!r} in {join.keys_place}")
    elif join.keys and not joined.bus:
        yield Checkup("keys", Level.NOTE, f"{join.keys_place} was not read", "install circuit-run first")
    if join.host:
        yield _broker(join, joined)


def _broker(join: Join, joined: Joined) -> Checkup:
    place = join.endpoint
    ours = Keys(joined.key, "", "", "") if joined.key else None
    handshakes = Handshakes(ours)
    for event, value in joined.events:
        if why := handshakes.judge(event, value):
            found, remedy = _remedy_apart(why.replace("CIRCUIT_BROKER", "--join").replace("CIRCUIT_KEYS", "--keys"))
            return Checkup("broker", Level.PROBLEM, f"{place} does not let it in: {found}", remedy)
        if event == SUCCEEDED:
            how = f"lets it in with the key {joined.key!r}" if joined.key else "lets it in, as it lets in every peer"
            return Checkup("broker", Level.OK, f"{place} {how}")
    if joined.tcp is not None and joined.tcp.code:
        return _no_connection(place, joined.tcp)
    if not joined.bus:
        found = f"{place} can be reached; whether it lets this machine in was not tried"
        return Checkup("broker", Level.NOTE, found, "install circuit-run first")
    if any(event == FAILED_NO_DETAIL for event, _ in joined.events):
        found = f"{place} hangs up at once, as does a broker that lets in only who has a key, or what is no broker"
        return Checkup("broker", Level.PROBLEM, found, "name a key of that broker with --keys, or look at the port")
    found = f"something listens at {place} and does not speak as a broker does"
    return Checkup("broker", Level.PROBLEM, found, "look at the port; a broker is started with:", _start(place))


def _no_connection(place: str, failure: Failure) -> Checkup:
    found = f"no connection to {place}: {failure.text}"
    if failure.code == "ECONNREFUSED":
        return Checkup(
            "broker",
            Level.PROBLEM,
            found,
            "nothing listens there now; start a run with --listen, or start the broker:",
            _start(place),
        )
    if failure.code == "ENAME":
        remedy = "that machine does not know the name: say its address, or enter it in /etc/hosts there"
        return Checkup("broker", Level.PROBLEM, found, remedy)
    remedy = "is the address right, and does a firewall between them let the port through?"
    return Checkup("broker", Level.PROBLEM, found, remedy)


def _start(place: str) -> str:
    return f"circuit-run broker --listen {place} --keys .circuit/keys"


def _remedy_apart(sentence: str) -> tuple[str, str]:
    """A sentence of `probe.keys` or `probe.handshake` in two: what is wrong, and what to do about it."""
    found, chmod, file = sentence.partition(": chmod ")
    if chmod:
        return found, f"let no other user read it: chmod {file}"
    found, _, remedy = sentence.partition("; ")
    return found, remedy or "have a new one made where the broker's keyring is: circuit-run keys new NAME"
