"""One client with its inference process for all trials, and targets for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.inference.trial import ROOT, Trial, make_targets, make_trial


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the uploads ``green`` and ``bright``; their ids lie in files beside them."""
    folder = tmp_path_factory.mktemp("data")
    make_targets(folder)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    """One client with one inference process for all trials; those that kill it get another."""
    fault = tmp_path_factory.mktemp("fault") / "fault"
    trial = make_trial(data_dir, fault)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INFERENCE_TEST_FAULT", str(fault))
        environment.setenv("PYTHONPATH", str(ROOT))
        await trial.client.start()
        yield trial
        await trial.client.close()


@pytest.fixture
def trial(shared: Trial) -> Iterator[Trial]:
    """The client with one driver, ``d``, behind the green target."""
    shared.statuses.clear()
    shared.client.open("d")
    shared.client.set_target("d", shared.green)
    yield shared
    shared.fault.unlink(missing_ok=True)
    for driver in ("d", "e", "f", "next"):
        shared.client.release(driver)
