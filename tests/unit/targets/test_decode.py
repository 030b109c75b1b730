"""Decoding untrusted photos: by content, upright, in sRGB, within limits, with nothing of the metadata."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from server.targets.decode import PhotoLimits, decode_photo
from server.targets.errors import PhotoRefused

from .conftest import encoded

LIMITS = PhotoLimits()
ORIENTATION = 0x0112


def refusal(content: bytes, limits: PhotoLimits = LIMITS) -> str:
    with pytest.raises(PhotoRefused) as refused:
        decode_photo(content, limits)
    assert refused.value.message.endswith(".")
    return refused.value.code


@pytest.mark.parametrize(("format_", "tolerance"), [("JPEG", 4), ("PNG", 0), ("WEBP", 6)])
def test_the_three_formats(photo: Image.Image, format_: str, tolerance: int) -> None:
    pixels = decode_photo(encoded(photo, format_), LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (512, 512, 3)
    assert np.abs(pixels.astype(int) - np.asarray(photo)).mean() <= tolerance


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF", "PDF"])
def test_other_formats_are_refused_whatever_they_are_called(photo: Image.Image, format_: str) -> None:
    assert refusal(encoded(photo.resize((64, 64)), format_)) == "unsupported_format"


@pytest.mark.parametrize("content", [b"", b"x", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00" * 1000])
def test_what_is_no_picture(content: bytes) -> None:
    assert refusal(content) == "unsupported_format"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_truncated_files(photo: Image.Image, format_: str, share: float) -> None:
    content = encoded(photo, format_)
    assert refusal(content[: max(16, int(len(content) * share))]) == "unreadable"


def test_too_many_bytes(photo: Image.Image) -> None:
    content = encoded(photo)
    assert refusal(content, PhotoLimits(max_bytes=len(content) - 1)) == "too_large"
    decode_photo(content, PhotoLimits(max_bytes=len(content)))


def test_too_many_pixels(photo: Image.Image) -> None:
    content = encoded(photo, "PNG")
    assert refusal(content, PhotoLimits(max_pixels=512 * 512 - 1)) == "too_many_pixels"
    decode_photo(content, PhotoLimits(max_pixels=512 * 512))


@pytest.mark.parametrize(("width", "height"), [(40_000, 40_000), (2**31 - 1, 2**31 - 1), (100_000, 1000)])
def test_a_decompression_bomb_is_refused_by_its_head(width: int, height: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000)))
    assert refusal(bomb) == "too_many_pixels"


def test_a_compressed_text_bomb(photo: Image.Image) -> None:
    info = PngInfo()
    info.add_text("comment", "a" * 100_000_000, zip=True)
    content = encoded(photo.resize((64, 64)), "PNG", pnginfo=info)
    assert len(content) < 1_000_000
    assert refusal(content) == "unreadable"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(photo: Image.Image, format_: str, orientation: int) -> None:
    transpose = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = photo.crop((0, 0, 512, 300))
    stored = upright.transpose(transpose[orientation]) if orientation in transpose else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = decode_photo(encoded(stored, format_, exif=exif.tobytes()), LIMITS)
    assert pixels.shape == (300, 512, 3)
    assert np.abs(pixels.astype(int) - np.asarray(upright)).mean() < 6


def test_malformed_exif_is_ignored(photo: Image.Image) -> None:
    pixels = decode_photo(
        encoded(photo, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\x12" * 40), LIMITS
    )
    assert pixels.shape == (512, 512, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(photo: Image.Image, mode: str) -> None:
    if mode == "I;16":
        grey = np.asarray(photo.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey)
    else:
        image = photo.convert(mode)
    pixels = decode_photo(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), LIMITS)
    assert pixels.shape == (512, 512, 3)
    # A one-bit picture is dithered: it can only be compared with itself.
    reference = np.asarray((image if mode == "1" else photo).convert("L")).astype(int)
    assert np.abs(pixels.mean(axis=2) - reference).mean() < 25


def test_transparent_parts_lie_on_light_grey(photo: Image.Image) -> None:
    cut_out = photo.convert("RGBA")
    cut_out.paste((0, 0, 0, 0), (0, 0, 100, 100))
    for format_ in ("PNG", "WEBP"):
        pixels = decode_photo(encoded(cut_out, format_), LIMITS)
        assert np.abs(pixels[20:80, 20:80].astype(int) - 208).max() <= 8
    palette = photo.convert("P")
    pixels = decode_photo(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))), LIMITS)
    assert pixels.shape == (512, 512, 3)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_counts(photo: Image.Image, format_: str) -> None:
    second = Image.new("RGB", photo.size, "red")
    content = encoded(photo, format_, save_all=True, append_images=[second] * 3)
    pixels = decode_photo(content, LIMITS)
    assert np.abs(pixels.astype(int) - np.asarray(photo)).mean() < 6


def test_a_colour_profile_is_applied_and_a_broken_one_ignored(photo: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all", srgb[:200]):
        pixels = decode_photo(encoded(photo, "PNG", icc_profile=profile), LIMITS)
        assert np.abs(pixels.astype(int) - np.asarray(photo)).mean() < 2


def test_malformed_files_end_in_pixels_or_a_refusal(photo: Image.Image) -> None:
    """Mutated files of each format; what the models make of such pixels is tested with the pool."""
    chance = random.Random(20240501)
    small = photo.resize((96, 96))
    seeds = [
        encoded(small, "JPEG"),
        encoded(small, "JPEG", progressive=True, quality=60),
        encoded(small.convert("CMYK"), "JPEG"),
        encoded(small, "PNG"),
        encoded(small.convert("P"), "PNG"),
        encoded(small.convert("LA"), "PNG"),
        encoded(small, "PNG", save_all=True, append_images=[small.rotate(9)]),
        encoded(small, "WEBP"),
        encoded(small, "WEBP", lossless=True),
        encoded(small.convert("RGBA"), "WEBP", save_all=True, append_images=[small.rotate(9)]),
    ]
    limits = PhotoLimits(max_pixels=1_000_000)
    outcomes: dict[str, int] = {}
    for k in range(1000):
        content = mutated(seeds[k % len(seeds)], chance)
        try:
            pixels = decode_photo(content, limits)
        except PhotoRefused as refused:
            outcome: str = refused.code
        else:
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.dtype == np.uint8
            assert pixels.shape[0] * pixels.shape[1] <= limits.max_pixels
            outcome = "ok"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert outcomes["ok"] > 50
    assert outcomes["unreadable"] > 50


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with some of its bytes changed, removed, repeated, or cut off."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(data))
        kind = chance.randrange(6)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.choice((0, 255, chance.randrange(256)))
        elif kind == 2:
            del data[at : at + chance.randrange(1, 64)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randrange(1, 64)]
        elif kind == 4:  # lengths and sizes stand near the start
            data[chance.randrange(min(64, len(data)))] = chance.randrange(256)
        else:
            del data[max(16, at) :]
        if len(data) < 16:
            break
    return bytes(data)


def test_reading_is_from_memory_only(photo: Image.Image) -> None:
    buffer = io.BytesIO(encoded(photo))
    assert decode_photo(buffer.getvalue(), LIMITS).flags.writeable
