"""The lobby, its dialogs and stills that come alive, in a real browser against a scripted server."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.unit.client.looks import nameless, overflow, shown_as_off, small_buttons
from tests.unit.client.scripted import TEMPLATES, ScriptedServer


async def test_lobby(page: Page, server: ScriptedServer) -> None:
    """One can choose, be told what is missing, and join with keys alone; everything has a name."""
    await page.goto(server.url)
    await expect(page.locator('#lobby-gallery [data-target="face-0"] input')).to_be_checked()
    await server.until_heard("target.select", target="face-0")
    await server.until_heard("media.set", camera=True, microphone=True)
    await server.until_heard("media.signal", channel="publish")

    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await nameless(page) == []
        assert await overflow(page) <= 0, width
        assert await small_buttons(page) == []

    await page.locator('[data-action="lobby-mute"]').click()
    await shown_as_off(page, "lobby-mute", "Unmute the microphone")
    await server.until_heard("media.set", microphone=False)
    await page.locator('[data-action="lobby-mute"]').click()

    await page.locator("#lobby-gallery input:checked").focus()
    await page.keyboard.press("ArrowRight")
    await server.until_heard("target.select", target="face-1")

    await page.locator("#name").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#name-error")).not_to_be_empty()
    await expect(page.locator("#name")).to_be_focused()
    await page.keyboard.type("Me")
    await page.keyboard.press("Enter")
    room = await page.locator("#room").input_value()
    await server.until_heard("room.join", room=room)
    await expect(page.locator("body")).to_have_attribute("data-state", "ringing")
    await expect(page.locator("#call-title")).to_be_focused()
    assert page.url.endswith(f"/?room={room}")


async def test_selecting_text_beyond_a_dialog_leaves_it_open(page: Page, server: ScriptedServer) -> None:
    """A press inside that ends outside closes nothing; a click outside does."""
    await page.goto(server.url)
    await page.locator('#lobby-gallery [data-action="open-upload"]').click()
    field = await page.locator("#target-name").bounding_box()
    assert field is not None
    await page.mouse.move(field["x"] + 20, field["y"] + field["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(20, 400, steps=4)
    await page.mouse.up()
    await expect(page.locator("#upload-dialog")).to_be_visible()
    await page.mouse.click(20, 400)
    await expect(page.locator("#upload-dialog")).to_be_hidden()


DROP = """(drop) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["c"], "c.png", { type: "image/png" }));
  drop.dispatchEvent(new DragEvent("dragover", { dataTransfer, bubbles: true, cancelable: true }));
  drop.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


async def test_photos_on_their_way_stay_as_they_are(page: Page, server: ScriptedServer) -> None:
    """During an upload none is added or removed: what the server says of one would be said of another."""
    await page.goto(server.url)
    await page.locator('#lobby-gallery [data-action="open-upload"]').click()
    photo = page.locator("#photo-list li")
    await page.locator("#drop").evaluate(DROP)
    await expect(photo).to_have_count(1)
    await photo.locator("button").click()
    await expect(photo).to_have_count(0)

    files = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": name.encode()} for name in "ab"]
    await page.locator("#photos").set_input_files(files)  # type: ignore[arg-type]
    await page.locator("#consent").check()
    await page.locator('[data-action="upload"]').click()
    await expect(page.locator("#upload-status")).to_contain_text("Looking for the face")
    await page.locator("#drop").evaluate(DROP)
    await expect(photo).to_have_count(2)
    await expect(photo.first.locator("button")).to_be_disabled()
    await expect(page.locator("#upload-status")).to_contain_text("Looking for the face")
    server.judged.set()
    await expect(page.locator("#upload-dialog")).to_be_hidden()
    await server.until_heard("target.select", target="own")


async def test_browsers_without_webrtc(page: Page, server: ScriptedServer) -> None:
    """It is said at the start; nothing is joined, no camera asked for, and photos can be brought to life."""
    await page.add_init_script(
        "delete window.RTCPeerConnection;"
        "navigator.mediaDevices.getUserMedia = () => { throw new Error('asked for the camera'); };"
    )
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await expect(page.locator("#mirror-wait")).to_contain_text("cannot make video calls")
    await expect(page.locator("body")).to_have_attribute("data-state", "lobby")
    await expect(page.locator('[data-action="join"]')).to_be_disabled()
    await expect(page.locator("#camera-select")).to_be_hidden()
    assert await nameless(page) == []
    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await overflow(page) <= 0, width
    await page.locator('a[href="#animate"]').click()
    await expect(page.locator("#animate-title")).to_be_visible()
    await page.locator('a[href="#lobby"]').click()
    await expect(page.locator("#mirror-wait")).to_contain_text("cannot make video calls")
    assert server.heard == []


async def test_animate_view_asks_for_no_camera_and_fits(page: Page, server: ScriptedServer) -> None:
    """The view has names for all, fits narrow screens, and opens neither line nor camera."""
    await page.goto(f"{server.url}#animate")
    await expect(page.locator("#animate-gallery input:checked")).to_have_count(1)
    await expect(page.locator(".expression")).to_have_count(len(TEMPLATES))
    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await nameless(page) == []
        assert await overflow(page) <= 0, width
        assert await small_buttons(page) == []
    await page.locator('[data-expression="happy"]').focus()
    await page.keyboard.press("Space")
    await page.locator('[data-expression="own-3"]').click()
    await expect(page.locator("#sequence")).to_have_text("Happy → Own 3")
    await expect(page.locator("#seconds-value")).to_have_text("4.0 s")
    assert server.heard == []
    await page.locator('a[href="#lobby"]').click()
    await server.until_heard("media.signal", channel="publish")
    await expect(page.locator("#raw")).to_be_visible()
