"""How many processor cores there are for frames."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models import concurrency
from models.concurrency import at_once, usable_cores


@pytest.mark.parametrize(
    ("cores", "quota", "usable", "frames"),
    [
        (1, None, 1, 1),
        (2, None, 2, 1),
        (16, None, 16, 4),
        (16, "max 100000\n", 16, 4),
        (16, "200000 100000\n", 2, 1),
        (16, "250000 100000\n", 3, 2),
        (16, "50000 100000\n", 1, 1),
        (2, "800000 100000\n", 2, 1),
        (3, "nonsense", 3, 2),
    ],
)
def test_a_containers_quota_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    quota: str | None,
    usable: int,
    frames: int,
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(concurrency, "_QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert (usable_cores(), at_once()) == (usable, frames)
