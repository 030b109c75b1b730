"""Signaling starts without what media and models need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import signaling

HEAVY = [
    "redis",
    "torch",
    "mediapipe",
    "aiortc",
    "av",
    "cv2",
    "numpy",
    "scipy",
    "skimage",
    "server",
    "models",
]


def test_nothing_heavy_is_imported() -> None:
    root = Path(signaling.__file__).parent
    modules = [f"signaling.{path.stem}" for path in root.glob("*.py") if path.stem != "__init__"]
    assert "signaling.app" in modules
    program = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root.parent
    )
    assert done.stdout.split() == []
