"""The sender of sound: Opus packets leave as they came, without an encoder.

aiortc makes an Opus encoder and a resampler for each sender, even one that only passes packets on.
"""

from __future__ import annotations

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from av import Packet


class SoundSender(RTCRtpSender):
    """Sends a track's Opus packets, whose time base is 1/48000 s."""

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        packet = await self.track.recv()
        if not self._enabled:
            return None
        assert isinstance(packet, Packet)
        assert packet.pts is not None
        return RTCEncodedFrame([bytes(packet)], packet.pts, None)  # type: ignore[arg-type]
