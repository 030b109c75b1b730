"""Offers are checked and trimmed before aiortc sees them; answers carry bitrate hints."""

from __future__ import annotations

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from server.media.mends.offer import (
    MAX_CANDIDATES,
    OfferError,
    is_usable_candidate,
    read_offer,
    trimmed_offer,
    with_bitrate_hints,
)

HOST = "candidate:1 1 UDP 2122252543 192.0.2.7 50000 typ host"


async def offer(*kinds: str, data: bool = False) -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in kinds:
        connection.addTransceiver(kind, "sendrecv")
    if data:
        connection.createDataChannel("x")
    sdp = (await connection.createOffer()).sdp
    await connection.close()
    return sdp


async def test_video_and_audio_in_any_order_are_taken() -> None:
    assert [m.kind for m in read_offer(await offer("audio", "video"))] == ["audio", "video"]
    assert [m.kind for m in read_offer(await offer("video"))] == ["video"]


async def test_anything_else_is_refused() -> None:
    for sdp in (
        await offer("video", "video"),
        await offer("audio", "video", "audio"),
        await offer("video", data=True),
        (await offer("audio", "video")).replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"),
        (await offer("audio", "video")).replace("a=group:BUNDLE 0 1\r\n", ""),
        "v=0\r\n",
        "",
        "v=0\r\nm=video\r\n",
        "\x00" * 1000,
    ):
        with pytest.raises(OfferError):
            read_offer(sdp)


@pytest.mark.parametrize(
    "candidate",
    [
        "candidate:1 1 UDP 2122252543 0a1b2c3d-aaaa-bbbb-cccc-0123456789ab.local 50000 typ host",
        "candidate:1 1 UDP 2122252543 turn.example.org 50000 typ host",
        "candidate:1 1 UDP 2122252543 localhost 50000 typ host",
        "candidate:1 1 TCP 1518280447 192.0.2.7 9 typ host tcptype active",
        "candidate:1 2 UDP 2122252543 192.0.2.7 50000 typ host",
        "candidate:",
        "",
        "x" * 2000,
    ],
)
def test_candidates_that_cannot_be_used_are_known(candidate: str) -> None:
    assert not is_usable_candidate(candidate)
    assert is_usable_candidate(HOST)
    assert is_usable_candidate(HOST.replace("192.0.2.7", "2001:db8::7"))


def test_candidates_are_bounded_and_never_end() -> None:
    lines = ["m=video 9 X 96", *[f"a={HOST}"] * 100, "a=end-of-candidates", "a=mid:0"]
    trimmed = trimmed_offer("\r\n".join(lines)).splitlines()
    assert trimmed == ["m=video 9 X 96", *[f"a={HOST}"] * MAX_CANDIDATES, "a=mid:0"]


def test_the_answer_hints_at_bitrates_for_vp8_only() -> None:
    answer = "m=video 9 X 97 98\r\na=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\n"
    hinted = with_bitrate_hints(answer).splitlines()
    assert hinted == [
        "m=video 9 X 97 98",
        "a=rtpmap:97 VP8/90000",
        "a=fmtp:97 x-google-min-bitrate=300;x-google-start-bitrate=600",
        "a=rtpmap:98 rtx/90000",
        "a=fmtp:98 apt=97",
    ]
