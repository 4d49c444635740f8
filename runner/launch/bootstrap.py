"""What a Python unit is started as: `python -P -m runner.launch.bootstrap module:function FOLDER`.

Waits at the start gate, imports the entrypoint from FOLDER, calls it, and turns its end into an exit code. Belongs here:
what stands between the interpreter and the user's code. Must stay light, because every unit pays for it, and out of
sight: a traceback shows the user's frames only.

SIGTERM becomes SystemExit(143) in the main thread, so that `finally` blocks and `atexit` run.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, ModuleType, TracebackType
from typing import Any, Final, NoReturn

from probe import barrier
from probe.emitter import default
from probe.errors import BarrierBroken

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code of a unit that was told to stop."""


class Misnamed(Exception):
    """The entrypoint does not lead to a function; the message says what was found, and what may have been meant."""


def main(argv: list[str]) -> NoReturn:
    """Run the entrypoint `argv[0]` with the folder `argv[1]` first on the import path; leaves by SystemExit."""
    entrypoint, folder = argv
    _answer_sigterm()
    try:
        barrier.await_start()
    except BarrierBroken as broken:
        sys.exit(f"not started: {broken.why}")
    make_room(folder)
    try:
        function = find(entrypoint)
        default.state("imported")
        call(function)
    except Misnamed as error:
        default.error("entrypoint", message=str(error))
        sys.exit(str(error))
    except Exception as error:
        default.error(error)
        show(error)
        sys.exit(1)
    sys.exit(0)


def make_room(folder: str) -> None:
    """Let user code find its own modules, and nothing of ours but `probe`.

    Its processes find them too: `multiprocessing` must not import this file again as their main module.
    """
    here = os.getcwd()
    sys.path[:0] = [here] if here == folder else [here, folder]
    sys.argv = [os.path.join(folder, "")]
    for name in [name for name in sys.modules if name.partition(".")[0] == "runner"]:
        del sys.modules[name]
    main_module = sys.modules["__main__"]
    main_module.__spec__ = None
    main_module.__dict__.pop("__file__", None)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


def find(entrypoint: str) -> Callable[[], Any]:
    """The function that `module:function` names. Raises Misnamed, or whatever importing the module raises."""
    import importlib

    module_name, _, name = entrypoint.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        there = [file.removesuffix(".py") for file in os.listdir(os.getcwd()) if file.endswith(".py")]
        hint = _did_you_mean(module_name, there)
        raise Misnamed(f"entrypoint {entrypoint!r}: there is no module {error.name!r} in {os.getcwd()}{hint}") from None
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    where = f"module {module_name!r} ({getattr(module, '__file__', None) or 'built in'})"
    if function is not None:
        raise Misnamed(f"entrypoint {entrypoint!r}: {name!r} in {where} is no function but {type(function).__name__}")
    hint = _did_you_mean(name, [known for known, value in vars(module).items() if callable(value)])
    raise Misnamed(f"entrypoint {entrypoint!r}: {where} has no function {name!r}{hint}")


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call it, in an event loop if it is `async def`."""
    result = function(*arguments)
    if hasattr(result, "__await__"):
        import asyncio

        return asyncio.run(_awaited(result))
    return result


def show(error: BaseException) -> None:
    """The traceback of `error` on standard error, from the user's first frame on."""
    import traceback

    sys.stderr.write("".join(traceback.format_exception(type(error), error, users(error.__traceback__))))
    sys.stderr.flush()


def users(trace: TracebackType | None) -> TracebackType | None:
    """`trace` without the frames that led to the user's code; None when it never got there."""
    while trace is not None and _is_ours(trace.tb_frame):
        trace = trace.tb_next
    return trace


def _is_ours(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file == __file__ or "importlib" in file or file.endswith((f"{os.sep}runners.py", f"{os.sep}base_events.py"))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _answer_sigterm() -> None:
    mine = os.getpid()

    def terminate(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() != mine:  # a forked child, which ends as any process does
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, terminate)


def _did_you_mean(name: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


if __name__ == "__main__":
    main(sys.argv[1:])
