"""Uploads on their way to workers that share no folder with signaling, and their end there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from safetensors.numpy import load, save

from server.api_access import AccessConfig
from server.app import AppConfig, build_app
from server.target_watch import TargetWatch
from server.targets import remote as remote_module
from server.targets.local import FetchedFolder, LocalTargets
from server.targets.remote import RemoteTargets, Standing, targets_url
from server.targets.store import TargetRecord, TargetStore, TargetUnknown
from server.targets.transfer import DIGEST, TransferDamaged, digest, pack, tag, unpack
from tests.unit.targets.conftest import CONSENT, crops

SECRET = "between us"


class Signaling:
    """The real application on its host, with a way to make its network misbehave."""

    def __init__(self, data_dir: Path) -> None:
        self.store = TargetStore(data_dir)
        self.served: list[int] = []
        self.spoil: Callable[[web.Request], web.Response] | None = None
        app = build_app(AppConfig(data_dir=data_dir, access=AccessConfig(worker_secret=SECRET)))

        @web.middleware
        async def listen(request: web.Request, handler: object) -> web.StreamResponse:
            response = self.spoil(request) if self.spoil else await handler(request)  # type: ignore[operator]
            self.served.append(response.status)
            return response

        app.middlewares.insert(0, listen)
        # Sweeping and preparing are none of this test's business.
        app.cleanup_ctx.clear()
        self.server = TestServer(app)

    def upload(self, photos: int = 1) -> TargetRecord:
        return self.store.save(*crops(photos), name="Ada", consent=CONSENT)

    def worker(self, folder: Path, secret: str = SECRET, **options: int) -> RemoteTargets:
        url = f"ws://{self.server.host}:{self.server.port}/worker"
        return RemoteTargets(folder, url, secret, **options)


@pytest.fixture
async def signaling(tmp_path: Path) -> AsyncIterator[Signaling]:
    made = Signaling(tmp_path / "signaling")
    await made.server.start_server()
    yield made
    await made.server.close()


async def in_thread(call: Callable[..., object], *arguments: object) -> object:
    return await asyncio.to_thread(call, *arguments)


def test_where_signaling_gives_targets() -> None:
    assert str(targets_url("ws://127.0.0.1:8080/worker")) == "http://127.0.0.1:8080/worker/targets"
    assert str(targets_url("wss://meet.example.org/worker")) == "https://meet.example.org/worker/targets"


async def test_a_worker_elsewhere_has_the_target_exactly(signaling: Signaling, tmp_path: Path) -> None:
    record = signaling.upload(3)
    worker = signaling.worker(tmp_path / "worker")
    assert not worker.at_hand(record.id)
    fetched = await asyncio.to_thread(worker.load, record.id)
    original = signaling.store.load(record.id)
    assert (fetched.images == original.images).all()
    assert (fetched.landmarks == original.landmarks).all()
    # Its inference processes read it from the folder alone, and nobody else reads that.
    inference = LocalTargets(tmp_path / "worker", worker.folder.path)
    assert (inference.load(record.id).images == original.images).all()
    assert worker.folder.path.stat().st_mode & 0o077 == 0
    assert worker.folder.store.record(record.id).consent is None, "who gave which consent stays there"
    await in_thread(worker.load, record.id)
    assert signaling.served == [200, 304], "asked at each choice, sent once"
    worker.close()
    assert not (tmp_path / "worker" / "fetched").exists()


async def test_a_worker_that_shares_the_folder_fetches_nothing(signaling: Signaling, tmp_path: Path) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "signaling")
    assert worker.at_hand(record.id)
    await in_thread(worker.load, record.id)
    await in_thread(worker.load, "astronaut")
    assert signaling.served == []


@pytest.mark.parametrize("how", ["forgotten", "expired"])
async def test_what_signaling_lets_go_ends_at_workers(signaling: Signaling, tmp_path: Path, how: str) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "worker")
    await in_thread(worker.load, record.id)
    if how == "forgotten":
        signaling.store.delete(record.id)
    else:
        worker.folder.store._clock = lambda: time.time() + 25 * 3600
        signaling.store.delete(record.id)
    assert await in_thread(worker.check, record.id) is Standing.GONE
    with pytest.raises(TargetUnknown):
        await in_thread(worker.load, record.id)
    assert not list(worker.folder.path.glob("targets/t_*"))


async def test_an_expired_copy_is_of_no_use_even_if_signaling_is_away(
    signaling: Signaling, tmp_path: Path
) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "worker")
    await in_thread(worker.load, record.id)
    await signaling.server.close()
    assert await in_thread(worker.check, record.id) is Standing.THERE, "calls go on meanwhile"
    worker.folder.store._clock = lambda: time.time() + 25 * 3600
    assert await in_thread(worker.check, record.id) is Standing.UNKNOWN
    with pytest.raises(TargetUnknown):
        await in_thread(worker.load, record.id)
    worker.keep_only({record.id})
    assert not list(worker.folder.path.glob("targets/t_*"))


async def test_without_the_secret_there_is_nothing(signaling: Signaling, tmp_path: Path) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "worker", "guessed")
    with pytest.raises(TargetUnknown):
        await in_thread(worker.load, record.id)
    assert signaling.served == [401]
    assert worker.was_missed(record.id), "it may be there: looked for again"


@pytest.mark.parametrize("target", ["../../etc/passwd", "t_../x", "unknown", "t_" + "x" * 80, "t_a?b", ""])
async def test_ids_that_no_upload_has_are_not_asked_for(
    signaling: Signaling, tmp_path: Path, target: str
) -> None:
    worker = signaling.worker(tmp_path / "worker")
    with pytest.raises(TargetUnknown):
        await in_thread(worker.load, target)
    assert signaling.served == []


def large(request: web.Request) -> web.Response:
    return web.Response(body=b"x" * (8 * 1024 * 1024))


def altered(request: web.Request) -> web.Response:
    body = bytearray(_body())
    sent = digest(bytes(body))
    body[-1] ^= 1
    return web.Response(body=bytes(body), headers={DIGEST: sent})


def elsewhere(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/healthz"})


def hidden(request: web.Request) -> web.Response:
    return web.Response(status=404, text="nothing here")  # a proxy that hides the path


@pytest.mark.parametrize("answer", [large, altered, elsewhere, hidden])
async def test_an_answer_that_makes_no_sense_changes_nothing(
    signaling: Signaling, tmp_path: Path, answer: Callable[[web.Request], web.Response]
) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "worker")
    signaling.spoil = answer
    assert await in_thread(worker.check, record.id) is Standing.UNKNOWN
    signaling.spoil = None
    assert await in_thread(worker.check, record.id) is Standing.THERE
    signaling.spoil = answer
    if answer is not altered:
        assert await in_thread(worker.check, record.id) is Standing.THERE
        await in_thread(worker.load, record.id)


def _record() -> TargetRecord:
    return TargetRecord("t_x", "Ada", False, 1, created_at=1.0, expires_at=2.0)


def _body(**changes: np.ndarray) -> bytes:
    images, landmarks = crops()
    store = TargetStore("/nonexistent")
    target = store.load("astronaut")
    packed = pack(
        _record(), type(target)("t_x", "Ada", np.asarray(images), np.asarray(landmarks, np.float32))
    )
    return save({**load(packed), **changes}) if changes else packed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 100,
        _body(images=np.zeros((1, 511, 512, 3), np.uint8)),
        _body(images=np.zeros((1, 512, 512, 3), np.float32)),
        _body(images=np.zeros((9, 512, 512, 3), np.uint8), landmarks=np.zeros((9, 478, 3), np.float32)),
        _body(landmarks=np.zeros((2, 478, 3), np.float32)),
        _body(landmarks=np.zeros((1, 478, 3), np.float64)),
        _body(record=np.frombuffer(b"[]", np.uint8)),
        _body(record=np.frombuffer(b'{"name": "", "created_at": 1, "expires_at": NaN}', np.uint8)),
        _body(record=np.frombuffer(b'{"name": "", "created_at": 1, "expires_at": null}', np.uint8)),
    ],
)
def test_what_is_no_target_is_refused(body: bytes) -> None:
    with pytest.raises(TransferDamaged):
        unpack("t_x", body, digest(body))


def test_what_was_packed_comes_out() -> None:
    body = _body()
    record, images, _ = unpack("t_x", body, digest(body))
    assert (record, images.shape) == (_record(), (1, 512, 512, 3))
    assert tag(record) == tag(_record()) != tag(TargetRecord("t_x", "Ada", False, 1, created_at=3.0))
    with pytest.raises(TransferDamaged, match="digest"):
        unpack("t_x", body, digest(body[:-1]))


async def test_what_nobody_is_shown_behind_goes(
    signaling: Signaling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = signaling.upload(), signaling.upload()
    worker = signaling.worker(tmp_path / "worker")
    await in_thread(worker.load, first.id)
    await in_thread(worker.load, second.id)
    worker.keep_only(set())
    assert len(list(worker.folder.path.glob("targets/t_*"))) == 2, "somebody may choose it again"
    monkeypatch.setattr(remote_module, "UNUSED_S", 0.0)
    await asyncio.sleep(0.01)
    worker.keep_only({second.id})
    assert [path.name for path in worker.folder.path.glob("targets/t_*")] == [second.id]


async def test_only_so_many_are_kept(signaling: Signaling, tmp_path: Path) -> None:
    uploads = [signaling.upload() for _ in range(3)]
    worker = signaling.worker(tmp_path / "worker", max_fetched=2)
    for record in uploads:
        await in_thread(worker.load, record.id)
    kept = {path.name for path in worker.folder.path.glob("targets/t_*")}
    assert kept == {record.id for record in uploads[1:]}


def test_the_folder_of_a_killed_worker_is_deleted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys, time; from server.targets.local import FetchedFolder\n"
        "folder = FetchedFolder(sys.argv[1]); folder.claim(); print(folder.path, flush=True); time.sleep(60)"
    )
    monkeypatch.setattr("server.targets.local._BEING_MADE_S", -1.0)
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().strip())
    ours = FetchedFolder(tmp_path)
    ours.claim()
    assert ours.sweep_others() == 0
    assert theirs.is_dir(), "it lives"
    other.kill()
    other.wait()
    other.stdout.close()
    assert ours.sweep_others() == 1
    assert not theirs.exists()
    assert ours.path.is_dir()
    ours.close()


class Media:
    """The worker's media, as far as the watch knows them."""

    def __init__(self, *targets: str) -> None:
        self.targets = {*targets, "astronaut"}
        self.done: list[tuple[str, str]] = []

    def put_away(self, target: str) -> None:
        self.done.append(("put away", target))

    def show_again(self, target: str) -> None:
        self.done.append(("shown again", target))


async def test_calls_end_with_the_upload_and_recover_with_the_network(
    signaling: Signaling, tmp_path: Path
) -> None:
    record = signaling.upload()
    worker = signaling.worker(tmp_path / "worker")
    media = Media(record.id)
    watch = TargetWatch(worker, media)  # type: ignore[arg-type]
    signaling.spoil = hidden
    with pytest.raises(TargetUnknown):
        await in_thread(worker.load, record.id)
    await watch.check()
    assert media.done == []
    signaling.spoil = None
    await watch.check()
    await watch.check()
    assert media.done == [("shown again", record.id)]
    signaling.store.delete(record.id)
    await watch.check()
    await watch.check()
    assert media.done[1:] == [("put away", record.id)]
    assert not list(worker.folder.path.glob("targets/t_*"))
