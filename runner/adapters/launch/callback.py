"""User code that the runner calls, never in the runner's own process: `setup`, `check`.

Belongs here: one process for such code, asking it, and what its answer means. Must not know when it is called.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import circuit_run
from probe import environment
from probe.clock import monotonic
from runner.adapters import files, process_tree
from runner.adapters.start_orders import RunContext, user_environment
from runner.model.scenario.model import Callback, Scenario

STEP_S: Final = 0.1
"""How often `meanwhile` is called."""
END_S: Final = 2.0
"""How long the process may take to end when nothing more is asked."""
_TAIL_BYTES: Final = 4096

Meanwhile = Callable[[], bool]
"""Called ten times a second while user code runs; true ends it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call. `why` completes the sentence "<name> ..." when it was not `ok`; `details` are the lines that
    explain it (the user's traceback, the last lines of output)."""

    ok: bool
    why: str = ""
    details: tuple[str, ...] = ()
    stopped: bool = False
    """It was ended because `meanwhile` said so: what would have come of it is not known."""


def setup(scenario: Scenario, context: RunContext, meanwhile: Meanwhile) -> Answer:
    """Run the scenario's `setup` to its end: a function that must not raise, or a command that must exit with 0."""
    callback = scenario.setup
    if callback is None:
        return Answer(True)
    with UserCodeProcess(scenario, context, "setup") as process:
        reply = process.ask(_request(callback), scenario.timeout_ns / 1e9, meanwhile)
        if reply.get("code"):
            return Answer(False, f"exited with code {reply['code']}", process.tail())
        return process.answer(reply)


def check(scenario: Scenario, context: RunContext, result: Mapping[str, Any], meanwhile: Meanwhile) -> Answer:
    """Call the scenario's `check` with the result, a dict as in result.json: it must not raise or return False."""
    if scenario.check is None:
        return Answer(True)
    with UserCodeProcess(scenario, context, "check") as process:
        reply = process.ask(_request(scenario.check, result), scenario.timeout_ns / 1e9, meanwhile)
        if reply.get("returned") is False:
            return Answer(False, "returned False", process.tail())
        if reply.get("code"):
            return Answer(False, f"exited with code {reply['code']}", process.tail())
        return process.answer(reply)


class UserCodeProcess:
    """A process for user code, from `with` to the end of `with`; nothing that it starts outlives it.

    What the code prints is in `<name>.out` and `<name>.err` in the run folder. `variables` are those beyond what user
    code gets anyway; without those of a unit, its probes are off.
    """

    def __init__(
        self,
        scenario: Scenario,
        context: RunContext,
        name: str,
        module: str = "runner.adapters.usercode.user_code_worker",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._out, self._err = context.folder / f"{name}.out", context.folder / f"{name}.err"
        ours, self._requests = os.pipe()
        self._replies, theirs = os.pipe()
        self._kill_on_exit = process_tree.KillOnExit()
        try:
            with (
                open(self._out, "ab", opener=files.opener) as out,
                open(self._err, "ab", opener=files.opener) as err,
            ):
                self._process = subprocess.Popen(
                    [*circuit_run.PROCESS, module, str(ours), str(theirs), scenario.folder],
                    cwd=scenario.folder,
                    env={
                        **environment.apart(os.environ),
                        **user_environment(scenario, os.environ),
                        **(variables or {}),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    pass_fds=(ours, theirs, *self._kill_on_exit.inherited),
                    start_new_session=True,
                )
            self._kill_on_exit.bind(self._process.pid)
        finally:
            os.close(ours)
            os.close(theirs)
        self._heard = b""

    def __enter__(self) -> "UserCodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._requests)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._kill()
        self._kill_on_exit.close()
        os.close(self._replies)

    def ask(self, request: Mapping[str, Any], timeout_s: float, meanwhile: Meanwhile) -> dict[str, Any]:
        """The reply, or one with an `error` when there was none: it died, or was ended by us."""
        deadline = monotonic() + timeout_s
        question = memoryview(json.dumps(request, default=str).encode() + b"\n")
        os.set_blocking(self._requests, False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._requests, selectors.EVENT_WRITE)
            while b"\n" not in self._heard:
                if meanwhile():
                    return {**self._give_up("was stopped"), "stopped": True}
                if monotonic() > deadline:
                    return self._give_up(f"did not end within {timeout_s:g} s")
                for key, _ in selector.select(STEP_S):
                    if key.fd == self._requests:
                        question = question[self._write(question) :]
                        if not question:
                            selector.unregister(self._requests)
                    elif read := os.read(self._replies, 65536):
                        self._heard += read
                    else:
                        return {"error": _ended(self._process.wait()), "traceback": []}
        line, _, self._heard = self._heard.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def answer(self, reply: Mapping[str, Any]) -> Answer:
        """What a reply means for code that only has to come to its end."""
        if "error" not in reply:
            return Answer(True)
        raised = bool(reply["traceback"])
        why = f"raised {reply['error']}" if raised else str(reply["error"])
        return Answer(False, why, tuple(reply["traceback"]) if raised else self.tail(), "stopped" in reply)

    def tail(self) -> tuple[str, ...]:
        """The last lines on standard error, or on standard output where nothing else was written."""
        for file in (self._err, self._out):
            with contextlib.suppress(OSError):
                text = file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
                if text.strip():
                    return tuple(text.splitlines()[-12:])
        return ()

    def _write(self, question: memoryview) -> int:
        try:
            return os.write(self._requests, question)
        except BlockingIOError:
            return 0
        except BrokenPipeError:  # the replies show its end
            return len(question)

    def _give_up(self, why: str) -> dict[str, Any]:
        self._kill()
        return {"error": why, "traceback": []}

    def _kill(self) -> None:
        """Everything in its session, whether it has ended itself or not."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _request(callback: Callback, *arguments: object) -> dict[str, Any]:
    if callback.command is not None:
        return {"do": "run", "command": callback.command}
    return {"do": "call", "entrypoint": callback.entrypoint, "arguments": arguments}


def _ended(code: int) -> str:
    return f"ended its process with code {code}" if code >= 0 else f"was killed by signal {-code}"
