"""Who may do what on a lab's broker: the table that docs/access.md shows and that `test_access_table` tries.

Belongs here: the table and its words, and their page. Must not know how anything of it is tried.
"""

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "access.md"
BEGIN: Final = "<!-- the table that `tests/broker/test_access_table.py` tries: begin -->"
END: Final = "<!-- the table that `tests/broker/test_access_table.py` tries: end -->"

YES: Final = "yes"
ROLE, NAME, HOST, KEY, RUN, SAID = "role", "name", "host", "key", "run", "word"
REFUSALS: Final = {
    ROLE: ("REFUSED", "the key {key!r} is for the role"),
    NAME: ("REFUSED", "the key {key!r} may not speak as '"),
    HOST: ("REFUSED", "of this run is started on"),
    KEY: ("REFUSED", "of this run belongs to the key 'bob'"),
    RUN: ("REFUSED", "the key {key!r} is for runs"),
    SAID: ("ERROR", "you are a"),
}
"""What stands in the table -> the message that answers, and what its sentence says."""
MEANINGS: Final = {
    ROLE: "the key is for other roles",
    NAME: "the key is for other names",
    HOST: "the unit is started on another host, whose key alone may speak as it",
    KEY: "another key has spoken first as a unit that the run does not start",
    RUN: "the key is for other runs",
    SAID: "who has come in so does not say that; it is ignored, and the connection goes on",
}

ROLES: Final = {
    "unit": "`keys new door`",
    "pool": "`keys new pool --unit '*'`",
    "agent": "`keys new lab-1 --agent`",
    "watcher": "`keys new eye --role watcher`",
    "runner": "`keys new anna --runner`",
    "host": "made by anna's run for lab-1",
    "units": "made on lab-1 for what it starts",
}
"""Column -> where such a key comes from."""

TABLE: Final[dict[str, tuple[str, ...]]] = {
    # come in as
    "the unit `door`, which the run does not start": (YES, YES, YES, ROLE, YES, NAME, NAME),
    "the unit `window`, which the run does not start": (NAME, YES, YES, ROLE, YES, NAME, NAME),
    "the unit `bell`, as which bob's key has spoken": (NAME, KEY, YES, ROLE, YES, NAME, NAME),
    "the unit `camera`, started on lab-1": (NAME, HOST, YES, ROLE, YES, YES, YES),
    "the unit `store`, started on lab-2": (NAME, HOST, HOST, ROLE, YES, NAME, NAME),
    "the unit `api`, started beside the runner": (NAME, HOST, HOST, ROLE, YES, NAME, NAME),
    "the supervisor `@lab-1`": (ROLE, ROLE, YES, ROLE, YES, YES, ROLE),
    "the supervisor `@lab-2`": (ROLE, ROLE, NAME, ROLE, YES, NAME, ROLE),
    "the supervisor `@local`": (ROLE, ROLE, NAME, ROLE, YES, NAME, ROLE),
    "an agent that waits for a run": (ROLE, ROLE, YES, ROLE, YES, YES, ROLE),
    "a runner": (ROLE, ROLE, ROLE, ROLE, YES, ROLE, ROLE),
    "a watcher": (ROLE, ROLE, ROLE, YES, ROLE, ROLE, ROLE),
    "what it is, in another run": (YES, YES, YES, YES, YES, RUN, RUN),
    # once in
    "say EVENTS, GAP or FINAL": (YES, YES, YES, SAID, SAID, YES, YES),
    "read the log (FETCH)": (SAID, SAID, SAID, YES, YES, SAID, SAID),
    "give orders (COMMAND)": (SAID, SAID, SAID, SAID, YES, SAID, SAID),
    "say whose names are (NAMES)": (SAID, SAID, SAID, SAID, YES, SAID, SAID),
    "give keys for the run (ISSUE)": (SAID, SAID, SAID, SAID, YES, SAID, SAID),
    "ask for liveness and incidents (PING)": (YES, YES, YES, YES, YES, YES, YES),
}
"""What is tried -> what becomes of it, for each of ROLES, in a run that anna's runner has begun."""

STRANGERS: Final = {
    "no key": ("refused, only one side has keys", "left before it said HELLO"),
    "a key of another keyring": ("refused, its keys are for another broker, or its traffic is a copy",),
    "a key made for this broker and not on its list": ("refused, unknown key",),
    "a key that was revoked": ("refused, revoked key",),
}
"""Who has -> what is counted, one of these: the side that sees the fault first hangs up. Nothing else is read."""


def column(role: str) -> dict[str, str]:
    """What is tried -> what becomes of it, for one of ROLES."""
    number = list(ROLES).index(role)
    return {tried: answers[number] for tried, answers in TABLE.items()}


def section() -> str:
    """The tables as the page shows them."""
    heads = [f"{role}: {made}" for role, made in ROLES.items()]
    lines = [_row("", *heads), "|---" * (1 + len(ROLES)) + "|"]
    lines += [_row(tried, *answers) for tried, answers in TABLE.items()]
    lines += ["", "| it says | answered by | which means |", "|---|---|---|"]
    lines += [
        _row(word, f"{message}: `{sentence.replace('{key!r}', 'KEY')}`", MEANINGS[word])
        for word, (message, sentence) in REFUSALS.items()
    ]
    lines += ["", "| who comes over TCP with | is not let in, and is counted as |", "|---|---|"]
    lines += [_row(who, " or ".join(f"`{what}`" for what in counted)) for who, counted in STRANGERS.items()]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with the tables in their place."""
    before, _, rest = text.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{section()}\n\n{END}{behind}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
