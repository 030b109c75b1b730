"""Frames of several drivers at once in one inference process: nothing mixes, faults end as they always do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.inference.client import GeneratedFrame
from tests.integration.inference.trial import ROOT, Trial, make_trial, state_is

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def helped(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    """Two drivers, ``d`` and ``e``, in a process with one helping thread."""
    fault = tmp_path_factory.mktemp("helped") / "fault"
    trial = make_trial(data_dir, fault, lanes=2, capacity=3)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INFERENCE_TEST_FAULT", str(fault))
        environment.setenv("PYTHONPATH", str(ROOT))
        await trial.client.start()
        for driver in "de":
            trial.client.open(driver)
        yield trial
        await trial.client.close()


async def show(trial: Trial, *targets: str) -> None:
    """Until the drivers are live behind these targets."""
    for driver, target in zip("de", targets, strict=True):
        trial.client.set_target(driver, target)

    async def shown(driver: str, target: str) -> None:
        await trial.feed(
            20, driver=driver, until=lambda shown: shown.generated and trial.looks_like(shown) == target
        )

    await asyncio.gather(*(shown(driver, target) for driver, target in zip("de", targets, strict=True)))


async def both(trial: Trial, seconds: float) -> list[GeneratedFrame]:
    return list(await asyncio.gather(*(trial.feed(seconds, driver=driver) for driver in "de")))


async def test_two_frames_are_made_at_once_and_do_not_mix(helped: Trial) -> None:
    await show(helped, helped.green, helped.bright)
    together = helped.fault.with_suffix(".together")
    for _ in range(40):
        shown = await both(helped, 0.1)
        assert [helped.looks_like(picture) for picture in shown] == [helped.green, helped.bright]
    assert together.exists(), "no two frames were ever worked on at once"
    assert all(picture.generated for picture in shown)


async def test_targets_that_change_places_under_way_are_never_shown_again(helped: Trial) -> None:
    targets = [helped.green, helped.bright]
    for _ in range(6):
        targets.reverse()
        await show(helped, *targets)
        for _ in range(8):
            pictures = await both(helped, 0.04)
            assert [helped.looks_like(picture) for picture in pictures] == targets


async def test_a_frame_that_never_ends_is_a_process_that_hangs(helped: Trial) -> None:
    """Whichever thread has it: the loop goes on, but says no more that all is well."""
    await show(helped, helped.green, helped.bright)
    before = helped.client.pid
    helped.fault.write_text("hang on bright")
    await asyncio.gather(
        helped.feed(12, driver="e", until=state_is("restarting")),
        helped.feed(12, driver="d", until=state_is("restarting")),
    )
    helped.fault.unlink()
    for driver in "de":
        await helped.live(driver)
    assert helped.client.pid != before


async def test_a_process_that_is_slow_is_not_taken_for_one_that_hangs(helped: Trial) -> None:
    """More drivers than threads, so that none is ever idle, and frames that take longer than a heartbeat."""
    await show(helped, helped.green, helped.bright)
    helped.client.open("f")
    helped.client.set_target("f", helped.green)
    await helped.live("f")
    before = helped.client.pid
    helped.fault.write_text("slow")
    await asyncio.gather(*(helped.feed(6, driver=driver) for driver in "def"))
    assert helped.client.pid == before
    helped.fault.unlink()
    helped.client.release("f")
    for driver in "de":
        await helped.live(driver)


async def test_a_failure_in_a_helping_thread_is_that_drivers_alone(helped: Trial) -> None:
    await show(helped, helped.green, helped.bright)
    helped.fault.write_text("raise on bright")
    await asyncio.gather(helped.feed(5, driver="e", until=state_is("failed")), helped.feed(1))
    shown = await both(helped, 0.5)
    helped.fault.unlink()
    assert [picture.generated for picture in shown] == [True, False]
    assert ("e", "failed") in helped.statuses
