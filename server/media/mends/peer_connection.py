"""aiortc's peer connection with the mended receivers, senders and gathering put in their places.

Everything is done by overriding the two private methods that make transports and transceivers, so other
RTCPeerConnections in the same process are left as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
)
from aiortc.exceptions import InvalidStateError
from aiortc.rtcdtlstransport import RTCDtlsTransport

from server.media.mends import require_version
from server.media.mends.camera_receiver import CameraReceiver
from server.media.mends.gathering import bound_gathering
from server.media.mends.microphone_receiver import MicrophoneReceiver
from server.media.mends.picture_sender import PictureSender
from server.media.mends.quick_repeats import repeat_checks, repeat_handshake
from server.media.mends.sound_sender import SoundSender
from server.media.mends.vp8_encoder import BitrateBounds


@dataclass(frozen=True)
class Media:
    """What a connection's media are made with.

    Attributes:
        on_picture: takes camera pictures.
        on_sound: takes microphone packets and their RTP timestamps.
        bitrates: limits for pictures sent.
        executor: where pictures are encoded.
    """

    on_picture: Callable[[av.VideoFrame], None]
    on_sound: Callable[[bytes, int], None]
    bitrates: BitrateBounds
    executor: ThreadPoolExecutor


class MendedPeerConnection(RTCPeerConnection):
    """An RTCPeerConnection for one live call.

    Args:
        configuration: must name its ICE servers, be it none.
        media: what its media are made with.
    """

    def __init__(self, configuration: RTCConfiguration, media: Media) -> None:
        require_version()
        if configuration.iceServers is None:
            raise ValueError("iceServers must be a list: None stands for a public server")
        self._media = media
        super().__init__(configuration)

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        transport: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        ice = transport.transport.iceGatherer._connection
        bound_gathering(ice)
        repeat_checks(ice)
        repeat_handshake(transport)
        return transport

    async def _RTCPeerConnection__connect(self) -> None:  # noqa: N802
        # aiortc never looks at the task that runs this: closed meanwhile, it would end in a logged traceback.
        with contextlib.suppress(InvalidStateError):
            await super()._RTCPeerConnection__connect()  # type: ignore[misc]

    def _RTCPeerConnection__createTransceiver(  # noqa: N802
        self, direction: str, kind: str, sender_track: MediaStreamTrack | None = None
    ) -> RTCRtpTransceiver:
        # aiortc gives each kind a transport of its own and bundles them when the descriptions are set.
        transport = self._RTCPeerConnection__createDtlsTransport()
        sender: RTCRtpSender
        receiver: RTCRtpReceiver
        if kind == "video":
            receiver = CameraReceiver(transport, self._media.on_picture)
            sender = (
                PictureSender(sender_track, transport, self._media.bitrates, self._media.executor)
                if sender_track
                else RTCRtpSender(kind, transport)
            )
        else:
            receiver = MicrophoneReceiver(transport, self._media.on_sound)
            sender = SoundSender(sender_track or kind, transport)
        transceiver = RTCRtpTransceiver(kind=kind, receiver=receiver, sender=sender, direction=direction)
        receiver._set_rtcp_ssrc(sender._ssrc)
        sender._stream_id = self._RTCPeerConnection__stream_id  # type: ignore[attr-defined]
        self._RTCPeerConnection__transceivers.append(transceiver)  # type: ignore[attr-defined]
        return transceiver
