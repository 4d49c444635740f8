"""The process in which the runner lets user code run.

    circuit_run runner.adapters.usercode.user_code_worker REQUESTS REPLIES FOLDER

REQUESTS and REPLIES are file descriptors with one JSON value a line. Belongs here: reading a request, calling, and
telling what came of it. Must not know what the answer means. When REQUESTS ends while user code runs, the runner is
gone: this process and all it started end at once.
"""

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from probe import units
from probe.native import start_new_thread
from runner.adapters.usercode import entry

Reply = dict[str, Any]
Handler = Callable[[dict[str, Any]], Reply]


def serve(handlers: Mapping[str, Handler], argv: list[str]) -> None:
    """Answer requests by the handler that their field "do" names, until there are no more. What user code has emitted
    is in the log when its answer is given."""
    requests, replies, folder = int(argv[0]), int(argv[1]), argv[2]
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    entry.make_room(folder)
    inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    idle = False

    def listen() -> None:
        with open(requests, encoding="utf-8") as lines:
            for line in lines:
                inbox.put(json.loads(line))
        if not idle:
            os.killpg(0, signal.SIGKILL)
        inbox.put(None)

    start_new_thread(listen, ())  # which user code does not see, and cannot make a greenlet
    with open(replies, "w", encoding="utf-8") as answers:
        while True:
            idle = True
            request = inbox.get()
            idle = False
            if request is None:
                return
            reply = handlers[request["do"]](request)
            units.close_all()
            sys.stdout.flush()
            answers.write(json.dumps(reply) + "\n")
            answers.flush()


def call(request: dict[str, Any]) -> Reply:
    """Calls `entrypoint` with `arguments`. The reply says what it `returned`, as far as that is true, false or nothing,
    or its `error` in a line and the user's part of the `traceback`."""
    try:
        returned = entry.call(entry.find(request["entrypoint"]), *request["arguments"])
    except entry.Misnamed as error:
        return {"error": str(error), "traceback": []}
    except SystemExit as error:
        return {"returned": None} if error.code in (None, 0) else {"error": f"left with {error.code}", "traceback": []}
    except BaseException as error:
        return failure(error)
    return {"returned": returned if returned is None else bool(returned)}


def run(request: dict[str, Any]) -> Reply:
    """Runs a `command` to its end; the reply has its exit `code`, or the `error` that kept it from starting."""
    try:
        return {"code": subprocess.call(request["command"], stdin=subprocess.DEVNULL)}
    except OSError as error:
        return {"error": f"cannot be started: {error.strerror}: {error.filename}", "traceback": []}


def failure(error: BaseException) -> Reply:
    """The text for an exception in user code."""
    return {"error": f"{type(error).__name__}: {error}", "traceback": entry.traceback_of(error).splitlines()}


def main(argv: list[str]) -> None:
    """Serve as `argv` says."""
    serve({"call": call, "run": run}, argv)
