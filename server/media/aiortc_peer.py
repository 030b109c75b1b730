"""Peer connections on aiortc: the one place, with the mends, that knows which WebRTC library is used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Final, cast

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from aiortc.rtcicetransport import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from server.media.interfaces import Peer, PeerError, PeerState, PictureSource, SoundSource
from server.media.mends import playout_delay, require_version
from server.media.mends.codecs import prefer_codecs
from server.media.mends.gathering import ice_servers as usable_ice_servers
from server.media.mends.offer import (
    MAX_CANDIDATES,
    OfferError,
    is_usable_candidate,
    read_offer,
    trimmed_offer,
    with_bitrate_hints,
)
from server.media.mends.peer_connection import Media, MendedPeerConnection
from server.media.mends.picture_sender import encoder_executor
from server.media.mends.vp8_encoder import BitrateBounds
from signaling.protocol import IceCandidate, IceServer

logger = logging.getLogger(__name__)

CLOSING_LIMIT_S: Final = 5.0
SOUND_TIME_BASE: Final = Fraction(1, 48000)


class PictureTrack(MediaStreamTrack):
    """A source's pictures as an aiortc track. Each viewer has its own; encoders write into their frame."""

    kind = "video"

    def __init__(self, source: PictureSource) -> None:
        super().__init__()
        self._source = source

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        picture = await self._source.next()
        frame = av.VideoFrame.from_ndarray(picture.i420, format="yuv420p")
        frame.pts = picture.timestamp
        frame.time_base = VIDEO_TIME_BASE
        return frame


class SoundTrack(MediaStreamTrack):
    """A source's Opus packets as an aiortc track."""

    kind = "audio"

    def __init__(self, source: SoundSource) -> None:
        super().__init__()
        self._source = source

    async def recv(self) -> av.Packet:
        if self.readyState != "live":
            raise MediaStreamError
        sound = await self._source.next()
        packet = av.Packet(sound.payload)
        packet.pts = sound.timestamp
        packet.time_base = SOUND_TIME_BASE
        return packet


class AiortcPeer:
    """A :class:`~server.media.interfaces.Peer` on aiortc.

    Args:
        connection: not negotiated yet.
        on_state: told of each new state.
        pictures: sent to the browser.
        sound: sent to the browser, if given.
        camera: whether to receive a camera.
        microphone: whether to receive a microphone.
    """

    def __init__(
        self,
        connection: MendedPeerConnection,
        on_state: Callable[[PeerState], None],
        pictures: PictureSource,
        sound: SoundSource | None,
        camera: bool,
        microphone: bool,
    ) -> None:
        self._connection = connection
        self._on_state = on_state
        self._pictures = pictures
        self._sound = sound
        self._camera = camera
        self._microphone = microphone
        self._candidates = 0
        self._closed = False
        connection.on("connectionstatechange", self._report)

    async def answer(self, offer: str) -> str:
        """See :meth:`Peer.answer`."""
        try:
            offered = read_offer(offer)
            for media in offered:
                self._add(media.kind)
            await self._connection.setRemoteDescription(RTCSessionDescription(trimmed_offer(offer), "offer"))
            playout_delay.negotiate(self._connection.getTransceivers(), offered)
            await self._connection.setLocalDescription()
        except OfferError as error:
            raise PeerError(str(error)) from error
        except InvalidStateError as error:
            raise PeerError("The media session was closed before it was answered.") from error
        except Exception as error:  # aiortc raises what its first surprise happens to be
            logger.info("An offer could not be answered", exc_info=True)
            raise PeerError(
                "The offer could not be answered: it must offer VP8 video or Opus sound over DTLS."
            ) from error
        if not self._has_candidates():
            raise PeerError("The media worker has no address or TURN relay to offer.")
        return with_bitrate_hints(self._connection.localDescription.sdp)

    async def add_candidate(self, candidate: IceCandidate) -> None:
        """See :meth:`Peer.add_candidate`."""
        line = candidate.candidate.removeprefix("a=")
        if self._candidates >= MAX_CANDIDATES or not is_usable_candidate(line):
            return
        self._candidates += 1
        try:
            parsed: RTCIceCandidate = candidate_from_sdp(line.removeprefix("candidate:"))
            # All media are on one transport, that of the first section, whichever a browser names.
            parsed.sdpMid = self._connection.getTransceivers()[0].mid
            await self._connection.addIceCandidate(parsed)
        except (ValueError, AssertionError, IndexError, InvalidStateError) as error:
            logger.debug("A candidate could not be used: %s", error)

    async def close(self) -> None:
        """See :meth:`Peer.close`."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.wait_for(self._connection.close(), CLOSING_LIMIT_S)
        except TimeoutError:
            logger.warning("A peer connection did not close within %g s", CLOSING_LIMIT_S)

    def _add(self, kind: str) -> None:
        track: MediaStreamTrack | None = None
        if kind == "video":
            track = PictureTrack(self._pictures)
        elif self._sound:
            track = SoundTrack(self._sound)
        receives = self._camera if kind == "video" else self._microphone
        direction = {
            (True, True): "sendrecv",
            (True, False): "sendonly",
            (False, True): "recvonly",
            (False, False): "inactive",
        }[track is not None, receives]
        prefer_codecs(self._connection.addTransceiver(track or kind, direction))

    def _has_candidates(self) -> bool:
        return any(
            transceiver.receiver.transport.transport.iceGatherer.getLocalCandidates()
            for transceiver in self._connection.getTransceivers()
        )

    def _report(self) -> None:
        state = self._connection.connectionState
        if state != "new":
            self._on_state(cast(PeerState, state))


class AiortcPeerFactory:
    """Makes :class:`AiortcPeer` objects, which share the threads of their encoders.

    Args:
        bitrates: limits for pictures sent.
    """

    def __init__(self, bitrates: BitrateBounds) -> None:
        require_version()
        self._bitrates = bitrates
        self._executor: ThreadPoolExecutor = encoder_executor()

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
        """See :meth:`server.media.interfaces.PeerFactory.create`."""
        media = Media(
            on_picture=on_picture or _ignore,
            on_sound=on_sound or _ignore,
            bitrates=self._bitrates,
            executor=self._executor,
        )
        connection = MendedPeerConnection(RTCConfiguration(iceServers=usable_ice_servers(ice_servers)), media)
        return AiortcPeer(connection, on_state, pictures, sound, on_picture is not None, on_sound is not None)

    def close(self) -> None:
        """See :meth:`server.media.interfaces.PeerFactory.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _ignore(*_: object) -> None:
    pass
