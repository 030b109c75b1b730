"""Draws eyes and mouths of many faces at once, on any device: twin of :meth:`FacePlates.draw`.

The same steps as in :mod:`models.mesh_warp.eye_pixels` and :mod:`models.mesh_warp.mouth_pixels`, which
explain them, over whole pictures instead of windows, and with shares in place of branches: what a graph can
be captured of.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.landmarks import topology as face
from models.mesh_warp import eye_pixels as eye_parts
from models.mesh_warp import mouth_pixels as mouth_parts
from models.mesh_warp.eyes import EYES, EyePlate
from models.mesh_warp.mouth import MouthPlate
from models.mesh_warp.picture import FacePlates
from models.mesh_warp.tensors import Edges, Frame, sampled, smoothstep

__all__ = ["EyeTensors", "MouthTensors", "draw_plates", "eye_tensors", "kept_mouth", "mouth_tensors"]


class EyeTensors(NamedTuple):
    """One eye of each of B photos.

    Attributes:
        ball, white: ``[B, 3, S, S]`` uint8, the plates in place, their borders going on beyond them.
        numbers: ``[B, 8]``: origin and along of the frame, centre and radius of the iris, whether it is seen.
    """

    ball: Tensor
    white: Tensor
    numbers: Tensor


class MouthTensors(NamedTuple):
    """The mouths of B photos.

    Attributes:
        edges: ``[B, 4, 256]``, heights of the lips' edges.
        numbers: ``[B, 13]``: origin and along of the frame, nose length, base of the nose, seam, shows, light
            (red, green, blue), colour.
    """

    edges: Tensor
    numbers: Tensor


def eye_tensors(plates: FacePlates, index: int, size: int) -> EyeTensors:
    """An eye of one photo (B = 1), the right one first."""
    plate: EyePlate | None = plates.eyes[index]
    if plate is None:
        nothing = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        return EyeTensors(nothing, nothing, torch.tensor([[0.0, 0, 1, 0, 0, 0, 1, 0]]))
    left, top = (int(at) for at in plate.corner)
    rows, columns = plate.ball.shape[:2]
    around = ((top, size - top - rows), (left, size - left - columns), (0, 0))
    ball, white = (
        torch.from_numpy(np.pad(part, around, mode="edge").transpose(2, 0, 1).copy())[None]
        for part in (plate.ball, plate.white)
    )
    numbers = [*plate.frame.origin, *plate.frame.along, *plate.iris, plate.radius, 1.0]
    return EyeTensors(ball, white, torch.tensor([[float(number) for number in numbers]]))


def mouth_tensors(plates: FacePlates) -> MouthTensors:
    """The mouth of one photo (B = 1)."""
    plate: MouthPlate = plates.mouth
    numbers = [
        *plate.frame.origin, *plate.frame.along, plate.nose_length, *plate.nose_base, plate.seam,
        plate.shows, *plate.light, plate.colour,
    ]  # fmt: skip
    heights = torch.from_numpy(np.asarray(plate.edges.heights, np.float32))
    return MouthTensors(heights[None], torch.tensor([[float(number) for number in numbers]]))


def draw_plates(
    pictures: Tensor,
    photos: Tensor,
    eyes: list[EyeTensors],
    mouth: MouthTensors,
    shown: Tensor,
    opened: Tensor,
) -> Tensor:
    """The warped photos with eyes and mouths as they should be.

    Args:
        pictures, photos: ``[B, 3, S, S]``, float in 0..255, warped and as they were.
        eyes, mouth: of the photos.
        shown, opened: landmarks ``[B, 478, 3]``, see :meth:`FacePlates.draw`.

    Returns:
        ``[B, 3, S, S]``, whole numbers in 0..255.
    """
    pictures = _draw_mouth(pictures, photos, mouth, shown)
    for corners, eye in zip(EYES, eyes, strict=True):
        pictures = _draw_eye(pictures, corners, eye, shown, opened)
    return pictures


# ---------------------------------------------------------------- eyes


def _draw_eye(pictures: Tensor, parts: tuple, eye: EyeTensors, shown: Tensor, opened: Tensor) -> Tensor:
    """See :func:`models.mesh_warp.eyes.draw_eyes`."""
    left, right, upper, lower, iris = parts
    size = pictures.shape[-1]
    frame = Frame.between(opened[:, left], opened[:, right])
    u, v = frame.grid(size)
    index = Edges.index(u)
    above, below = _lids(frame, opened, upper, lower).at(index)
    to_above, to_below = _lids(frame, shown, upper, lower).at(index)
    to_above, to_below = torch.minimum(to_above, to_below), torch.maximum(to_above, to_below)
    pixel = 1.0 / frame.width.clamp(min=1.0)

    over = sampled(pictures, *frame.to_pixels(u, _pulled(v, above, to_above, -eye_parts.UPPER_SKIN)))
    under = sampled(pictures, *frame.to_pixels(u, _pulled(v, below, to_below, eye_parts.LOWER_SKIN)))
    share = smoothstep(v - 0.5 * (to_above + to_below), -pixel, pixel)[:, None]
    skin = over + share * (under - over)

    ball = _eyeball(eye, u, v, frame, shown[:, iris[0]])
    room = to_below - to_above
    upper_band = (0.45 * room).clamp(max=eye_parts.UPPER_LASHES) + pixel
    lower_band = (0.25 * room).clamp(max=eye_parts.LOWER_LASHES) + pixel
    is_open = smoothstep((v - to_above) / upper_band, 0.0, 1.0) * smoothstep(
        (to_below - v) / lower_band, 0.0, 1.0
    )
    is_open = is_open * smoothstep(room, 0.5 * pixel, 2.5 * pixel)
    result = skin + is_open[:, None] * (ball - skin)

    inside = smoothstep(u, 0.0, 0.15) * (1.0 - smoothstep(u, 0.85, 1.0))
    fall = ((to_above - above) / (below - above).clamp(min=0.05)).clamp(0.0, 1.0)
    thickness = (0.9 * pixel).clamp(min=eye_parts.LINE)
    line = eye_parts.LINE_SHARE * inside * fall * torch.exp(-(((v - to_above) / thickness) ** 2))
    result = (result * (1.0 - line[:, None])).clamp(0, 255).round()
    drawn = frame.window((eye_parts.U_FROM, eye_parts.U_TO), (eye_parts.V_FROM, eye_parts.V_TO), size) & (
        eye.numbers[:, 7, None, None] > 0
    )
    return torch.where(drawn[:, None], result, pictures)


def _lids(frame: Frame, landmarks: Tensor, upper: np.ndarray, lower: np.ndarray) -> Edges:
    points = frame.to_local(landmarks[:, _index(upper, lower, device=landmarks.device)])
    return Edges.through(points.unflatten(1, (2, -1)))


def _pulled(v: Tensor, edge: Tensor, to_edge: Tensor, skin: float) -> Tensor:
    """See :func:`models.mesh_warp.eyes._pulled`."""
    sign, reach, margin = (1.0 if skin > 0 else -1.0), abs(skin), eye_parts.MARGIN
    away = (v - to_edge) * sign
    moved = (to_edge - edge) * sign
    room = (reach - margin - moved).clamp(min=0.03)
    stretched = margin + (away - margin) * ((reach - margin) / room)
    source = torch.where(away < margin, away, torch.where(away < margin + room, stretched, away + moved))
    return edge + sign * source


def _eyeball(eye: EyeTensors, u: Tensor, v: Tensor, here: Frame, looks_at: Tensor) -> Tensor:
    """See :func:`models.mesh_warp.eyes._eyeball`; the plates lie in place, so no corner is taken off."""
    frame = Frame(eye.numbers[:, :2], eye.numbers[:, 2:4])
    iris, radius = eye.numbers[:, 4:6], eye.numbers[:, 6, None, None]
    turn = (here.to_local(looks_at[:, None]) - frame.to_local(iris[:, None]))[:, 0]
    across = torch.stack((-frame.along[:, 1], frame.along[:, 0]), dim=1)
    dx, dy = (turn[:, :1] * frame.along + turn[:, 1:] * across)[..., None, None].unbind(1)
    x, y = frame.to_pixels(u, v)
    ball = sampled(eye.ball.float(), x, y)
    share = (torch.hypot(dx, dy) / (0.15 * radius)).clamp(max=1.0)
    share = torch.where(share < 0.02, torch.zeros_like(share), share)
    cx, cy = iris[..., None, None].unbind(1)
    distance = torch.hypot(x - cx - dx, y - cy - dy) / radius
    is_iris = 1.0 - smoothstep(distance, 1.06, 1.24)
    turned = sampled(eye.ball.float(), x - dx, y - dy)
    white = sampled(eye.white.float(), x, y)
    looking = white + is_iris[:, None] * (turned - white)
    return ball + share[:, None] * (looking - ball)


# ---------------------------------------------------------------- mouth


def _draw_mouth(pictures: Tensor, photos: Tensor, mouth: MouthTensors, shown: Tensor) -> Tensor:
    """See :func:`models.mesh_warp.mouth.draw_mouth`."""
    numbers = mouth.numbers[..., None, None]
    shows = numbers[:, 8]
    plate_frame, plate_edges = Frame(mouth.numbers[:, :2], mouth.numbers[:, 2:4]), Edges(mouth.edges)
    frame, edges = _lips(shown)
    u, v = frame.grid(pictures.shape[-1])
    index = Edges.index(u)
    outer_upper, inner_upper, inner_lower, outer_lower = edges.at(index)
    was_outer_upper, was_upper, was_lower, was_outer_lower = plate_edges.at(index)
    gap = inner_lower - inner_upper
    widest = (edges.heights[:, 2] - edges.heights[:, 1]).amax(1)[:, None, None]
    pixel = 1.0 / frame.width.clamp(min=1.0)

    over = (1.0 - shows) * pixel - 0.5 * shows * pixel
    upper_scale = (was_upper - was_outer_upper) / (inner_upper - outer_upper).clamp(min=1e-3)
    lower_scale = (was_outer_lower - was_lower) / (outer_lower - inner_lower).clamp(min=1e-3)
    from_upper = was_upper + torch.minimum((v - inner_upper) * upper_scale, over)
    from_lower = was_lower + torch.maximum((v - inner_lower) * lower_scale, -over)
    upper_lip = sampled(photos, *plate_frame.to_pixels(u, from_upper))
    lower_lip = sampled(photos, *plate_frame.to_pixels(u, from_lower))

    in_upper = smoothstep((inner_upper - v) / edges.steepness(1, index), -pixel, pixel)[:, None]
    in_lower = smoothstep((v - inner_lower) / edges.steepness(2, index), -pixel, pixel)[:, None]
    both = 0.5 * (upper_lip + lower_lip)
    parted = smoothstep(gap, 0.4 * pixel, 0.4 * pixel + 0.035) * (widest > 0.5 * pixel)
    inside = _inside(u, v, inner_upper, gap, widest, photos, mouth, frame, shown)
    behind = both + parted[:, None] * (inside - both)
    drawn = in_upper * upper_lip + (1 - in_upper) * (in_lower * lower_lip + (1 - in_lower) * behind)

    line = torch.exp(-(((v - 0.5 * (inner_upper + inner_lower)) / (1.3 * pixel)) ** 2))
    meeting = 1.0 - smoothstep(gap, 0.0, 0.05)
    along = smoothstep(u, 0.02, 0.15) * smoothstep(1.0 - u, 0.02, 0.15)
    drawn = drawn * (1.0 - 0.45 * shows * line * meeting * along)[:, None]

    mask = _mouth_mask(u, v, outer_upper, outer_lower)
    return (pictures + mask[:, None] * (drawn - pictures)).clamp(0, 255).round()


def _mouth_mask(u: Tensor, v: Tensor, outer_upper: Tensor, outer_lower: Tensor) -> Tensor:
    """How much of a place is mouth, 0..1: soft at the outer edges of the lips and at the corners."""
    feather = mouth_parts.FEATHER
    mask = smoothstep(v - outer_upper, -feather, 0.0) * smoothstep(outer_lower - v, -feather, 0.0)
    return mask * smoothstep(u, -0.05, 0.04) * smoothstep(1.0 - u, -0.05, 0.04)


def kept_mouth(shown: Tensor, size: int) -> Tensor:
    """How much :func:`models.mesh_warp.mouth.keep_open_mouth` brings back, ``[B, 1, size, size]`` in 0..1."""
    frame, edges = _lips(shown)
    u, v = frame.grid(size)
    outer_upper, _, _, outer_lower = edges.at(Edges.index(u))
    widest = (edges.heights[:, 2] - edges.heights[:, 1]).amax(1)[:, None, None]
    parted = smoothstep(widest, mouth_parts.KEPT_SMILE_FROM, mouth_parts.KEPT_SMILE_TO)
    smiling = _smile(frame, shown) * parted
    opened = torch.maximum(smoothstep(widest, mouth_parts.KEPT_FROM, mouth_parts.KEPT_TO), smiling)
    return (opened * _mouth_mask(u, v, outer_upper, outer_lower))[:, None]


def _lips(landmarks: Tensor) -> tuple[Frame, Edges]:
    """See :func:`models.mesh_warp.mouth._lips`."""
    frame = Frame.between(landmarks[:, mouth_parts.LEFT_CORNER], landmarks[:, mouth_parts.RIGHT_CORNER])
    chains = (face.LIP_OUTER_UPPER, face.LIP_INNER_UPPER, face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER)
    points = frame.to_local(landmarks[:, _index(*chains, device=landmarks.device)])
    outer_upper, upper, lower, outer_lower = Edges.through(points.unflatten(1, (4, -1))).heights.unbind(1)
    middle = 0.5 * (upper + lower)
    upper, lower = torch.minimum(upper, middle), torch.maximum(lower, middle)
    outer_upper, outer_lower = torch.minimum(outer_upper, upper), torch.maximum(outer_lower, lower)
    return frame, Edges(torch.stack((outer_upper, upper, lower, outer_lower), dim=1))


def _smile(frame: Frame, shown: Tensor) -> Tensor:
    """See :func:`models.mesh_warp.mouth_pixels._smile`: ``[B, 1, 1]``."""
    eyes = (shown[:, mouth_parts.LEFT_EYE, :2] - shown[:, mouth_parts.RIGHT_EYE, :2]).norm(dim=1)
    ratio = frame.width / eyes.clamp(min=1.0)[:, None, None]
    return smoothstep(ratio, mouth_parts.SMILE_FROM, mouth_parts.SMILE_TO)


def _inside(
    u: Tensor, v: Tensor, inner_upper: Tensor, gap: Tensor, widest: Tensor, photos: Tensor,
    mouth: MouthTensors, frame: Frame, shown: Tensor,
) -> Tensor:  # fmt: skip
    """See :func:`models.mesh_warp.mouth_pixels._inside`: ``[B, 3, S, S]``."""
    plate_frame, plate_edges = Frame(mouth.numbers[:, :2], mouth.numbers[:, 2:4]), Edges(mouth.edges)
    shows, *light, colourful = mouth.numbers[:, 8:, None, None].unbind(1)
    base = mouth.numbers[:, 5:7, None, None]
    nose = (shown[:, mouth_parts.NOSE_BASE, :2] - shown[:, mouth_parts.NASION, :2]).norm(dim=1).clamp(min=1.0)
    growth = (nose / mouth.numbers[:, 4]).clamp(0.6, 1.6)[:, None, None]
    scale = frame.width / (plate_frame.width * growth)
    smile = _smile(frame, shown)
    here = frame.to_local(shown[:, mouth_parts.NOSE_BASE, None])[:, 0, :, None, None]
    shift = base - scale[:, None] * here
    photo_u, photo_v = scale * u + shift[:, 0], scale * v + shift[:, 1]

    depth = v - inner_upper
    sides = 1.0 - (2.0 * u - 1.0).abs()
    dark, tongue_colour, teeth_colour, luma = (
        _colour(colour, u.device)
        for colour in (mouth_parts.DARK, mouth_parts.TONGUE, mouth_parts.TEETH, mouth_parts.LUMA)
    )
    colour = dark * (0.55 + 0.45 * smoothstep(sides, 0.0, 0.7))[:, None]
    tongue = (
        smoothstep(depth - 0.55 * gap, 0.0, 0.22) * smoothstep(sides, 0.1, 0.6) * smoothstep(gap, 0.1, 0.3)
    )
    colour = colour + 0.7 * tongue[:, None] * (tongue_colour - colour)
    teeth, shade = _upper_teeth(photo_u, photo_v, depth, gap, scale, smile, mouth)
    teeth = teeth * (1.0 - shows)
    colour = colour + teeth[:, None] * (teeth_colour * shade[:, None] - colour)
    grey = (colour * luma).sum(1, keepdim=True)
    colour = torch.stack(light, dim=1) * (grey + colourful[:, None] * (colour - grey))
    soft = 1.0 - 0.6 * smile
    shadow = smoothstep(depth, 0.0, 0.07 * soft) * smoothstep(gap - depth, 0.0, 0.05 * soft)
    colour = colour * (0.6 + 0.4 * shadow)[:, None]

    _, was_upper, was_lower, _ = plate_edges.at(Edges.index(photo_u))
    margin = 0.012
    own = sampled(photos, *plate_frame.to_pixels(photo_u, torch.maximum(photo_v, was_upper + margin)))
    was_open = (mouth.edges[:, 2] - mouth.edges[:, 1]).amax(1)[:, None, None]
    more = smoothstep(scale * widest - was_open, 0.0, 0.06)
    share = 1.0 + more * (smoothstep(was_lower - photo_v, margin, 0.06) - 1.0)
    share = share * smoothstep(was_lower - was_upper, 0.01, 0.04) * shows
    return colour + share[:, None] * (own - colour)


def _upper_teeth(
    u: Tensor, v: Tensor, depth: Tensor, gap: Tensor, scale: Tensor, smile: Tensor, mouth: MouthTensors
) -> tuple[Tensor, Tensor]:
    """See :func:`models.mesh_warp.mouth_pixels._upper_teeth`."""
    aside = (u - mouth.numbers[:, 5, None, None]).abs()
    edge = mouth.numbers[:, 7, None, None] + mouth_parts.TEETH_BELOW_SEAM - 0.35 * aside**2
    nearest = torch.stack([(aside - tooth).abs() for tooth in mouth_parts.TOOTH_EDGES]).amin(0)
    edge = edge - 0.012 * (1.0 - smoothstep(nearest, 0.0, 0.035))
    reach = depth + (edge - v) / scale
    least = (0.3 * gap).clamp(max=mouth_parts.LEAST_TEETH) * (1.0 - smoothstep(aside, 0.15, 0.4))
    most = (0.75 * gap).clamp(max=mouth_parts.MOST_TEETH)
    reach = torch.minimum(torch.maximum(reach, least), most)
    smiling = (mouth_parts.SMILING_SHARE * gap).clamp(max=mouth_parts.SMILING_TEETH)
    reach = reach + smile * (smiling - reach)
    wide = 0.14 * smile
    teeth = smoothstep(reach - depth, -0.008, 0.012) * (1.0 - smoothstep(aside, 0.3 + wide, 0.46 + wide))
    shade = 0.86 - 0.45 * smoothstep(aside, 0.08 + wide, 0.42 + wide)
    return 0.92 * teeth, shade * (1.0 - 0.14 * torch.exp(-((nearest / 0.012) ** 2)))


# ---------------------------------------------------------------- constants on the device

_kept: dict[tuple[bytes, torch.device], Tensor] = {}


def _constant(values: np.ndarray, device: torch.device) -> Tensor:
    """On the device, copied there once: a captured graph must not copy from the host."""
    key = values.tobytes(), device
    if key not in _kept:
        with torch.inference_mode(False):
            _kept[key] = torch.as_tensor(values, device=device)
    return _kept[key]


def _index(*chains: np.ndarray, device: torch.device) -> Tensor:
    return _constant(np.concatenate([np.asarray(chain, np.int64) for chain in chains]), device)


def _colour(colour: tuple[float, float, float], device: torch.device) -> Tensor:
    return _constant(np.asarray(colour, np.float32), device)[None, :, None, None]
