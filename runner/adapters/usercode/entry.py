"""From the text `module:function` to calling the user's function, without any frame of ours.

Used by `bootstrap` and `callback`. Belongs here: the import path, finding, calling, and tracebacks that begin with the
user's first frame. Must stay light, because every unit pays for it, and must not know the bus.
"""

import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType, TracebackType
from typing import Any, Final

import circuit_run

_HERE: Final = os.path.dirname(__file__) + os.sep
_MACHINERY: Final = (f"{os.sep}importlib{os.sep}", f"{os.sep}asyncio{os.sep}", "<frozen importlib")


class Misnamed(Exception):
    """The text does not lead to a function; the message says what was found and what may have been meant."""


def make_room(folder: str) -> None:
    """Let user code find its own modules, from the working directory and `folder`, and nothing of ours but `probe`.

    Processes that it starts find them too; `multiprocessing` must not import our main module again in those.
    """
    here = os.getcwd()
    sys.path[:0] = [here] if here == folder else [here, folder]
    sys.argv = [""]
    circuit_run.yield_names()
    for name in [name for name in sys.modules if name.partition(".")[0] == "runner"]:
        del sys.modules[name]
    main = sys.modules["__main__"].__dict__
    main["__spec__"] = None
    main.pop("__file__", None)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


def find(entrypoint: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises Misnamed, or whatever importing the module raises."""
    import importlib

    module_name, _, name = entrypoint.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        here = os.getcwd()
        hint = _did_you_mean(module_name, (file.removesuffix(".py") for file in os.listdir(here)))
        raise Misnamed(f"entrypoint {entrypoint!r}: there is no module {error.name!r} in {here}{hint}") from None
    where = f"module {module_name!r} ({getattr(module, '__file__', None) or 'built in'}){_hides(module_name, module)}"
    found = getattr(module, name, None)
    if found is None:
        hint = _did_you_mean(name, (known for known, value in vars(module).items() if callable(value)))
        raise Misnamed(f"entrypoint {entrypoint!r}: {where} has no function {name!r}{hint}")
    if not callable(found):
        raise Misnamed(f"entrypoint {entrypoint!r}: {name!r} in {where} is no function but {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _hides(name: str, module: ModuleType) -> str:
    """What is to be said of a module that was imported before the user's own of that name was asked for."""
    file = os.path.join(os.getcwd(), *name.split("."))
    for own in (f"{file}.py", os.path.join(file, "__init__.py")):
        if os.path.isfile(own) and not os.path.samefile(own, getattr(module, "__file__", None) or os.devnull):
            return f", which hides {own}: rename that,"
    return ""


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """What it returns; an `async def` is run to its end."""
    result = function(*arguments)
    if hasattr(result, "__await__"):
        import asyncio

        async def awaited() -> Any:
            return await result

        return asyncio.run(awaited())
    return result


def traceback_of(error: BaseException) -> str:
    """The traceback from the user's first frame on."""
    import traceback

    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_ours(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return file.startswith(_HERE) or any(part in file for part in _MACHINERY)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
