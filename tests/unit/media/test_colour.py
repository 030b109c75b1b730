"""Conversion between RGB and I420 keeps colours; sizes stay within their limits."""

from __future__ import annotations

import av
import numpy as np
import pytest
from skimage import data

from server.media.colour import fit_within, i420_to_rgb, rgb_to_i420


def test_colours_survive_both_ways() -> None:
    rgb = np.ascontiguousarray(data.astronaut()[:256, :256])
    i420 = rgb_to_i420(rgb)
    assert i420.shape == (384, 256)
    assert i420.dtype == np.uint8
    error = np.abs(i420_to_rgb(i420).astype(int) - rgb)
    assert error.mean() < 4


def test_it_agrees_with_the_codec_library() -> None:
    rgb = np.ascontiguousarray(data.astronaut())
    ours = av.VideoFrame.from_ndarray(rgb_to_i420(rgb), format="yuv420p").to_ndarray(format="rgb24")
    assert np.abs(ours.astype(int) - rgb).mean() < 4


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="even sides"):
        rgb_to_i420(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((640, 480), (640, 480)),
        ((1280, 720), (1280, 720)),
        ((720, 1280), (720, 1280)),
        ((3840, 2160), (1280, 720)),
        ((1280, 960), (960, 720)),
        ((4000, 100), (1280, 32)),
        ((641, 481), (640, 480)),
        ((4000, 2), (1280, 2)),
    ],
)
def test_pictures_fit(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    picture = fit_within(av.VideoFrame(size[0], size[1], "yuv420p"))
    assert (picture.width, picture.height) == fitted
    assert picture.format.name == "yuv420p"


def test_a_picture_that_fits_is_not_copied() -> None:
    picture = av.VideoFrame(640, 480, "yuv420p")
    assert fit_within(picture) is picture
