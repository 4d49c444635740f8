"""The hosts that tests make are hosts, their clocks and networks are as wrong as ordered, and nothing of them stays."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from tests.support.lab_hosts import HOME, PROJECT, Host, HostClock, Lab, sweep
from tests.support.lab_proxy import Proxy
from tests.support.scenarios import PATIENCE_S, poll

pytestmark = pytest.mark.lab

WAIT = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
READ_CLOCK = """
from time import CLOCK_MONOTONIC, clock_gettime_ns, monotonic, monotonic_ns
print(clock_gettime_ns(CLOCK_MONOTONIC), monotonic_ns(), clock_gettime_ns(CLOCK_MONOTONIC), int(monotonic() * 1e9))
"""
ANSWER = """
import socketserver, time
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%d\\n" % time.monotonic_ns())
with socketserver.ThreadingTCPServer(("", 0), Answer) as server:
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# --- hosts


def test_hosts_reach_each_other_by_name(lab: Lab) -> None:
    for host in lab.hosts:
        assert host.run(["uname", "-n"]).stdout == f"{host.name}\n"
        for other in lab.hosts[1:]:
            assert host.run(["getent", "hosts", other.name]).stdout.split() == [other.address, other.name]
            assert host.reaches(other)


def test_ssh_from_the_desk_asks_nothing_and_finds_another_boot(lab: Lab) -> None:
    boots = [lab.desk.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout]
    for name in ("lab-1", "lab-2"):
        done = lab.desk.run(["ssh", name, "cat /proc/sys/kernel/random/boot_id"])
        assert (done.returncode, done.stderr) == (0, "")
        boots.append(done.stdout)
    assert boots == [f"{host.boot_id}\n" for host in lab.hosts]
    assert len({*boots, Path("/proc/sys/kernel/random/boot_id").read_text()}) == 4


def test_a_host_has_the_projects_python_but_neither_files_nor_processes_of_another(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "circuit.toml"
    file.write_text("[scenario]")
    sleep = lab.desk.start(["sleep", "1000"])
    one = lab.host("lab-1")
    assert lab.desk.run(["cat", file]).stdout == "[scenario]"
    assert one.run(["cat", file]).returncode == 1
    assert one.run([sys.executable, "-P", "-c", "import runner, sys; print(sys.prefix)"]).stdout == f"{sys.prefix}\n"
    assert sleep.pid in lab.desk.processes()
    assert "sleep" not in one.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout
    assert lab.desk.run(["scp", "-q", file, "lab-1:"]).returncode == 0
    assert one.path(HOME / file.name).read_text() == "[scenario]"
    assert not (HOME / file.name).exists()


def test_a_command_is_signalled_like_a_child_and_knows_where_it_is(lab: Lab) -> None:
    one = lab.host("lab-1")
    sleep = one.start(["sleep", "1000"])
    sleep.terminate()
    assert sleep.wait(PATIENCE_S) == -signal.SIGTERM
    assert one.run(["cat"], input="said").stdout == "said"
    assert one.run(["sh", "-c", "pwd; echo $MARK"], cwd="/usr", env={"MARK": "m"}).stdout == "/usr\nm\n"
    assert one.run(["sh", "-c", "echo oh >&2; exit 3"]).stderr == "oh\n"
    with pytest.raises(subprocess.TimeoutExpired):
        one.run(["sleep", "1000"], timeout=0.05)


def test_a_host_whose_link_is_down_is_out_of_reach_until_it_is_up_again(lab: Lab) -> None:
    one, two = lab.hosts[1:]
    assert lab.desk.reaches(one)
    with lab.desk.connect(one, 22, PATIENCE_S) as connection:
        assert connection.recv(4) == b"SSH-"
        one.link_down()
        assert not lab.desk.reaches(one, timeout=0.2)
        assert not one.reaches(two, timeout=0.2)
        assert lab.desk.reaches(two), "the others are not touched"
        connection.sendall(b"SSH-2.0-test\r\n")
        one.link_up()
        assert poll(lambda: lab.desk.reaches(one))
        assert len(connection.recv(4)) > 0, "a connection outlives it"


def test_what_was_left_on_a_host_is_reported(lab: Lab) -> None:
    one = lab.host("lab-1")
    assert [left for host in lab.hosts for left in host.left()] == []
    assert lab.desk.run(["ssh", "lab-1", "touch $TMPDIR/file $XDG_RUNTIME_DIR/other; sleep 1000 >/dev/null 2>&1 &"])
    names = ["sleep 1000", "file", "other"]  # once the process of the session has ended
    assert poll(lambda: [left.rpartition("/")[2] for left in one.left()] == names), one.left()


def test_everything_on_a_host_is_killed_and_the_host_stays(lab: Lab) -> None:
    one = lab.host("lab-1")
    one.start(["sh", "-c", f"setsid {sys.executable} -c {WAIT!r} & setsid sleep 1000 & wait"])
    assert poll(lambda: len(one.processes()) == 4)
    one.path("/tmp/kept").touch()
    one.kill_everything()
    assert one.processes() == {}
    assert lab.host("lab-2").processes() != {}
    assert not lab.desk.reaches(one)
    one.start_sshd()
    assert lab.desk.run(["ssh", "lab-1", "ls /tmp/kept"]).returncode == 0


# --- clocks


def test_a_shifted_clock_is_as_ordered_in_every_process_of_its_host() -> None:
    clock = HostClock(-5_000_000_000, 200, time.monotonic_ns() - 1_000_000_000_000)
    with Lab("lab-1", "lab-2", clocks={"lab-1": clock}) as lab:
        here = lab.host("lab-1").run([sys.executable, "-P", "-c", READ_CLOCK])
        over_ssh = lab.desk.run(["ssh", "lab-1", f"{sys.executable} -P -"], input=READ_CLOCK)
        right = lab.host("lab-2").run([sys.executable, "-P", "-c", READ_CLOCK])
    for done in (here, over_ssh):
        before, shown, after, timeouts = map(int, done.stdout.split())
        assert clock.shows(before) <= shown <= clock.shows(after)
        assert abs(shown - before + 5_000_000_000 - 200_000_000) < 1_000_000_000
        assert abs(timeouts - after) < 1_000_000_000, "what timeouts are kept with is right"
    before, shown, after, _ = map(int, right.stdout.split())
    assert before <= shown <= after


@pytest.mark.parametrize("ppm", [-200, 0, 1, 200])
def test_the_true_time_of_a_stamp_is_known_to_the_nanosecond(ppm: int) -> None:
    clock = HostClock(-5_000_000_000, ppm, 10**15)
    for real in (10**15 - 12_345, 10**15, 10**15 + 1, 10**15 + 1_234_567_891):
        assert clock.real(clock.shows(real)) in (real - 1, real)
        assert clock.shows(clock.real(real)) - real in (0, 1)


# --- a bad network


def round_trip(connection: socket.socket) -> tuple[float, float]:
    """Milliseconds there and back, of one line."""
    sent = time.monotonic_ns()
    connection.sendall(b"?\n")
    answered = int(connection.makefile().readline())
    return (answered - sent) / 1e6, (time.monotonic_ns() - answered) / 1e6


def test_the_proxy_delays_each_direction_and_stalls_where_a_segment_is_lost(lab: Lab) -> None:
    one = lab.host("lab-1")
    answers = int(heard(one.start([sys.executable, "-c", ANSWER])))
    with Proxy(lab.desk, one, answers) as proxy, lab.desk.connect(lab.desk, proxy.port, PATIENCE_S) as connection:
        proxy.tell("delay 40 20")
        trips = [round_trip(connection) for _ in range(7)]
        assert min(there for there, _ in trips) >= 40
        assert min(back for _, back in trips) >= 20
        assert median(there for there, _ in trips) < 55
        assert median(back for _, back in trips) < 35
        proxy.tell("delay 0 0 10")
        trips = [round_trip(connection) for _ in range(20)]
        assert max(there for there, _ in trips) - min(there for there, _ in trips) > 2
        proxy.tell("delay 0 0")
        proxy.tell("loss 1 100")
        assert min(round_trip(connection)) >= 100
        proxy.tell("loss 0")
        assert min(round_trip(connection)[0] for _ in range(7)) < 20


def test_the_proxy_cuts_connections_and_is_restored(lab: Lab) -> None:
    one = lab.host("lab-1")
    answers = int(heard(one.start([sys.executable, "-c", ANSWER])))
    with Proxy(lab.desk, one, answers) as proxy:
        with lab.desk.connect(lab.desk, proxy.port, PATIENCE_S) as connection:
            round_trip(connection)
            proxy.tell("cut")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            lab.desk.connect(lab.desk, proxy.port)
        proxy.tell("restore")
        with lab.desk.connect(lab.desk, proxy.port, PATIENCE_S) as connection:
            round_trip(connection)


def test_the_proxy_holds_back_what_it_is_sent_and_passes_it_on_when_restored(lab: Lab) -> None:
    one = lab.host("lab-1")
    answers = int(heard(one.start([sys.executable, "-c", ANSWER])))
    with Proxy(lab.desk, one, answers) as proxy, lab.desk.connect(lab.desk, proxy.port, PATIENCE_S) as connection:
        round_trip(connection)
        proxy.tell("hole")
        connection.sendall(b"?\n" * 1000)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.tell("restore")
        connection.settimeout(PATIENCE_S)
        with connection.makefile() as answered:
            assert len(answered.readlines()) == 1000, "all of it, up to its end"


# --- nothing stays


def inhabitants(lab: Lab) -> set[int]:
    """Every process in a namespace of the lab, those that hold the namespaces too."""
    networks = {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in (lab.switch.pid, *(host.pid for host in lab.hosts))}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns" / "net").stat().st_ino in networks:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def traces() -> list[object]:
    """What a lab could leave on the machine, apart from processes; what other labs do at the time does not show."""
    places = [HOME / ".ssh", Path("/etc/ssh"), Path("/etc/netns"), Path("/run/netns"), Path("/run/sshd")]
    return [
        Path("/proc/self/mountinfo").read_text(),
        [line.split(":")[0] for line in Path("/proc/self/net/dev").read_text().splitlines()],
        [sorted(place.iterdir()) if place.exists() else None for place in places],
        Path("/etc/hosts").read_text(),
        socket.gethostname(),
    ]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text() != ""
    except OSError:
        return False


def fill(host: Host) -> None:
    """Something on it that is hard to end."""
    assert heard(host.start([sys.executable, "-c", WAIT], stdin=subprocess.PIPE)) == "deaf"
    host.run(["sh", "-c", "mount -t tmpfs lab /mnt; touch /mnt/file; setsid sleep 1000 >/dev/null 2>&1 &"])


def test_a_test_that_fails_leaves_no_process_mount_link_or_file() -> None:
    before = traces()
    with suppress(RuntimeError), Lab("lab-1") as lab:
        fill(lab.host("lab-1"))
        fill(lab.desk)
        lab.host("lab-1").link_down()
        there = inhabitants(lab)
        assert len(there) == 10, "the switch, two for each host, a sshd, and four that were filled in"
        raise RuntimeError("in the middle")
    assert [pid for pid in there if lives(pid)] == []
    assert not lab.folder.exists()
    assert traces() == before
    lab.close()


def test_a_lab_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(AssertionError, match="eth0"):
        Lab("a-name-that-is-too-long-for-a-link")
    assert list(tmp_path.iterdir()) == []


def test_a_lab_whose_maker_was_killed_ends_and_its_folder_goes_with_the_next() -> None:
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(PROJECT)!r})
        from tests.support import test_lab_hosts as t
        lab = t.Lab("lab-1")
        t.fill(lab.host("lab-1"))
        print(*t.inhabitants(lab), flush=True)
        t.signal.pause()
    """
    # Short, for it holds sockets, and not where other tests sweep.
    with tempfile.TemporaryDirectory(prefix="lab-") as temporary:
        env = os.environ | {"TMPDIR": temporary}
        with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as maker:
            there = [int(pid) for pid in heard(maker).split()]
            maker.kill()
        assert len(there) == 8
        assert poll(lambda: not any(lives(pid) for pid in there))
        left = list(Path(temporary).iterdir())
        assert len(left) == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", temporary)
            sweep()
        assert list(Path(temporary).iterdir()) == []


def test_labs_stand_side_by_side_and_one_is_not_swept_by_another(lab: Lab) -> None:
    with Lab("lab-1") as other:
        assert other.host("lab-1").address == lab.host("lab-1").address
        assert other.desk.run(["ssh", "lab-1", "touch /tmp/mine"]).returncode == 0
        assert not lab.host("lab-1").path("/tmp/mine").exists()
    assert lab.desk.reaches(lab.host("lab-1"))
