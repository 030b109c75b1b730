"""Files of results: what is wrong with them is said before anything is measured, not when all is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from server.errors import UserError

__all__ = ["require_writable"]

_PLOTS: Final = (".png", ".webp", ".svg", ".pdf", ".jpg", ".jpeg")


def require_writable(*, json_file: Path | None = None, plot: Path | None = None) -> None:
    """Look whether results can be written; a measurement of minutes must not be lost for a letter.

    Raises:
        UserError: there is no such folder, it must not be written to, or no picture is of such a kind.
    """
    for option, path in (("--json", json_file), ("--plot", plot)):
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{option} {path}: this is a folder; name a file.")
        if not path.parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.parent}.")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UserError(f"{option} {path}: must not be written to.")
    if plot is not None and plot.suffix.lower() not in _PLOTS:
        raise UserError(f"--plot {plot}: end its name in .png, .webp, .svg or .pdf.")
