"""The page in Chromium, served by the real application by invitation: its policy, its token, its refusals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser, Page, expect

from signaling.app import SIGNALING
from signaling.tokens import AUDIENCE
from tests.unit.access.conftest import JOIN_KEY, Start, token


class Visit:
    """A page and everything that it sent and complained of."""

    def __init__(self, client: TestClient, page: Page) -> None:
        self.url = f"http://localhost:{client.port}"
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[Any] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.requests.append(request))

    async def go(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def details(self) -> dict[str, Any]:
        return dict(await self.page.evaluate("() => window.understudy.details"))


@pytest.fixture
async def invited(start: Start, browser: Browser) -> AsyncIterator[tuple[TestClient, Visit]]:
    client = await start(join_key=JOIN_KEY)
    page = await browser.new_page()
    yield client, Visit(client, page)
    await page.close()


def expired() -> str:
    claims = {"aud": AUDIENCE, "exp": time.time() - 100, "jti": "j", "role": "guest", "room": "r"}
    return jwt.encode(claims, JOIN_KEY, algorithm="HS256")


@pytest.mark.parametrize("place", ["&token=", "#token="])
async def test_token_lets_in_and_leaves_no_trace(invited: tuple[TestClient, Visit], place: str) -> None:
    client, visit = invited
    shown = token(room="quiet-heron", name="Ada Lovelace")
    await visit.go(f"/?room=quiet-heron&join=1{place}{shown}")
    await expect(visit.page.locator("#call")).to_be_visible()
    await visit.page.wait_for_function("() => window.understudy.details.members.length === 1")
    (member,) = (await visit.details())["members"]
    assert member["name"] == "Ada Lovelace"
    assert visit.page.url == f"{visit.url}/?room=quiet-heron"
    # Behind the # it is not even in the first request; and no other names it as where it came from.
    first, *others = visit.requests
    assert (shown in first.url) == (place == "&token=")
    assert others
    for request in others:
        assert shown not in request.url
        assert shown not in (await request.all_headers()).get("referer", "")
    assert await visit.page.evaluate("() => document.referrer") == ""
    assert shown not in await visit.page.evaluate("() => document.documentElement.outerHTML")
    assert visit.complaints == []

    # A reload goes on; after leaving for a fresh page the tab's token still lets in.
    await visit.page.reload()
    await visit.page.wait_for_function("() => window.understudy.details.members.length === 1")
    assert len(client.server.app[SIGNALING].switchboard.state.terminals) == 1
    assert visit.complaints == []


REFUSALS = [
    (None, "This service is by invitation. Open the link that you were sent, or ask for one."),
    ("x.y.z", "This invitation is not valid here."),
    (token("another-key-" + "o" * 32), "This invitation is not valid here."),
    (expired(), "This invitation has expired. Ask for a new link."),
]


async def test_refusals_are_said_in_words(invited: tuple[TestClient, Visit]) -> None:
    client, visit = invited
    for shown, sentence in REFUSALS:
        await visit.go("/?room=r&join=1" + (f"&token={shown}" if shown else ""))
        await expect(visit.page.locator("#ended-title")).to_have_text("You need an invitation")
        await expect(visit.page.locator("#ended-text")).to_contain_text(sentence)
        await expect(visit.page.locator("#ended .buttons")).to_be_hidden()
        assert visit.page.url == f"{visit.url}/?room=r"
        assert client.server.app[SIGNALING].switchboard.state.terminals == {}
    # A good link in the same tab works.
    await visit.go(f"/?room=r&join=1&n=1#token={token()}")
    await expect(visit.page.locator("#call")).to_be_visible()
    assert visit.complaints == []


async def test_another_room_than_the_tokens_is_refused_in_words(invited: tuple[TestClient, Visit]) -> None:
    _, visit = invited
    await visit.go(f"/?room=other&join=1&token={token(room='r')}")
    await expect(visit.page.locator("#toasts")).to_contain_text("Your invitation is for another room.")
    await expect(visit.page.locator("#lobby")).to_be_visible()
    await visit.page.locator('[data-action="copy-link"]').click()
    await expect(visit.page.locator("#toasts")).to_contain_text("needs an invitation of their own")


async def test_uploads_show_the_token(invited: tuple[TestClient, Visit]) -> None:
    _, visit = invited
    shown = token()
    await visit.go(f"/?room=r#token={shown}")
    answer = await visit.page.evaluate(
        """async () => {
          const { Targets } = await import("/static/js/targets.js");
          const files = [new File(["x"], "x.png", { type: "image/png" })];
          const upload = new Targets().upload({ files, name: "x", consent: "I may.", onProgress: () => {} });
          return upload.catch((error) => error.code);
        }"""
    )
    (post,) = [request for request in visit.requests if request.method == "POST"]
    assert (await post.all_headers())["authorization"] == f"Bearer {shown}"
    assert answer in ("unsupported_format", "damaged", "unreadable")  # let in, and looked at


async def test_policy_stops_what_is_not_the_pages_own(invited: tuple[TestClient, Visit]) -> None:
    _, visit = invited
    await visit.go(f"/?room=r&token={token()}")
    await expect(visit.page.locator("#lobby")).to_be_visible()
    stopped = await visit.page.evaluate(
        """async () => {
          const stopped = [];
          const attempt = (name, act) => { try { act(); } catch { stopped.push(name); } };
          const note = (event) => stopped.push(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", note);
          const script = document.createElement("script");
          attempt("text", () => { script.text = "window.injected = 1"; document.body.append(script); });
          attempt("html", () => document.body.insertAdjacentHTML("beforeend", "<img src=x>"));
          // Not right here: what the test itself evaluates may evaluate more.
          const evaluating = () => attempt("eval", () => (0, eval)("window.injected = 1"));
          await new Promise((resolve) => setTimeout(() => { evaluating(); resolve(); }));
          await fetch("https://elsewhere.example/").catch(() => {});
          const frame = document.createElement("iframe");
          frame.src = "/healthz";
          document.body.append(frame);
          await new Promise((resolve) => setTimeout(resolve, 300));
          return { stopped, injected: window.injected ?? null };
        }"""
    )
    assert stopped["injected"] is None
    assert {"text", "html", "eval", "connect-src", "frame-src"} <= set(stopped["stopped"])
