"""What a user declared, as values: scenario, units, circuits, barriers.

Belongs here: plain frozen structures and nothing that decides. Must not know files, TOML or how a thing is run. All
durations are integers in nanoseconds (`_ns`). The structures are msgspec ones so that a run folder can keep them as
JSON and read them back without code of ours.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec

Restart = Literal["never", "on-failure"]
LOCAL: Final = "local"
"""The host where the runner is."""
ANY: Final = "any"
"""Whichever host has the fewest units; a scenario that was read names no such unit any more (see `hosts.spread`)."""


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """A path element: `step` fired by the unit or units that `unit` means.

    `unit` is a name or a pattern with `*`, `?` (see fnmatch); `each` asks every unit the pattern means, else all of
    them together count. Between `at_least` and `at_most` events satisfy it. `where` lists data fields that must be
    equal for an event to count at all. After a probe with `rekey` the instance goes on under the value of that field.
    """

    unit: str
    step: str
    each: bool = False
    at_least: int = 1
    at_most: int | None = 1
    """None: no upper bound."""
    where: dict[str, Any] = {}
    rekey: str | None = None
    within_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.unit}: {self.step}"


class All(msgspec.Struct, frozen=True, tag="all"):
    """Every member, in any order."""

    members: "tuple[Element, ...]"
    within_ns: int | None = None


class Quorum(msgspec.Struct, frozen=True, tag="quorum"):
    """At least `need` members; `any` is a quorum of one."""

    need: int
    members: "tuple[Element, ...]"
    within_ns: int | None = None


class Optional(msgspec.Struct, frozen=True, tag="optional"):
    """Nothing, or `content`."""

    content: "Element"
    within_ns: int | None = None


Element: TypeAlias = Probe | All | Quorum | Optional


class Budget(msgspec.Struct, frozen=True):
    """A limit on the distribution of end-to-end latencies, judged at the end. None: no limit."""

    p50_ns: int | None = None
    p90_ns: int | None = None
    p99_ns: int | None = None
    max_ns: int | None = None


class Instances(msgspec.Struct, frozen=True):
    """How many instances must be started; `at_most` None: no upper bound."""

    at_least: int
    at_most: int | None


class Circuit(msgspec.Struct, frozen=True):
    """A path from cause to effect. `never` lists probes that must not fire (of the instance's key, or without key)."""

    name: str
    path: tuple[Element, ...]
    within_ns: int | None = None
    instances: Instances | None = None
    budget: Budget = Budget()
    hop_budgets: dict[str, Budget] = {}
    never: tuple[Probe, ...] = ()


class Unit(msgspec.Struct, frozen=True):
    """One actor and how it is started. Exactly one of `entrypoint` and `command`, or neither with launcher external."""

    name: str
    entrypoint: str | None = None
    """`module:function`, imported and called without arguments in a process of its own."""
    command: tuple[str, ...] | None = None
    ready: str | None = None
    """Step whose first event makes the unit ready; None: ready as soon as it is started."""
    ready_timeout_ns: int = 30_000_000_000
    after: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout_ns: int | None = None
    """From its start to its end; None: only the scenario's."""
    stop_timeout_ns: int = 5_000_000_000
    exit_codes: tuple[int, ...] = (0,)
    restart: Restart = "never"
    service: bool | None = None
    """Stopped by the runner when the others are done. None: it is one if another unit has it in `after`."""
    host: str = LOCAL
    """Where it runs: `LOCAL`, or the name of a `Host`."""
    launcher: Literal["local", "external"] = "local"
    expect_within_ns: int | None = None
    """External: longest until it has joined; None: `ready_timeout_ns`."""


class Host(msgspec.Struct, frozen=True):
    """A machine on which units are started. It is reached over `ssh`, or an agent is there already."""

    name: str
    ssh: str | None = None
    """What the system's ssh takes: `lab-2`, `user@lab-2`, a name of the user's ~/.ssh/config."""
    agent: bool = False
    """`circuit-run agent` is started there by hand."""
    python: str = "python3"
    """With ssh: the Python there that has circuit-run installed; a command of the remote shell."""
    env: dict[str, str] = {}
    """Added to the scenario's; a unit's own is stronger."""
    cwd: str | None = None
    """Working directory of its units; None: the folder that is shipped there."""
    lease_ns: int = 15_000_000_000
    """How long units live there without a runner that is heard."""
    ship: tuple[str, ...] = ()
    """What of the scenario's folder is sent there though it is hidden, ignored or looks like a key: patterns."""
    speaks_for: tuple[str, ...] = ()
    """Units, or patterns, as which its processes may speak beside those that run there."""


class Barrier(msgspec.Struct, frozen=True):
    """A named meeting point; `parties` are unit names or patterns (empty: every unit of the scenario)."""

    name: str
    parties: tuple[str, ...] = ()
    timeout_ns: int | None = None
    at_ns: int | None = None
    """All parties go on at one moment, so long after the last arrival; None: each as soon as its answer comes."""


class Callback(msgspec.Struct, frozen=True):
    """User code that the runner calls: `module:function`, or a command line."""

    entrypoint: str | None = None
    command: tuple[str, ...] | None = None


LogMode = Literal["DEBUG", "INFO", "WARNING", "EXCEPT"]


SETUP_UNIT: Final = "setup"
"""Name of the unit that runs `main()` of a legacy folder's setup.py."""


class LegacyTest(msgspec.Struct, frozen=True):
    """A function `test_*` beside the units of a legacy folder; `entrypoint` is `module:function`."""

    entrypoint: str
    priority: int = 0
    """Lower ones run first."""
    parallelize: bool = False
    """Runs at the same time as the others of its priority that say so, after those that do not."""


class Legacy(msgspec.Struct, frozen=True):
    """What a legacy folder says beyond what a scenario can say; the fields are named after its keys.

    The rest of such a folder is an ordinary scenario: `events` are `expect`, the order of `init` is in `after`,
    `Reload` is `restart = "on-failure"`, `setup.py` is a service called `SETUP_UNIT`, and a unit without an
    entrypoint is external (the test functions emit for it). No other unit is a service: each runs to its own end.
    """

    enabled: bool = True
    """False: the group is left out when scenarios are looked for."""
    tests: tuple[LegacyTest, ...] = ()
    """Called in one process of their own after the units have ended, in the order in which they stand here."""
    validate_test: str | None = None
    """`module:function`, called in that process with a test's name after the test passed; false fails the test."""
    tests_results: str | None = None
    """`module:function`, called there at the very end with one dict (docs/circuit.md); false fails the run."""
    restart_all: tuple[str, ...] = ()
    """Units that say `in-except = "Resume-ALL"`: when one of them fails, every unit is started again."""
    linger_ns: int = 500_000_000
    """A unit that still runs this long after every required probe has fired is stopped; that is no failure."""
    debug_modes: tuple[LogMode, ...] = ("DEBUG", "INFO", "WARNING", "EXCEPT")
    """Levels of unit output that --verbose shows (see `loglevel.shows`)."""
    test_modes: tuple[LogMode, ...] = ("DEBUG",)
    """The same for the output of test functions."""
    diagnostics: bool = True
    """Findings are printed with their details."""
    detect_bad_behavior: bool = True
    """Orphans, duplicates and exceptions are findings; False: they are counted under `pairs` and fail nothing."""
    gen_metrics: bool = True
    """The summary has a table of latencies."""
    save_metrics: bool = True
    """The run folder gets `metrics.json`: every latency of the result."""
    save_scores: bool = True
    """The run folder gets `scores.json`: shares (0 to 1) of tests, required probes and pairs that passed."""
    save_resume: bool = True
    """The run folder gets `resume.txt`: the summary as plain text."""


class Scenario(msgspec.Struct, frozen=True):
    """Everything one run needs. `folder` is absolute; units run in it."""

    name: str
    folder: str
    file: str
    """The file the user wrote, for messages, relative to `folder` where possible."""
    units: tuple[Unit, ...]
    circuits: tuple[Circuit, ...] = ()
    barriers: tuple[Barrier, ...] = ()
    hosts: tuple[Host, ...] = ()
    """Those that a unit may name beside `LOCAL`."""
    timeout_ns: int = 60_000_000_000
    settle_ns: int = 2_000_000_000
    """How long services may still work after the last other unit ended, while instances without a deadline are open."""
    env: dict[str, str] = {}
    redact: tuple[str, ...] = ()
    """Variables, or patterns, whose values are secrets though they do not look like it."""
    check: Callback | None = None
    setup: Callback | None = None
    repeat: int = 1
    """How many runs, one after the other."""
    notes: tuple[str, ...] = ()
    """What the user should know about this scenario though it is not wrong: deprecated keys and the like."""
    legacy: Legacy | None = None
    """Present when the scenario is a legacy folder."""

    @property
    def used_hosts(self) -> tuple[Host, ...]:
        """The hosts beside the runner's own on which a unit is started."""
        named = {unit.host for unit in self.units if unit.launcher == "local"}
        return tuple(host for host in self.hosts if host.name in named)
