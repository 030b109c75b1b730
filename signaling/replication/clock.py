"""Time and chance as the log has them: the same for every replica, whatever its machine's clock says."""

from __future__ import annotations

import base64
import hmac
from typing import Final

#: No more than this passes between two events, seconds. Longer silence means that the log was out of reach,
#: and nobody could say that they were there.
LONGEST_GAP_S: Final = 1.0


class LogClock:
    """The state machine's time, from the times at which the log took its entries.

    Attributes:
        now: seconds; starts at Unix time and falls behind it by every outage.
        entry_ms: Unix time of the last entry, milliseconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.entry_ms = 0

    def advance(self, entry_ms: int) -> float:
        """The time of the next entry."""
        if self.entry_ms == 0:
            self.now = entry_ms / 1000
        elif entry_ms > self.entry_ms:
            self.now += min((entry_ms - self.entry_ms) / 1000, LONGEST_GAP_S)
        self.entry_ms = max(entry_ms, self.entry_ms)
        return self.now

    @property
    def epoch(self) -> float:
        """Seconds since the Unix epoch at ``now == 0``."""
        return self.entry_ms / 1000 - self.now


class LogTokens:
    """Tokens that all replicas draw alike and that nobody without the key can guess.

    Token ``i`` of entry ``e`` is HMAC-SHA256(key, ``e i``).

    Args:
        key: known to the cluster's nodes alone.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._entry = b""
        self._drawn = 0

    def seed(self, entry: bytes) -> None:
        """From now on tokens are drawn for this entry; its name is never used again."""
        self._entry = entry
        self._drawn = 0

    def __call__(self, size: int) -> str:
        """A token of so many random bytes (at most 32), out of ``[A-Za-z0-9_-]``."""
        self._drawn += 1
        drawn = hmac.digest(self._key, b"%s %d" % (self._entry, self._drawn), "sha256")
        return base64.urlsafe_b64encode(drawn[:size]).rstrip(b"=").decode()
