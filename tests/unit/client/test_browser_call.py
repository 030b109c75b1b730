"""A call in a real browser against a scripted server: names, keys, focus, narrow screens, own pixels."""

from __future__ import annotations

import asyncio

from playwright.async_api import Page, Route, expect

from tests.unit.client.looks import nameless, overflow, shown_as_off, small_buttons
from tests.unit.client.scripted import ADA, ME, TEMPLATES, ScriptedServer


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
        assert await nameless(page) == []
        assert await overflow(page) <= 0, width
        await expect(page.locator('[data-action="leave"]')).to_be_in_viewport()
        assert await small_buttons(page) == []

    await page.keyboard.press("m")
    await server.until_heard("media.set", microphone=False, camera=True)
    await page.keyboard.press("v")
    await server.until_heard("media.set", microphone=False, camera=False)
    await shown_as_off(page, "mute", "Unmute")
    await shown_as_off(page, "camera", "Camera on")

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
        assert await nameless(page) == []
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
    assert await nameless(page) == []
    for width, height in ((320, 640), (640, 360), (1200, 800)):
        await page.set_viewport_size({"width": width, "height": height})
        assert await overflow(page) <= 0, width
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
    assert await nameless(page) == []
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


# Somebody who clicks the moment that a dialog opens, on what lay there before; and when the button works.
HASTY = """() => {
  const dialog = document.querySelector("#direct-incoming");
  const button = document.querySelector('[data-action="direct-accept"]');
  window.waits = [];
  let opened = null;
  new MutationObserver(() => {
    if (!dialog.open) return;
    opened = performance.now();
    button.click();
  }).observe(dialog, { attributeFilter: ["open"] });
  new MutationObserver(() => button.disabled || window.waits.push(performance.now() - opened))
    .observe(button, { attributeFilter: ["disabled"] });
}"""


async def test_a_click_meant_for_something_else_is_no_consent(page: Page, server: ScriptedServer) -> None:
    """The request to show one's face opens at any moment: it can be agreed to once it could be seen."""
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.start_call()
    await page.evaluate(HASTY)
    dialog = page.locator("#direct-incoming")
    accept = page.locator('[data-action="direct-accept"]')
    asked = {"type": "relay.incoming", "kind": "video", "mode": "direct", "sender": "ada", "name": "Ada"}

    await server.say(**asked, request="q1", expires_s=30)
    await expect(dialog).to_be_visible()
    await expect(accept).to_be_enabled()
    state = {"type": "relay.state", "kind": "video", "mode": "direct", "state": "closed"}
    await server.say(**state, request="q1", reason="cancelled")
    await expect(dialog).to_be_hidden()

    await server.say(**asked, request="q2", expires_s=30)  # with the button enabled by the first
    await expect(dialog).to_be_visible()
    await accept.click()
    await server.until_heard("relay.accept", request="q2", mode="direct")
    answers = [m for m in server.heard if m["type"] in ("relay.accept", "relay.decline")]
    assert [answer["request"] for answer in answers] == ["q2"]
    waits = await page.evaluate("window.waits")
    assert len(waits) == 2
    assert min(waits) >= 690, waits


async def test_who_was_declined_twice_is_declined_unasked(page: Page, server: ScriptedServer) -> None:
    """The dialog lies over everything: whoever asks again and again would keep one from leaving."""
    await page.goto(f"{server.url}?room=r&name=Me&target=face-2&join=1")
    await server.start_call()
    dialog = page.locator("#direct-incoming")
    asked = {"type": "relay.incoming", "kind": "video", "mode": "direct", "expires_s": 30}
    for number in range(2):
        await server.say(**asked, request=f"a{number}", sender="ada", name="Ada")
        await expect(dialog).to_be_visible()
        await page.locator('[data-action="direct-decline"]').click()
        await server.until_heard("relay.decline", request=f"a{number}")
    await server.say(**asked, request="a2", sender="ada", name="Ada")
    await server.until_heard("relay.decline", request="a2")
    await expect(dialog).to_be_hidden()
    await server.say(**asked, request="e0", sender="eve", name="Eve")
    await expect(dialog).to_be_visible()
