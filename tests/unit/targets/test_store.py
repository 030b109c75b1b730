"""Targets on disk: what is saved comes back, expires, cannot be guessed, and never lies there by half."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server.targets import StorageFull, TargetProtected, TargetStore, TargetUnknown
from server.targets import folder as folder_module
from server.targets.folder import TargetUnreadable

from .conftest import CONSENT, Clock, crops


def left_behind(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "targets").glob("*"))


def test_a_saved_target_comes_back_exactly(store: TargetStore) -> None:
    images, landmarks = crops(3)
    record = store.save(images, landmarks, name="Ada", consent=CONSENT)
    loaded = store.load(record.id)
    assert (loaded.images == images).all()
    assert (loaded.landmarks == landmarks).all()
    assert (loaded.name, loaded.id) == ("Ada", record.id)
    assert store.record(record.id) == record
    assert record.consent == CONSENT
    assert record.expires_at == 1_700_000_100.0


def test_another_process_sees_the_target(store: TargetStore, tmp_path: Path, clock: Clock) -> None:
    record = store.save(*crops(), name="Ada", consent=CONSENT)
    assert TargetStore(tmp_path, clock=clock).load(record.id).images.shape == (1, 512, 512, 3)


def test_upload_ids_are_long_and_never_repeat(store: TargetStore) -> None:
    ids = {store.save(*crops(), name="x", consent=CONSENT).id for _ in range(5)}
    assert len(ids) == 5
    assert all(target_id.startswith("t_") and len(target_id) == 34 for target_id in ids)
    assert not ids & {record.id for record in store.built_ins()}


@pytest.mark.parametrize(
    "target_id",
    ["", "..", "../targets", "t_/../../etc/passwd", "t_x\x00", "t_" + "a" * 32, "t_x\n", "a" * 65, "no-such"],
)
def test_other_ids_are_unknown(store: TargetStore, tmp_path: Path, target_id: str) -> None:
    (tmp_path / "secret").mkdir()
    store.save(*crops(), name="x", consent=CONSENT)
    for use in (store.record, store.load, store.thumbnail, store.delete):
        with pytest.raises(TargetUnknown):
            use(target_id)
    assert (tmp_path / "secret").exists()


def test_staging_folders_cannot_be_loaded(store: TargetStore, tmp_path: Path) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)
    (tmp_path / "targets" / record.id).rename(tmp_path / "targets" / ".staging-1")
    for target_id in (".staging-1", record.id):
        with pytest.raises(TargetUnknown):
            store.load(target_id)


def test_expiry_hides_at_once_and_the_sweep_deletes(store: TargetStore, tmp_path: Path, clock: Clock) -> None:
    old = store.save(*crops(), name="old", consent=CONSENT)
    clock.now += 60
    young = store.save(*crops(), name="young", consent=CONSENT)
    clock.now += 41
    with pytest.raises(TargetUnknown):
        store.load(old.id)
    assert store.sweep() == 1
    assert left_behind(tmp_path) == [young.id]
    assert store.load(young.id).name == "young"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_sweep_removes_damaged_targets_and_remains(
    store: TargetStore, tmp_path: Path, clock: Clock, content: str
) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)
    (tmp_path / "targets" / record.id / "target.json").write_text(content)
    (tmp_path / "targets" / "t_empty").mkdir()
    for name in (".staging-new", ".staging-old", ".trash-1"):
        (tmp_path / "targets" / name).mkdir()
    os.utime(tmp_path / "targets" / ".staging-old", (clock.now - 4000, clock.now - 4000))
    os.utime(tmp_path / "targets" / ".staging-new", (clock.now, clock.now))
    assert store.sweep() == 2
    assert left_behind(tmp_path) == [".staging-new"]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES])
def test_what_cannot_be_read_at_the_moment_is_kept(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)

    def failing(path: Path) -> bytes:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as trouble:
        trouble.setattr(Path, "read_bytes", failing)
        assert store.sweep() == 0
        with pytest.raises(TargetUnknown):
            store.record(record.id)
    assert "at the moment, and are kept: 1" in caplog.text
    assert record.id not in caplog.text, "an id is a capability"
    assert store.record(record.id) == record


@pytest.mark.parametrize("damage", ["photo-0.png", "landmarks.safetensors"])
def test_a_damaged_target_is_unknown(store: TargetStore, tmp_path: Path, damage: str) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)
    (tmp_path / "targets" / record.id / damage).write_bytes(b"nonsense")
    with pytest.raises(TargetUnknown):
        store.load(record.id)


def test_delete_forgets(store: TargetStore, tmp_path: Path) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)
    store.delete(record.id)
    assert left_behind(tmp_path) == []
    with pytest.raises(TargetUnknown):
        store.delete(record.id)


def test_built_ins_cannot_be_deleted(store: TargetStore) -> None:
    first = store.built_ins()[0]
    with pytest.raises(TargetProtected):
        store.delete(first.id)
    assert store.load(first.id).id == first.id


def test_only_the_service_may_read_uploads(store: TargetStore, tmp_path: Path) -> None:
    record = store.save(*crops(), name="x", consent=CONSENT)
    folder = tmp_path / "targets" / record.id
    for path in (folder.parent, folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_full_disk_is_told_and_leaves_nothing(
    store: TargetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails_at: int
) -> None:
    writes = 0
    write = folder_module._write

    def failing(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == fails_at:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(code, os.strerror(code))
        write(path, content)

    monkeypatch.setattr(folder_module, "_write", failing)
    with pytest.raises(StorageFull):
        store.save(*crops(1), name="x", consent=CONSENT)
    assert left_behind(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    store = TargetStore(small_disk, min_free_bytes=0)
    with pytest.raises(StorageFull):
        store.save(*crops(2), name="x", consent=CONSENT)
    assert left_behind(small_disk) == []
    store.save(np.zeros((1, 512, 512, 3), np.uint8), crops()[1], name="fits", consent=CONSENT)


def test_free_space_is_left_to_others(tmp_path: Path) -> None:
    store = TargetStore(tmp_path, min_free_bytes=1 << 62)
    with pytest.raises(StorageFull):
        store.save(*crops(), name="x", consent=CONSENT)
    assert left_behind(tmp_path) == []


def test_the_number_of_uploads_is_bounded(tmp_path: Path) -> None:
    store = TargetStore(tmp_path, max_uploads=2)
    first = store.save(*crops(), name="1", consent=CONSENT)
    store.save(*crops(), name="2", consent=CONSENT)
    with pytest.raises(StorageFull):
        store.save(*crops(), name="3", consent=CONSENT)
    store.delete(first.id)
    store.save(*crops(), name="3", consent=CONSENT)


@pytest.mark.parametrize(
    ("images", "landmarks"),
    [
        (np.zeros((1, 256, 256, 3), np.uint8), np.zeros((1, 478, 3), np.float32)),
        (np.zeros((1, 512, 512, 3), np.float32), np.zeros((1, 478, 3), np.float32)),
        (np.zeros((2, 512, 512, 3), np.uint8), np.zeros((1, 478, 3), np.float32)),
        (np.zeros((0, 512, 512, 3), np.uint8), np.zeros((0, 478, 3), np.float32)),
        (np.zeros((1, 512, 512, 3), np.uint8), np.full((1, 478, 3), np.nan, np.float32)),
    ],
)
def test_shapes_are_checked(store: TargetStore, images: np.ndarray, landmarks: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        store.save(images, landmarks, name="x", consent=CONSENT)


def test_what_is_stored_of_an_upload(store: TargetStore, tmp_path: Path) -> None:
    record = store.save(*crops(2), name="Ada", consent=CONSENT)
    folder = tmp_path / "targets" / record.id
    assert {path.name for path in folder.iterdir()} == {
        "photo-0.png",
        "photo-1.png",
        "landmarks.safetensors",
        "target.json",
    }
    stored = json.loads((folder / "target.json").read_text())
    assert stored["consent"] == {"statement": "I may use these photos.", "given_at": 1_700_000_000.0}


def test_targets_load_without_the_models() -> None:
    code = (
        "import sys, tempfile; from server.targets import TargetStore; "
        "s = TargetStore(tempfile.gettempdir()); s.load(s.built_ins()[0].id); "
        "print([m for m in ('mediapipe', 'torch', 'aiortc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_pictures_that_cannot_be_read_now_are_not_called_unknown(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    record = store.save(*crops(), name="Ada", consent=CONSENT)

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(folder_module, "read_crop", failing)
        with pytest.raises(TargetUnreadable):
            store.load(record.id)
    assert store.load(record.id).id == record.id
