"""Who has to hang up when memory is short, without a broker."""

import socket

import pytest

from broker import memory_guard
from broker.connections import Connection, Greeting
from broker.memory_guard import MemoryGuard, choose

GIB = 1024**3


def connection(fd: int, *, greeted: bool = True, heard: int = 0) -> Connection:
    greeting = Greeting.SAID if greeted else Greeting.AWAITED
    return Connection(fd, f"pid {fd}", 0.0, greeting=greeting, identity=b"\0abcd" if greeted else b"", heard=heard)


def test_the_likeliest_hang_up_first() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"the middle of a message")
        stuck, silent, stranger, busy = (
            connection(ours.fileno()),
            connection(10**6),
            connection(10**6 + 1, greeted=False),
            connection(10**6 + 2, heard=7),
        )
        everybody = [stuck, silent, stranger, busy]
        assert choose("stuck", everybody) == [stuck]
        assert choose("strangers", everybody) == [stranger]
        assert choose("silent", everybody) == [stuck, silent, stranger]
        assert choose("all", everybody) == everybody


def test_a_reader_that_does_not_take_what_it_is_sent_is_stuck() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"records")
        reader = connection(ours.fileno(), heard=7)
        assert choose("stuck", [reader, connection(10**6)]) == [reader]


def test_nobody_hangs_up_while_there_is_memory_and_more_do_look_by_look_when_there_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"now": GIB}
    monkeypatch.setattr(memory_guard, "resident_bytes", lambda: sizes["now"])
    judge, silent, busy = MemoryGuard(), connection(10**6), connection(10**6 + 1)
    everybody = [silent, busy]

    def look() -> list[Connection]:
        busy.heard += 1
        return judge.to_cut(everybody)

    assert look() == []
    sizes["now"] = GIB + memory_guard.MAX_GROWTH_BYTES // 2
    assert look() == []
    sizes["now"] = 3 * GIB
    assert look() == [silent]
    assert look() == everybody
    assert look() == [silent]  # from the beginning
    sizes["now"] = GIB
    assert look() == []
    sizes["now"] = 3 * GIB
    assert look() == [silent]
