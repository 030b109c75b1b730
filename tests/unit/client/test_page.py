"""The page's files fit together: words, ids, drawings, styles; and its colours can be read."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "client"
INDEX = (CLIENT / "index.html").read_text()
SCRIPTS = {path.name: path.read_text() for path in sorted((CLIENT / "js").glob("*.js"))}
STYLES = {path.name: path.read_text() for path in sorted(CLIENT.glob("*.css"))}
WORDS = set(re.findall(r"^  (\w+):", SCRIPTS["strings.js"], re.MULTILINE))
PURPOSE = re.compile(r"\A(// |/\* |<!-- |<!doctype html>\n<!-- )[A-Z]")


class _Elements(HTMLParser):
    """All elements of a document as (tag, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


ELEMENTS = _Elements(INDEX).found


def _attributes(name: str) -> list[str]:
    return [attributes[name] for _, attributes in ELEMENTS if name in attributes]


def test_nothing_is_inline_or_from_elsewhere() -> None:
    """What the page's Content-Security-Policy would stop."""
    for tag, attributes in ELEMENTS:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        if tag == "script":
            assert attributes["src"].startswith("/static/js/")
    for name, text in {**SCRIPTS, **STYLES, "index.html": INDEX}.items():
        addresses = re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.-]+", text)
        assert addresses == [], name
        assert "innerHTML" not in text, f"{name}: what peers send must never be read as markup"


def test_ids_are_unique_and_references_lead_somewhere() -> None:
    ids = _attributes("id")
    assert len(ids) == len(set(ids))
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        assert set(_attributes(attribute)) <= set(ids)


def test_every_word_that_is_asked_for_is_there() -> None:
    asked = {word for name in ("data-t", "data-t-label", "data-t-placeholder") for word in _attributes(name)}
    for text in SCRIPTS.values():
        asked |= set(re.findall(r'\b(?:t|toast|say|note)\("(\w+)"', text))
    assert asked - WORDS == set()


@pytest.mark.parametrize(
    ("prefix", "suffixes"),
    [
        ("tile", ("CameraOff", "NoVideo", "NoTarget", "NoFace", "Late", "Failed", "Restarting")),
        ("self", ("CameraOff", "NoVideo", "NoTarget", "NoFace", "Late", "Failed", "Restarting")),
        ("camera_", ("denied", "missing", "busy", "insecure", "unplugged", "unknown")),
        ("microphone_", ("denied", "missing", "busy", "insecure", "unplugged", "unknown")),
        ("photo_", ("format", "too_large")),
        ("error_", ("superseded", "version_unsupported", "unauthorised")),
    ],
)
def test_words_made_of_parts_are_there(prefix: str, suffixes: tuple[str, ...]) -> None:
    assert {prefix + suffix for suffix in suffixes} <= WORDS


def test_every_element_that_a_module_looks_for_is_there() -> None:
    ids = set(_attributes("id"))
    actions = set(_attributes("data-action"))
    for text in SCRIPTS.values():
        actions |= set(re.findall(r'action"?: "([\w-]+)"', text))
    for name, text in SCRIPTS.items():
        assert set(re.findall(r'\$\("#([\w-]+)[" ]', text)) <= ids, name
        assert set(re.findall(r'onAction\("([\w-]+)"', text)) <= actions, name


def test_every_drawing_is_there() -> None:
    drawings = set(re.findall(r'<symbol id="([\w-]+)"', (CLIENT / "icons.svg").read_text()))
    used = set(re.findall(r"icons\.svg#([\w-]+)", INDEX))
    for text in SCRIPTS.values():
        used |= set(re.findall(r'\bicon(?:\(|: )"([\w-]+)"', text))
    assert used <= drawings
    assert {"mic-off", "camera-off", "shrink"} <= drawings  # names made of parts


def test_every_variable_of_the_styles_is_defined() -> None:
    together = "\n".join(STYLES.values())
    defined = set(re.findall(r"(--[\w-]+):", together))
    for text in SCRIPTS.values():
        defined |= set(re.findall(r'setProperty\("(--[\w-]+)"', text))
    assert set(re.findall(r"var\((--[\w-]+)", together)) <= defined


def test_every_style_sheet_and_module_is_loaded() -> None:
    linked = {Path(path).name for path in _attributes("href") if path.endswith(".css")}
    assert linked == set(STYLES)
    imported = {"main.js"}
    for text in SCRIPTS.values():
        imported |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert imported == set(SCRIPTS)


def test_files_are_short_and_say_what_they_are_for() -> None:
    for path in [*CLIENT.glob("*.*"), *CLIENT.glob("js/*.js")]:
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path.name
        assert PURPOSE.match(text), path.name


# ------------------------------------------------------------------ colours


def _themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLES["app.css"], re.DOTALL)
    read = {
        name: dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", text))
        for name, text in (("light", light), ("dark", dark))
    }
    return {"light": read["light"], "dark": read["light"] | read["dark"]}


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of a colour #rrggbb."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT = [
    ("ink", "bg"), ("ink", "surface"), ("ink", "sunken"), ("muted", "bg"), ("muted", "surface"),
    ("accent-ink", "accent"), ("accent-ink", "accent-strong"), ("accent-strong", "bg"),
    ("accent-strong", "accent-soft"), ("ink", "accent-soft"), ("danger", "bg"), ("danger", "surface"),
    ("danger-fill-ink", "danger-fill"), ("warn-ink", "warn"), ("bg", "ink"), ("on-video", "video"),
]  # fmt: skip
EDGES = [("field-line", "surface"), ("field-line", "bg"), ("accent", "bg"), ("accent", "surface")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(theme: str) -> None:
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for the edges of fields and for focus (1.4.11)."""
    colours = _themes()[theme]
    for least, pairs in ((4.5, TEXT), (3.0, EDGES)):
        for one, other in pairs:
            contrast = _contrast(colours[f"--{one}"], colours[f"--{other}"])
            assert contrast >= least, f"{one} on {other}: {contrast:.2f}"
