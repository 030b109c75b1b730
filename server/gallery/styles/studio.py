"""Studio: the lit portrait as it is, before its backdrop."""

from __future__ import annotations

from server.gallery.drawing import Array
from server.gallery.lighting import photograph
from server.gallery.portrait import Portrait


def studio(portrait: Portrait) -> Array:
    """A soft studio portrait."""
    return photograph(portrait)
