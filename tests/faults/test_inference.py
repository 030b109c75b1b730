"""The inference process is killed in a call, with a figure for how long the picture stands."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise

import pytest

from tests.faults.test_cameras import Stage, coded, face, stage  # noqa: F401
from tests.integration.media.harness import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_killed_in_a_call(stage: Stage) -> None:  # noqa: F811
    """Found, on two cores with a load of 17: live again 2.3 s after the kill (one stands by, loaded), and
    never more than 0.6 s without a picture, be it the still."""
    await stage.show(coded(face, 640, 480, 10), 15)
    await stage.reaches("live")
    await until(lambda: stage.client.standby_pid is not None, 60)
    assert stage.client.pid is not None
    os.kill(stage.client.pid, signal.SIGKILL)
    killed = time.monotonic()
    await stage.reaches("restarting")
    await stage.reaches("live")
    back = time.monotonic() - killed
    await until(lambda: len([at for at, _ in stage.viewer.pictures if at > killed]) > 10)
    after = [killed, *(at for at, _ in stage.viewer.pictures if at > killed)]
    assert back < 5
    assert max(b - a for a, b in pairwise(after)) < 3
