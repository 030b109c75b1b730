"""Applications to attack; each is the real one, started on a free port."""

from __future__ import annotations

from tests.integration.app.conftest import page_dir, photo
from tests.integration.app.conftest import start as start_app
from tests.integration.signaling.conftest import start as start_signaling

__all__ = ["page_dir", "photo", "start_app", "start_signaling"]
