"""The sender of generated pictures: encodes in an executor of its own, kept to encoders.

aiortc encodes in the event loop's default executor, which address look-ups and whatever else share: one slow
job there delays every stream. And whatever an encoder raises ends the stream for good, unseen: here the
picture is dropped and the encoder made anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame

from server import metrics
from server.media.mends.playout_delay import PlayoutDelayMap
from server.media.mends.vp8_encoder import BitrateBounds, SteadyVp8Encoder

logger = logging.getLogger(__name__)


def encoder_executor() -> ThreadPoolExecutor:
    """Threads for encoders and nothing else: one for each CPU, at most 8."""
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 2), thread_name_prefix="encoder")


class PictureSender(RTCRtpSender):
    """Sends a track's yuv420p pictures as VP8.

    Args:
        track: the pictures.
        transport: the DTLS transport.
        bounds: limits of the bitrate.
        executor: where to encode.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        transport: RTCDtlsTransport,
        bounds: BitrateBounds,
        executor: ThreadPoolExecutor,
    ) -> None:
        super().__init__(track, transport)
        self._executor = executor
        self._encoder = SteadyVp8Encoder(bounds)
        self._RTCRtpSender__encoder: Any = self._encoder  # aiortc sets the estimate on it
        self._RTCRtpSender__rtp_header_extensions_map = PlayoutDelayMap()

    async def stop(self) -> None:
        """As in aiortc; gives the codec's memory back now, not when the cycles it hangs in are collected."""
        await super().stop()
        self._encoder.codec = None

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        picture = await self.track.recv()
        if not self._enabled:
            return None
        assert isinstance(picture, av.VideoFrame)
        keyframe = self._RTCRtpSender__force_keyframe  # type: ignore[has-type]
        self._RTCRtpSender__force_keyframe = False
        loop = asyncio.get_running_loop()
        try:
            payloads, timestamp = await loop.run_in_executor(
                self._executor, self._encoder.encode, picture, keyframe
            )
        except (av.FFmpegError, ValueError, MemoryError):
            logger.exception("A picture could not be encoded")
            metrics.FRAMES_DROPPED.labels("send", "not_encoded").inc()
            self._encoder.codec = None
            return None
        return RTCEncodedFrame(payloads, timestamp, None) if payloads else None  # type: ignore[arg-type]
