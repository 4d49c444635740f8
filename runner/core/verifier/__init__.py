"""The verifier: events in, findings out.

It takes values and returns values: no clock, no socket, no thread. `Verifier` is the way in; what comes out
is in `runner/model/result`.
"""

from runner.core.verifier.verifier import Verifier as Verifier
