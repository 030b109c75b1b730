"""The command itself: it starts everything, ends everything, and says what is in its way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service, wait_until_gone


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service of one test's own, ready."""
    service = Service(tmp_path)
    service.start()
    service.wait_until_ready()
    yield service
    assert service.process is not None
    if service.process.poll() is None:
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


def test_ctrl_c_ends_every_process(own_service: Service) -> None:
    family = own_service.family()
    assert len(family) >= 3, "main, worker and inference"
    assert own_service.process is not None
    os.killpg(own_service.process.pid, signal.SIGINT)  # as a terminal does it: to the whole group
    assert own_service.process.wait(15) == 0
    assert wait_until_gone(family, within=2) == []
    log = own_service.log.read_text()
    assert "Traceback" not in log
    assert "killed" not in log


def test_no_process_outlives_a_main_process_that_was_killed(own_service: Service) -> None:
    family = own_service.family()
    family[0].kill()
    assert own_service.process is not None
    own_service.process.wait(10)
    assert wait_until_gone(family) == []


def test_banner_names_the_address_and_a_taken_port_is_told(own_service: Service, tmp_path: Path) -> None:
    own_service.wait_until_said(f"http://localhost:{own_service.port}/")
    other = Service(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.port = own_service.port
    other.start()
    assert other.process is not None
    assert other.process.wait(30) == 2
    text = other.log.read_text()
    assert f"Port {own_service.port}" in text
    assert "Traceback" not in text
    family = own_service.family()
    assert own_service.stop() == 0
    assert wait_until_gone(family, within=2) == []
