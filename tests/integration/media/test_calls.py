"""Publish and subscribe sessions between the media service and real peers."""

from __future__ import annotations

import asyncio
import time

import pytest

from signaling.protocol import ErrorCode
from tests.integration.media.harness import (
    CAMERA,
    GENERATED,
    STILL,
    Browser,
    Call,
    Camera,
    near,
    shows,
    until,
)


async def meet(call: Call) -> tuple[Browser, Browser]:
    """Alice publishes and Bob sees her."""
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    publisher = await call.publish("alice")
    viewer = await call.subscribe("bob", "alice")
    await until(lambda: shows(viewer, GENERATED))
    return publisher, viewer


async def test_publishing_shows_the_own_generated_picture(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice")
    await until(lambda: shows(browser, GENERATED))
    assert call.service.publishing == ["alice"]
    assert call.inference.drivers["alice"].sizes == {(320, 240)}


async def test_a_viewer_gets_pictures_and_sound(call: Call) -> None:
    _, viewer = await meet(call)
    await until(lambda: viewer.loudness and viewer.loudness[-1][1] > 1000)
    assert viewer.timestamps == sorted(set(viewer.timestamps))


async def test_who_is_no_viewer_is_refused(call: Call) -> None:
    call.announce("alice", viewers=["carol"])
    call.announce("bob")
    await call.publish("alice")
    for peer, code in (
        ("alice", ErrorCode.UNAUTHORISED),
        ("bob", ErrorCode.UNAUTHORISED),  # oneself: the own picture comes with publishing
        ("nobody", ErrorCode.PEER_UNKNOWN),
    ):
        browser = Browser("bob", f"s-{peer}", peer)
        browser.subscribe()
        call.service.signal(await browser.offer())
        assert (call.errors[-1].session, call.errors[-1].code) == (f"s-{peer}", code)
        await browser.close()
    assert call.service.sessions == 1


async def test_a_terminal_that_was_not_announced_is_refused(call: Call) -> None:
    call.announce("alice", viewers=["stranger"])
    await call.publish("alice")
    for browser in (Browser("stranger", "s1", "alice"), Browser("stranger", "p1")):
        browser.subscribe()
        call.service.signal(await browser.offer())
        assert call.errors[-1].code is ErrorCode.PEER_UNKNOWN
        await browser.close()
    assert call.service.sessions == 1


async def test_a_viewer_that_may_not_see_any_more_sees_no_more(call: Call) -> None:
    _, viewer = await meet(call)
    call.announce("alice", viewers=[])
    await until(lambda: viewer.connection.connectionState in {"closed", "failed"})
    assert call.service.sessions == 1
    assert call.service.publishing == ["alice"]


async def test_a_terminal_that_is_gone_leaves_nothing(call: Call) -> None:
    publisher, viewer = await meet(call)
    call.service.forget("alice")
    await until(lambda: viewer.connection.connectionState in {"closed", "failed"})
    await until(lambda: publisher.connection.connectionState in {"closed", "failed"})
    assert call.service.sessions == 0
    assert call.service.open_drivers == []
    assert call.inference.drivers == {}


async def test_viewers_keep_their_session_while_the_driver_publishes_anew(call: Call) -> None:
    first, viewer = await meet(call)
    second = await call.publish("alice", "p2")
    await until(lambda: first.connection.connectionState in {"closed", "failed"})
    again = time.monotonic()
    await until(lambda: shows(viewer, GENERATED) and viewer.pictures[-1][0] > again + 0.2)
    await until(lambda: viewer.loudness[-1][1] > 1000 and viewer.loudness[-1][0] > again + 0.2)
    assert viewer.connection.connectionState == "connected"
    await until(lambda: shows(second, GENERATED))
    assert call.service.sessions == 2
    assert call.errors == []


async def test_a_new_publish_that_fails_leaves_the_old_one_alone(call: Call) -> None:
    publisher, viewer = await meet(call)
    broken = Browser("alice", "p2")
    broken.publish(Camera())
    call.service.signal(await broken.offer())
    await until(lambda: call.service.sessions == 3)
    call.service.end_session("alice", "p2")
    await broken.close()
    later = time.monotonic()
    await until(lambda: shows(viewer, GENERATED) and viewer.pictures[-1][0] > later + 0.2)
    assert publisher.connection.connectionState == "connected"


async def test_a_vanished_driver_leaves_a_still_and_comes_back(call: Call) -> None:
    publisher, viewer = await meet(call)
    await publisher.close()
    await until(lambda: shows(viewer, STILL))
    assert call.service.publishing == []
    await asyncio.sleep(0.4)  # longer than an unused slot lingers
    assert call.service.open_drivers == ["alice"], "its viewer still needs the slot"
    await call.publish("alice", "p2")
    await until(lambda: shows(viewer, GENERATED))


async def test_subscribing_before_the_driver_publishes_shows_the_still(call: Call) -> None:
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    viewer = await call.subscribe("bob", "alice")
    await until(lambda: shows(viewer, STILL))
    await call.publish("alice")
    await until(lambda: shows(viewer, GENERATED))


async def test_muted_means_silent(call: Call) -> None:
    _, viewer = await meet(call)
    await until(lambda: viewer.loudness and viewer.loudness[-1][1] > 1000)
    call.announce("alice", viewers=["bob"], microphone=False)
    await until(lambda: viewer.loudness[-1][1] == 0)
    call.announce("alice", viewers=["bob"], microphone=True)
    await until(lambda: viewer.loudness[-1][1] > 1000)


async def test_a_viewer_of_a_driver_without_microphone_hears_silence(call: Call) -> None:
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    await call.publish("alice", sound=False)
    viewer = await call.subscribe("bob", "alice")
    await until(lambda: viewer.loudness and viewer.loudness[-1][1] == 0)


async def test_a_camera_that_changes_its_size_and_rate_is_followed(call: Call) -> None:
    call.announce("alice")
    camera = Camera(width=640, height=480)
    browser = await call.publish("alice", camera=camera)
    await until(lambda: shows(browser, GENERATED))
    sizes = call.inference.drivers["alice"].sizes
    camera.size, camera.fps = (480, 640), 15.0
    await until(lambda: (480, 640) in sizes)
    camera.size = (1920, 1080)
    await until(lambda: (1280, 720) in sizes)
    assert (1920, 1080) not in sizes


@pytest.mark.parametrize("case", ["no target", "inference dead", "camera off", "unpublished"])
async def test_the_camera_is_never_seen(call: Call, case: str) -> None:
    publisher, viewer = await meet(call)
    if case == "no target":
        call.announce("alice", viewers=["bob"], target=None)
    elif case == "inference dead":
        call.inference.dead = True
    elif case == "camera off":
        call.announce("alice", viewers=["bob"], camera=False)
    else:
        call.service.end_session("alice", "p1")
    await until(lambda: shows(viewer, STILL))
    await asyncio.sleep(0.3)
    for browser in (publisher, viewer):
        for _, picture in browser.pictures:
            assert not near(tuple(picture.mean((0, 1))), CAMERA, 100)
    # The same camera, sent straight to a peer, is recognised by this test.
    assert near(tuple(Camera.picture(CAMERA).mean((0, 1))), CAMERA, 100)


async def test_a_camera_turned_off_is_not_even_submitted(call: Call) -> None:
    await meet(call)
    call.announce("alice", viewers=["bob"], camera=False)
    held = call.inference.drivers["alice"]
    before = held.submitted
    await asyncio.sleep(0.3)
    assert held.submitted == before
    call.announce("alice", viewers=["bob"], camera=True)
    await until(lambda: held.submitted > before)
