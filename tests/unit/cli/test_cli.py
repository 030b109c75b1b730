"""The understudy command: verbs, errors as sentences, and that help needs none of the heavy parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.audit.database import AuditDatabase, database_url
from server.audit.entries import AuditEntry


def understudy(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
    return subprocess.run(
        [sys.executable, "-m", "server.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, "COLUMNS": "200", **environment},
        timeout=60,
    )


def test_help_lists_the_verbs(tmp_path: Path) -> None:
    help_text = understudy("--help", cwd=tmp_path).stdout
    for verb in ("serve", "signaling", "worker", "settings", "bench"):
        assert f" {verb} " in help_text


def test_version(tmp_path: Path) -> None:
    assert understudy("--version", cwd=tmp_path).stdout.startswith("understudy ")


def test_command_is_light_to_load() -> None:
    """What makes a start slow (torch alone takes seconds) is loaded by the verb that needs it."""
    code = "import sys, server.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(loaded.stdout.split())
    assert "typer" in modules
    assert not modules & {"torch", "mediapipe", "aiortc", "cv2", "numpy", "aiohttp", "pydantic", "av"}


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["serve"], {"UNDERSTUDY_PRT": "1"}, "did you mean UNDERSTUDY_PORT?"),
        (["serve", "--set", "size=1"], {}, "the command line: size: input should be 256 or 512"),
        (["serve", "--set", "size"], {}, "write it as NAME=VALUE"),
        (["settings", "--config", "none.toml"], {}, "file none.toml: cannot be read"),
        (["worker"], {}, "UNDERSTUDY_WORKER_SECRET"),
        (["signaling"], {}, "UNDERSTUDY_WORKER_SECRET"),
    ],
)
def test_mistakes_end_in_a_sentence_and_code_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    done = understudy(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["serve", "signaling"])
@pytest.mark.parametrize("folder", ["taken", "taken/within", "/proc/understudy"])
def test_a_data_dir_that_nothing_can_be_kept_in_is_refused_at_the_start(
    tmp_path: Path, verb: str, folder: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    arguments = [verb, "--port", "0", "--data-dir", folder]
    done = understudy(*arguments, cwd=tmp_path, UNDERSTUDY_WORKER_SECRET="s" * 32)
    assert done.returncode == 2
    assert f"data_dir: {'nothing can be written to ' if folder[0] == '/' else ''}{folder}" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_shows_value_origin_and_default(tmp_path: Path) -> None:
    shown = understudy("settings", cwd=tmp_path, UNDERSTUDY_PORT="8123").stdout
    assert "8123" in shown
    assert "given by environment UNDERSTUDY_PORT; default 8080" in shown


def test_sample_is_printed(tmp_path: Path) -> None:
    assert "# port = 8080" in understudy("settings", "--sample", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["template", "list"], ""),
        (["template", "list"], "1"),
        (["settings", "--sample"], "1"),
        (["audit", "show", "--json"], ""),
        (["--help"], ""),
    ],
)
def test_output_to_a_full_disk_ends_in_a_sentence(
    tmp_path: Path, arguments: list[str], unbuffered: str
) -> None:
    database = AuditDatabase(database_url("", tmp_path))
    database.write([AuditEntry(event="room.entered")])
    database.close()
    own = {"UNDERSTUDY_CONFIG": "", "UNDERSTUDY_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    environment = {**os.environ, **own}
    order = [sys.executable, "-m", "server.cli", *arguments]
    with open("/dev/full", "w") as full:
        told = subprocess.run(
            order, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=environment
        )
        untold = subprocess.run(order, stdout=full, stderr=full, timeout=60, env=environment)
    assert told.stderr.strip() == "Standard output cannot be written: No space left on device."
    assert told.returncode == untold.returncode == 1


def test_who_reads_only_the_beginning_is_told_nothing(tmp_path: Path) -> None:
    database = AuditDatabase(database_url("", tmp_path))
    database.write([AuditEntry(event="room.entered")])
    database.close()
    environment = {**os.environ, "UNDERSTUDY_CONFIG": "", "UNDERSTUDY_DATA_DIR": str(tmp_path)}
    reading, writing = os.pipe()
    os.close(reading)
    for arguments, unbuffered in ((["template", "list"], "1"), (["audit", "show", "--json"], "")):
        done = subprocess.run(
            [sys.executable, "-m", "server.cli", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={**environment, "PYTHONUNBUFFERED": unbuffered},
        )
        assert (done.returncode, done.stderr) == (1, ""), arguments
    os.close(writing)
