"""Photos that come alive over HTTP: jobs, progress, results, cancel, expiry, and everything refused."""

from __future__ import annotations

import asyncio
import errno
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from skimage import data

from models.animation.animator import Animator
from models.mesh_warp import MeshWarpGenerator
from models.templates.library import Library
from models.templates.timeline import Timeline
from server import api_upload
from server.animation.encode import writing
from server.animation.jobs import JobLimits
from server.api_animate import AnimateApiOptions
from server.app import AppConfig, build_app
from server.audit.entries import OF_TARGET, target_hash
from server.targets.store import TargetStore

Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    clients: list[TestClient] = []

    async def starting(**changes: Any) -> TestClient:
        options = replace(AnimateApiOptions(), **changes)
        client: TestClient = TestClient(TestServer(build_app(AppConfig(data_dir=tmp_path, animate=options))))
        await client.start_server()
        clients.append(client)
        return client

    yield starting
    for client in clients:
        await client.close()


@pytest.fixture(scope="session")
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "driver.webm"
    kept = TargetStore(path.parent).load("ines")
    moved = Animator(MeshWarpGenerator(512), kept.images, kept.landmarks)
    with writing(path, "webm", 10) as writer:
        for picture in moved.play(Timeline([Library().find("surprised")], seconds=1.5).frames(10)):
            writer.write(picture)
    return path.read_bytes()


def form(*, photo: bytes | None = None, clip: bytes | None = None, **fields: str) -> FormData:
    data = FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value)
    if photo is not None:
        data.add_field("photos", photo, filename="me.jpg", content_type="application/octet-stream")
    if clip is not None:
        data.add_field("clip", clip, filename="driver.webm", content_type="application/octet-stream")
    return data


CONSENT = {"consent": "true", "consent_text": "I may."}
SHORT = {"seconds": "0.5", "fps": "10"}


async def over(client: TestClient, job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All events of a job, until it is over."""
    events = []
    async with client.get(job["events"]) as response:
        assert response.content_type == "text/event-stream"
        name = ""
        async for line in response.content:
            text = line.decode().strip()
            if text.startswith("event: "):
                name = text.removeprefix("event: ")
            elif text.startswith("data: "):
                events.append((name, json.loads(text.removeprefix("data: "))))
    return events


async def refused(client: TestClient, data: Any, **headers: str) -> tuple[int, str]:
    response = await client.post("/api/animate", data=data, headers=headers)
    body = await response.json()
    assert body["error"]["message"][-1] in ".?"
    return response.status, body["error"]["code"]


async def test_templates(start: Start) -> None:
    client = await start()
    listed = (await (await client.get("/api/templates")).json())["templates"]
    assert {"happy", "sad", "wink-left", "wink-smile"} <= {template["name"] for template in listed}
    assert all(template["seconds"] > 0 and template["title"] and template["built_in"] for template in listed)


async def test_a_target_comes_alive(start: Start, tmp_path: Path) -> None:
    client = await start()
    data = form(target="kenji", templates="happy,wink-left", format="webp", play="loop", **SHORT)
    response = await client.post("/api/animate", data=data)
    assert response.status == 202, await response.text()
    job = await response.json()
    assert response.headers["Location"] == f"/api/animate/{job['id']}"
    early = await client.get(f"/api/animate/{job['id']}/result")
    assert early.status == 409
    events = await over(client, job)
    assert events[-1][0] == "finished", events[-1]
    assert {name for name, _ in events[:-1]} == {"progress"}
    finished = events[-1][1]
    assert (finished["state"], finished["done"], finished["total"]) == ("finished", 5, 5)
    result = await client.get(finished["result"])
    assert result.content_type == "image/webp"
    assert "attachment" in result.headers["Content-Disposition"]
    assert result.headers["Cache-Control"] == "no-store"
    with Image.open(io.BytesIO(await result.read())) as image:
        assert image.size == (256, 256)
        assert image.n_frames in (4, 5)  # webp shows equal pictures as one, for longer
    folder = tmp_path / "animations" / job["id"]
    assert {entry.name for entry in folder.iterdir()} == {"result.webp", OF_TARGET}
    # by this `understudy forget` finds it, also now that it is finished
    assert (folder / OF_TARGET).read_text() == target_hash("kenji")
    assert (await client.delete(f"/api/animate/{job['id']}")).status == 204
    assert (await client.get(finished["result"])).status == 404
    assert not list((tmp_path / "animations").iterdir())


async def test_photos_and_a_clip_are_not_kept(
    start: Start, photo: bytes, clip: bytes, tmp_path: Path
) -> None:
    client = await start()
    data = form(photo=photo, clip=clip, whole="true", format="mp4", fps="10", **CONSENT)
    job = await (await client.post("/api/animate", data=data)).json()
    events = await over(client, job)
    assert events[-1][0] == "finished", events[-1]
    folder = tmp_path / "animations" / job["id"]
    assert [entry.name for entry in folder.iterdir()] == ["result.mp4"]
    assert folder.stat().st_mode & 0o077 == 0
    assert job["id"].startswith("a_")
    assert len(job["id"]) > 30
    listing = await client.get("/api/animate")
    assert listing.status in (404, 405)


async def test_what_is_refused_at_once(start: Start, photo: bytes, clip: bytes, tmp_path: Path) -> None:
    client = await start(max_clip_bytes=len(clip) - 1)
    good = {"target": "kenji", "templates": "happy"}
    for sent, expected in (
        (form(target="t_unknown", templates="happy"), (404, "target_unknown")),
        (form(target="../kenji", templates="happy"), (404, "target_unknown")),
        (form(target="kenji", templates="hapy"), (422, "template_unknown")),
        (form(target="kenji", templates="../happy"), (422, "template_unknown")),
        (form(target="kenji"), (400, "bad_request")),
        (form(templates="happy"), (400, "bad_request")),
        (form(**good, photo=photo), (400, "bad_request")),
        (form(templates="happy", photo=photo), (400, "consent_required")),
        (form(**good, format="exe"), (400, "format_unknown")),
        (form(**good, seconds="600"), (400, "option_invalid")),
        (form(**good, seconds="nan"), (400, "option_invalid")),
        (form(**good, fps="1000"), (400, "option_invalid")),
        (form(**good, intensity="-1"), (400, "option_invalid")),
        (form(**good, size="4096"), (400, "option_invalid")),
        (form(**good, whole="true"), (422, "not_whole")),
        (form(**good, out="/etc/passwd"), (400, "option_invalid")),
        (form(target="kenji", templates=",".join(["happy"] * 9)), (400, "too_many_templates")),
        (form(target="kenji", clip=clip), (413, "driver_too_large")),
    ):
        assert await refused(client, sent) == expected
    response = await client.post("/api/animate", json={"target": "kenji"})
    assert response.status == 415
    assert not list((tmp_path / "animations").iterdir())


async def test_what_turns_out_to_be_wrong_fails_with_a_code(start: Start, tmp_path: Path) -> None:
    client = await start()
    grey = io.BytesIO()
    Image.new("RGB", (300, 300), "grey").save(grey, "PNG")
    for sent, code in (
        (form(target="kenji", clip=b"garbage" * 100), "driver_unreadable"),
        (form(photo=grey.getvalue(), templates="happy", **CONSENT), "no_face"),
        (form(photo=b"garbage", templates="happy", **CONSENT), "unsupported_format"),
    ):
        job = await (await client.post("/api/animate", data=sent)).json()
        events = await over(client, job)
        assert events[-1][0] == "failed"
        assert events[-1][1]["error"]["code"] == code
        assert not list((tmp_path / "animations" / job["id"]).iterdir())
        assert (await client.get(f"/api/animate/{job['id']}/result")).status == 409


@pytest.mark.parametrize("part", ["clip", "photo", "target"])
async def test_a_full_disk(
    part: str, start: Start, photo: bytes, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, *_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

    sent = {
        "clip": form(target="kenji", clip=clip),
        "photo": form(photo=photo, templates="happy", **CONSENT),
        "target": form(target="kenji", templates="happy"),
    }
    client = await start()
    monkeypatch.setattr(api_upload, "open", lambda *_: Full(), raising=False)
    monkeypatch.setattr(Path, "write_bytes", lambda *_: Full().write())
    monkeypatch.setattr(Path, "write_text", lambda *_: Full().write())
    assert await refused(client, sent[part]) == (507, "insufficient_storage")
    assert not list((tmp_path / "animations").iterdir())


async def test_cancel_and_crowds(start: Start, tmp_path: Path) -> None:
    client = await start(jobs=JobLimits(waiting=1))
    long = {"target": "kenji", "templates": "happy", "seconds": "20", "fps": "30", "size": "512"}
    jobs = [await (await client.post("/api/animate", data=form(**long))).json() for _ in range(2)]
    assert await refused(client, form(**long)) == (503, "busy")
    watching = asyncio.create_task(over(client, jobs[0]))
    await asyncio.sleep(0.3)
    for job in reversed(jobs):
        assert (await client.delete(f"/api/animate/{job['id']}")).status == 204
        assert (await client.get(f"/api/animate/{job['id']}")).status == 404
    assert (await watching)[-1][1]["error"]["code"] == "cancelled"
    assert not list((tmp_path / "animations").iterdir())
    response = await client.post("/api/animate", data=form(target="kenji", templates="happy", **SHORT))
    assert (await over(client, await response.json()))[-1][0] == "finished"


async def test_one_address_leaves_places_to_others(start: Start) -> None:
    client = await start(forwarded_header="X-Real-IP")
    going = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="clip"; filename="x"\r\n\r\nabc'
        await going.wait()
        yield b"\r\n--b--\r\n"

    stalled = {"Content-Type": "multipart/form-data; boundary=b", "X-Real-IP": "1.1.1.1"}
    first = asyncio.create_task(refused(client, slow(), **stalled))
    await asyncio.sleep(0.1)
    assert await refused(client, slow(), **stalled) == (429, "too_many_at_once")
    going.set()
    assert await first == (400, "bad_request")

    async def order(address: str) -> int:
        long = form(target="kenji", templates="happy", seconds="20", fps="30", size="512")
        async with client.post("/api/animate", data=long, headers={"X-Real-IP": address}) as response:
            return response.status

    assert [await order("1.1.1.1") for _ in range(4)] == [202, 202, 429, 429]
    assert await order("2.2.2.2") == 202


async def test_results_expire_and_slow_jobs_end(start: Start, tmp_path: Path) -> None:
    client = await start(jobs=JobLimits(ttl_s=0.5), sweep_interval_s=0.1)
    response = await client.post("/api/animate", data=form(target="kenji", templates="happy", **SHORT))
    job = await response.json()
    await over(client, job)
    while list((tmp_path / "animations").iterdir()):
        await asyncio.sleep(0.05)
    assert (await client.get(f"/api/animate/{job['id']}")).status == 404

    client = await start(jobs=JobLimits(timeout_s=1))
    long = form(target="kenji", templates="happy", seconds="20", fps="30", size="512", format="webm")
    job = await (await client.post("/api/animate", data=long)).json()
    assert (await over(client, job))[-1][1]["error"]["code"] == "timed_out"


async def test_one_address_cannot_start_many(start: Start) -> None:
    client = await start(burst=1, refill_s=100.0)
    assert await refused(client, form(target="kenji")) == (400, "bad_request")
    response = await client.post("/api/animate", data=form(target="kenji"))
    assert response.status == 429
    assert int(response.headers["Retry-After"]) > 0


async def test_a_job_that_fails_in_an_unforeseen_way_is_over(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that never is would hold its owner's place for good."""

    async def no_process(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")

    client = await start()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)
    response = await client.post(
        "/api/animate", data=form(target="kenji", templates="happy", format="webp", **SHORT)
    )
    async with asyncio.timeout(10):
        events = await over(client, await response.json())
    assert (events[-1][0], events[-1][1]["error"]["code"]) == ("failed", "internal")
    assert "can't start new thread" in caplog.text
