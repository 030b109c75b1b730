"""The mends sit where aiortc's own parts were; whoever changes aiortc's version must look at these first."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import aiortc
import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, unpack_header_extensions

from server.media.aiortc_peer import AiortcPeerFactory, PictureTrack
from server.media.interfaces import PeerError, Picture, SoundPacket
from server.media.mends import UnsupportedVersionError, playout_delay, require_version
from server.media.mends.camera_receiver import NACK_INTERVAL_S, CameraReceiver
from server.media.mends.gathering import ice_servers
from server.media.mends.marker_release import MarkerJitterBuffer
from server.media.mends.microphone_receiver import MicrophoneReceiver
from server.media.mends.peer_connection import Media, MendedPeerConnection
from server.media.mends.picture_sender import PictureSender, encoder_executor
from server.media.mends.sound_sender import SoundSender
from server.media.mends.vp8_encoder import bounds_for
from signaling.protocol import IceServer


class Pictures:
    async def next(self) -> Picture:
        await asyncio.sleep(0.03)
        return Picture(np.zeros((96, 64), np.uint8), int(time.monotonic() * 90000))


class Sounds:
    async def next(self) -> SoundPacket:
        await asyncio.sleep(0.02)
        return SoundPacket(b"\xf8\xff\xfe", 0)


@pytest.fixture
async def executor() -> AsyncIterator[ThreadPoolExecutor]:
    threads = encoder_executor()
    yield threads
    threads.shutdown()


@pytest.fixture
async def mended(executor: ThreadPoolExecutor) -> AsyncIterator[MendedPeerConnection]:
    media = Media(lambda picture: None, lambda payload, timestamp: None, bounds_for(256), executor)
    connection = MendedPeerConnection(RTCConfiguration(iceServers=[]), media)
    yield connection
    await connection.close()


async def offered(*kinds: str) -> str:
    browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in kinds:
        browser.addTransceiver(kind, "sendrecv")
    await browser.setLocalDescription(await browser.createOffer())
    sdp = browser.localDescription.sdp
    await browser.close()
    return sdp


def test_another_version_is_refused() -> None:
    require_version()
    for versions in (("1.17.0", "0.13.0"), ("1.16.0", "0.14.0")):
        with pytest.raises(UnsupportedVersionError, match=r"1\.16\.0"):
            require_version(*versions)


async def test_every_private_part_that_is_mended_exists(mended: MendedPeerConnection) -> None:
    base = RTCPeerConnection
    for name in ("createTransceiver", "createDtlsTransport", "connect"):
        assert f"_RTCPeerConnection__{name}" in vars(base)
    assert list(inspect.signature(vars(base)["_RTCPeerConnection__createTransceiver"]).parameters) == [
        "self",
        "direction",
        "kind",
        "sender_track",
    ]
    transport = mended.addTransceiver("audio").receiver.transport
    receiver, sender = vars(RTCRtpReceiver("video", transport)), vars(RTCRtpSender("video", transport))
    for name in (
        "jitter_buffer",
        "decoder_queue",
        "decoder_error",
        "decoder_thread",
        "codecs",
        "rtx_ssrc",
        "nack_generator",
        "remote_streams",
        "rtcp_task",
        "started",
    ):
        assert f"_RTCRtpReceiver__{name}" in receiver
    for name in ("encoder", "force_keyframe", "track"):
        assert f"_RTCRtpSender__{name}" in sender
    for cls, methods in (
        (RTCRtpReceiver, ("receive", "_handle_rtp_packet", "_send_rtcp_nack", "_run_rtcp")),
        (RTCRtpSender, ("_next_encoded_frame",)),
        (aiortc.jitterbuffer.JitterBuffer, ("add", "_remove_frame", "remove")),
    ):
        assert all(hasattr(cls, method) for method in methods)


async def test_the_mended_parts_are_used_and_only_here(mended: MendedPeerConnection) -> None:
    video = mended.addTransceiver(PictureTrack(Pictures()), "sendrecv")
    audio = mended.addTransceiver("audio", "recvonly")
    assert isinstance(video.sender, PictureSender)
    assert isinstance(video.receiver, CameraReceiver)
    assert isinstance(video.receiver._RTCRtpReceiver__jitter_buffer, MarkerJitterBuffer)  # type: ignore[attr-defined]
    assert isinstance(audio.sender, SoundSender)
    assert isinstance(audio.receiver, MicrophoneReceiver)
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    assert type(other.addTransceiver("video").receiver) is RTCRtpReceiver
    await other.close()


async def test_no_servers_are_no_servers(executor: ThreadPoolExecutor) -> None:
    media = Media(lambda picture: None, lambda payload, timestamp: None, bounds_for(256), executor)
    with pytest.raises(ValueError, match="iceServers"):
        MendedPeerConnection(RTCConfiguration(), media)
    assert ice_servers([]) == []
    servers = [
        IceServer(
            urls=["turn:turn.example.org:3478?transport=udp", "nonsense:1"], username="u", credential="c"
        ),
        IceServer(urls=["stun:[::1", "http://example.org"]),
    ]
    usable = ice_servers(servers)
    assert [server.urls for server in usable] == [["turn:turn.example.org:3478?transport=udp"]]
    assert (usable[0].username, usable[0].credential) == ("u", "c")


@pytest.mark.parametrize(
    "server",
    [
        IceServer(urls=["stun:192.0.2.254:9"]),
        IceServer(urls=["turn:192.0.2.254:9"], username="u", credential="wrong"),
    ],
)
async def test_a_server_out_of_reach_is_not_waited_for_long(server: IceServer) -> None:
    factory = AiortcPeerFactory(bounds_for(256))
    peer = factory.create(
        ice_servers=[server],
        on_state=lambda state: None,
        pictures=Pictures(),
    )
    async with asyncio.timeout(4):  # aiortc's own limit is 5 s
        await peer.answer(await offered("video"))
    await peer.close()
    factory.close()


async def test_loopback_is_offered_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    factory = AiortcPeerFactory(bounds_for(256))
    peer = factory.create(ice_servers=[], on_state=lambda state: None, pictures=Pictures())
    answer = await peer.answer(await offered("video"))
    assert " 127.0.0.1 " in answer
    await peer.close()
    factory.close()


async def test_vp8_and_opus_are_negotiated_alone() -> None:
    factory = AiortcPeerFactory(bounds_for(256))
    peer = factory.create(
        ice_servers=[],
        on_state=lambda state: None,
        pictures=Pictures(),
        on_picture=lambda picture: None,
        on_sound=lambda payload, timestamp: None,
    )
    offer = await offered("audio", "video")
    assert "H264" in offer
    assert "PCMU" in offer
    answer = await peer.answer(offer)
    names = {line.split(" ")[1].split("/")[0] for line in answer.splitlines() if line.startswith("a=rtpmap:")}
    assert names == {"VP8", "rtx", "opus"}
    assert "x-google-min-bitrate=300;x-google-start-bitrate=600" in answer
    # The browser must be able to read what was added by hand.
    browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    browser.addTransceiver("audio")
    browser.addTransceiver("video")
    await browser.setLocalDescription(await browser.createOffer())
    await browser.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert [t.currentDirection for t in browser.getTransceivers()] == ["sendonly", "sendrecv"]
    await browser.close()
    await peer.close()
    factory.close()


async def test_rotation_is_left_to_the_browser() -> None:
    # Without the video-orientation extension (RFC 7742, section 4) a browser sends upright pixels.
    factory = AiortcPeerFactory(bounds_for(256))
    peer = factory.create(
        ice_servers=[], on_state=lambda state: None, pictures=Pictures(), on_picture=lambda picture: None
    )
    offer = (await offered("video")).replace(
        "a=rtcp-mux\r\n", "a=rtcp-mux\r\na=extmap:13 urn:3gpp:video-orientation\r\n"
    )
    answer = await peer.answer(offer)
    assert "a=extmap:1 " in answer
    assert "video-orientation" not in answer
    await peer.close()
    factory.close()


async def test_browsers_are_asked_to_show_pictures_as_they_come() -> None:
    """In each video packet where the browser knows how; one that does not offer it is not told."""
    factory = AiortcPeerFactory(bounds_for(256))
    for number in (6, None):
        peer = factory.create(ice_servers=[], on_state=lambda state: None, pictures=Pictures())
        browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transport = browser.addTransceiver("video", "recvonly").receiver.transport
        transport._rtp_header_extensions_map = seen = SeenExtensions()
        await browser.setLocalDescription(await browser.createOffer())
        offer = browser.localDescription.sdp
        if number:
            offer = offer.replace(
                "a=rtcp-mux\r\n", f"a=rtcp-mux\r\na=extmap:{number} {playout_delay.URI}\r\n"
            )
        answer = await peer.answer(offer)
        assert (playout_delay.URI in answer) == bool(number)
        await browser.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(10):
            while len(seen.packets) < 3:
                await asyncio.sleep(0.02)
        for packet in seen.packets:  # a least delay of 0 and a most of 500 ms
            assert packet.get(6) == (b"\x00\x00\x32" if number else None)
            assert 1 in packet, "the others are there as well: 1 is the mid"
        await browser.close()
        await peer.close()
    factory.close()


class SeenExtensions(HeaderExtensionsMap):
    """Keeps the header extensions of each packet that has some, by number."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[dict[int, bytes]] = []

    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        self.packets.append(dict(unpack_header_extensions(extension_profile, extension_value)))
        return super().get(extension_profile, extension_value)


@pytest.mark.parametrize("codec", ["VP8", "opus"])
async def test_without_vp8_or_opus_there_is_a_sentence(codec: str) -> None:
    factory = AiortcPeerFactory(bounds_for(256))
    peer = factory.create(ice_servers=[], on_state=lambda state: None, pictures=Pictures(), sound=Sounds())
    with pytest.raises(PeerError, match="VP8"):
        await peer.answer((await offered("audio", "video")).replace(codec, "XXX"))
    await peer.close()
    await peer.close()
    factory.close()


async def test_pictures_are_encoded_in_threads_of_their_own(executor: ThreadPoolExecutor) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    blocked = threading.Event()
    in_the_way = asyncio.get_running_loop().run_in_executor(None, blocked.wait)
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("audio").receiver.transport
    sender = PictureSender(PictureTrack(Pictures()), transport, bounds_for(256), executor)
    codec = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)
    async with asyncio.timeout(5):
        frame = await sender._next_encoded_frame(codec)
    assert frame is not None
    assert frame.payloads
    blocked.set()
    await in_the_way
    await connection.close()


async def test_a_picture_that_cannot_be_encoded_does_not_end_the_stream(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("audio").receiver.transport
    sender = PictureSender(PictureTrack(Pictures()), transport, bounds_for(256), executor)
    codec = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)
    assert await sender._next_encoded_frame(codec) is not None
    encode = sender._encoder.encode

    def fail(frame: av.VideoFrame, keyframe: bool) -> Any:
        raise av.FFmpegError(22, "no")

    monkeypatch.setattr(sender._encoder, "encode", fail)
    assert await sender._next_encoded_frame(codec) is None
    assert "could not be encoded" in caplog.text
    monkeypatch.setattr(sender._encoder, "encode", encode)
    frame = await sender._next_encoded_frame(codec)
    assert frame is not None
    assert len(b"".join(frame.payloads)) > 20, "a keyframe of a new encoder"
    await connection.close()


async def test_a_receivers_estimate_reaches_the_encoder(executor: ThreadPoolExecutor) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("audio").receiver.transport
    sender = PictureSender(PictureTrack(Pictures()), transport, bounds_for(256), executor)
    sender._encoder._policy._changed -= 60
    fci = aiortc.rtp.pack_remb_fci(250_000, [sender._ssrc])
    await sender._handle_rtcp_packet(
        aiortc.rtp.RtcpPsfbPacket(fmt=aiortc.rtp.RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci)
    )
    assert abs(sender._encoder.target_bitrate - 250_000) < 2_000
    await connection.close()


def sound(sequence: int, payload: bytes = b"opus", ssrc: int = 5) -> RtpPacket:
    return RtpPacket(96, 0, sequence % 65536, sequence * 960, ssrc, payload)


async def test_sound_passes_in_order_without_a_decoder() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("video").receiver.transport
    got: list[int] = []
    receiver: Any = MicrophoneReceiver(transport, lambda payload, timestamp: got.append(timestamp // 960))
    receiver._RTCRtpReceiver__codecs[96] = RTCRtpCodecParameters(
        mimeType="audio/opus", clockRate=48000, channels=2, payloadType=96
    )
    threads = threading.active_count()
    for packet in (
        sound(65534),
        sound(65535),
        sound(65535),  # repeated
        sound(65537),  # 0
        sound(65536),  # late
        sound(65538, b""),  # padding
        sound(65539, b"x" * 3000),  # not Opus
        RtpPacket(8, 0, 7, 0, 5, b"pcma"),
        sound(65541),
        sound(300, ssrc=6),  # the browser began anew
        sound(301, ssrc=6),
    ):
        await receiver._handle_rtp_packet(packet, 0)
    assert got == [65534, 65535, 65537, 65541, 300, 301]
    assert threading.active_count() == threads
    await connection.close()


async def test_lost_packets_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("audio").receiver.transport
    receiver: Any = CameraReceiver(transport, lambda picture: None)
    receiver._RTCRtpReceiver__codecs[97] = RTCRtpCodecParameters(
        mimeType="video/VP8", clockRate=90000, payloadType=97
    )
    receiver._set_rtcp_ssrc(9)
    asked: list[list[int]] = []

    async def send(ssrc: int, lost: list[int]) -> None:
        asked.append(lost)

    monkeypatch.setattr(receiver, "_send_rtcp_nack", send)
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("server.media.mends.camera_receiver.time.monotonic", lambda: clock.now)

    async def arrive(sequence: int) -> None:
        payload = b"\x10" + (b"\x00" if sequence == 10 else b"\x01") + b"x" * 20
        await receiver._handle_rtp_packet(RtpPacket(97, 1, sequence, sequence * 3000, 3, payload), 0)

    await arrive(10)
    await arrive(12)
    assert asked == [[11]]
    asked.clear()
    await arrive(13)
    assert asked == []
    clock.now += 1.01 * NACK_INTERVAL_S
    await arrive(14)
    assert asked == [[11]]
    clock.now += 1.01 * NACK_INTERVAL_S
    await arrive(11)
    assert asked == [[11]]
    await connection.close()


async def test_a_frame_handed_to_an_encoder_is_the_viewers_own() -> None:
    shared = np.zeros((96, 64), np.uint8)

    class Shared:
        async def next(self) -> Picture:
            return Picture(shared, 5)

    one, other = PictureTrack(Shared()), PictureTrack(Shared())
    frames = [await one.recv(), await other.recv()]
    shared[:] = 255  # inference's memory is written again
    assert all(isinstance(frame, av.VideoFrame) and frame.to_ndarray().max() == 0 for frame in frames)
    assert frames[0].pts == 5
    assert frames[0].time_base == VIDEO_TIME_BASE
    frames[0].pict_type = av.video.frame.PictureType.I
    assert frames[1].pict_type != av.video.frame.PictureType.I
