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
        every_one = [stuck, silent, stranger, busy]
        assert choose("stuck", every_one) == [stuck]
        assert choose("strangers", every_one) == [stranger]
        assert choose("silent", every_one) == [stuck, silent, stranger]
        assert choose("all", every_one) == every_one


def test_a_reader_that_does_not_take_what_it_is_sent_is_stuck() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"records")
        reader = connection(ours.fileno(), heard=7)
        assert choose("stuck", [reader, connection(10**6)]) == [reader]


def test_no_connection_is_cut_while_there_is_memory_and_more_are_check_by_check_when_there_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"now": GIB}
    monkeypatch.setattr(memory_guard, "resident_bytes", lambda: sizes["now"])
    judge, silent, busy = MemoryGuard(), connection(10**6), connection(10**6 + 1)
    every_one = [silent, busy]

    def check() -> list[Connection]:
        busy.heard += 1
        return judge.to_cut(every_one)

    assert check() == []
    sizes["now"] = GIB + memory_guard.MAX_GROWTH_BYTES // 2
    assert check() == []
    sizes["now"] = 3 * GIB
    assert check() == [silent]
    assert check() == every_one
    assert check() == [silent]  # from the beginning
    sizes["now"] = GIB
    assert check() == []
    sizes["now"] = 3 * GIB
    assert check() == [silent]
