"""What says that a picture is generated: a mark for people, a watermark for programs, and its detector."""

from server.provenance.visible import MarkPlace, MarkSettings, VisibleMark, font_for
from server.provenance.watermark import Watermark

__all__ = ["MarkPlace", "MarkSettings", "VisibleMark", "Watermark", "font_for"]
