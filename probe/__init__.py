"""What a unit imports: one line says what happens, `probe.emit("order-sent", key=order_id)`.

Without a broker in the environment every call is a no-op, so probes stay in production code. `import probe` opens
nothing and starts nothing; the first probe does.

    emit send receive error ready       say that something happened; never block, never raise
    barrier wait                        block until the others are there, or until a probe has fired
    barrier_async wait_async            the same for asyncio
    checkpoint checkpoint_async         where a test may hold the caller
    unit                                for processes that are several units
"""

from probe.gate import checkpoint as checkpoint
from probe.gate import checkpoint_async as checkpoint_async
from probe.units import default as _default
from probe.units import unit

__all__ = [
    "barrier",
    "barrier_async",
    "checkpoint",
    "checkpoint_async",
    "emit",
    "error",
    "ready",
    "receive",
    "send",
    "unit",
    "wait",
    "wait_async",
]

emit = _default.emit
send = _default.send
receive = _default.receive
error = _default.error
ready = _default.ready
barrier = _default.barrier
barrier_async = _default.barrier_async
wait = _default.wait
wait_async = _default.wait_async
