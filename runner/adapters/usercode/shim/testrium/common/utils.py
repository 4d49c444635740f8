"""What test functions of a legacy folder import beside events."""

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def test_config(priority: int = 0, parallelize: bool = False) -> Callable[[_Function], _Function]:  # noqa: PT028
    """Say in which order a test function runs. The loader reads it from the source; here it only has to be harmless."""

    def mark(function: _Function) -> _Function:
        function.testrium_priority = priority  # type: ignore[attr-defined]
        function.testrium_parallelize = parallelize  # type: ignore[attr-defined]
        return function

    return mark


def verify_condition(condition: object, message: str = "Verification failed") -> None:
    """Raises AssertionError with `message` unless `condition` is true."""
    if not condition:
        raise AssertionError(message)


def log_test_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Prints how long each call took, in seconds."""

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.monotonic()
        result = function(*args, **kwargs)
        print(f"{function.__name__} took {time.monotonic() - started:.2f} seconds")  # noqa: T201
        return result

    return timed
