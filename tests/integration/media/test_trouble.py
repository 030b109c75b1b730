"""Lost packets, padding, bad signals, connections never made: nothing stops, nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from struct import pack_into, unpack_from

import pytest
from aiortc.rtp import RtcpByePacket, RtpPacket, is_rtcp

from server.media.service import Limits
from signaling.protocol import ErrorCode, IceCandidate, SessionDescription, SessionSignal
from tests.integration.media.harness import GENERATED, Browser, Call, Camera, shows, until


@pytest.fixture
async def hasty() -> AsyncIterator[Call]:
    """A call in which connections must be made within half a second."""
    made = Call(Limits(connect_s=0.5, linger_s=0.1, early_s=0.2), capacity=60)
    yield made
    await made.close()


@pytest.fixture
async def brief() -> AsyncIterator[Call]:
    """A call in which connections must be made within two seconds."""
    made = Call(Limits(connect_s=2.0, linger_s=0.1))
    yield made
    await made.close()


def video_transport(browser: Browser) -> object:
    return browser.connection.getSenders()[0].transport


def intercept(browser: Browser, change: Callable[[bytes], list[bytes]]) -> None:
    """Let every RTP packet that the browser sends (not RTCP) become none, one or several."""
    transport = browser.connection.getSenders()[0].transport
    send = transport._send_rtp

    async def intercepted(data: bytes) -> None:
        for packet in [data] if is_rtcp(data) else change(data):
            await send(packet)

    transport._send_rtp = intercepted  # type: ignore[method-assign]


async def test_every_tenth_packet_lost(call: Call) -> None:
    call.announce("alice")
    camera = Camera(width=640, height=480)
    browser = await call.publish("alice", camera=camera)
    chance = random.Random(1)
    intercept(browser, lambda data: [] if chance.random() < 0.1 else [data])
    held = call.inference.drivers["alice"]
    for _ in range(4):
        before = held.submitted
        await until(lambda before=before: held.submitted > before + 10)  # type: ignore[misc]
    await until(lambda: shows(browser, GENERATED))


async def test_a_second_without_any_packet(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice")
    held = call.inference.drivers["alice"]
    await until(lambda: held.submitted > 10)
    lossy = True
    intercept(browser, lambda data: [] if lossy else [data])
    await asyncio.sleep(1)
    before, lossy = held.submitted, False
    await until(lambda: held.submitted > before + 20)


async def test_padding_between_frames_is_no_picture_and_no_end(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice", sound=False)
    shift = 0

    def padded(data: bytes) -> list[bytes]:
        nonlocal shift
        packet = bytearray(data)
        marker, sequence = packet[1] >> 7, unpack_from("!H", packet, 2)[0]
        pack_into("!H", packet, 2, (sequence + shift) & 0xFFFF)
        packets = [bytes(packet)]
        if marker:
            for _ in range(2):
                shift += 1
                timestamp, ssrc = unpack_from("!LL", packet, 4)
                padding = RtpPacket(packet[1] & 0x7F, 0, (sequence + shift) & 0xFFFF, timestamp, ssrc)
                padding.padding_size = 200
                packets.append(padding.serialize())
        return packets

    held = call.inference.drivers["alice"]
    await until(lambda: held.submitted > 10)
    intercept(browser, padded)
    before = held.submitted
    await until(lambda: held.submitted > before + 30)
    assert shift > 50
    await until(lambda: shows(browser, GENERATED))


async def test_a_goodbye_of_the_camera_is_not_its_end(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice")
    held = call.inference.drivers["alice"]
    await until(lambda: held.submitted > 10)
    sender = browser.connection.getSenders()[0]
    await sender._send_rtcp([RtcpByePacket(sources=[sender._ssrc])])
    await asyncio.sleep(0.2)
    before = held.submitted
    await until(lambda: held.submitted > before + 20)


async def test_garbage_on_the_media_path_harms_nothing(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice")
    held = call.inference.drivers["alice"]
    await until(lambda: held.submitted > 10)
    chance = random.Random(2)

    def mangled(data: bytes) -> list[bytes]:
        bad = bytearray(data)
        body = 12 + 4 + 4 * unpack_from("!H", data, 14)[0]  # behind header and extensions
        for _ in range(chance.randrange(1, 20)):
            bad[chance.randrange(body, len(bad))] = chance.randrange(256)
        return [bytes(bad) if chance.random() < 0.3 else data]

    intercept(browser, mangled)
    await asyncio.sleep(1)
    del video_transport(browser)._send_rtp  # type: ignore[attr-defined]
    before = held.submitted
    await until(lambda: held.submitted > before + 20)


async def test_a_thousand_bad_signals_during_a_call(brief: Call) -> None:
    call = brief
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    publisher = await call.publish("alice")
    await until(lambda: shows(publisher, GENERATED))
    other = Browser("alice", "p2")
    other.publish(Camera())
    offer = (await other.offer()).description
    await other.close()
    assert offer is not None
    chance = random.Random(3)
    texts = [
        "",
        "v=0",
        "\r\n" * 1000,
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 500,
        offer.sdp[: len(offer.sdp) // 2],
        offer.sdp.replace("a=ice-pwd:", "a=ice-pwd:!"),
        offer.sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:md5 "),
        offer.sdp.replace("VP8", "VP9").replace("H264", "AV1"),
        offer.sdp.replace("a=setup:actpass", "a=setup:nonsense"),
        offer.sdp.replace("a=rtcp-mux", "a=x"),
        offer.sdp.replace("a=mid:", "a=mid:\x00"),
        "a=candidate:" + "9" * 2000,
    ]
    for i in range(1000):
        text = chance.choice(texts)
        channel = chance.choice(["publish", "subscribe"])
        call.service.signal(
            SessionSignal(
                terminal=chance.choice(["bob", "bob", "alice", "stranger"]),
                session=chance.choice([f"x{i}", "p1", "x1"]),
                channel=channel,  # type: ignore[arg-type]
                peer=chance.choice([None, "alice", "bob", "stranger"]),
                description=chance.choice(
                    [
                        None,
                        SessionDescription(type="offer", sdp=text),
                        SessionDescription(type="answer", sdp=text),
                    ]
                ),
                candidate=chance.choice(
                    [None, IceCandidate(candidate=text[:2000], sdpMid="0"), IceCandidate(candidate="")]
                ),
            )
        )
        if i % 50 == 0:
            await asyncio.sleep(0.01)
    held = call.inference.drivers["alice"]
    before = held.submitted
    await until(lambda: held.submitted > before + 20)
    await until(lambda: shows(publisher, GENERATED))
    assert call.service.publishing == ["alice"]
    assert all(error.message for error in call.errors)
    assert any(error.code is ErrorCode.RATE_LIMITED for error in call.errors)
    call.service.forget("bob")
    await until(lambda: call.service.sessions == 1)


async def test_a_connection_that_is_never_made_is_an_error_in_time(hasty: Call) -> None:
    hasty.announce("alice")
    browser = Browser("alice", "p1")
    browser.publish(Camera())
    hasty.service.signal(await browser.offer())
    await asyncio.wait_for(hasty.answer("alice", "p1"), 5)
    await until(lambda: hasty.errors)
    error = hasty.errors[0]
    assert (error.terminal, error.session, error.code) == ("alice", "p1", ErrorCode.MEDIA_FAILED)
    assert hasty.service.sessions == 0
    await until(lambda: hasty.service.open_drivers == [])
    await browser.close()


async def test_fifty_abandoned_sessions_leave_nothing(hasty: Call) -> None:
    def held() -> tuple[int, int, int]:
        gc.collect()
        return (
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
            len(asyncio.all_tasks()),
        )

    await asyncio.sleep(0.1)
    before = held()
    offers = []
    for i in range(50):
        hasty.announce(f"t{i}")
        browser = Browser(f"t{i}", "p1")
        browser.publish(Camera())
        offers.append(await browser.offer())
        await browser.close()
    for offer in offers:
        hasty.service.signal(offer)
    assert hasty.service.sessions == 50
    assert len(hasty.inference.drivers) == 50
    await until(lambda: hasty.service.sessions == 0)
    assert len(hasty.errors) == 50
    await until(lambda: not hasty.inference.drivers)
    await until(lambda: all(now <= then + 2 for now, then in zip(held(), before, strict=True)))


async def test_no_slot_means_busy_and_a_freed_one_is_taken(call: Call) -> None:
    call.inference.capacity = 1
    call.announce("alice")
    call.announce("bob")
    await call.publish("alice")
    browser = Browser("bob", "p1")
    browser.publish(Camera())
    call.service.signal(await browser.offer())
    assert call.errors[-1].code is ErrorCode.WORKER_BUSY
    await browser.close()
    call.service.forget("alice")
    again = await call.publish("bob", "p2")
    await until(lambda: shows(again, GENERATED))


async def test_a_draining_worker_takes_no_new_drivers_but_keeps_those_it_has(call: Call) -> None:
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    await call.publish("alice")
    call.service.draining = True
    viewer = await call.subscribe("bob", "alice")
    await until(lambda: shows(viewer, GENERATED))
    browser = Browser("bob", "p1")
    browser.publish(Camera())
    call.service.signal(await browser.offer())
    assert call.errors[-1].code is ErrorCode.WORKER_BUSY
    await browser.close()


def split(sdp: str) -> tuple[str, list[str]]:
    """An offer without its candidates, and these."""
    lines = sdp.splitlines()
    candidates = [line[2:] for line in lines if line.startswith("a=candidate:")]
    rest = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    return "\r\n".join(rest) + "\r\n", candidates


@pytest.mark.parametrize("when", ["before", "after", "never"])
async def test_candidates_may_come_before_or_after_the_offer(call: Call, when: str) -> None:
    call.announce("alice")
    browser = Browser("alice", "p1")
    call.browsers.append(browser)
    browser.publish(Camera())
    signal = await browser.offer()
    assert signal.description is not None
    sdp, candidates = split(signal.description.sdp)
    assert candidates

    def trickle() -> None:
        for line in candidates:
            call.service.signal(
                signal.model_copy(
                    update={"description": None, "candidate": IceCandidate(candidate=line, sdpMid="0")}
                )
            )
        call.service.signal(
            signal.model_copy(update={"description": None, "candidate": IceCandidate(candidate="")})
        )

    if when == "before":
        trickle()
    call.service.signal(signal.model_copy(update={"description": SessionDescription(type="offer", sdp=sdp)}))
    if when == "after":
        trickle()
    # Without any candidate the worker learns the browser's address from its checks (peer-reflexive).
    await browser.take(await asyncio.wait_for(call.answer("alice", "p1"), 5))
    await until(lambda: shows(browser, GENERATED))


async def test_candidates_for_sessions_that_never_come_are_forgotten(hasty: Call) -> None:
    hasty.announce("alice")
    for i in range(500):
        hasty.service.signal(
            SessionSignal(
                terminal="alice",
                session=f"x{i}",
                channel="publish",
                candidate=IceCandidate(candidate="candidate:1 1 UDP 1 192.0.2.7 5 typ host", sdpMid="0"),
            )
        )
    assert 0 < len(hasty.service._early) <= 16
    await until(lambda: not hasty.service._early)
