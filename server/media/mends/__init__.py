"""What aiortc 1.16 needs for a live call, one file for each mend; all of it by subclassing, nothing global.

The subclasses reach into private parts of aiortc, so they hold for one version only:
:func:`require_version` refuses any other. Each mend has its own test, which fails when those parts change.
"""

from __future__ import annotations

from typing import Final

import aioice
import aiortc

AIORTC_VERSION: Final = "1.16.0"
AIOICE_VERSION: Final = "0.13.0"


class UnsupportedVersionError(RuntimeError):
    """The installed aiortc or aioice is not the one whose internals are mended here."""


def require_version(
    aiortc_version: str = aiortc.__version__, aioice_version: str = aioice.__version__
) -> None:
    """Refuse to run on another aiortc or aioice.

    Raises:
        UnsupportedVersionError: check each mend's test against the new version, then move the pin.
    """
    if (aiortc_version, aioice_version) != (AIORTC_VERSION, AIOICE_VERSION):
        raise UnsupportedVersionError(
            f"aiortc {aiortc_version} with aioice {aioice_version} is installed; the media worker's mends "
            f"are written for aiortc {AIORTC_VERSION} with aioice {AIOICE_VERSION}."
        )
