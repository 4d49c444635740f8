"""Every role tries everything: what docs/access.md says becomes of it is what becomes of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from broker import keyring
from probe import keys as keys_
from probe import message as m
from probe.keys import Keys
from tests.support import access_table as table
from tests.support.access_table import REFUSALS, YES
from tests.support.broker_process import KeyedBroker, Peer
from tests.support.scenarios import poll

NATURAL = {
    "unit": ("unit", "door"),
    "pool": ("unit", "door"),
    "agent": ("agent", "@lab-1"),
    "watcher": ("watcher", ""),
    "runner": ("runner", ""),
    "host": ("agent", "@lab-1"),
    "units": ("unit", "camera"),
}
"""Role -> what it comes in as where nothing else is said, and under which name."""
PUBLIC = keys_.made("x", "").public
SAYINGS: dict[str, list[m.Message]] = {
    "say EVENTS, GAP or FINAL": [m.Events(1, 0, 0), m.Gap(1, 1, "test"), m.Final(1)],
    "read the log (FETCH)": [m.Fetch(0, 1)],
    "give orders (COMMAND)": [m.Command(("absent",))],
    "say whose names are (NAMES)": [m.Names({"api": "@local"})],
    "give keys for the run (ISSUE)": [m.Issue("@lab-2", PUBLIC, "agent", ("@lab-2",))],
    "ask for liveness and incidents (PING)": [],
}


class Stage:
    """A broker of a lab, and for each attempt a run that anna's runner has begun and in which bob's key has spoken."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.lab = KeyedBroker(folder)
        stack.callback(self.lab.broker.stop)
        self.anna = self.lab.key("anna", "runner", "agent", "unit", units=("*", "@*"))
        self.bob = self.lab.key("bob")
        self.lasting = {
            "unit": self.lab.key("door", units=("door",)),
            "pool": self.lab.key("pool"),
            "agent": self.lab.key("lab-1", "agent", "unit", units=("*", "@lab-1")),
            "watcher": self.lab.key("eye", "watcher"),
            "runner": self.anna,
        }
        self._runs = 0

    def attempt(self, role: str, tried: str) -> str:
        """What becomes of it, in a run of its own."""
        self._runs += 1
        run = f"run-{self._runs}"
        with ExitStack() as stack:
            runner = stack.enter_context(self.lab.welcomed(self.anna, run, role="runner"))
            runner.say(m.Names({"camera": "@lab-1", "@lab-1": "@lab-1", "store": "@lab-2", "api": "@local"}))
            runner.pong()
            stack.enter_context(self.lab.welcomed(self.bob, run, "bell"))
            keys = self._keys(role, run, runner, stack)
            if tried in SAYINGS:
                peer = stack.enter_context(self.lab.welcomed(keys, run, NATURAL[role][1], NATURAL[role][0]))
                return answered(peer, SAYINGS[tried], keys.name)
            as_role, unit = meant(role, tried)
            where = "" if tried.startswith("an agent") else f"{run}-other" if tried.endswith("another run") else run
            if tried.endswith("another run"):  # which has to be there for watchers
                stack.enter_context(self.lab.welcomed(self.anna, where, role="runner"))
            peer = stack.enter_context(self.lab.peer(keys, where, unit, as_role))
            return found(peer.hear(m.Welcome | m.Refused), keys.name)  # type: ignore[arg-type]

    def _keys(self, role: str, run: str, runner: Peer, stack: ExitStack) -> Keys:
        if role in self.lasting:
            return self.lasting[role]
        host = keys_.made("@lab-1", self.anna.broker)
        runner.say(m.Issue("@lab-1", host.public, "agent", ("@lab-1", "camera")))
        runner.pong()
        if role == "host":
            return host
        units = keys_.made("@lab-1/units", self.anna.broker)
        stack.enter_context(self.lab.welcomed(host, run, "@lab-1", "agent", units_key=units.public))
        return units


def meant(role: str, tried: str) -> tuple[str, str]:
    """The role and the name that are tried."""
    if tried.endswith("another run"):
        return NATURAL[role]
    if tried.startswith("an agent"):
        return "agent", "@lab-1"
    named = tried.split("`")[1] if "`" in tried else ""
    word = "agent" if "supervisor" in tried else "unit" if named else tried.split()[1]
    return word, named


def answered(peer: Peer, sayings: list[m.Message], key: str) -> str:
    """What becomes of what a peer says: the same for all of it."""
    for message in sayings:
        peer.say(message)
    peer.say(m.Ping(1))
    heard: list[m.Message] = []
    while not heard or not isinstance(heard[-1], m.Pong):
        heard.append(peer.hear(m.Pong | m.Ack | m.Records | m.Error | m.Refused))  # type: ignore[arg-type]
    wrong = {found(message, key) for message in heard if isinstance(message, m.Error | m.Refused)}
    refused = sum(isinstance(message, m.Error | m.Refused) for message in heard)
    assert refused in (0, len(sayings)), heard
    return wrong.pop() if wrong else YES


def found(answer: m.Message, key: str) -> str:
    """The word of the table for an answer."""
    if isinstance(answer, m.Welcome):
        return YES
    assert isinstance(answer, m.Refused | m.Error)
    kind = "REFUSED" if isinstance(answer, m.Refused) else "ERROR"
    words = [
        word
        for word, (message, sentence) in REFUSALS.items()
        if message == kind and sentence.format(key=key) in answer.why
    ]
    assert len(words) == 1, answer
    return words[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


@pytest.mark.parametrize("role", table.ROLES)
def test_a_role_may_do_what_the_table_says_and_nothing_else(stage: Stage, role: str) -> None:
    assert {tried: stage.attempt(role, tried) for tried in table.TABLE} == table.column(role)


def test_a_stranger_is_not_let_in_and_counted(stage: Stage, tmp_path: Path) -> None:
    keyring.create(tmp_path / "other")
    foreign = keys_.load(keyring.add(tmp_path / "other", "eve", roles=["unit"], units=["*"]))
    revoked = stage.lab.key("gone")
    keyring.revoke(stage.lab.ring, "gone")
    comers: dict[str, Callable[[], Peer]] = {
        "no key": lambda: Peer(stage.lab.broker.endpoint),
        "a key of another keyring": lambda: Peer(stage.lab.broker.endpoint, keys=foreign),
        "a key made for this broker and not on its list": lambda: Peer(
            stage.lab.broker.endpoint, keys=keys_.made("x", stage.anna.broker)
        ),
        "a key that was revoked": lambda: Peer(stage.lab.broker.endpoint, keys=revoked),
    }
    assert list(comers) == list(table.STRANGERS)
    with stage.lab.welcomed(stage.anna, role="runner") as runner:
        for who, come in comers.items():
            before = counted(runner)
            with come() as stranger:
                stranger.say(m.Hello(m.VERSION, "unit", "run-1", "door", 1))
                assert poll(lambda: counted(runner) - before & set(table.STRANGERS[who]), 10), who  # noqa: B023
                assert not stranger.socket.poll(0), who


def counted(peer: Peer) -> set[str]:
    """What strangers were counted for."""
    return {row.partition(": ")[2] for row in peer.incidents()}


def test_the_page_shows_the_table() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert text == table.page(text), "run: python -m docs.generate"


def test_every_word_of_the_table_is_explained_and_used() -> None:
    used = {word for answers in table.TABLE.values() for word in answers} - {YES}
    assert used == set(REFUSALS) == set(table.MEANINGS)
    assert {len(answers) for answers in table.TABLE.values()} == {len(table.ROLES)}
