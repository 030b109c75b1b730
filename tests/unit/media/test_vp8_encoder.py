"""The encoder follows the estimate within its bounds, without a keyframe for every step of it."""

from __future__ import annotations

import av
import numpy as np
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.mediastreams import VIDEO_TIME_BASE

from server.media.mends.marker_release import is_keyframe
from server.media.mends.vp8_encoder import BitrateBounds, BitratePolicy, SteadyVp8Encoder, bounds_for

BOUNDS = BitrateBounds(start=600_000, least=200_000, most=1_200_000)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def picture(pts: int, size: int = 64) -> av.VideoFrame:
    noise = np.random.default_rng(pts).integers(60, 90, (size * 3 // 2, size), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="yuv420p")
    frame.pts = pts
    frame.time_base = VIDEO_TIME_BASE
    return frame


def data_of(payloads: list[bytes]) -> bytes:
    return b"".join(VpxPayloadDescriptor.parse(payload)[1] for payload in payloads)


def test_a_ramp_of_18_seconds_makes_few_encoders() -> None:
    clock = Clock()
    encoder = SteadyVp8Encoder(BOUNDS, clock)
    keyframes = 0
    for i in range(18 * 30):
        clock.now += 1 / 30
        if i % 15 == 0:
            encoder.target_bitrate = int(250_000 * 1.08 ** (i / 15))  # as aiortc's own estimator climbs
        payloads, timestamp = encoder.encode(picture(i * 3000))
        assert timestamp == i * 3000
        keyframes += is_keyframe(data_of(payloads))
    assert encoder.target_bitrate == BOUNDS.most
    assert keyframes <= 5  # aiortc's own: more than 10


def test_bitrates_stay_within_their_bounds() -> None:
    clock = Clock()
    policy = BitratePolicy(BOUNDS, clock)
    clock.now += 60
    policy.estimate(30)
    assert policy.bitrate == BOUNDS.least
    clock.now += 60
    policy.estimate(30_000_000)
    assert policy.bitrate == BOUNDS.most


def test_small_steps_change_nothing() -> None:
    clock = Clock()
    policy = BitratePolicy(BOUNDS, clock)
    for estimate in (660_000, 540_000, 700_000, 500_000, 800_000):
        clock.now += 60
        policy.estimate(estimate)
        assert policy.bitrate == BOUNDS.start


def test_a_fall_is_followed_within_a_second_and_a_rise_only_later() -> None:
    clock = Clock()
    policy = BitratePolicy(BOUNDS, clock)
    clock.now += 1
    policy.estimate(300_000)
    assert policy.bitrate == 300_000
    clock.now += 1
    policy.estimate(1_000_000)
    assert policy.bitrate == 300_000
    clock.now += 4
    policy.estimate(1_000_000)
    assert policy.bitrate == 1_000_000


def test_a_keyframe_comes_when_asked_for_and_only_then() -> None:
    encoder = SteadyVp8Encoder(BOUNDS)
    kinds = [
        is_keyframe(data_of(encoder.encode(picture(i * 3000), force_keyframe=i == 3)[0])) for i in range(6)
    ]
    assert kinds == [True, False, False, True, False, False]


def test_another_size_is_encoded() -> None:
    encoder = SteadyVp8Encoder(BOUNDS)
    decoder = av.CodecContext.create("libvpx", "r")
    sizes = []
    for i, size in enumerate((64, 64, 96)):
        packet = av.Packet(data_of(encoder.encode(picture(i * 3000, size))[0]))
        sizes += [frame.width for frame in decoder.decode(packet)]
    assert sizes == [64, 64, 96]


def test_larger_pictures_get_more() -> None:
    assert bounds_for(512).start > bounds_for(256).start
