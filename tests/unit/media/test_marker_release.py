"""Frames leave the jitter buffer at their marker; padding, loss and reordering do them no harm."""

from __future__ import annotations

from aiortc.codecs import depayload
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from server.media.mends.marker_release import KEYFRAME_RETRY_S, MAX_WAIT_S, MarkerJitterBuffer

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)
KEY = b"\x00" + b"k" * 30
DELTA = b"\x01" + b"d" * 30


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Sender:
    """Makes the packets of frames, as a browser would."""

    def __init__(self, first: int = 65530) -> None:
        self.sequence = first
        self.timestamp = 1000
        self.picture = 0

    def packet(self, payload: bytes, marker: int) -> RtpPacket:
        packet = RtpPacket(97, marker, self.sequence % 65536, self.timestamp, 1, payload)
        packet._data = depayload(VP8, payload) if payload else b""  # type: ignore[attr-defined]
        self.sequence += 1
        return packet

    def frame(self, data: bytes, marked: bool = True) -> list[RtpPacket]:
        self.timestamp += 3000
        self.picture += 1
        payloads = Vp8Encoder._packetize(data, self.picture)
        return [
            self.packet(payload, int(marked and index == len(payloads) - 1))
            for index, payload in enumerate(payloads)
        ]

    def padding(self) -> RtpPacket:
        return self.packet(b"", 0)


def feed(buffer: MarkerJitterBuffer, packets: list[RtpPacket]) -> list[bytes]:
    frames = []
    for packet in packets:
        _, frame = buffer.add(packet)
        while frame is not None:
            frames.append(frame.data)
            frame = buffer.pop()
    return frames


def test_a_frame_leaves_with_its_last_packet() -> None:
    sender, buffer = Sender(), MarkerJitterBuffer()
    assert feed(buffer, sender.frame(KEY)) == [KEY]
    large = b"\x01" + bytes(5000)
    packets = sender.frame(large)
    assert len(packets) > 3
    assert feed(buffer, packets[:-1]) == []
    assert feed(buffer, packets[-1:]) == [large]


def test_a_sender_without_markers_is_understood() -> None:
    sender, buffer = Sender(), MarkerJitterBuffer()
    assert feed(buffer, sender.frame(KEY, marked=False)) == []
    assert feed(buffer, sender.frame(DELTA, marked=False)) == [KEY]


def test_padding_makes_no_frame() -> None:
    sender, buffer = Sender(), MarkerJitterBuffer()
    packets = sender.frame(KEY)
    packets += [sender.padding(), sender.padding()]
    packets += sender.frame(DELTA)
    packets += [sender.padding()]
    assert feed(buffer, packets) == [KEY, DELTA]


def test_a_gap_that_is_filled_leaves_no_backlog() -> None:
    sender, buffer = Sender(), MarkerJitterBuffer()
    assert feed(buffer, sender.frame(KEY)) == [KEY]
    lost = sender.frame(DELTA + b"1")
    later = [packet for i in b"234" for packet in sender.frame(DELTA + bytes([i]))]
    assert feed(buffer, later) == []
    assert feed(buffer, lost) == [DELTA + bytes([i]) for i in b"1234"]


@given(st.permutations(range(12)))
def test_any_order_within_the_wait_gives_every_frame_in_order(order: list[int]) -> None:
    sender, buffer = Sender(), MarkerJitterBuffer(clock=Clock())
    feed(buffer, sender.frame(KEY))
    frames = [b"\x01" + bytes([i]) * 1500 for i in range(6)]
    packets = [packet for frame in frames for packet in sender.frame(frame)]
    assert len(packets) == 12
    assert feed(buffer, [packets[i] for i in order]) == frames


def test_a_frame_that_cannot_be_completed_is_given_up_for_a_keyframe() -> None:
    clock = Clock()
    sender, buffer = Sender(), MarkerJitterBuffer(clock=clock)
    feed(buffer, sender.frame(KEY))
    sender.frame(DELTA)  # lost
    assert feed(buffer, sender.frame(DELTA)) == []
    clock.now += MAX_WAIT_S + 0.01
    asked, frame = buffer.add(sender.frame(DELTA)[0])
    assert asked
    assert frame is None, "it builds on what was lost"
    assert feed(buffer, sender.frame(DELTA)) == []
    assert feed(buffer, sender.frame(KEY) + sender.frame(DELTA)) == [KEY, DELTA]


def test_a_keyframe_is_asked_for_until_it_comes() -> None:
    clock = Clock()
    sender, buffer = Sender(), MarkerJitterBuffer(clock=clock)
    asked, frame = buffer.add(sender.frame(DELTA)[0])  # the stream's first packets were lost
    assert (asked, frame) == (False, None)
    for _ in range(3):
        clock.now += KEYFRAME_RETRY_S + 0.001
        asked, frame = buffer.add(sender.frame(DELTA)[0])
        assert (asked, frame) == (True, None)
        assert buffer.add(sender.frame(DELTA)[0]) == (False, None)
    asked, frame = buffer.add(sender.frame(KEY)[0])
    assert not asked
    assert frame is not None


def test_a_long_loss_starts_over() -> None:
    clock = Clock()
    sender, buffer = Sender(), MarkerJitterBuffer(capacity=16, clock=clock)
    feed(buffer, sender.frame(KEY))
    for _ in range(40):
        sender.frame(DELTA)
    asked, _ = buffer.add(sender.frame(DELTA)[0])
    assert asked
    clock.now += 1
    assert feed(buffer, sender.frame(KEY)) == [KEY]
