"""The live view on a real terminal: only what changed is written, and the terminal is always given back."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.adapters.terminal.live import Drawn, transition

ROOT = Path(__file__).parents[4]
DEADLINE_S = 20.0


class Emulator:
    """As much of a terminal as the view needs: characters, line ends, cursor up, erasing. Tall enough for all."""

    def __init__(self, width: int = 200) -> None:
        self.width = width
        self.lines = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for code, final, character in re.findall(r"\x1b\[([?0-9;]*)([A-Za-z])|([^\x1b])", text):
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif character:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1
            elif final == "A":
                self.row -= int(code or 1)
                assert self.row >= 0, "the cursor left the screen"
            elif final == "K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif final == "J":
                self.lines[self.row] = self.lines[self.row][: self.column]
                del self.lines[self.row + 1 :]

    def shown(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip()


def drawn(*lines: str) -> list[Drawn]:
    return [Drawn(line, len(line)) for line in lines]


lines = st.lists(st.text("ab ", max_size=4).map(str.rstrip), min_size=1, max_size=6)


@given(st.lists(st.tuples(lines, st.lists(st.text("xy", min_size=1, max_size=3), max_size=2)), max_size=8))
def test_whatever_was_shown_before_the_screen_shows_the_last_frame_below_all_that_was_said(
    frames: list[tuple[list[str], list[str]]],
) -> None:
    terminal, old, said = Emulator(), drawn(), ["$ circuit-run"]
    terminal.feed("$ circuit-run\r\n")
    for new, above in frames:
        said += above
        terminal.feed(transition(old, drawn(*new), "".join(line + "\r\n" for line in above)))
        old = drawn(*new)
        assert terminal.shown() == "\n".join(said + new).rstrip()
    terminal.feed(transition(old, drawn()))
    assert terminal.shown() == "\n".join(said)
    assert terminal.row == len(said)


def test_nothing_is_written_when_nothing_changed() -> None:
    same = drawn("a", "b")
    assert transition(same, same) == ""
    assert transition([], []) == ""


def test_only_lines_that_changed_are_written() -> None:
    frame = transition(drawn("first", "second", "third"), drawn("first", "SECOND", "third"))
    assert "SECOND" in frame
    assert "first" not in frame
    assert "third" not in frame


def test_lines_that_a_narrower_terminal_has_wrapped_are_taken_away_too() -> None:
    assert transition(drawn("x" * 79, "y"), drawn("z"), resized=40).startswith("\r\x1b[2A\x1b[K\r\n\x1b[J")


# --- a real terminal ------------------------------------------------------------------------------------------------

PROGRAM = """
import fcntl, os, select, sys, termios
sys.path.insert(0, {root!r})
if os.getsid(0) == os.getpid():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from dataclasses import replace
from tests.support.runner_view_samples import RUNNING
from runner.adapters.terminal import Action, choose
tick = 0
{screen}
    while True:
        tick += 1
        screen.show(replace(RUNNING, elapsed_s=tick / 10, events=tick))
        if tick == 3:
            screen.unit_output("api", "hello from the unit")
        {then}
        select.select([screen.fileno()], [], [], 0.02)
        if Action.QUIT in screen.keys():
            break
print("after", tick > 0)
"""


class Session:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], columns: int = 80) -> None:
        self.master, self._slave = os.openpty()
        self.resize(columns)
        self.modes = termios.tcgetattr(self._slave)
        environ = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            argv,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env=environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
        )
        self.output = b""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, wanted: str | Callable[[], bool], start: int = 0) -> int:
        """Reads until `wanted` is in the output after `start`, or is true; returns where the output ends then."""
        deadline = time.monotonic() + DEADLINE_S
        while not (wanted() if callable(wanted) else wanted.encode() in self.output[start:]):
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.output[start:]!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.output += os.read(self.master, 65536)
        return len(self.output)

    def ended(self) -> int:
        """Waits for the end of the program; returns its exit code."""
        self.until(lambda: self.process.poll() is not None)
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 65536)
        return self.process.wait()

    def given_back(self) -> bool:
        """Whether the terminal is as it was: modes, cursor, wrapping."""
        shown = self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l")
        wraps = self.output.rfind(b"\x1b[?7h") > self.output.rfind(b"\x1b[?7l")
        return termios.tcgetattr(self._slave) == self.modes and shown and wraps

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    sessions = []

    def program(then: str = "pass", shell: str = "", screen: str = "with choose() as screen:") -> Session:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM.format(root=str(ROOT), then=then, screen=screen))
        argv = [sys.executable, str(path)]
        sessions.append(Session([sys.executable, "-c", _OWN_TERMINAL, shell, *argv] if shell else argv))
        return sessions[-1]

    yield program
    for session in sessions:
        session.close()


_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp("bash", ["bash", "-c", sys.argv[1], *sys.argv[2:]])
"""


def test_the_keys_pause_turn_pages_and_quit(start: Callable[..., Session]) -> None:
    session = start()
    session.until("p pause")
    assert termios.tcgetattr(session.master) != session.modes
    session.press("p")
    session.until("paused, ")
    end = session.until("p go on")
    session.press("p")
    end = session.until("p pause", end)
    session.press("f")
    end = session.until("near miss", end)
    session.press("?")
    end = session.until("this page, or back", end)
    session.press("\x1b[A\x1bOP?")  # cursor and function keys mean nothing
    end = session.until("LAST PROBE", end)
    session.press("q")
    assert session.ended() == 0
    assert session.given_back()
    assert "hello from the unit" in session.output.decode()
    assert session.output.decode().rstrip().endswith("after True")


def test_a_resize_redraws_the_view_in_the_new_width(start: Callable[..., Session]) -> None:
    session = start()
    end = session.until("p pause")
    session.resize(130)
    session.until("HOST", end)
    session.press("q")
    assert session.ended() == 0


@pytest.mark.parametrize(
    ("then", "left"),
    [("assert tick < 5, 'broken on purpose'", "broken on purpose"), ("sys.exit(3) if tick > 5 else None", "")],
)
def test_the_terminal_is_given_back_after_an_exception(start: Callable[..., Session], then: str, left: str) -> None:
    session = start(then)
    assert session.ended() != 0
    assert session.given_back()
    assert left in session.output.decode()


def test_the_terminal_is_given_back_when_the_screen_is_not_closed(start: Callable[..., Session]) -> None:
    session = start("sys.exit(0) if tick > 5 else None", screen="screen = choose().__enter__()\nif True:")
    assert session.ended() == 0
    assert session.given_back()


def test_the_terminal_is_given_back_at_ctrl_c(start: Callable[..., Session]) -> None:
    session = start()
    session.until("p pause")
    session.press("\x03")
    assert session.ended() == -signal.SIGINT
    assert session.given_back()
    assert "KeyboardInterrupt" in session.output.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back_when_the_program_is_ended(
    start: Callable[..., Session], number: signal.Signals
) -> None:
    session = start()
    session.until("p pause")
    session.process.send_signal(number)
    assert session.ended() == -number
    assert session.given_back()


def test_the_terminal_is_given_back_while_the_program_is_suspended(start: Callable[..., Session]) -> None:
    session = start(shell='set -m; "$0" "$1"; stty -a; echo shell-again; read line; fg; echo over')
    session.until("p pause")
    session.press("\x1a")
    end = session.until("shell-again")
    assert " icanon" in session.output.decode()
    assert " echo " in session.output.decode()
    assert session.given_back()
    session.press("\n")
    end = session.until("LAST PROBE", end)
    session.press("q")
    session.until("over", end)
    assert session.ended() == 0
    assert session.given_back()


def test_a_program_in_the_background_leaves_the_terminal_alone(start: Callable[..., Session]) -> None:
    session = start(
        "sys.exit(0) if tick > 20 else None",
        shell='set -m; "$0" "$1" & wait; echo over',
    )
    assert session.ended() == 0
    assert b"\x1b[?25l" not in session.output
    assert "over" in session.output.decode()
