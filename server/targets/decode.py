"""Decodes an untrusted photo into pixels, with limits; everything else in the file is left behind.

Runs in the preparation process (:mod:`server.targets.preparer`), never in the event loop.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from server.targets.errors import PhotoRefused

FORMATS: Final = ("JPEG", "PNG", "WEBP")
FORMAT_NAMES: Final = "JPEG, PNG or WebP"

# Behind transparent parts: a light neutral, so that a cut-out person does not stand in a black hole.
_BACKDROP: Final = (208, 208, 208, 255)


@dataclass(frozen=True)
class PhotoLimits:
    """What a photo may be.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height.
        min_face_px: smallest accepted face, its larger side in pixels of the photo.
    """

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40_000_000
    min_face_px: int = 80


def sniff_format(content: bytes) -> str | None:
    """The format that the content's first bytes announce: one of :data:`FORMATS`, or None."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return None


def decode_photo(content: bytes, limits: PhotoLimits) -> NDArray[np.uint8]:
    """The upright picture of a JPEG, PNG or WebP file as ``[H, W, 3]`` uint8 sRGB.

    The EXIF orientation and an embedded colour profile are applied; of an animation the first picture is
    taken; transparent parts lie on light grey; 16-bit, grey, palette and CMYK pictures become 8-bit RGB.

    Raises:
        PhotoRefused: ``unsupported_format``, ``too_large``, ``too_many_pixels`` or ``unreadable``.
    """
    if len(content) > limits.max_bytes:
        raise too_large(limits)
    sniffed = sniff_format(content)
    if sniffed is None:
        raise PhotoRefused("unsupported_format", f"This is not a {FORMAT_NAMES} picture.")
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=(sniffed,)) as image:
                if image.width * image.height > limits.max_pixels:
                    raise _too_many_pixels(limits)
                image.load()
                return _to_rgb(_upright(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_many_pixels(limits) from None
    except PhotoRefused:
        raise
    except UnidentifiedImageError:
        raise _unreadable() from None
    except MemoryError:
        raise PhotoRefused("unreadable", "Reading the picture takes more memory than is allowed.") from None
    except Exception:
        # Pillow's plug-ins raise nearly anything on malformed files (OSError, SyntaxError, struct.error,
        # ValueError, zlib.error...): none of it may be more than a refused photo.
        raise _unreadable() from None


def too_large(limits: PhotoLimits) -> PhotoRefused:
    """The refusal of a file with more bytes than allowed."""
    megabytes = limits.max_bytes / (1024 * 1024)
    return PhotoRefused("too_large", f"The file is larger than {megabytes:g} MB.")


def _too_many_pixels(limits: PhotoLimits) -> PhotoRefused:
    return PhotoRefused(
        "too_many_pixels", f"The picture has more than {limits.max_pixels / 1e6:g} megapixels."
    )


def _unreadable() -> PhotoRefused:
    return PhotoRefused("unreadable", "The file is damaged or incomplete and cannot be read.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # malformed EXIF: the picture counts as it lies


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # 16-bit grey; convert() would clip it at 255 instead of scaling.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, _BACKDROP), rgba).convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours as sRGB (phones write Display P3); a profile that does not fit is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted if converted is not None else image
