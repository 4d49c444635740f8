"""The processes of one run beside its units: its broker, its supervisor with the first units already started, and those
on other hosts.

Belongs here: bringing them up side by side, starting a broker again that was killed, and ending them. Must not know
what the run is about. They come up in the background, so that the command can go on loading what it needs until
`ready`."""

import contextlib
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker import log
from probe.clock import monotonic
from probe.message import Message
from runner.adapters.launch import ownership
from runner.adapters.launch.external_broker import ExternalBroker
from runner.adapters.launch.hosts import Hosts
from runner.adapters.launch.leased_process import Broker, LeasedProcess, Supervisor, private_endpoint
from runner.adapters.launch.remote_access import RemoteAccess
from runner.adapters.openssh import address_towards, seen_from
from runner.adapters.start_orders import Launcher, RunContext
from runner.adapters.supervisor.config import SupervisorConfig
from runner.model.errors import BrokerFailed, UsageError
from runner.model.scenario.model import Host, Scenario
from runner.model.signals import signal_name

FURTHER_PEERS: Final = 16
"""Connections beside those of units and hosts: runner, supervisor, watchers, units that emit as several."""
DEATHS: Final = 5
DEATHS_S: Final = 10.0
"""A broker that dies so often within so long is not started again."""


class Deaths:
    """When something died lately."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=DEATHS)

    def too_many(self, now_s: float) -> bool:
        """It has died: whether that is once too often."""
        self._times_s.append(now_s)
        return len(self._times_s) == DEATHS and now_s - self._times_s[0] <= DEATHS_S


LAST_WORDS_S: Final = 0.3
"""How long peers of the broker may take to leave when a person wants the run to end."""


class RunProcesses:
    """The processes of one run beside its units, from its making to the end of `with`. `folder` is the run folder; a
    `durable` broker acknowledges what is on the disk; `listen` is an address on TCP where other hosts and external
    units may join, `keyring` a folder of keys that are good there beside those made for the run. With `external_broker`
    the run has no broker of its own.

    Raises BrokerFailed or SupervisorFailed, ScenarioError for a unit that cannot be started at all, and UsageError for
    hosts that cannot be reached so.
    """

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        run: str,
        *,
        durable: bool = False,
        listen: str = "",
        keyring: Path | None = None,
        external_broker: ExternalBroker | None = None,
    ) -> None:
        self._run = run
        self._hurried = False
        self._folder = folder
        self._used = scenario.used_hosts
        self._hosts: Hosts | None = None
        self.external_broker = external_broker
        """The broker that the run uses in place of its own, if so."""
        with contextlib.ExitStack() as stack:
            self._listen = {} if external_broker is not None else _listen(self._used, listen)
            addresses = list(dict.fromkeys([*([listen] if listen else []), *self._listen.values()]))
            self.remote_access = (
                stack.enter_context(self._remote_access(scenario, addresses, keyring)) if addresses else None
            )
            """How other hosts and external units reach the broker; None: they cannot."""
            self.endpoint = external_broker.endpoint() if external_broker else stack.enter_context(private_endpoint())
            """Where the broker listens: an endpoint that only this user can reach, unless it is an external broker."""
            self._keys = stack.enter_context(_run_keys(external_broker, scenario, folder))
            self.context = RunContext(self.endpoint, run, folder, *(self._keys.files if self._keys else ()))
            self._names = ownership.names_of(scenario) if self.remote_access or self._keys else ()
            if self.remote_access is not None:
                ownership.write_down(self._names, folder / log.FILE_NAME)
            self.launcher = Launcher(scenario, self.context)
            self.broker: Broker | ExternalBroker = external_broker or Broker(
                self.endpoint,
                run,
                folder,
                durable=durable,
                peers=len(scenario.units) + len(self._used) + FURTHER_PEERS,
                further=self.remote_access.listen if self.remote_access else (),
                keys=self.remote_access.keyrings if self.remote_access else None,
            )
            stack.callback(self._close_broker)
            stack.callback(self.publish)
            stack.callback(self._close_hosts)
            self._supervisor: Supervisor | None = None
            stack.callback(self._close_supervisor)
            if external_broker is None:  # else its key has to be known there first
                self.begin()
            self._ending = stack.pop_all()
        self.restarts = 0
        """How often the broker was started again."""
        self._deaths = Deaths()

    @property
    def introduction(self) -> tuple[Message, ...]:
        """What an external broker has to be sent before any process of the run connects to it."""
        return (*self._names, *self._keys.issues) if self._keys else ()

    def begin(self) -> None:
        """Start the supervisor, and with it the first units; once the broker has got what `introduction` says."""
        if self._supervisor is None:
            self._supervisor = Supervisor(self.context, self.launcher.first())

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor on this host, after `begin`."""
        assert self._supervisor is not None
        return self._supervisor

    @property
    def key_folder(self) -> Path | None:
        """Where keys of this run alone are, which go with it."""
        if self.remote_access is not None:
            return self.remote_access.keys
        return self._keys.folder if self._keys else None

    @property
    def leased(self) -> tuple[LeasedProcess, ...]:
        """Those that are ours and on this host."""
        return (self.supervisor,) if isinstance(self.broker, ExternalBroker) else (self.broker, self.supervisor)

    @property
    def hosts(self) -> Hosts:
        """The supervisors on other hosts that are reached over ssh; started by the first call, after `ready`."""
        if self._hosts is None:
            self._hosts = Hosts(self._used, self._config, self._folder)
        return self._hosts

    def ready(self) -> None:
        """Wait until the broker listens. Raises BrokerFailed."""
        while True:
            try:
                self.broker.endpoint(len(self.remote_access.listen) if self.remote_access else 0)
                return
            except BrokerFailed:
                if not self.revive():
                    raise

    def revive(self) -> bool:
        """Start the broker again if it was killed or ended: on the same addresses, with the same log. Whether
        that was so; never waits. Raises BrokerFailed if it gave up by itself, was killed too often, or does not listen.
        """
        code = self.broker.code
        if code is None or code > 0 or isinstance(self.broker, ExternalBroker):
            self.broker.check()
            return False
        if self._deaths.too_many(monotonic()):
            how = f"was killed by {signal_name(-code)}" if code else "was ordered to end"
            raise BrokerFailed(
                f"the broker {how}, for the {DEATHS}th time within {DEATHS_S:g} s, and is not started again"
            )
        self.broker = self.broker.again()
        self.restarts += 1
        return True

    def publish(self) -> None:
        """Bring into the log what processes that are dead wrote down and could not say any more, the last words of the
        supervisor too. What that does not succeed with stays; the audit names it."""
        journals = self.context.journals
        if self.broker.code is None and journals.is_dir() and any(journals.iterdir()):
            from probe import recovery  # seldom needed

            recovery.recover(journals, self.endpoint, keys=self.external_broker.keys if self.external_broker else None)

    def _remote_access(self, scenario: Scenario, addresses: Sequence[str], keyring: Path | None) -> RemoteAccess:
        external = [unit.name for unit in scenario.units if unit.launcher == "external"]
        agents = {host.name: ownership.spoken_on(scenario, host) for host in self._used if host.ssh is not None}
        return RemoteAccess(addresses, self._folder, self._run, external, agents, keyring)

    def _config(self, host: Host) -> SupervisorConfig:
        """The config of the supervisor of `host`."""
        assert host.ssh is not None
        lease_s = host.lease_ns / 1e9
        if self.external_broker is not None:
            its_keys = self._keys.of(host.name) if self._keys else ""
            return SupervisorConfig(self.endpoint, self._run, host.name, its_keys, lease_s)
        assert self.remote_access is not None
        number = 1 + self.remote_access.listen.index(self._listen[host.name])
        broker = seen_from(self.broker.endpoint(number), host.ssh)
        return SupervisorConfig(broker, self._run, host.name, self.remote_access.keys_of(host.name), lease_s)

    def _close_hosts(self) -> None:
        if self._hosts is not None:
            self._hosts.close()

    def _close_supervisor(self) -> None:
        if self._supervisor is not None:
            self._supervisor.close()

    def hurry(self) -> None:
        """A person wants the run to end: peers of the broker that do not leave are not waited for any more."""
        self._hurried = True

    def _close_broker(self) -> None:
        if self._hurried and isinstance(self.broker, Broker):
            self.broker.hasten(LAST_WORDS_S)
        self.broker.close()

    def invitations(self) -> list[str]:
        """What is needed to join from elsewhere, in lines (see `RemoteAccess`); waits until the broker listens. Raises
        BrokerFailed."""
        return self.remote_access.invitations(self.broker.endpoint(1)) if self.remote_access else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()


@contextlib.contextmanager
def _run_keys(
    external_broker: ExternalBroker | None, scenario: Scenario, folder: Path
) -> Iterator[ownership.RunKeys | None]:
    """The keys of a run on an external broker; None where they are not needed. They are removed with the run."""
    if external_broker is None or external_broker.keys is None:
        yield None
        return
    made = ownership.RunKeys(external_broker.keys.broker, scenario, folder / "keys")
    try:
        yield made
    finally:
        shutil.rmtree(made.folder, ignore_errors=True)


def _listen(hosts: Sequence[Host], listen: str) -> dict[str, str]:
    """Host -> the address on which the broker listens for it: `listen`, else the one of ours that is towards it."""
    found = {}
    for host in hosts:
        if listen:
            found[host.name] = listen
        elif host.ssh is None:
            raise UsageError(
                f"host {host.name} has an agent, which needs to know where to join: say --listen tcp://HOST:PORT with "
                "--keys DIR, or --broker ENDPOINT"
            )
        elif address := address_towards(host.ssh):
            found[host.name] = f"tcp://{address}:0"
        else:
            raise UsageError(
                f"cannot tell by which address host {host.name} (ssh {host.ssh}) reaches this one, as it is not known "
                f"here or behind a jump host: say --listen tcp://HOST:PORT, or --host {host.name}=local to have it here"
            )
    return found
