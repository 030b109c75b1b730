"""The command itself, against the real service: a call of a few seconds, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from server.serve import free_port
from tests.e2e.service import Service


def loadtest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli", "loadtest", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("service"))
    made.start()
    try:
        made.wait_until_ready()
        yield made
    finally:
        made.stop()


def test_a_real_call(service: Service, tmp_path: Path) -> None:
    found, drawn = tmp_path / "found.json", tmp_path / "drawn.png"
    done = loadtest(
        *(
            service.url,
            "--calls",
            "1",
            "--seconds",
            "5",
            "--ramp",
            "0",
            "--min-fps",
            "1",
            "--max-freeze",
            "5",
        ),
        *("--json", str(found), "--plot", str(drawn)),
    )
    report = json.loads(found.read_text())
    assert report["leaked"] is False
    for peer in report["peers"]:
        assert peer["looked"] >= 1
        assert peer["right"] == peer["looked"]
        assert peer["marked"] == peer["sections"]
        assert peer["camera"] == 0
        assert peer["texts_sent"] > 0
        assert peer["texts_lost"] == peer["texts_wrong"] == 0
        assert peer["heard"] == peer["listened"] > 0
    assert done.returncode == (0 if report["ok"] else 1)
    assert "pictures received a second" in done.stdout
    with Image.open(drawn) as picture:
        assert min(picture.size) > 300


def test_signaling_alone(service: Service, tmp_path: Path) -> None:
    done = loadtest(
        *(service.url, "--signaling-only", "--terminals", "20", "--rooms", "10", "--seconds", "1"),
        *("--ramp", "0.2", "--every", "1", "--max-relay-ms", "5000"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well." in done.stdout


def test_something_wrong_is_1(service: Service) -> None:
    done = loadtest(
        *(service.url, "--signaling-only", "--terminals", "4", "--rooms", "2", "--seconds", "1"),
        *("--every", "1", "--ramp", "0", "--max-relay-ms", "0.1"),
    )
    assert done.returncode == 1
    assert "above 0.1 ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((f"http://localhost:{free_port()}",), "cannot be reached"),
        (("ftp://localhost",), "give the address of the page"),
        (("http://localhost", "--signaling-only", "--terminals", "10", "--rooms", "6"), "do not fit"),
        (("http://localhost", "--calls", "0"), "--calls"),
        (("http://localhost:9", "--plot", "x.txt"), "--plot x.txt: end its name in"),
        (("http://localhost:9", "--plot", "none/x.png"), "--plot none/x.png: there is no folder none"),
        (("http://localhost:9", "--json", "none/x.json"), "--json none/x.json: there is no folder none"),
        (("http://localhost:9", "--signaling-only", "--json", "/"), "--json /: this is a folder"),
    ],
)
def test_wrong_usage_and_a_service_that_is_not_there_are_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = loadtest(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_target_that_is_not_there_is_said(service: Service) -> None:
    done = loadtest(service.url, "--target", "nobody-at-all", "--seconds", "1")
    assert done.returncode == 2
    assert "nobody-at-all" in done.stderr
