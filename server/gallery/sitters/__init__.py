"""Who sat for the gallery: nobody who ever was. Each function draws one sitter, unlit."""

from server.gallery.sitters.adaeze import adaeze
from server.gallery.sitters.anselm import anselm
from server.gallery.sitters.ines import ines
from server.gallery.sitters.kenji import kenji
from server.gallery.sitters.leila import leila
from server.gallery.sitters.maeve import maeve
from server.gallery.sitters.marguerite import marguerite
from server.gallery.sitters.mateo import mateo
from server.gallery.sitters.tomas import tomas
from server.gallery.sitters.viktor import viktor

__all__ = [
    "adaeze",
    "anselm",
    "ines",
    "kenji",
    "leila",
    "maeve",
    "marguerite",
    "mateo",
    "tomas",
    "viktor",
]
