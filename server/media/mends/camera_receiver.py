"""The receiver of a camera: marker-bit release, repeated NACKs, bounded decoding, one-slot hand-over.

aiortc asks for a lost packet once; if the request or its answer is lost too, the picture stands still. Here
the request is repeated until the packet comes or its frame is given up. And aiortc ends its decoder at an
RTCP BYE, which a browser also sends when its camera is only taken off for a while (``replaceTrack(null)``):
that the camera comes back would never be seen. Here a receiver ends with its connection alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import av
from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtpPacket
from aiortc.utils import uint16_gt

from server import metrics
from server.media.mailbox import Mailbox
from server.media.mends.bounded_decoding import EncodedFrameQueue, decode_pictures
from server.media.mends.marker_release import MarkerJitterBuffer

NACK_INTERVAL_S: Final = 0.05
#: Sequence numbers asked for at once; the rest of a longer loss is given up for a keyframe.
MAX_NACK: Final = 64


class CameraReceiver(RTCRtpReceiver):
    """Receives one VP8 stream and calls ``on_picture`` on the event loop with the newest decoded picture.

    Args:
        transport: the DTLS transport.
        on_picture: takes a yuv420p picture of at most 1280x720.
    """

    def __init__(self, transport: RTCDtlsTransport, on_picture: Callable[[av.VideoFrame], None]) -> None:
        super().__init__("video", transport)
        base: Any = self
        self._jitter = base._RTCRtpReceiver__jitter_buffer = MarkerJitterBuffer()
        self._keyframe_needed: threading.Event = base._RTCRtpReceiver__decoder_error
        self._encoded = base._RTCRtpReceiver__decoder_queue = EncodedFrameQueue(self._keyframe_needed)
        self._mailbox: Mailbox[av.VideoFrame] = Mailbox(
            asyncio.get_running_loop(),
            on_picture,
            lambda: metrics.FRAMES_DROPPED.labels("mailbox", "displaced").inc(),
        )
        self._nacks: NackGenerator = base._RTCRtpReceiver__nack_generator
        self._nacked = 0.0

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """As in aiortc, with a decoder thread of our own."""
        base: Any = self
        if base._RTCRtpReceiver__started:
            return
        base._RTCRtpReceiver__codecs.update((codec.payloadType, codec) for codec in parameters.codecs)
        base._RTCRtpReceiver__rtx_ssrc.update(
            (encoding.rtx.ssrc, encoding.ssrc) for encoding in parameters.encodings if encoding.rtx
        )
        thread = threading.Thread(
            target=decode_pictures,
            name="video-decoder",
            args=(self._encoded, self._mailbox.put, self._keyframe_needed),
            daemon=True,
        )
        thread.start()
        base._RTCRtpReceiver__decoder_thread = thread
        self.transport._register_rtp_receiver(self, parameters)
        base._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(self._run_rtcp())
        base._RTCRtpReceiver__started = True

    async def stop(self) -> None:
        self._mailbox.close()
        await super().stop()

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if not isinstance(packet, RtcpByePacket):
            await super()._handle_rtcp_packet(packet)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        missing = len(self._nacks.missing)
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        while (frame := self._jitter.pop()) is not None:
            if self._encoded.last_codec is not None:
                self._encoded.put((self._encoded.last_codec, frame))
        if len(self._nacks.missing) > missing:  # aiortc has just asked
            self._nacked = time.monotonic()
        elif missing:
            await self._repeat_nack(packet.ssrc)

    async def _repeat_nack(self, ssrc: int) -> None:
        nacks, oldest = self._nacks, self._jitter.expected
        now = time.monotonic()
        if oldest is None or now - self._nacked < NACK_INTERVAL_S:
            return
        self._nacked = now
        nacks.missing -= {number for number in nacks.missing if uint16_gt(oldest, number)}
        if nacks.missing:
            await self._send_rtcp_nack(ssrc, sorted(nacks.missing)[:MAX_NACK])
