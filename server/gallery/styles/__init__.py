"""Styles: each turns a lit portrait into a picture, sRGB ``[size, size, 3]`` 0..1."""

from server.gallery.styles.clay import clay
from server.gallery.styles.comic import comic
from server.gallery.styles.flat import flat
from server.gallery.styles.oil import oil
from server.gallery.styles.pencil import charcoal, coloured_pencil
from server.gallery.styles.pixel import pixel_art
from server.gallery.styles.pop import pop_art
from server.gallery.styles.studio import studio
from server.gallery.styles.watercolour import watercolour

__all__ = [
    "charcoal",
    "clay",
    "coloured_pencil",
    "comic",
    "flat",
    "oil",
    "pixel_art",
    "pop_art",
    "studio",
    "watercolour",
]
