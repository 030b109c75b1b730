"""Connecting a driver when files run out half-way: nothing stays open, and nothing is closed twice."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from server.inference.client import CapacityExceeded, InferenceClient
from server.inference.host import InferenceHost
from server.inference.slot import Slot
from server.inference.view import DriverView, Patience
from server.targets.store import TargetStore

#: Connecting takes 16 descriptors.
SPARE = range(20)


class Host:
    """An inference process that takes every order."""

    ready = True

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def command(self, order: object, descriptors: object = ()) -> None:
        """Nothing comes of it."""


def open_files() -> set[str]:
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


@contextmanager
def files_left(count: int) -> Iterator[None]:
    """So many files can still be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, open_files())) + 64, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.fixture
def closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing what is not open, which might by then be another's, is an error."""
    close = os.close

    def strictly(descriptor: int) -> None:
        try:
            close(descriptor)
        except OSError as error:
            raise AssertionError(f"{descriptor} was not open") from error

    monkeypatch.setattr(os, "close", strictly)


@pytest.mark.usefixtures("closed_once")
async def test_a_driver_that_cannot_be_connected_leaves_nothing_open() -> None:
    host, outcomes = cast("InferenceHost", Host()), []
    for spare in SPARE:
        view = DriverView(Patience(), time.monotonic(), 1, 1)
        slot = Slot("a", 1, view, 256 * 256 * 3 // 2)
        before = open_files()
        with files_left(spare):
            try:
                slot.connect(host, lambda _: None)
            except OSError:
                assert (slot.cameras, slot.pictures) == (None, None)
                outcomes.append(False)
            else:
                outcomes.append(True)
                slot.disconnect()
        assert open_files() == before, f"{spare} files could be opened"
        slot.disconnect()
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {False, True}


@pytest.mark.usefixtures("closed_once")
async def test_a_place_that_cannot_be_taken_leaves_nothing_open(tmp_path: Path) -> None:
    client = InferenceClient(TargetStore(tmp_path).load, tmp_path)
    client._host = cast("InferenceHost", Host())
    refused = 0
    for spare in SPARE:
        before = open_files()
        with files_left(spare):
            try:
                client.open("a")
            except CapacityExceeded:
                refused += 1
            client.release("a")
        assert open_files() == before, f"{spare} files could be opened"
    assert 0 < refused < len(SPARE)
    client._stills.close()
