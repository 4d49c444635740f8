"""A supervisor that can report nothing any more ends at once and says why: the runner does not wait for it."""

import subprocess
import sys
import textwrap

import pytest

from runner.adapters.supervisor import journal_publisher
from runner.adapters.supervisor.journal_publisher import JournalPublisher
from runner.adapters.supervisor.loop import Speechless, SupervisorLoop


class Reporter:
    """Reports nothing, and says why it cannot."""

    def __init__(self, speechless: str = "") -> None:
        self.speechless = speechless

    def state(self, step: str, /, key: object = None, **data: object) -> None:
        """Is not sent."""


class GaveUp(BaseException):
    """In place of the end of the process."""


def test_a_supervisor_that_cannot_speak_to_its_broker_gives_up() -> None:
    given: list[Exception] = []

    def give_up(error: Exception) -> None:
        given.append(error)
        raise GaveUp

    loop = SupervisorLoop(
        Reporter("cannot speak to its broker (its sender has ended)"), lambda _s: [], None, give_up=give_up
    )
    with pytest.raises(GaveUp):
        loop.serve()
    loop.close()
    assert isinstance(given[0], Speechless)
    assert str(given[0]) == "cannot speak to its broker (its sender has ended)"


def test_the_publisher_of_journals_gives_up_without_memory_and_leaves_no_unit_without_an_end() -> None:
    given: list[Exception] = []

    def give_up(error: Exception) -> None:
        given.append(error)
        raise GaveUp

    def recover(_answer_s: object) -> list[object]:
        raise MemoryError

    publisher = JournalPublisher(recover, lambda: None, give_up)  # type: ignore[arg-type]
    publisher.publish_unit("unit")
    with pytest.raises(GaveUp):
        publisher._run()
    assert isinstance(given[0], MemoryError)


GIVING_UP = """
    import resource, sys
    from runner.adapters.supervisor import supervisor
    {what}
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("supervisor.give_up(MemoryError())", "the supervisor has no memory left"),
        ('supervisor.give_up(RuntimeError("can\'t start new thread"))', "the supervisor may start no more threads"),
        ("supervisor.give_up(OSError(24, 'Too many open files'))", "the supervisor may open no more files"),
        (
            "from runner.adapters.supervisor import loop; "
            "supervisor.give_up(loop.Speechless('cannot speak to its broker'))",
            "the supervisor cannot speak to its broker",
        ),
        (
            "supervisor.main_local = lambda fd: [0] * 10**12; supervisor.main([])",
            "the supervisor has no memory left",
        ),
    ],
)
def test_it_gives_up_with_a_sentence_and_an_exit_code(what: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GIVING_UP.format(what=what))], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_any_other_error_is_a_defect_and_is_shown() -> None:
    code = "from runner.adapters.supervisor import supervisor; supervisor.give_up(ValueError()); print('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_thread_that_never_begins_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Exception] = []

    def give_up(error: Exception) -> None:
        given.append(error)
        raise GaveUp

    monkeypatch.setattr(journal_publisher, "start_new_thread", lambda _do, _arguments: None)
    monkeypatch.setattr(journal_publisher, "BEGIN_S", 0.01)
    loop = SupervisorLoop(Reporter(), lambda _s: [], None, give_up=give_up)
    with pytest.raises(GaveUp):
        loop.serve()
    loop.close()
    assert "start new thread" in str(given[0])
