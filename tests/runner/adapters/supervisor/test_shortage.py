"""A supervisor of which nothing can come any more ends at once and says why: nobody waits for what it will not tell."""

import subprocess
import sys
import textwrap

import pytest

from runner.adapters.supervisor import loop as watching
from runner.adapters.supervisor.loop import Speechless, SupervisorLoop


class Voice:
    """Says nothing, and that it cannot if told so."""

    def __init__(self, speechless: str = "") -> None:
        self.speechless = speechless

    def state(self, step: str, /, key: object = None, **data: object) -> None:
        """To nobody."""


class GaveUp(BaseException):
    """In place of the end of the process."""


def test_a_supervisor_that_cannot_speak_to_its_broker_gives_up() -> None:
    given: list[Exception] = []

    def give_up(error: Exception) -> None:
        given.append(error)
        raise GaveUp

    watch = SupervisorLoop(
        Voice("cannot speak to its broker (its sender has ended)"), lambda _s: [], None, give_up=give_up
    )
    with pytest.raises(GaveUp):
        watch.serve()
    watch.close()
    assert isinstance(given[0], Speechless)
    assert str(given[0]) == "cannot speak to its broker (its sender has ended)"


def test_who_publishes_journals_gives_up_when_there_is_no_memory_and_does_not_leave_units_without_an_end() -> None:
    given: list[Exception] = []

    def give_up(error: Exception) -> None:
        given.append(error)
        raise GaveUp

    def recover(_answer_s: object) -> list[object]:
        raise MemoryError

    watch = SupervisorLoop(Voice(), recover, None, give_up=give_up)  # type: ignore[arg-type]
    watch._to_publish.put(lambda: watch._publish("unit"))
    with pytest.raises(GaveUp):
        watch._publish_in_turn()
    watch.close()
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
            "supervisor.main_here = lambda fd: [0] * 10**12; supervisor.main([])",
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

    monkeypatch.setattr(watching, "start_new_thread", lambda _do, _arguments: None)
    monkeypatch.setattr(watching, "BEGIN_S", 0.01)
    watch = SupervisorLoop(Voice(), lambda _s: [], None, give_up=give_up)
    with pytest.raises(GaveUp):
        watch.serve()
    watch.close()
    assert "start new thread" in str(given[0])
