"""What surrounds the program: make verbs, install scripts, Dockerfile say what holds."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

from server.settings import Settings, variable_of

ROOT = Path(__file__).parents[3]
KNOWN_VARIABLES = {variable_of(name) for name in Settings.model_fields} | {"UNDERSTUDY_CONFIG"}


def test_make_alone_lists_the_verbs() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for verb in ("run", "install", "test", "lint"):
        assert f"make {verb} " in done.stdout


def test_venv_script_says_which_python_is_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/create_venv.sh", tmp_path / "venv"],
        env={**os.environ, "PYTHON": "/bin/false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or 3.12" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_libraries_are_named_to_who_may_not_install_them(tmp_path: Path) -> None:
    """Run where importing cv2 fails and apt-get is out of reach."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(
        "#!/bin/sh\necho 'ImportError: libGL.so.1: cannot open shared object file' >&2\nexit 1\n"
    )
    python.chmod(0o755)
    for tool in ("sh", "id", "tail", "env"):
        os.symlink(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}", tmp_path / tool)
    done = subprocess.run(
        [ROOT / "scripts/system_packages.sh", "runtime"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "libGL.so.1" in done.stderr
    assert "apt-get install libgl1 libglib2.0-0" in done.stderr


def test_torch_is_pinned_and_torchvision_never_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        required += extra
    assert [name for name in required if name.startswith("torch")] == ["torch==2.13.0"]


def test_dockerfile_names_what_exists_and_drops_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"\bUNDERSTUDY_[A-Z_]+", text)) <= KNOWN_VARIABLES
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        assert (ROOT / source).exists(), source
    *_, runtime, cuda, cpu = text.split("\nFROM ")
    assert re.search(r"^USER (?!root)", runtime, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", runtime, re.MULTILINE)
    for stage in (cuda, cpu):  # nothing in them takes that back
        assert stage.startswith("runtime AS ")
        assert "USER" not in stage
