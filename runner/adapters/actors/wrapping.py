"""Checkpoints before and after a callable without touching its code: what has its name is exchanged for a while.

Belongs here: finding what holds a callable, and the wrapper. Must not know who is held.
"""

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from probe import gate
from runner.model.errors import UsageError


class Wrapped:
    """One callable under its name in its owner. `install` and `remove` may be called once for each who needs it."""

    def __init__(self, owner: Any, attribute: str, original: Any, title: str) -> None:
        self._owner = owner
        self._attribute = attribute
        self._original = original
        self._own = attribute in vars(owner)
        self._users = 0
        self._elsewhere: list[Any] = []
        """Modules that have imported it by name."""
        self.before = f"before {title}"
        self.after = f"after {title}"

    def install(self) -> None:
        """Put the wrapper in its place."""
        self._users += 1
        if self._users > 1:
            return
        found = inspect.getattr_static(self._owner, self._attribute)
        wrapper: Any = _wrapper(self._original, self.before, self.after)
        if isinstance(found, staticmethod | classmethod) and not isinstance(self._owner, type(sys)):
            wrapper = type(found)(_wrapper(found.__func__, self.before, self.after))
        setattr(self._owner, self._attribute, wrapper)
        if inspect.ismodule(self._owner):
            self._elsewhere = [
                module
                for module in list(sys.modules.values())
                if module is not self._owner and getattr(module, "__dict__", {}).get(self._attribute) is self._original
            ]
            for module in self._elsewhere:
                setattr(module, self._attribute, wrapper)
        self._replaced = found

    def remove(self) -> None:
        """Put back what was there."""
        self._users -= 1
        if self._users:
            return
        if self._own:
            setattr(self._owner, self._attribute, self._replaced)
        else:
            delattr(self._owner, self._attribute)
        for module in self._elsewhere:
            setattr(module, self._attribute, self._original)
        _KNOWN.pop((id(self._owner), self._attribute), None)


_KNOWN: dict[tuple[int, str], Wrapped] = {}
"""By owner and name: several actors may have checkpoints around one callable."""


def wrapped(target: Callable[..., Any]) -> Wrapped:
    """The place of `target`. Raises UsageError if it has none that can be exchanged."""
    name = getattr(target, "__name__", "")
    title = getattr(target, "__qualname__", "") or repr(target)
    owner = getattr(target, "__self__", None)
    if inspect.isbuiltin(target) or not (inspect.isfunction(target) or inspect.ismethod(target)):
        raise UsageError(
            f"{title} is not written in Python, so no checkpoint can be put around it; put one around the function "
            "that calls it, or call probe.checkpoint there"
        )
    if owner is None:
        owner = _owner_of(target, title)
    key = id(owner), name
    if key not in _KNOWN:
        try:
            _KNOWN[key] = Wrapped(owner, name, getattr(owner, name), title)
        except TypeError:
            raise UsageError(
                f"{title} belongs to an object that takes no attributes; name its class's method"
            ) from None
    return _KNOWN[key]


def _owner_of(target: Callable[..., Any], title: str) -> Any:
    """The module or class in which a function has its name."""
    found: Any = sys.modules.get(target.__module__)
    for part in title.split(".")[:-1]:
        found = getattr(found, part, None)
    if found is None or getattr(found, target.__name__, None) is not target:
        raise UsageError(
            f"{target.__module__}.{title} cannot be found under its name, as of a function inside a function; give a "
            "method or a function of a module"
        )
    return found


def _wrapper(original: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def around_coroutine(*args: Any, **kwargs: Any) -> Any:
            await gate.checkpoint_async(before)
            try:
                return await original(*args, **kwargs)
            finally:
                await gate.checkpoint_async(after)

        return around_coroutine
    if inspect.isasyncgenfunction(original):

        @functools.wraps(original)
        async def around_async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            await gate.checkpoint_async(before)
            try:
                async for value in original(*args, **kwargs):
                    yield value
            finally:
                await gate.checkpoint_async(after)

        return around_async_generator
    if inspect.isgeneratorfunction(original):

        @functools.wraps(original)
        def around_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            gate.checkpoint(before)
            try:
                return (yield from original(*args, **kwargs))
            finally:
                gate.checkpoint(after)

        return around_generator

    @functools.wraps(original)
    def around(*args: Any, **kwargs: Any) -> Any:
        gate.checkpoint(before)
        try:
            return original(*args, **kwargs)
        finally:
            gate.checkpoint(after)

    return around
