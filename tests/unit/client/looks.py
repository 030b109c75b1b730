"""What is looked for in a page, whatever it shows: names, room, buttons that can be hit."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import Page, expect

ROLES_WITH_NAMES = {
    *("button", "link", "radio", "checkbox", "textbox", "combobox", "listbox", "meter", "progressbar"),
    *("dialog", "alertdialog", "log", "image", "complementary", "region", "video"),
}


async def nameless(page: Page) -> list[str]:
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


async def overflow(page: Page) -> int:
    """How far the page can be scrolled sideways, once a change of the window's size has settled."""
    for _ in range(30):
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if (overflow := await page.evaluate(beyond)) <= 0:
            break
        await asyncio.sleep(0.1)
    return overflow


async def small_buttons(page: Page) -> list[str]:
    """Buttons under 24 by 24 pixels (WCAG 2.2, 2.5.8)."""
    return await page.evaluate(
        """[...document.querySelectorAll("button, select")].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.width < 24 || box.height < 24);
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )


async def shown_as_off(page: Page, action: str, name: str) -> None:
    """A button looks switched off and is named after what it would do: "pressed" would say the opposite."""
    button = page.locator(f'[data-action="{action}"]')
    await expect(button).to_have_accessible_name(name)
    await expect(button).to_contain_class("off")
    await expect(button).not_to_have_attribute("aria-pressed", re.compile(""))
