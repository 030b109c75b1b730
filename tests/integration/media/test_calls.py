"""Publish and subscribe sessions between the media service and real peers."""

from __future__ import annotations

from tests.integration.media.harness import GENERATED, Call, near, until


async def test_publishing_shows_the_own_generated_picture(call: Call) -> None:
    call.announce("alice")
    browser = await call.publish("alice")
    await until(lambda: len(browser.pictures) > 10 and near(browser.colour, GENERATED))
    assert call.service.publishing == ["alice"]


async def test_a_viewer_gets_pictures_and_sound(call: Call) -> None:
    call.announce("alice", viewers=["bob"])
    call.announce("bob", viewers=["alice"])
    await call.publish("alice")
    viewer = await call.subscribe("bob", "alice")
    await until(lambda: len(viewer.pictures) > 10 and near(viewer.colour, GENERATED))
    await until(lambda: viewer.loudness and viewer.loudness[-1][1] > 1000)
