"""Numbers the texts that synthetic peers send each other, and finds those that are lost, doubled or late."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TextLedger:
    """The texts of one sender, and how they came to one receiver.

    Attributes:
        sent: when each was sent (monotonic seconds).
        delays: seconds from sending to receiving.
        doubled: received again.
        disordered: received after a later one.
        strange: received texts that nobody sent.
    """

    sent: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    doubled: int = 0
    disordered: int = 0
    strange: int = 0
    _received: set[int] = field(default_factory=set)
    _newest: int = -1

    def write(self, at: float) -> str:
        """The next text to send."""
        self.sent.append(at)
        return f"load {len(self.sent) - 1}"

    def read(self, text: str, at: float) -> None:
        """Take a text that came."""
        word, _, number = text.partition(" ")
        if word != "load" or not number.isdecimal() or int(number) >= len(self.sent):
            self.strange += 1
            return
        index = int(number)
        if index in self._received:
            self.doubled += 1
            return
        self._received.add(index)
        self.disordered += index < self._newest
        self._newest = max(self._newest, index)
        self.delays.append(at - self.sent[index])

    @property
    def lost(self) -> int:
        """Sent, but not received."""
        return len(self.sent) - len(self._received)

    @property
    def wrong(self) -> int:
        """All that is not as it should be."""
        return self.lost + self.doubled + self.disordered + self.strange
