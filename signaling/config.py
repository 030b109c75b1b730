"""Settings of the signaling server: times, limits, who may connect."""

from __future__ import annotations

from dataclasses import dataclass, field

from signaling.protocol import IceServer
from signaling.state import Limits
from signaling.turn import TurnCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalingConfig:
    """All settings, in seconds and bytes where not said otherwise.

    Raises:
        ValueError: a value is out of range.
    """

    heartbeat_s: float = 3.0  # terminals are told to send a ping at least this often
    silent_after_s: float | None = None  # no message for this long: away; None: 8/3 heartbeats
    resume_s: float = 30.0  # a lost terminal's place is kept this long
    ring_timeout_s: float = 45.0
    hello_timeout_s: float = 10.0  # a connection must say hello in this time
    room_capacity: int = 8
    max_terminals: int = 10_000

    ice_servers: tuple[IceServer, ...] = ()
    turn_urls: tuple[
        str, ...
    ] = ()  # relays that share turn_secret: each terminal gets credentials of its own
    turn_secret: str = field(default="", repr=False)
    turn_ttl_s: float = 3600.0  # how long these are good for

    join_key: str = field(default="", repr=False)  # signs join tokens; empty: open to whoever reaches it
    own_host_only: bool = False  # terminals must have reached it as localhost
    connections_per_token: int = 16  # at once, with one join token
    worker_secret: str = field(default="", repr=False)  # empty: no worker is taken
    redis_url: str = field(default="", repr=False)  # joins this node with others; empty: it is alone
    worker_silence_s: float = 8.0  # a worker that sends nothing for this long is given up
    worker_grace_s: float = 3.0  # a worker whose connection was lost may come back for this long ...
    worker_handover_s: float = 1.0  # ... or for this long, when others have room for all that it serves
    play_on_s: float = 5.0  # terminals that are moved to another worker keep their former sessions so long

    check_origin: bool = True  # browsers may connect from the page's own origin or an allowed one only
    allowed_origins: tuple[str, ...] = ()  # such as https://meet.example.org; "*" allows all
    forwarded_header: str | None = None  # behind a proxy: the header whose last entry is the client's address
    connections_per_address: int = 128  # at once
    connects_per_second: float = 20.0  # from one address, in the long run
    connect_burst: int = 256

    messages_per_second: float = 50.0  # from one terminal, in the long run
    message_burst: int = 100
    abuse_limit: int = 500  # so many more messages refused as too fast than taken close the connection
    queue_messages: int = 512  # waiting for one terminal to read them; more close its connection
    queue_bytes: int = 2 * 1024 * 1024
    worker_queue_messages: int = 50_000  # a returning worker is told of all its drivers at once
    worker_queue_bytes: int = 64 * 1024 * 1024
    tick_s: float = 0.25  # how often silence and time-outs are looked for

    def __post_init__(self) -> None:
        # Zero is a sensible "none" or "at once" for these alone.
        may_be_zero = {"worker_grace_s", "worker_handover_s", "abuse_limit"}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value < 0 or (value == 0 and name not in may_be_zero):
                raise ValueError(f"{name} must be greater than 0, not {value}")
        if self.room_capacity < 2:
            raise ValueError(f"room_capacity must be at least 2, not {self.room_capacity}")
        if self.turn_urls and not self.turn_secret:
            raise ValueError("turn_urls need turn_secret, which the relays share")
        if self.redis_url and not self.worker_secret:
            raise ValueError("redis_url needs worker_secret, which all signaling nodes share")
        if self.silence_s <= self.heartbeat_s:
            raise ValueError("silent_after_s must be longer than heartbeat_s")

    @property
    def turn(self) -> TurnCredentials:
        """Makes each terminal's ICE servers."""
        return TurnCredentials(
            self.ice_servers, urls=self.turn_urls, secret=self.turn_secret, ttl_s=self.turn_ttl_s
        )

    @property
    def silence_s(self) -> float:
        """A terminal is taken for lost when no message came for this long."""
        return self.heartbeat_s * 8 / 3 if self.silent_after_s is None else self.silent_after_s

    @property
    def limits(self) -> Limits:
        """What the state machine needs of it."""
        return Limits(
            heartbeat_s=self.heartbeat_s,
            silence_s=self.silence_s,
            resume_s=self.resume_s,
            ring_timeout_s=self.ring_timeout_s,
            room_capacity=self.room_capacity,
            max_terminals=self.max_terminals,
            worker_silence_s=self.worker_silence_s,
            worker_grace_s=self.worker_grace_s,
            worker_handover_s=self.worker_handover_s,
            play_on_s=self.play_on_s,
        )
