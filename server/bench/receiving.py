"""A synthetic peer's connection: what arrives is counted coded, and decoded only where somebody looks at it.

The receivers are the media worker's own (:mod:`server.media.mends`): a lost packet costs what it costs a
browser, where aiortc's would wait eight seconds for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport

from server.media.mends.bounded_decoding import EncodedFrameQueue
from server.media.mends.camera_receiver import CameraReceiver
from server.media.mends.gathering import bound_gathering
from server.media.mends.microphone_receiver import MicrophoneReceiver


@dataclass(frozen=True)
class Received:
    """What is told of what arrives, on the event loop.

    Attributes:
        on_frame: each coded picture that is whole.
        on_sound: each Opus packet and its RTP timestamp (1/48000 s).
        on_picture: the newest decoded picture, yuv420p; None: nothing is decoded.
    """

    on_frame: Callable[[], None]
    on_sound: Callable[[bytes, int], None]
    on_picture: Callable[[av.VideoFrame], None] | None = None


class _CountedFrames(EncodedFrameQueue):
    """Tells of each frame; passes it to the decoder thread only if wanted."""

    def __init__(self, needed: threading.Event, on_frame: Callable[[], None], decoded: bool) -> None:
        super().__init__(needed)
        self._on_frame = on_frame
        self._decoded = decoded

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            self._on_frame()
            if not self._decoded:
                self.last_codec = item[0]
                return
        super().put(item, block, timeout)


class _PictureReceiver(CameraReceiver):
    """A camera receiver whose pictures are counted before they are decoded."""

    def __init__(self, transport: RTCDtlsTransport, received: Received) -> None:
        super().__init__(transport, received.on_picture or (lambda _: None))
        base: Any = self
        self._encoded = base._RTCRtpReceiver__decoder_queue = _CountedFrames(
            self._keyframe_needed, received.on_frame, received.on_picture is not None
        )


class SyntheticConnection(RTCPeerConnection):
    """A peer connection that sends coded packets and tells of what it receives.

    Args:
        configuration: must name its ICE servers, be it none.
        received: what is told of what arrives.
    """

    def __init__(self, configuration: RTCConfiguration, received: Received) -> None:
        self._received = received
        super().__init__(configuration)

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        transport: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        bound_gathering(transport.transport.iceGatherer._connection)
        return transport

    def _RTCPeerConnection__createTransceiver(  # noqa: N802
        self, direction: str, kind: str, sender_track: MediaStreamTrack | None = None
    ) -> RTCRtpTransceiver:
        transport = self._RTCPeerConnection__createDtlsTransport()
        receiver = (
            _PictureReceiver(transport, self._received)
            if kind == "video"
            else MicrophoneReceiver(transport, self._received.on_sound)
        )
        sender = RTCRtpSender(sender_track or kind, transport)
        transceiver = RTCRtpTransceiver(kind=kind, receiver=receiver, sender=sender, direction=direction)
        receiver._set_rtcp_ssrc(sender._ssrc)
        sender._stream_id = self._RTCPeerConnection__stream_id  # type: ignore[attr-defined]
        self._RTCPeerConnection__transceivers.append(transceiver)  # type: ignore[attr-defined]
        return transceiver
