"""Check and trim a browser's offer before aiortc sees it, and write bitrate hints into the answer.

Each media section of an offer makes aiortc open sockets, and candidates named ``*.local`` make it wait for
multicast DNS; a browser's own checks reach the worker anyway and are learned as peer-reflexive. The end of
candidates is kept from it too: with all candidates trimmed, ICE would fail before the first check arrives.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from aiortc.sdp import MediaDescription, SessionDescription

MAX_CANDIDATES: Final = 32
#: Kilobits a second. Packets are time-stamped in a Python loop, so a busy moment looks like congestion and
#: the estimate collapses; with these, Chromium keeps its full resolution (measured).
GOOGLE_BITRATES: Final = "x-google-min-bitrate=300;x-google-start-bitrate=600"


class OfferError(ValueError):
    """An offer that cannot be answered; the message is a sentence for people."""


def trimmed_offer(sdp: str) -> str:
    """The offer with at most :data:`MAX_CANDIDATES` usable candidates and no end of candidates."""
    lines = []
    candidates = 0
    for line in sdp.splitlines():
        if line.startswith("a=end-of-candidates"):
            continue
        if line.startswith("a=candidate:"):
            if not is_usable_candidate(line.removeprefix("a=")) or candidates == MAX_CANDIDATES:
                continue
            candidates += 1
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def is_usable_candidate(candidate: str) -> bool:
    """Whether a candidate (``candidate:...``) is UDP, of component 1, and has an address, not a name."""
    fields = candidate.split()
    return len(fields) >= 8 and fields[1] == "1" and fields[2].lower() == "udp" and _is_address(fields[4])


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def read_offer(sdp: str) -> list[MediaDescription]:
    """The offer's media sections: one of video, one of audio at most, sharing one transport.

    Raises:
        OfferError: something else is offered, or it cannot be read.
    """
    try:
        description = SessionDescription.parse(sdp)
    except Exception as error:  # the parser raises whatever its first surprise happens to be
        raise OfferError("The offer is not an SDP session description.") from error
    kinds = [media.kind for media in description.media]
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= {"audio", "video"}:
        raise OfferError("An offer has one video section and one audio section at most, and nothing else.")
    bundle = next((group for group in description.group if group.semantic == "BUNDLE"), None)
    mids = [media.rtp.muxId for media in description.media]
    if len(mids) > 1 and (bundle is None or sorted(map(str, bundle.items)) != sorted(mids)):
        raise OfferError("The offer must bundle its media on one transport.")
    return description.media


def with_bitrate_hints(answer: str) -> str:
    """The answer with :data:`GOOGLE_BITRATES` for VP8."""
    lines = []
    for line in answer.splitlines():
        lines.append(line)
        if line.startswith("a=rtpmap:") and line.split(" ", 1)[1].upper().startswith("VP8/"):
            payload_type = line.removeprefix("a=rtpmap:").split(" ", 1)[0]
            lines.append(f"a=fmtp:{payload_type} {GOOGLE_BITRATES}")
    return "\r\n".join(lines) + "\r\n"
