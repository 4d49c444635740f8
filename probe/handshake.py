"""Whether a broker and its peer come to terms: what the monitor of the peer's socket says, put into words.

Belongs here: what a failed handshake means and what to do about it. Must not know sockets; the numbers are those of
libzmq's ZMQ_EVENT_* and ZMQ_PROTOCOL_ERROR_*, which are part of its interface and never change.
"""

from typing import Final

from probe.keys import Keys

DISCONNECTED: Final = 0x0200
FAILED_NO_DETAIL: Final = 0x0800
SUCCEEDED: Final = 0x1000
FAILED_PROTOCOL: Final = 0x2000
FAILED_AUTH: Final = 0x4000
MONITORED: Final = DISCONNECTED | FAILED_NO_DETAIL | SUCCEEDED | FAILED_PROTOCOL | FAILED_AUTH
"""What to ask a monitor for."""
MECHANISM_MISMATCH: Final = 0x11000002
"""One side wants keys, the other has none."""
PATIENCE: Final = 3
"""A connection that breaks in the middle of the handshake may be a broker that was killed. So many in a row are not."""


class Handshakes:
    """Those of one socket, one after the other."""

    def __init__(self, keys: Keys | None) -> None:
        self.keys: Final = keys
        self._broken = 0
        """How many in a row broke without a word."""

    def judge(self, event: int, value: int) -> str:
        """Why the broker will not let us in as we are, in words that name the remedy; "" while it may.

        ZeroMQ itself does not try again after most of these.
        """
        keys = self.keys
        if event == SUCCEEDED:
            self._broken = 0
        elif event == FAILED_AUTH:
            name = keys.name if keys else ""
            return (
                f"it does not know the key {name!r}, or the key was revoked; make a new one where its keyring is "
                f"(circuit-run keys new NAME), and name that file in CIRCUIT_KEYS"
            )
        elif event == FAILED_PROTOCOL and value == MECHANISM_MISMATCH and keys is None:
            return "it lets in only who has a key; name its file in CIRCUIT_KEYS (circuit-run keys new NAME makes one)"
        elif event == FAILED_PROTOCOL and value == MECHANISM_MISMATCH:
            return (
                "it has no keys, so it cannot prove to be the broker that ours are for; start it with its keyring "
                "(circuit-run broker --keys DIR), or unset CIRCUIT_KEYS"
            )
        elif event == FAILED_PROTOCOL:
            return "what listens there does not speak our protocol; look at CIRCUIT_BROKER"
        elif event == FAILED_NO_DETAIL and keys is not None:
            self._broken += 1
            if self._broken >= PATIENCE:
                return (
                    f"it is not the broker that the key {keys.name!r} was made for; look at CIRCUIT_BROKER and "
                    "CIRCUIT_KEYS, or make a new key where its keyring is (circuit-run keys new NAME)"
                )
        return ""
