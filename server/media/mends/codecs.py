"""VP8 and Opus only: aiortc drives H.264 at a preset that takes 4 to 7 times as long as VP8."""

from __future__ import annotations

from typing import Final

from aiortc import RTCRtpSender, RTCRtpTransceiver

WANTED: Final[dict[str, tuple[str, ...]]] = {"video": ("video/vp8", "video/rtx"), "audio": ("audio/opus",)}


def prefer_codecs(transceiver: RTCRtpTransceiver) -> None:
    """Negotiate nothing but VP8 with retransmission, or Opus."""
    capabilities = RTCRtpSender.getCapabilities(transceiver.kind).codecs
    transceiver.setCodecPreferences(
        [codec for codec in capabilities if codec.mimeType.lower() in WANTED[transceiver.kind]]
    )
