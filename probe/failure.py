"""An exception -> what an event says of it: message and place.

Belongs here: reading an exception of the program's. Must not know what is recorded, or where.
"""

import os
from typing import Any

from probe import handlers


def described(error: BaseException) -> dict[str, Any]:
    """Message and place of an exception. Raises nothing of its own."""
    message = ""
    with handlers.suppressed(Exception):
        message = str(error)
    place = _place(error)
    return {"message": message, "where": place} if place else {"message": message}


def _place(error: BaseException) -> str:
    """Where it came from: the last frame that does not only import, or the line that is no Python."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and os.path.exists(error.filename):
        return f"{error.filename}:{error.lineno}"
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<frozen importlib"):
            place = f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return place
