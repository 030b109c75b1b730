"""A worker's targets that are there and cannot be read for a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.targets import TargetStore, TargetUnknown
from server.targets import folder as folder_module
from server.targets.folder import TargetUnreadable
from server.targets.remote import RemoteTargets
from server.targets.store import PreparedTarget

from .conftest import CONSENT, crops


@pytest.fixture
def worker(tmp_path: Path) -> RemoteTargets:
    """Of a worker that shares signaling's folder; nobody answers at the address."""
    return RemoteTargets(tmp_path, "ws://127.0.0.1:9/worker", "secret")


@pytest.fixture
def target(tmp_path: Path) -> str:
    return TargetStore(tmp_path).save(*crops(), name="Ada", consent=CONSENT).id


class Failing:
    """Reads as before, but for the first few times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self._read = getattr(folder_module, name)
        self.left = times
        monkeypatch.setattr(folder_module, name, self)

    def __call__(self, *arguments: object) -> object:
        self.left -= 1
        if self.left >= 0:
            raise OSError(24, os.strerror(24))
        return self._read(*arguments)


def test_one_failed_read_is_made_good_at_once(
    worker: RemoteTargets, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted in (target, "astronaut"):
        with monkeypatch.context() as once:
            Failing(once, "read_crop", 1)
            assert worker.load(wanted).id == wanted


def test_what_is_there_is_never_called_unknown(
    worker: RemoteTargets, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing(monkeypatch, "read_crop", 2)
    with pytest.raises(TargetUnreadable):
        worker.load(target)
    assert worker.load(target).id == target


def test_a_target_that_does_not_exist_stays_unknown(worker: RemoteTargets) -> None:
    with pytest.raises(TargetUnknown) as unknown:
        worker.load("no-such")
    assert not isinstance(unknown.value, TargetUnreadable)


def test_what_is_loaded_after_all_has_not_been_missed(
    worker: RemoteTargets, target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else its drivers would be shown without a face for a moment, once more."""
    kept: PreparedTarget = worker.load(target)
    with monkeypatch.context() as away:
        away.setattr(worker._local.kept, "_uploads", tmp_path / "elsewhere")
        with pytest.raises(TargetUnknown):
            worker.load(target)
    assert worker.load(target).id == kept.id
    assert not worker.was_missed(target)
