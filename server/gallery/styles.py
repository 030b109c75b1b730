"""Ways of painting: each turns a portrait into a picture of another kind."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def oil(picture: Picture) -> Picture:
    """Broad strokes of thick paint."""
    painted = cv2.xphoto.oilPainting(picture, 5, 1)
    grey = cv2.cvtColor(painted, cv2.COLOR_RGB2GRAY).astype(np.float32)
    relief = cv2.filter2D(grey, -1, np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]], np.float32))
    return _clipped(painted + 0.22 * relief[..., None])


def watercolour(picture: Picture, seed: int = 5) -> Picture:
    """Thin colour that pools at edges, on grained paper."""
    washed = cv2.stylization(picture, sigma_s=45, sigma_r=0.4).astype(np.float32)
    edges = cv2.Laplacian(cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 2), cv2.CV_32F)
    random = np.random.default_rng(seed)
    blots = cv2.GaussianBlur(random.random(picture.shape[:2]).astype(np.float32), (0, 0), 22)
    blots = (blots - blots.mean()) / blots.std()
    paper = cv2.GaussianBlur(random.random(picture.shape[:2]).astype(np.float32), (0, 0), 1.0) - 0.5
    result = 255 - (255 - washed) * (0.9 + 0.05 * blots[..., None])
    return _clipped(result - 1.2 * np.clip(edges, 0, 12)[..., None] + 26 * paper[..., None])


def pencil(picture: Picture, seed: int = 6) -> Picture:
    """Graphite on warm paper: shading in hatches, lines where edges are."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inverted = cv2.GaussianBlur(255 - grey, (0, 0), 9)
    lines = np.clip(grey * 255 / np.maximum(255 - inverted, 1), 0, 255)
    tone = cv2.GaussianBlur(grey, (0, 0), 2)
    noise = np.random.default_rng(seed).random(grey.shape).astype(np.float32)
    kernel = np.eye(15, dtype=np.float32)[::-1] / 15  # strokes from lower left to upper right
    hatch = cv2.filter2D(noise, -1, kernel) - 0.5
    shaded = 255 - (255 - tone) * (0.95 + 2.4 * hatch)
    graphite = np.clip(np.minimum(lines * 1.02, 34 + 0.9 * shaded), 0, 255)
    graphite = 255 * (graphite / 255) ** 1.35
    paper = np.array([250, 245, 234], np.float32)
    return _clipped(paper * (graphite / 255.0)[..., None])


def comic(picture: Picture) -> Picture:
    """Few flat colours inside inked outlines."""
    flat = picture
    for _ in range(4):
        flat = cv2.bilateralFilter(flat, 9, 34, 9)
    lab = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).astype(np.float32)
    steps = 26.0
    level = np.floor(lab[..., 0] / steps)
    share = np.clip((lab[..., 0] / steps - level - 0.42) / 0.16, 0, 1)  # steps with a narrow soft edge
    lab[..., 0] = (level + share + 0.2) * steps
    colour = cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    hsv = cv2.cvtColor(colour, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.3, 0, 255)
    colour = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    grey = cv2.GaussianBlur(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
    wider = cv2.GaussianBlur(grey, (0, 0), 2.6)
    ink = np.clip((wider - grey - 3.0) / 7.0, 0, 1)[..., None]
    return _clipped(colour * (1 - 0.85 * ink) + np.array([24, 18, 30]) * 0.85 * ink)


def duotone(picture: Picture) -> Picture:
    """Two inks, the shadows in dots, as on a poster."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.2).astype(np.float32) / 255
    grey = np.clip((grey - 0.08) / 0.8, 0, 1)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    period = 7.0
    dots = 0.5 + 0.25 * (np.cos((x + y) * np.pi * 1.414 / period) + np.cos((x - y) * np.pi * 1.414 / period))
    ink = np.clip((dots - grey * 1.15 + 0.12) / 0.18 + 0.5, 0, 1)
    ink = np.maximum(0.86 * ink * (grey < 0.8), np.clip((0.34 - grey) / 0.08, 0, 1))[..., None]
    light, dark = np.array([255, 214, 176], np.float32), np.array([38, 44, 112], np.float32)
    middle = np.array([240, 112, 104], np.float32)
    ground = light + np.clip((0.78 - grey) / 0.5, 0, 1)[..., None] * (middle - light)
    return _clipped(ground + ink * (dark - ground) * 0.9)


def clay(picture: Picture) -> Picture:
    """Unpainted clay: form alone, in one warm tone."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    local = grey - cv2.GaussianBlur(grey, (0, 0), 40)
    tone = np.clip(0.30 + 0.5 * grey + 0.5 * local, 0, 1)
    stops = np.array([[58, 36, 30], [148, 96, 76], [214, 164, 134], [250, 226, 204]], np.float32)
    channels = [np.interp(tone, [0.1, 0.42, 0.7, 1.0], stops[:, channel]) for channel in range(3)]
    return _clipped(cv2.bilateralFilter(np.stack(channels, -1).astype(np.float32), 7, 20, 5))


def painted(picture: Picture) -> Picture:
    """As it was painted."""
    return picture


def _clipped(picture: npt.NDArray[np.floating]) -> Picture:
    return np.asarray(np.rint(np.clip(picture, 0, 255)), np.uint8)
