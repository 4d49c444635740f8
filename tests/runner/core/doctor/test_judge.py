"""What is made of the answers of a machine: every problem is found, named, and comes with its remedy."""

import ast
import inspect
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from probe import handshake
from runner.adapters.doctor import examine
from runner.core.doctor.facts import (
    CallbackAttempt,
    ClockFacts,
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
from runner.core.doctor.judge import Wanted, judge, not_from_here, size
from runner.model.checkup import Checkup, Examined, Level, as_json

LAB = Machine("lab-2", "user@lab-2", "python3")
HERE = Machine("this machine", None, "python3")
WANTED = Wanted("0.1.0", ">=3.11", {"pyzmq": "26", "msgpack": "1.1", "rich": "14"})
ROOMY = FolderFacts("/home/user/.local/state", "", 80 << 30)
FIT = Facts(
    python=(3, 12, 1),
    executable="/usr/bin/python3",
    packages={"circuit-run": "0.1.0", "pyzmq": "27.3.0", "msgpack": "1.2.4"},
    libzmq="4.3.5",
    curve=True,
    boot_id="b-2",
    files_soft=4096,
    files_hard=-1,
    work=ROOMY,
    tmp=ROOMY,
    seen_at="10.0.0.1",
)
CALLBACK = CallbackAttempt(("10.0.0.1",), 5000, came=True)
BACK = WayBack("10.0.0.1", ())
JOIN = Join("10.0.0.1", 5000, "lab-2.keys")
MS = 1_000_000


def exchanges(offset_ns: int = 0, rate: float = 1.0, round_trip_ns: int = 2 * MS) -> tuple[Exchange, ...]:
    """Twenty, one every 50 ms; the first took longest. Its wall clock is ahead by `offset_ns`."""
    found = []
    for number in range(20):
        at_ns, takes_ns = number * 50 * MS, round_trip_ns if number else 3 * round_trip_ns
        there = ClockFacts(int((at_ns + takes_ns // 2) * rate) + 77, at_ns + takes_ns // 2 + offset_ns)
        found.append(Exchange(ClockFacts(at_ns, at_ns), there, ClockFacts(at_ns + takes_ns, at_ns + takes_ns)))
    return tuple(found)


def fit(**changes: Any) -> MachineAnswers:
    """The answers of a machine with which all is well, but for what is different in its facts."""
    return MachineAnswers(msgspec.structs.replace(FIT, **changes), 84 * MS, exchanges(), CALLBACK, BACK)


def the(machine: Examined, name: str) -> Checkup:
    (check,) = (check for check in machine.checks if check.name == name)
    return check


def wrong(machine: Examined) -> list[tuple[str, Level]]:
    return [(check.name, check.level) for check in machine.checks if check.level is not Level.OK]


def test_a_machine_with_which_all_is_well_is_fit_and_says_what_was_seen() -> None:
    machine = judge(LAB, fit(), WANTED)
    assert machine.fit
    assert wrong(machine) == []
    assert {check.name: check.found for check in machine.checks} == {
        "reachable": "user@lab-2 in 84 ms",
        "python": "3.12.1 /usr/bin/python3",
        "circuit-run": "0.1.0",
        "bus": "pyzmq 27.3.0 with libzmq 4.3.5, msgpack 1.2.4",
        "clock": "wall clock +0 ns ± 1 ms of ours",
        "files": "4,096 open files for each process",
        "disk": "80 GiB free for /home/user/.local/state",
        "tmp": "80 GiB free for /home/user/.local/state",
        "ports": "it reaches this machine at 10.0.0.1",
    }


PIP = "ssh user@lab-2 /usr/bin/python3 -m pip install"


@pytest.mark.parametrize(
    ("changes", "name", "level", "found", "remedy"),
    [
        ({"python": (3, 10, 9)}, "python", "problem", "3.10.9 /usr/bin/python3, too old", "--python python3.11"),
        (
            {"packages": {"circuit-run": "0.0.9", "pyzmq": "26.0", "msgpack": "1.1.0"}},
            "circuit-run",
            "problem",
            "0.0.9, here 0.1.0",
            f"install the same release: {PIP} circuit-run==0.1.0",
        ),
        (
            {"packages": {"circuit-run": "", "pyzmq": "", "msgpack": ""}},
            "circuit-run",
            "problem",
            "not installed for this Python",
            f"{PIP} circuit-run==0.1.0",
        ),
        (
            {"packages": FIT.packages | {"pyzmq": "25.1.2"}},
            "bus",
            "problem",
            "pyzmq 25.1.2, and 26 is the oldest that will do",
            "ssh user@lab-2 \"/usr/bin/python3 -m pip install 'pyzmq>=26'\"",
        ),
        ({"packages": FIT.packages | {"msgpack": ""}}, "bus", "problem", "msgpack is not installed", "msgpack>=1.1"),
        ({"libzmq": ""}, "bus", "problem", "cannot be imported", f"{PIP} --force-reinstall pyzmq"),
        ({"curve": False}, "bus", "problem", "libzmq 4.3.5 was built without CurveZMQ", "the wheel"),
        ({"files_soft": 256}, "files", "note", "256 open files for each process", "ulimit -n 4096"),
        (
            {"files_soft": 256, "files_hard": 512},
            "files",
            "note",
            "256 open files for each process, and 512 at most",
            "limits.conf",
        ),
        ({"files_soft": 32}, "files", "problem", "32 open files", "ulimit -n"),
        (
            {"work": FolderFacts("/state", "Read-only file system", 5)},
            "disk",
            "problem",
            "no file can be made in /state: Read-only file system",
            "another folder in XDG_STATE_HOME",
        ),
        ({"work": FolderFacts("/state", "", 640 << 20)}, "disk", "note", "640 MiB free for /state", "make room"),
        ({"tmp": FolderFacts("/tmp", "", 3 << 20)}, "tmp", "problem", "3 MiB free for /tmp", "TMPDIR"),
        (
            {"tmp": FolderFacts("", "there is no folder for it")},
            "tmp",
            "problem",
            "there is no folder for it",
            "TMPDIR",
        ),
    ],
)
def test_what_is_wrong_with_a_machine_is_one_finding_with_its_remedy(
    changes: dict[str, Any], name: str, level: str, found: str, remedy: str
) -> None:
    machine = judge(LAB, fit(**changes), WANTED)
    assert wrong(machine) == [(name, level)]
    check = the(machine, name)
    assert found in check.found
    assert remedy in f"{check.remedy} {check.command}"


def test_what_is_to_be_typed_for_this_machine_needs_no_ssh() -> None:
    answers = MachineAnswers(msgspec.structs.replace(FIT, packages={}), 1)
    assert the(judge(HERE, answers, WANTED), "circuit-run").command.startswith("/usr/bin/python3 -m pip")


def test_an_unknown_release_of_ours_is_no_problem_of_a_host() -> None:
    assert judge(LAB, fit(packages=FIT.packages | {"circuit-run": "7"}), Wanted("", ">=3.11", {})).fit


@pytest.mark.parametrize("offset_ns", [5_000 * MS, -5_000 * MS])
def test_a_wall_clock_that_is_far_off_is_a_note(offset_ns: int) -> None:
    machine = judge(LAB, replace(fit(), exchanges=exchanges(offset_ns)), WANTED)
    assert wrong(machine) == [("clock", Level.NOTE)]
    assert the(machine, "clock").found == f"wall clock {'+' if offset_ns > 0 else '-'}5 s ± 1 ms of ours"
    assert the(machine, "clock").command == "ssh -t user@lab-2 sudo timedatectl set-ntp true"


def test_a_wall_clock_is_no_note_for_what_the_round_trip_may_explain() -> None:
    assert judge(LAB, replace(fit(), exchanges=exchanges(1_500 * MS, round_trip_ns=1_200 * MS)), WANTED).notes == 0


@pytest.mark.parametrize("rate", [0.9, 1.1, -1.0])
def test_a_monotonic_clock_that_does_not_go_like_ours_is_a_problem(rate: float) -> None:
    machine = judge(LAB, replace(fit(), exchanges=exchanges(rate=rate)), WANTED)
    assert wrong(machine) == [("clock", Level.PROBLEM)]
    assert "monotonic clock" in the(machine, "clock").found


def test_a_clock_of_ordinary_quartz_is_well() -> None:
    assert judge(LAB, replace(fit(), exchanges=exchanges(rate=1.0002)), WANTED).fit


def test_two_names_of_one_machine_are_seen_by_its_boot() -> None:
    assert "the same machine" in the(judge(LAB, fit(), WANTED, boot_id="b-2"), "clock").found
    assert "the same machine" not in the(judge(LAB, fit(), WANTED, boot_id="b-1"), "clock").found


@pytest.mark.parametrize(
    ("callback", "back", "found", "remedy"),
    [
        (
            replace(CALLBACK, came=False),
            WayBack("", (Failure("ETIMEDOUT", "nothing came back within 5 s"),)),
            "it does not reach this machine (10.0.0.1, port 5000: nothing came back within 5 s)",
            "firewall",
        ),
        (replace(CALLBACK, came=False), BACK, "something else answers it at 10.0.0.1, port 5000", "not this machine"),
        (
            CallbackAttempt(why="the host sees it as 192.0.2.9"),
            None,
            "192.0.2.9, which is no address of this machine",
            "an address",
        ),
    ],
)
def test_a_host_that_does_not_reach_this_machine_is_a_problem(
    callback: CallbackAttempt, back: WayBack | None, found: str, remedy: str
) -> None:
    machine = judge(LAB, replace(fit(), callback=callback, back=back), WANTED)
    assert wrong(machine) == [("ports", Level.PROBLEM)]
    check = the(machine, "ports")
    assert found in check.found
    assert remedy in check.remedy
    assert check.command == "--listen tcp://HOST:PORT"


def joined(*events: tuple[int, int], key: str = "lab-2", tcp: Failure | None = None, **others: Any) -> MachineAnswers:
    found = Joined(key, others.get("keys_why", ""), events, others.get("bus", True), tcp)
    return replace(fit(), joined=found)


def test_a_broker_that_lets_the_machine_in_is_well() -> None:
    machine = judge(LAB, joined((handshake.SUCCEEDED, 0)), WANTED, JOIN)
    assert machine.fit
    assert the(machine, "keys").found == "the key 'lab-2' in lab-2.keys"
    assert the(machine, "broker").found == "tcp://10.0.0.1:5000 lets it in with the key 'lab-2'"


@pytest.mark.parametrize(
    ("answers", "name", "found", "remedy"),
    [
        (joined((handshake.FAILED_AUTH, 300)), "broker", "does not know the key 'lab-2'", "circuit-run keys new"),
        (
            joined((handshake.FAILED_PROTOCOL, handshake.MECHANISM_MISMATCH), key=""),
            "broker",
            "lets in only who has a key",
            "--keys",
        ),
        (
            joined((handshake.FAILED_PROTOCOL, handshake.MECHANISM_MISMATCH)),
            "broker",
            "it has no keys",
            "circuit-run broker --keys",
        ),
        (
            joined(*[(handshake.FAILED_NO_DETAIL, 0)] * 3),
            "broker",
            "not the broker that the key 'lab-2' was made for",
            "look at --join and --keys",
        ),
        (joined(*[(handshake.FAILED_NO_DETAIL, 0)] * 3, key=""), "broker", "hangs up at once", "with --keys"),
        (joined(tcp=Failure("ECONNREFUSED", "Connection refused")), "broker", "Connection refused", "start the broker"),
        (joined(tcp=Failure("ENAME", "unknown")), "broker", "unknown", "/etc/hosts"),
        (joined(tcp=Failure("ETIMEDOUT", "nothing")), "broker", "nothing", "firewall"),
        (joined(tcp=Failure("", "")), "broker", "does not speak as a broker does", "look at the port"),
        (joined(key="", keys_why="x can be read by others: chmod 600 x"), "keys", "x can be read", "chmod 600 x"),
        (joined(key="", keys_why="x has no name in it; make one"), "keys", "x has no name in it", "make one"),
    ],
)
def test_a_broker_or_key_of_no_use_is_one_problem_with_its_remedy(
    answers: MachineAnswers, name: str, found: str, remedy: str
) -> None:
    machine = judge(LAB, answers, WANTED, JOIN)
    assert wrong(machine) == [(name, Level.PROBLEM)]
    assert found in the(machine, name).found
    assert remedy in the(machine, name).remedy


def test_where_nothing_of_ours_is_installed_only_the_connection_is_judged() -> None:
    machine = judge(LAB, joined(key="", bus=False, tcp=Failure("", "")), WANTED, JOIN)
    assert wrong(machine) == [("keys", Level.NOTE), ("broker", Level.NOTE)]


@pytest.mark.parametrize(
    ("words", "found", "command"),
    [
        ("ssh: Could not resolve hostname lab-9: Name or service not known", "no host of that name", ""),
        ("ssh: connect to host lab-2 port 22: Connection refused", "nothing listens for ssh", "ssh -v user@lab-2 true"),
        ("ssh: connect to host lab-2 port 22: Connection timed out", "no connection came about in time", "ssh -v"),
        ("ssh: connect to host lab-2 port 22: No route to host", "there is no way to it", "ssh -v"),
        ("user@lab-2: Permission denied (publickey).", "does not let this user in", "ssh-copy-id user@lab-2"),
        ("No ED25519 host key is known for lab-2 and you have requested strict.\nHost key verification failed.",
         "host key is not known here yet", "ssh user@lab-2"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "another host key", "ssh-keygen -R lab-2"),
        ("ssh-keygen -f '/k' -R '[lab-2]:2222'\nHost key for lab-2 has changed and you have requested strict",
         "another host key", "ssh-keygen -f '/k' -R '[lab-2]:2222'"),
        ("kex_exchange_identification: Connection closed by remote host", "ended the connection before", "ssh -v"),
        ("Received disconnect: Too many authentication failures", "before the right key", "ssh -v"),
        ("/home/user/.ssh/config: line 3: Bad configuration option: hots", "its own configuration", ""),
        ("something never heard before", "ssh does not get in", "ssh -v user@lab-2 true"),
    ],
)  # fmt: skip
def test_what_ssh_itself_says_is_a_sentence_with_a_remedy_and_its_last_words(
    words: str, found: str, command: str
) -> None:
    lines = tuple(words.splitlines())
    machine = judge(LAB, Silence(255, lines), WANTED)
    assert wrong(machine) == [("reachable", Level.PROBLEM)]
    (check,) = machine.checks
    assert found in check.found
    assert check.remedy
    assert check.command.startswith(command)
    assert check.said == lines[-3:]


@pytest.mark.parametrize(
    ("silence", "found"),
    [
        (Silence(127, ("sh: python3: not found",)), "there is no python3 there"),
        (Silence(126, ()), "python3 is no program there"),
        (Silence(1, ("SyntaxError: invalid syntax",)), "older than Python 3.6"),
        (Silence(3, ("oh",)), "ended with code 3"),
        (Silence(None, ()), "says nothing"),
    ],
)
def test_a_python_that_does_not_answer_is_distinguished_from_a_host_that_does_not(silence: Silence, found: str) -> None:
    machine = judge(LAB, silence, WANTED)
    assert wrong(machine) == [("python", Level.PROBLEM)]
    assert the(machine, "reachable").level is Level.OK
    assert found in the(machine, "python").found
    assert "--python" in the(machine, "python").remedy
    assert [check.name for check in judge(HERE, silence, WANTED).checks] == ["python"]


@pytest.mark.parametrize(
    ("silence", "found", "remedy"),
    [
        (Silence(None, ("No such file",), missing="ssh"), "there is no ssh on this machine", "openssh-client"),
        (Silence(None, (), waited_s=30.0), "nothing came within 30 s", "by hand"),
        (Silence(255, ("broken pipe",), begun=True), "then nothing more came", "Try again"),
    ],
)
def test_a_machine_that_is_silent_in_another_way_is_a_problem_too(silence: Silence, found: str, remedy: str) -> None:
    (check,) = judge(LAB, silence, WANTED).checks
    assert (check.name, check.level) == ("reachable", Level.PROBLEM)
    assert found in check.found
    assert remedy in check.remedy


def test_a_host_that_only_an_agent_speaks_for_is_neither_fit_nor_unfit() -> None:
    machine = not_from_here("lab-3", "circuit-run doctor --join tcp://lab-1:5000 --keys FILE")
    assert (machine.fit, machine.problems, machine.looked) == (False, 0, False)
    (written,) = as_json([machine])["hosts"]  # type: ignore[misc]
    assert (written["examined"], written["fit"], written["checks"][0]["level"]) == (False, False, "note")


def test_every_problem_has_a_remedy() -> None:
    for words in ("", "x", "Permission denied"):
        for code in (255, 127, 1, None):
            assert all(
                check.remedy for check in judge(LAB, Silence(code, (words,)), WANTED).checks if check.level != "ok"
            )


@pytest.mark.parametrize(("number", "said"), [(3 << 20, "3 MiB"), (3 << 29, "1.5 GiB"), (80 << 30, "80 GiB")])
def test_bytes_are_said_in_units_of_their_size(number: int, said: str) -> None:
    assert size(number) == said


def test_the_script_that_travels_is_understood_by_an_old_python_and_stands_alone() -> None:
    source = inspect.getsource(examine)
    tree = ast.parse(source, feature_version=(3, 6))
    top = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert top == {"errno", "json", "os", "socket", "struct", "sys", "tempfile", "time", "typing"}
    builtins = {"dict", "list", "tuple", "set"}
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Subscript) and getattr(n.value, "id", "") in builtins]


def test_the_script_and_the_probe_mean_the_same_events() -> None:
    for name in ("SUCCEEDED", "FAILED_NO_DETAIL", "FAILED_PROTOCOL", "FAILED_AUTH", "PATIENCE"):
        assert getattr(examine, name) == getattr(handshake, name)
