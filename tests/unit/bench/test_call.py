"""The service that ``bench call`` starts is its own, whatever the settings say of the one they are for."""

from __future__ import annotations

from pathlib import Path

from server.bench.call import _Service
from server.exposure import require_guard
from server.settings_sources import load_settings


def test_a_service_beside_the_one_that_is_set_up_here(tmp_path: Path) -> None:
    here = {"join_key": "k" * 32, "forwarded_header": "X-Forwarded-For", "metrics_port": 9100, "size": 512}
    settings = load_settings(None, here, {"UNDERSTUDY_CONFIG": ""}).settings
    environment = _Service(settings, tmp_path, 4)._settings.environment()
    started = load_settings(None, {}, environment).settings
    require_guard(started)  # it starts without the key, which it is not given
    assert started.metrics_port is None
    assert started.size == 512
