"""The terminal, borrowed: keys one by one, no echo, no cursor, and always given back.

Belongs here: modes, signals and raw writing. Must not know what is drawn. It is given back at the end, after an error,
at SIGTERM and SIGHUP (unless the program handles them itself), and while the program is suspended (Ctrl-Z).
"""

import atexit
import os
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_HIDE_CURSOR: Final = b"\x1b[?25l"
_SHOW_CURSOR: Final = b"\x1b[?25h"
_LOCAL, _INPUT, _CHARACTERS = 3, 0, 6


class Terminal:
    """`out` is a file descriptor of the terminal, `keyboard` one to read keys from, or None."""

    def __init__(self, out: int, keyboard: int | None) -> None:
        self._out = out
        self._keyboard = keyboard
        self._saved: list[Any] | None = None
        self._held = False
        self._handlers: dict[int, Any] = {}
        self.epoch = 0
        """Grows whenever another process may have written on the terminal."""

    def open(self) -> None:
        """Borrows the terminal, if this program is in its foreground."""
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread():
            self._handle(signal.SIGTSTP, self._suspend)
            self._handle(signal.SIGCONT, self._resume)
            self._handle(signal.SIGTERM, self._die)
            self._handle(signal.SIGHUP, self._die)
        self.hold()

    def close(self) -> None:
        """Gives the terminal back as it was. May be called again."""
        self._release()
        for number, before in self._handlers.items():
            signal.signal(number, before)
        self._handlers.clear()
        atexit.unregister(self.close)

    def hold(self) -> bool:
        """Whether the terminal is ours to draw on; takes it again after the program was in the background."""
        if self._held:
            return True
        if not self._foreground():
            return False
        try:
            if self._keyboard is not None:
                self._saved = self._saved or termios.tcgetattr(self._keyboard)
                termios.tcsetattr(self._keyboard, termios.TCSANOW, _key_by_key(self._saved))
        except termios.error:  # the terminal is gone
            return False
        self._held = True
        self.epoch += 1
        self.write(_HIDE_CURSOR)
        return True

    def read(self) -> bytes:
        """Keys that were pressed; never blocks."""
        if self._keyboard is None or not self._held or not self._foreground():
            return b""
        try:
            return os.read(self._keyboard, 1024)
        except OSError:  # the terminal is gone
            return b""

    def write(self, data: bytes) -> None:
        """All of `data`, past every buffer: signal handlers write too. A terminal that is gone is no error."""
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError:
            self._held = False

    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 and 24 where the terminal does not know."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def _foreground(self) -> bool:
        # The kernel stops a process that changes modes or reads keys from the background.
        try:
            return os.tcgetpgrp(self._out) == os.getpgrp()
        except OSError:  # not the terminal that controls us, so it does not stop us either
            return True

    def _release(self) -> None:
        if not self._held:
            return
        self._held = False
        self.write(_SHOW_CURSOR)
        if self._saved is not None and self._keyboard is not None:
            try:
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._saved)
            except termios.error:  # the terminal is gone
                self._saved = None

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        if signal.getsignal(number) is signal.SIG_DFL:
            self._handlers[number] = signal.signal(number, handler)

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        del frame
        held = self._held
        self._release()
        if held:
            self.write(b"\r\n")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here, until SIGCONT
        signal.signal(number, self._suspend)

    def _resume(self, number: int, frame: FrameType | None) -> None:
        """After SIGSTOP, too: the shell has set its own modes meanwhile, so whatever we held we no longer hold."""
        del number, frame
        self._held = False
        self.hold()

    def _die(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._release()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _key_by_key(mode: list[Any]) -> list[Any]:
    """Keys arrive one by one and are not echoed, reading never blocks; Ctrl-C and Ctrl-Z still work. Ctrl-S would stop
    the output and with it the run, so it is an ordinary key."""
    mode = [*mode]
    mode[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
    mode[_INPUT] &= ~termios.IXON
    mode[_CHARACTERS] = [*mode[_CHARACTERS]]
    mode[_CHARACTERS][termios.VMIN] = 0
    mode[_CHARACTERS][termios.VTIME] = 0
    return mode
