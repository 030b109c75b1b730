"""One person in a browser, as the tests drive and watch them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests.e2e.pictures import decode

#: How long the tests wait for what must come; much longer than it takes, for busy machines.
PATIENCE_S = 45.0


@dataclass
class Seen:
    """What the videos of one role showed since :meth:`Participant.watch`.

    Attributes:
        frames: rendered frames.
        magenta: the greatest share of a frame's area that had the camera's background colour.
        pictures: kept frames, RGB uint8 [256, 256, 3].
        times: when each was kept, seconds.
    """

    frames: int
    magenta: float
    pictures: list[np.ndarray]
    times: list[float]


class Participant:
    """A page of the service.

    Args:
        page: of a browser whose camera shows a synthetic driver.
        url: the service's address.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, **query: str) -> None:
        """Open the page with this query."""
        self.page.goto(f"{self.url}/?{urlencode(query)}", wait_until="domcontentloaded")

    def join(self, room: str, name: str, target: str) -> None:
        """Join by link, without a click."""
        self.open(room=room, name=name, target=target, join="1")

    def leave(self) -> None:
        """Leave the call by its button."""
        self.control("leave").click()

    def control(self, action: str) -> Locator:
        return self.page.locator(f'#controls [data-action="{action}"]')

    @property
    def state(self) -> str:
        return str(self.page.locator("body").get_attribute("data-state"))

    def expect_state(self, state: str, within: float = PATIENCE_S) -> None:
        expect(self.page.locator("body")).to_have_attribute("data-state", state, timeout=1000 * within)

    def watch(self, keep_every: float = 0.0) -> None:
        """Begin to watch all videos anew, keeping a picture of each every so many seconds (0: none)."""
        self.page.evaluate("every => probe.reset(every)", round(1000 * keep_every))

    def seen(self, role: str = "remote") -> Seen:
        """What the videos of a role showed since then."""
        record = self.page.evaluate("role => probe.record(role)", role)
        return Seen(
            frames=record["frames"],
            magenta=record["magenta"],
            pictures=[decode(picture) for _, picture in record["kept"]],
            times=[at / 1000 for at, _ in record["kept"]],
        )

    def picture(self, role: str = "remote") -> np.ndarray:
        """What the first video of a role shows now."""
        taken = self.eventually(
            lambda: self.page.evaluate("role => probe.picture(role)", role), f"{role} picture"
        )
        return decode(str(taken))

    def wait_for_frames(self, role: str, more: int, within: float = PATIENCE_S) -> None:
        """Wait until a role's videos have rendered that many more frames."""
        count = "role => probe.record(role).frames"
        before = self.page.evaluate(count, role)
        self.eventually(
            lambda: self.page.evaluate(count, role) >= before + more, f"{more} frames of {role}", within
        )

    def loudness(self, role: str = "remote", milliseconds: int = 1500) -> float:
        """Loudest sound (root mean square) of a role's first video in that time."""
        return float(self.page.evaluate("([role, ms]) => probe.loudness(role, ms)", [role, milliseconds]))

    def peer_status(self) -> str:
        """What the worker says of the first other's picture: live, no_face, camera_off ..."""
        details = self.details()
        others = [state for terminal, state in details["statuses"].items() if terminal != details["terminal"]]
        return str(others[0]["state"]) if others else ""

    def expect_status(self, state: str, within: float = PATIENCE_S) -> None:
        self.eventually(lambda: self.peer_status() == state, f"the peer's picture to be {state}", within)

    def expect_pictures_to_follow(self, within: float = PATIENCE_S) -> None:
        """Wait until the other's generated frames flow."""
        self.expect_status("live", within)
        self.wait_for_frames("remote", 5, within)

    def choose_target(self, target: str) -> None:
        """Choose another target in the call's dialog."""
        self.control("target").click()
        self.page.locator(f'#call-gallery [data-target="{target}"]').click()
        self.page.locator("#target-dialog [data-close]").click()

    def details(self) -> dict[str, Any]:
        """The page's own view of things."""
        return dict(self.page.evaluate("() => window.understudy.details"))

    def eventually(self, condition: Callable[[], Any], what: str, within: float = PATIENCE_S) -> Any:
        """Wait until a condition holds, letting the page go on; returns what it gave."""
        until = time.monotonic() + within
        while True:
            if result := condition():
                return result
            assert time.monotonic() < until, f"waited {within} s in vain for: {what}"
            self.page.wait_for_timeout(100)


def pause(participants: Sequence[Participant], seconds: float) -> None:
    """Let time go by with the pages alive."""
    participants[0].page.wait_for_timeout(1000 * seconds)
