"""What the media worker asks of a WebRTC library and of inference, so that either can be exchanged.

A :class:`Peer` is one peer connection with one browser. Pictures and sound to send are pulled from sources;
what arrives is pushed into callbacks. Only :mod:`server.media.aiortc_peer` knows which library does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from signaling.protocol import DriverState, IceCandidate, IceServer

PeerState = Literal["connecting", "connected", "failed", "closed"]


@dataclass(frozen=True)
class Picture:
    """A picture to send.

    Attributes:
        i420: uint8 ``[H * 3 // 2, W]``.
        timestamp: 1/90000 s, rising from picture to picture of one source.
    """

    i420: NDArray[np.uint8]
    timestamp: int


@dataclass(frozen=True)
class SoundPacket:
    """An Opus packet to send.

    Attributes:
        payload: the packet.
        timestamp: 1/48000 s, rising from packet to packet of one source.
    """

    payload: bytes
    timestamp: int


class PictureSource(Protocol):
    """Pictures for one viewer."""

    async def next(self) -> Picture:
        """Wait for the next picture to send."""


class SoundSource(Protocol):
    """Sound for one viewer."""

    async def next(self) -> SoundPacket:
        """Wait for the next packet to send."""


class Peer(Protocol):
    """One peer connection, negotiated once: the browser offers."""

    async def answer(self, offer: str) -> str:
        """Take the browser's offer (SDP) and give the answer (SDP), candidates included.

        Raises:
            PeerError: the offer cannot be answered; the message is a sentence for people.
        """

    async def add_candidate(self, candidate: IceCandidate) -> None:
        """Take a trickled candidate of the browser's; what cannot be used is ignored."""

    async def close(self) -> None:
        """End the connection and give everything back. Safe to call in any state, and again."""


class PeerError(ValueError):
    """A peer connection cannot be set up; the message is a sentence for people."""


class PeerFactory(Protocol):
    """Makes peer connections."""

    def create(
        self,
        *,
        ice_servers: Sequence[IceServer],
        on_state: Callable[[PeerState], None],
        pictures: PictureSource,
        sound: SoundSource | None = None,
        on_picture: Callable[[av.VideoFrame], None] | None = None,
        on_sound: Callable[[bytes, int], None] | None = None,
    ) -> Peer:
        """Make a peer connection.

        Args:
            ice_servers: STUN and TURN servers; none means none.
            on_state: told of each new state.
            pictures: sent to the browser.
            sound: sent to the browser, if given.
            on_picture: takes each decoded camera picture, yuv420p of at most 1280x720; without it no camera
                is received.
            on_sound: takes each microphone packet (Opus) and its RTP timestamp; without it none is received.
        """

    def close(self) -> None:
        """Give back what all connections shared."""


class GeneratedPicture(Protocol):
    """A picture that is always safe to show; see :class:`server.inference.client.GeneratedFrame`."""

    @property
    def sequence(self) -> int:
        """Another number means another picture."""

    @property
    def i420(self) -> NDArray[np.uint8]:
        """``[size * 3 // 2, size]`` uint8."""

    @property
    def state(self) -> DriverState:
        """What the picture shows."""

    @property
    def driver_time(self) -> float | None:
        """When its driver frame was decoded (monotonic seconds); None for a still."""

    @property
    def generated(self) -> bool:
        """Whether it follows a driver frame; otherwise it is a still."""


class Inference(Protocol):
    """What the media worker uses of :class:`server.inference.client.InferenceClient`."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def open(self, driver: str) -> None: ...

    def release(self, driver: str) -> None: ...

    def set_target(self, driver: str, target_id: str | None) -> None: ...

    def set_camera(self, driver: str, on: bool) -> None: ...

    def recalibrate(self, driver: str) -> None: ...

    def react(self, driver: str, template: str) -> None: ...

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None: ...

    def latest(self, driver: str) -> GeneratedPicture: ...

    def stats(self, driver: str) -> Any: ...
