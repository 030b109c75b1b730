"""Peers on bad networks: they ask for lost packets and keyframes as a browser does, and say what they saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import av
from aiortc import RTCConfiguration, RTCSessionDescription

from server.bench.driver import PacketTrack
from server.media.mends.peer_connection import Media, MendedPeerConnection
from server.media.mends.picture_sender import encoder_executor
from server.media.mends.vp8_encoder import BitrateBounds
from signaling.protocol import SessionDescription, SessionSignal
from tests.faults.impairment import Impairment
from tests.faults.numbered import NumberedCamera, luma_of, read_number
from tests.integration.media.harness import Call

CAMERA_BITRATES = BitrateBounds(start=800_000, least=250_000, most=1_500_000)


class NetworkPeer:
    """One peer connection behind an :class:`Impairment`; keeps what it receives.

    aiortc's own receiver asks for a lost packet once and waits for it for up to 512 packets; browsers do
    not. So a peer receives with the service's own receiver.

    Attributes:
        pictures: when each picture came and its number.
        sounds: when each Opus packet came, and its RTP timestamp.
    """

    def __init__(self, terminal: str, session: str, network: Impairment, peer: str | None = None) -> None:
        self.pictures: list[tuple[float, int]] = []
        self.sounds: list[tuple[float, int]] = []
        self._terminal, self._session, self._peer, self._network = terminal, session, peer, network
        self._executor = encoder_executor()
        media = Media(self._picture, self._sound, CAMERA_BITRATES, self._executor)
        self.connection = MendedPeerConnection(RTCConfiguration(iceServers=[]), media)

    def _picture(self, frame: av.VideoFrame) -> None:
        self.pictures.append((time.monotonic(), read_number(luma_of(frame))))

    def _sound(self, payload: bytes, timestamp: int) -> None:
        if len(payload) > 10:  # not silence
            self.sounds.append((time.monotonic(), timestamp))

    def publish(self, camera: NumberedCamera, opus: Sequence[bytes]) -> None:
        """Send a camera and a microphone, receive one's own picture."""
        self.connection.addTransceiver(camera, "sendrecv")
        self.connection.addTransceiver(PacketTrack("audio", opus, 50), "sendonly")

    def subscribe(self) -> None:
        """Receive a peer's picture and sound."""
        self.connection.addTransceiver("video", "recvonly")
        self.connection.addTransceiver("audio", "recvonly")

    async def connect(self, call: Call) -> None:
        """Negotiate with the media service, over the bad network from the first packet on."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        # Bundled: all media go through the sockets of the first.
        first = self.connection.getTransceivers()[0]
        self._network.apply(first.receiver.transport.transport.iceGatherer._connection)
        call.service.signal(
            SessionSignal(
                terminal=self._terminal,
                session=self._session,
                channel="publish" if self._peer is None else "subscribe",
                peer=self._peer,
                description=SessionDescription(type="offer", sdp=self.connection.localDescription.sdp),
            )
        )
        answer = await asyncio.wait_for(call.answer(self._terminal, self._session), 5)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        await self.connection.close()
        self._executor.shutdown(wait=False)


def new_pictures(seen: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Without those that were only shown again."""
    return [now for before, now in pairwise(seen) if now[1] != before[1]]


def longest_gap(times: Sequence[float], begin: float, end: float) -> float:
    """Longest time in an interval without any of these events, seconds."""
    inside = [begin, *(at for at in times if begin < at < end), end]
    return max(after - before for before, after in pairwise(inside))


def within(seen: Sequence[tuple[float, int]], begin: float, end: float) -> list[tuple[float, int]]:
    """What was seen in an interval."""
    return [item for item in seen if begin <= item[0] < end]


async def wait(condition: Callable[[], object], limit: float) -> float:
    """Wait until it holds; returns the seconds it took, or fails."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, f"not within {limit:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began
