"""The page in a real browser against a scripted server: names, keys, focus, narrow screens, own pixels."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, Route, expect

from server.api_errors import add_security_headers
from server.api_page import Page as PageFiles

CLIENT = Path(__file__).parents[3] / "client"
TARGETS = [
    {"id": f"face-{k}", "name": f"Face {k}", "image": f"/api/targets/face-{k}/image"} for k in range(3)
]
TEMPLATES = [
    {"name": "happy", "title": "Happy", "description": "A smile.", "seconds": 0.1, "built_in": True},
    {"name": "wink-left", "title": "Wink (left)", "description": "A wink.", "seconds": 0.1, "built_in": True},
    *(
        {"name": f"own-{k}", "title": f"Own {k}", "description": "", "seconds": 1, "built_in": False}
        for k in range(9)
    ),
]
ADA = {"terminal": "ada", "name": "Ada", "presence": "online", "camera": True, "microphone": True}
ME = {**ADA, "terminal": "me", "name": "Me"}
ROLES_WITH_NAMES = {
    *("button", "link", "radio", "checkbox", "textbox", "combobox", "listbox", "meter", "progressbar"),
    *("dialog", "alertdialog", "log", "image", "complementary", "region", "video"),
}


class ScriptedServer:
    """Serves the page; greets terminals, lets them into rooms, and says what else a test wants said."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.socket: web.WebSocketResponse | None = None
        self.judged = asyncio.Event()  # uploaded photos are answered when it is set
        app = web.Application()
        app.on_response_prepare.append(add_security_headers)
        PageFiles(CLIENT).add_routes(app.router)
        app.router.add_get("/api/targets", self._targets)
        app.router.add_post("/api/targets", self._upload)
        app.router.add_get("/api/targets/{id}/image", self._image)
        app.router.add_get("/api/config", self._config)
        app.router.add_get("/api/templates", self._templates)
        app.router.add_post("/api/animate", self._animate)
        app.router.add_get("/api/animate/{id}/events", self._events)
        app.router.add_delete("/api/animate/{id}", self._events)
        app.router.add_get("/ws", self._talk)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/"))

    async def say(self, **message: Any) -> None:
        assert self.socket is not None
        await self.socket.send_json({"v": 1, **message})

    async def until_heard(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The last message of a type with these fields; waits for it."""
        async with asyncio.timeout(10):
            while True:
                for message in reversed(self.heard):
                    if message["type"] == kind and fields.items() <= message.items():
                        return message
                await asyncio.sleep(0.02)

    async def start_call(self, mode: str = "reenacted", call: str = "c1") -> None:
        """Ada enters the room that the page has entered, and their call begins."""
        await self.until_heard("room.join")
        await self.say(type="room.state", room="r", members=[ME, ADA])
        await self.say(type="call.state", call=call, kind="video", mode=mode, members=[ME, ADA])

    async def _targets(self, request: web.Request) -> web.Response:
        return web.json_response({"targets": TARGETS})

    async def _upload(self, request: web.Request) -> web.Response:
        await self.judged.wait()
        return web.json_response({"id": "own", "name": "Mine", "image": "/api/targets/own/image"}, status=201)

    async def _image(self, request: web.Request) -> web.Response:
        return web.FileResponse(CLIENT / "favicon.svg")  # type: ignore[return-value]

    async def _templates(self, request: web.Request) -> web.Response:
        return web.json_response({"templates": TEMPLATES})

    async def _events(self, request: web.Request) -> web.Response:
        failed = 'event: failed\ndata: {"error": {"code": "unavailable", "message": ""}}\n\n'
        return web.Response(text=failed, content_type="text/event-stream")

    async def _animate(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "job", "events": "/api/animate/job/events"}, status=202)

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"upload": {"max_photos": 2, "max_bytes": 1000, "formats": ["image/png"]}})

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            message = json.loads(frame.data)
            self.heard.append(message)
            if message["type"] == "hello":
                await self.say(
                    type="welcome",
                    terminal="me",
                    resume="token",
                    resumed="resume" in message,
                    resume_s=30,
                    heartbeat_s=3,
                    ice_servers=[],
                )
            elif message["type"] == "ping":
                await self.say(type="pong")
            elif message["type"] == "room.join":
                await self.say(type="room.state", re=message["id"], room=message["room"], members=[ME])
        return socket


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    await scripted.server.start_server()
    yield scripted
    await scripted.server.close()


@pytest.fixture
async def page(browser: Browser, server: ScriptedServer) -> AsyncIterator[Page]:
    """A page that must have had nothing to complain of by the end of the test."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield page
    await page.close()  # before the server goes, which the page would complain of
    assert complaints == []


async def _nameless(page: Page) -> list[str]:
    """What a screen reader could reach but not call by a name."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    return [
        f"{role} {node.get('backendDOMNodeId')}"
        for node in tree["nodes"]
        if not node.get("ignored")
        and (role := node.get("role", {}).get("value")) in ROLES_WITH_NAMES
        and not node.get("name", {}).get("value", "").strip()
    ]


async def _overflow(page: Page) -> int:
    """How far the page can be scrolled sideways, once a change of the window's size has settled."""
    for _ in range(30):
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if (overflow := await page.evaluate(beyond)) <= 0:
            break
        await asyncio.sleep(0.1)
    return overflow


async def _small_buttons(page: Page) -> list[str]:
    """Buttons under 24 by 24 pixels (WCAG 2.2, 2.5.8)."""
    return await page.evaluate(
        """[...document.querySelectorAll("button, select")].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.width < 24 || box.height < 24);
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )


async def _shown_as_off(page: Page, action: str, name: str) -> None:
    """A button looks switched off and is named after what it would do: "pressed" would say the opposite."""
    button = page.locator(f'[data-action="{action}"]')
    await expect(button).to_have_accessible_name(name)
    await expect(button).to_contain_class("off")
    await expect(button).not_to_have_attribute("aria-pressed", re.compile(""))


async def test_lobby(page: Page, server: ScriptedServer) -> None:
    """One can choose, be told what is missing, and join with keys alone; everything has a name."""
    await page.goto(server.url)
    await expect(page.locator('#lobby-gallery [data-target="face-0"] input')).to_be_checked()
    await server.until_heard("target.select", target="face-0")
    await server.until_heard("media.set", camera=True, microphone=True)
    await server.until_heard("media.signal", channel="publish")

    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await _nameless(page) == []
        assert await _overflow(page) <= 0, width
        assert await _small_buttons(page) == []

    await page.locator('[data-action="lobby-mute"]').click()
    await _shown_as_off(page, "lobby-mute", "Unmute the microphone")
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


async def test_call(page: Page, server: ScriptedServer) -> None:
    """The call's screen has names for all, fits narrow screens, and does what keys say."""
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await expect(page.locator("body")).to_have_attribute("data-state", "ringing")
    assert "target" not in page.url, "the address is shared, and a target's id is a capability"
    await server.start_call()
    await expect(page.locator('video[data-role="remote"]')).to_have_attribute("data-terminal", "ada")
    await expect(page.locator('[data-role="notice"]')).to_have_text("Generated picture")
    await server.until_heard("media.signal", channel="subscribe", peer="ada")

    for width, height in ((320, 640), (640, 360), (1200, 800)):
        await page.set_viewport_size({"width": width, "height": height})
        assert await _nameless(page) == []
        assert await _overflow(page) <= 0, width
        await expect(page.locator('[data-action="leave"]')).to_be_in_viewport()
        assert await _small_buttons(page) == []

    await page.keyboard.press("m")
    await server.until_heard("media.set", microphone=False, camera=True)
    await page.keyboard.press("v")
    await server.until_heard("media.set", microphone=False, camera=False)
    await _shown_as_off(page, "mute", "Unmute")
    await _shown_as_off(page, "camera", "Camera on")

    await page.keyboard.press("c")
    await expect(page.locator('[data-role="chat-input"]')).to_be_focused()
    await page.keyboard.type("mv <b>?</b>")
    await page.keyboard.press("Enter")
    text = await server.until_heard("text.send")
    assert text["text"] == "mv <b>?</b>"
    await server.say(type="text", re=text["id"], sender="me", name="Me", text=text["text"], at=0)
    await page.keyboard.press("Escape")
    await expect(page.locator('#controls [data-action="chat"]')).to_be_focused()
    await server.say(type="text", sender="ada", name="Ada", text="<img src=x onerror=alert(1)>", at=0)
    await expect(page.locator(".badge")).to_have_text("1")
    await expect(page).to_have_title("(1) r · Understudy")
    assert await page.locator('[data-role="chat-log"] li').count() == 2
    assert await page.locator('[data-role="chat-log"] :is(b:not(.chat-who b), img)').count() == 0

    for action in ("help", "target"):
        await page.locator(f'[data-action="{action}"]').first.click()
        assert await _nameless(page) == []
        await page.keyboard.press("Escape")

    await page.locator('[data-action="leave"]').click()
    await server.until_heard("bye")
    await expect(page.locator("body")).to_have_attribute("data-state", "ended")


# A browser that thinks about the microphone for a moment, and then refuses it.
NO_MICROPHONE = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  if (!constraints.audio) return ask(constraints);
  await new Promise((resolve) => setTimeout(resolve, 300));
  throw new DOMException("not here", "NotAllowedError");
};
"""


async def test_refused_microphone_is_not_said_to_be_on(page: Page, server: ScriptedServer) -> None:
    """What is said after unmuting is what came of it; nothing is said before that is known."""
    await page.add_init_script(NO_MICROPHONE)
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.until_heard("media.set", microphone=False, camera=True)
    await page.keyboard.press("m")
    await expect(page.locator(".toast")).to_contain_text("may not use the microphone")
    await page.keyboard.press("v")
    await expect(page.locator(".toast")).to_contain_text("Camera off")


async def test_keys_can_be_switched_off(page: Page, server: ScriptedServer) -> None:
    """Also for the next visits; Escape still closes what is open."""
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.start_call()
    await server.until_heard("media.set", microphone=True, camera=True)
    await page.keyboard.press("?")
    await page.get_by_role("checkbox", name="Use single keys").uncheck()
    await page.keyboard.press("Escape")
    await expect(page.locator("#help-dialog")).to_be_hidden()
    await page.reload()
    await server.until_heard("media.set", microphone=True, camera=True)
    server.heard.clear()
    for key in ("m", "v", "1", "?", "c"):
        await page.keyboard.press(key)
    await expect(page.locator("#help-dialog")).to_be_hidden()
    await expect(page.locator("#chat")).to_be_hidden()
    await expect(page.locator(".toast")).to_have_count(0)
    await page.locator('#controls [data-action="chat"]').click()
    await page.keyboard.press("Escape")
    await expect(page.locator("#chat")).to_be_hidden()

    await page.locator('[data-action="help"]').click()
    await page.get_by_role("checkbox", name="Use single keys").check()
    await page.keyboard.press("Escape")
    await page.keyboard.press("v")
    await server.until_heard("media.set", microphone=True, camera=False)


async def test_reload_resumes(page: Page, server: ScriptedServer) -> None:
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.until_heard("room.join", room="r")
    server.heard.clear()
    await page.reload()
    assert (await server.until_heard("hello"))["resume"] == "token"
    await server.until_heard("room.join", room="r")  # this server forgot the room, so it is entered again
    assert not [message for message in server.heard if message["type"] == "bye"]


async def test_rejoining_keeps_the_face(page: Page, server: ScriptedServer) -> None:
    """A face that came by link is in neither the room's link nor the browser's memory, and is worn again."""
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.until_heard("target.select", target="face-2")
    await page.locator('[data-action="leave"]').click()
    server.heard.clear()
    await page.locator('[data-action="rejoin"]').click()
    await server.until_heard("room.join", room="r")
    assert (await server.until_heard("target.select"))["target"] == "face-2"


# Answers an offer of the page within the page, as a media worker would.
ANSWER = """async (offer) => {
  const other = new RTCPeerConnection();
  (window.others ??= []).push(other);
  await other.setRemoteDescription(offer);
  await other.setLocalDescription(await other.createAnswer());
  while (other.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 20));
  return other.localDescription.toJSON();
}"""


async def _generate(page: Page, server: ScriptedServer) -> None:
    """Let the page's own picture be generated, as far as it can tell."""
    await server.until_heard("media.signal", channel="publish")
    offers = (m for m in server.heard if m["type"] == "media.signal" and m["channel"] == "publish")
    offer = next(m for m in offers if m.get("description"))
    answer = await page.evaluate(ANSWER, offer["description"])
    await server.say(type="media.signal", channel="publish", session=offer["session"], description=answer)
    await server.say(type="media.status", terminal="me", state="live")


async def test_reactions(page: Page, server: ScriptedServer) -> None:
    """A number key or the popover plays a template; not while typing, under a dialog, or with no picture."""
    react = page.locator('#controls [data-action="react"]')
    chip = page.locator("#self-reaction")
    played = lambda: [m["template"] for m in server.heard if m["type"] == "media.react"]  # noqa: E731
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.start_call()
    await expect(page.locator("#reaction-list button")).to_have_count(len(TEMPLATES))
    await expect(react).to_be_disabled()
    await page.keyboard.press("1")
    await expect(page.locator(".toast")).to_contain_text("Reactions need")
    assert played() == []

    await _generate(page, server)
    await expect(react).to_be_enabled()
    await page.keyboard.press("2")
    await server.until_heard("media.react", template="wink-left")
    await expect(chip).to_have_text("Wink (left)")
    await expect(chip).to_be_hidden()

    await react.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#reactions")).to_be_visible()
    await expect(react).to_have_attribute("aria-expanded", "true")
    await expect(page.locator('[data-template="happy"]')).to_be_focused()
    assert await _nameless(page) == []
    for width, height in ((320, 640), (640, 360), (1200, 800)):
        await page.set_viewport_size({"width": width, "height": height})
        assert await _overflow(page) <= 0, width
        box = await page.locator("#reactions").bounding_box()
        assert box is not None
        assert min(box["x"], box["y"]) >= 0, (width, box)
        assert box["x"] + box["width"] <= width, (width, box)
        assert box["y"] + box["height"] <= height, (width, box)
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowDown")  # nine stand in a row on a wide screen
    await expect(page.locator('[data-template="own-8"]')).to_be_focused()
    await page.keyboard.press("Enter")
    await server.until_heard("media.react", template="own-8")
    await expect(page.locator("#reactions")).to_be_hidden()
    await expect(react).to_be_focused()

    await react.click()
    await expect(page.locator("#reactions")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#reactions")).to_be_hidden()
    await react.click()
    await react.click()
    await expect(page.locator("#reactions")).to_be_hidden()

    before = played()
    await page.keyboard.press("c")
    await page.keyboard.type("11")
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.locator("#help-keys")).to_contain_text("1 – 9")
    await page.keyboard.press("1")
    await page.keyboard.press("Escape")
    await page.keyboard.press("v")
    await server.until_heard("media.set", camera=False)
    await expect(react).to_be_disabled()
    await page.keyboard.press("1")
    assert played() == before


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
    assert await _nameless(page) == []
    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await _overflow(page) <= 0, width
    await page.locator('a[href="#animate"]').click()
    await expect(page.locator("#animate-title")).to_be_visible()
    await page.locator('a[href="#lobby"]').click()
    await expect(page.locator("#mirror-wait")).to_contain_text("cannot make video calls")
    assert server.heard == []


# A browser that knows no popovers: to its styles it is said in the test.
NO_POPOVERS = """
delete HTMLElement.prototype.showPopover;
document.addEventListener("readystatechange", () => {
  for (const element of document.querySelectorAll("[popover]")) element.removeAttribute("popover");
});
"""


async def test_browsers_without_popovers(page: Page, server: ScriptedServer) -> None:
    """The reactions lie over nothing, and the button that would open them is not there; the keys work."""

    async def without_popovers(route: Route) -> None:
        response = await route.fetch()
        text = await response.text()
        await route.fulfill(response=response, body=text.replace(":popover-open", ":unknown"))

    await page.route("**/*.css", without_popovers)
    await page.add_init_script(NO_POPOVERS)
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.start_call()
    await expect(page.locator("#reaction-list button")).to_have_count(len(TEMPLATES))
    await expect(page.locator("#reactions")).to_be_hidden()
    await expect(page.locator('#controls [data-action="react"]')).to_be_hidden()
    await expect(page.locator('#controls [data-action="chat"]')).to_be_visible()
    await _generate(page, server)
    await expect(page.locator("#self-note")).not_to_contain_text("Preparing")
    await page.keyboard.press("1")
    await server.until_heard("media.react", template="happy")


# What of the call's screen lies under a notice; behind a panel that covers the screen nothing does.
UNDER_NOTICES = """() => {
  const box = (element) => element.getBoundingClientRect();
  const apart = (a, b) =>
    a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
  const notices = [...document.querySelectorAll(".toast")].map(box);
  const covered = innerWidth <= 720 && document.querySelector(".panel:not([hidden])");
  const said = covered
    ? "#stats header, #stats section"
    : "#stats header, #stats section, #room-label, #status-pill, .top-actions button, .self";
  return [...document.querySelectorAll(said)]
    .filter((element) => element.getClientRects().length)
    .filter((element) => !notices.every((notice) => apart(notice, box(element))))
    .map((element) => element.outerHTML.slice(0, 60));
}"""


async def test_notices_hide_nothing(page: Page, server: ScriptedServer) -> None:
    """Short notices lie on no panel, not on oneself, and on nothing that stands in the top line."""
    await page.goto(f"{server.url}?room=a-room-with-a-name&name=Me&target=face-2&join=1")
    await server.start_call()
    for width, height in ((1200, 800), (768, 900), (390, 844), (640, 360)):
        await page.set_viewport_size({"width": width, "height": height})
        for _ in ("with the statistics", "without"):
            await page.keyboard.press("s")
            await page.keyboard.press("m")
            await expect(page.locator(".toast")).to_be_visible()
            assert await page.evaluate(UNDER_NOTICES) == [], (width, height)


async def test_animate_view_asks_for_no_camera_and_fits(page: Page, server: ScriptedServer) -> None:
    """The view has names for all, fits narrow screens, and opens neither line nor camera."""
    await page.goto(f"{server.url}#animate")
    await expect(page.locator("#animate-gallery input:checked")).to_have_count(1)
    await expect(page.locator(".expression")).to_have_count(len(TEMPLATES))
    for width in (320, 768, 1200):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await _nameless(page) == []
        assert await _overflow(page) <= 0, width
        assert await _small_buttons(page) == []
    await page.locator('[data-expression="happy"]').focus()
    await page.keyboard.press("Space")
    await page.locator('[data-expression="own-3"]').click()
    await expect(page.locator("#sequence")).to_have_text("Happy → Own 3")
    await expect(page.locator("#seconds-value")).to_have_text("4.0 s")
    assert server.heard == []
    await page.locator('a[href="#lobby"]').click()
    await server.until_heard("media.signal", channel="publish")
    await expect(page.locator("#raw")).to_be_visible()


# Tracks of the page's camera and where each may be looked at or sent.
OWN_PIXELS = """
window.cameras = new Set();
window.sending = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  const stream = await ask(constraints);
  for (const track of stream.getVideoTracks()) window.cameras.add(track.id);
  return stream;
};
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...options) {
    super(...options);
    window.sending.push(this);
  }
};
"""
WHERE_OWN_PIXELS_ARE = """() => ({
  shown: [...document.querySelectorAll("video")]
    .filter((video) => video.srcObject?.getVideoTracks().some((track) => window.cameras.has(track.id)))
    .map((video) => video.dataset.role),
  sent: window.sending
    .filter((peer) => peer.connectionState !== "closed")
    .filter((peer) => peer.getSenders().some((sender) => window.cameras.has(sender.track?.id))).length,
})"""


async def own_pixels_are(page: Page, *, shown: list[str], sent: int) -> None:
    """Nowhere else at any time; and there, but for the moment between two tries: no worker answers here."""
    async with asyncio.timeout(5):
        while True:
            found = await page.evaluate(WHERE_OWN_PIXELS_ARE)
            assert found["shown"] == shown
            assert found["sent"] <= sent
            if found["sent"] == sent:
                return
            await asyncio.sleep(0.05)


async def test_own_pixels_go_nowhere_unasked(page: Page, server: ScriptedServer) -> None:
    """The camera is shown in the lobby alone and sent to the worker alone, until agreed otherwise."""
    await page.add_init_script(OWN_PIXELS)
    await page.goto(f"{server.url}?room=r&name=Me")
    await expect(page.locator("#raw")).to_be_visible()
    await server.until_heard(
        "media.signal", channel="publish"
    )  # the picture may be shown before it is offered
    await own_pixels_are(page, shown=["preview"], sent=1)

    await page.locator('[data-action="join"]').click()
    await server.start_call()
    await expect(page.locator('video[data-role="remote"]')).to_be_attached()
    await server.until_heard("media.signal", channel="subscribe")
    await own_pixels_are(page, shown=[], sent=1)

    # A direct call that this person never agreed to: nothing is sent, and it is left.
    await server.say(type="call.state", call="c2", kind="video", mode="direct", members=[ME, ADA])
    offer = {"type": "offer", "sdp": "v=0"}
    await server.say(type="media.signal", channel="direct", session="s", peer="ada", description=offer)
    await server.until_heard("call.leave", call="c2")
    await own_pixels_are(page, shown=[], sent=1)
    assert not [m for m in server.heard if m["type"] == "media.signal" and m["channel"] == "direct"]
    await server.say(type="call.ended", call="c2", reason="left")

    # Escape is no agreement.
    asked = {"type": "relay.incoming", "kind": "video", "mode": "direct", "sender": "ada", "name": "Ada"}
    await server.say(**asked, request="q1", expires_s=30)
    await expect(page.locator("#direct-incoming")).to_be_visible()
    assert "Ada" in await page.locator("#incoming-title").inner_text()
    await expect(page.locator('[data-action="direct-decline"]')).to_be_focused()
    assert await _nameless(page) == []
    await page.keyboard.press("Escape")
    await server.until_heard("relay.decline", request="q1")
    assert not [m for m in server.heard if m["type"] == "relay.accept"]

    # A withdrawn request is not asked any longer.
    await server.say(**asked, request="q2", expires_s=30)
    await expect(page.locator("#direct-incoming")).to_be_visible()
    state = {"type": "relay.state", "kind": "video", "mode": "direct", "state": "closed"}
    await server.say(**state, request="q2", reason="cancelled")
    await expect(page.locator("#direct-incoming")).to_be_hidden()

    # With agreement: sent to the peer, shown to oneself in an element of its own, said in words.
    await server.say(**asked, request="q3", expires_s=30)
    await page.locator('[data-action="direct-accept"]').click()
    await server.until_heard("relay.accept", request="q3", mode="direct")
    accepted = {"type": "relay.state", "kind": "video", "mode": "direct", "state": "accepted"}
    await server.say(**accepted, request="q3", by="me", call="c3")
    await server.say(type="call.state", call="c3", kind="video", mode="direct", members=[ME, ADA])
    await server.until_heard("media.signal", channel="direct", peer="ada")
    await expect(page.locator("#direct-banner")).to_contain_text("Your own face is visible to Ada")
    await own_pixels_are(page, shown=["direct-self"], sent=2)

    # And back.
    await page.locator('[data-action="leave-direct"]').click()
    await server.until_heard("call.leave", call="c3")
    await server.say(type="call.ended", call="c3", reason="left")
    await expect(page.locator("#direct-banner")).to_be_hidden()
    await own_pixels_are(page, shown=[], sent=1)
