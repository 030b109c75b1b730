"""Asks browsers to show pictures as they come: RTP's header extension ``playout-delay``, which aiortc lacks.

Chromium and others with its WebRTC hold each picture back for as long as they expect the next ones to be
late, and 10 ms more for drawing. A page's ``jitterBufferTarget`` only raises that. A sender that asks for a
least delay of 0 and a most of up to half a second has each picture decoded and drawn as soon as it is whole.

Source: webrtc.googlesource.com/src, docs/native-code/rtp-hdrext/playout-delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiortc import RTCRtpTransceiver
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    pack_header_extensions,
    unpack_header_extensions,
)
from aiortc.sdp import MediaDescription

URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
#: Least and most delay in units of 10 ms, 12 bits each. With a most of 0 a browser would also skip pictures
#: that later ones refer to whenever two are whole at once, and then lack a keyframe; up to the most it may
#: still hold them back to keep them with sound that is late.
LEAST_TO_MOST: Final = (0 << 12 | 50).to_bytes(3, "big")


def negotiate(transceivers: Sequence[RTCRtpTransceiver], offered: Sequence[MediaDescription]) -> None:
    """Take the extension into the answer where a browser offers it for video.

    Args:
        transceivers: with the offer as their remote description, not answered yet.
        offered: the offer's media sections, in the same order.
    """
    for transceiver, media in zip(transceivers, offered, strict=True):
        if transceiver.kind == "video":
            extensions = [extension for extension in media.rtp.headerExtensions if extension.uri == URI]
            transceiver._headerExtensions += extensions


class PlayoutDelayMap(HeaderExtensionsMap):
    """Writes the extension into each packet of a sender for which it was negotiated."""

    def __init__(self) -> None:
        super().__init__()
        self._id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        """As in aiortc, and takes the extension's number in."""
        super().configure(parameters)
        self._id = next((each.id for each in parameters.headerExtensions if each.uri == URI), None)

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """The packet's header extensions as in aiortc, and this one: profile and bytes."""
        others = super().set(values)
        if self._id is None:
            return others
        return pack_header_extensions([*unpack_header_extensions(*others), (self._id, LEAST_TO_MOST)])
