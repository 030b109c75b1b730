"""The latency benchmark: frame numbers, the pairing of what two pages saw, and that serve has no such way."""

from __future__ import annotations

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest

from server.bench.latency import delays
from server.bench.numbers import MOST, read_number, write_number
from server.inference import host
from server.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("shape", [(480, 640), (256, 256), (512, 512), (240, 320)])
def test_numbers_are_read_as_they_were_written(shape: tuple[int, int]) -> None:
    height, width = shape
    planes = np.random.default_rng(1).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    assert read_number(np.full_like(planes, 90)) is None
    for number in (0, 1, 239, 2730, MOST - 1):
        write_number(planes, number)
        assert read_number(planes) == number
    assert planes[height // 12 : height].std() > 50  # the picture itself is left alone
    with pytest.raises(ValueError, match="no number"):
        write_number(planes, MOST)


def test_numbers_survive_coding_and_scaling() -> None:
    planes = np.full((720, 640), 90, np.uint8)
    write_number(planes, 1234)
    picture = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
    coded = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    small = cv2.resize(coded, (320, 240), interpolation=cv2.INTER_AREA)
    assert read_number(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420), np.uint8)) == 1234


def test_each_picture_is_paired_with_the_latest_showing_of_its_frame() -> None:
    camera = [(0, 0.0), (1, 40.0), (2, 80.0), (0, 8000.0), (1, 8040.0)]
    peer = [(0, 50.0), (2, 135.0), (7, 140.0), (0, 8060.0), (1, 16000.0)]
    assert delays(camera, peer) == [50.0, 55.0, 60.0]  # 7 was never shown, and 8 s are no delay


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_serve_has_no_way_to_the_numbered_pipeline() -> None:
    """Only the benchmark itself starts that program: nothing else imports or names it."""
    probed = "server.bench.probed"
    service = [
        path
        for folder in ("server", "signaling", "models")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent != ROOT / "server" / "bench"
    ]
    assert len(service) > 100
    for path in service:
        assert probed not in _imported(path), path
        assert "probed" not in path.read_text(encoding="utf-8"), path
    users = {path.name for path in (ROOT / "server" / "bench").glob("*.py") if probed in _imported(path)}
    assert users == {"latency.py"}
    assert host.PROCESS == ("-m", "server.inference.process")
    writers = [path for path in service if "PROCESS =" in path.read_text(encoding="utf-8")]
    assert writers == []  # "PROCESS: tuple ... =" is the only definition, and no assignment follows


def test_no_setting_names_a_program_or_a_module() -> None:
    """The generator is one of a closed list, and gets landmarks, never a camera's picture."""
    for generator in ("server.bench.probed:main", "server.bench.networks:mesh_warp"):
        with pytest.raises(ValueError, match="generator"):
            Settings(generator=generator)
    assert not [name for name in Settings.model_fields if "probe" in name or "process" in name]
    # nor does the inference side ask for any variable
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "server" / "inference").glob("*.py")]
    assert not [source for source in sources if "os.environ[" in source or "getenv" in source]
