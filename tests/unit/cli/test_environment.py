"""What decodes strangers' files gets none of the service's secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.animation.jobs import AnimationJobs
from server.animation.options import AnimationOptions
from server.animation.worker import Order
from server.targets.errors import PreparationFailed
from server.targets.pool import PreparationPool


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments of processes that were to start; none does."""
    given: list[dict[str, str]] = []

    async def start(*_: object, env: dict[str, str], **__: object) -> None:
        given.append(env)
        raise OSError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    # Settings are read in any case of letters, so they are kept back in any.
    for name in ("UNDERSTUDY_WORKER_SECRET", "understudy_join_key", "Understudy_Metrics_Secret"):
        monkeypatch.setenv(name, "hush")
    return given


def holds_no_secret(environment: dict[str, str]) -> bool:
    return "PATH" in environment and "hush" not in environment.values()


async def test_the_preparation_of_photos(started: list[dict[str, str]]) -> None:
    with pytest.raises(PreparationFailed):
        await PreparationPool().prepare(b"a photo")
    assert [holds_no_secret(environment) for environment in started] == [True]


async def test_the_making_of_films(started: list[dict[str, str]], tmp_path: Path) -> None:
    jobs = AnimationJobs(tmp_path)
    job = await jobs.open("mp4")
    jobs.start(job, Order(data_dir=tmp_path, target="kenji", out=job.result, options=AnimationOptions()))
    assert job.task is not None
    await job.task
    assert [holds_no_secret(environment) for environment in started] == [True]
    await jobs.close()
