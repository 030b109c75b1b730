"""The page's modules under node: their logic without a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = HERE.parents[2] / "client" / "js"
TESTS = sorted((HERE / "js").glob("*.test.js"))


@pytest.fixture(scope="module")
def node() -> str:
    """Path of node, version 18 or newer."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed; the page's logic is then tried in the browser tests alone")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 18:
        pytest.skip(f"node {version} has no test runner")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Modules and tests side by side, under a package.json that says to node that they are modules."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copytree(MODULES, folder / "modules")
    shutil.copytree(HERE / "js", folder / "tests")
    return folder


def test_there_are_tests() -> None:
    assert len(TESTS) >= 5


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.removesuffix(".test.js"))
def test_module(node: str, folder: Path, file: Path) -> None:
    result = subprocess.run(
        [node, "--test", f"tests/{file.name}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "# pass 0" not in result.stdout
