"""The targets API over HTTP: gallery, uploads with their errors, capabilities, expiry, limits."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from aiohttp import ClientResponse, ClientSession, FormData, web
from aiohttp.test_utils import TestClient
from PIL import Image

from server.api_targets import TargetsApiOptions
from server.api_upload import UploadLimits
from server.app import RUNNER_OPTIONS, STORE, AppConfig, build_app
from server.targets import StorageFull, TargetStore
from server.targets.decode import PhotoLimits
from server.targets.pool import PreparationPool

from .conftest import Start, encoded, form


async def error_of(response: ClientResponse) -> tuple[int, str]:
    body = await response.json()
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"].endswith(".")
    return response.status, body["error"]["code"]


async def upload(client: TestClient, photo: Image.Image, count: int = 1) -> dict:
    photos = [(f"{k}.jpg", encoded(photo)) for k in range(count)]
    response = await client.post("/api/targets", data=form(*photos))
    assert response.status == 201, await response.text()
    return await response.json()


def stored(client: TestClient) -> TargetStore:
    assert client.app is not None
    return client.app[STORE]


async def test_the_gallery(client: TestClient) -> None:
    targets = (await (await client.get("/api/targets")).json())["targets"]
    assert "astronaut" in {target["id"] for target in targets}
    for target in targets:
        assert set(target) == {"id", "name", "credit", "licence", "image"}
        assert target["licence"]
        response = await client.get(target["image"])
        assert response.content_type == "image/webp"
        with Image.open(io.BytesIO(await response.read())) as image:
            assert image.size == (256, 256)
        alone = await (await client.get(f"/api/targets/{target['id']}")).json()
        assert alone["name"] == target["name"]


async def test_an_upload_becomes_a_target(client: TestClient, photo: Image.Image, tmp_path: Path) -> None:
    before = time.time()
    created = await upload(client, photo, 2)
    assert created["id"].startswith("t_")
    assert created["photos"] == [
        {"index": 0, "file": "0.jpg", "ok": True},
        {"index": 1, "file": "1.jpg", "ok": True},
    ]
    target = stored(client).load(created["id"])
    assert target.images.shape == (2, 512, 512, 3)
    assert target.landmarks.shape == (2, 478, 3)
    record = stored(client).record(created["id"])
    assert record.consent is not None
    assert record.consent.statement == "I may."
    assert before <= record.consent.given_at <= time.time()
    image = await client.get(created["image"])
    assert image.status == 200
    assert image.headers["Cache-Control"] == "no-store"
    shown = await (await client.get(f"/api/targets/{created['id']}")).json()
    assert shown["expires_at"] == created["expires_at"]


async def test_uploads_are_listed_to_nobody(client: TestClient, photo: Image.Image) -> None:
    created = await upload(client, photo)
    for address in ("/api/targets", "/metrics", "/api/config", "/readyz", "/api/targets/t_", "/api/targets/"):
        assert created["id"] not in await (await client.get(address)).text()


async def test_deleting_an_upload(client: TestClient, photo: Image.Image) -> None:
    created = await upload(client, photo)
    address = f"/api/targets/{created['id']}"
    assert (await client.get(created["image"])).status == 200
    assert (await client.delete(address)).status == 204
    for response in (
        await client.get(address),
        await client.get(created["image"]),
        await client.delete(address),
    ):
        assert await error_of(response) == (404, "target_unknown")


async def test_built_ins_cannot_be_deleted(client: TestClient) -> None:
    assert await error_of(await client.delete("/api/targets/astronaut")) == (403, "protected")
    assert (await client.get("/api/targets/astronaut")).status == 200


@pytest.mark.parametrize(
    "target_id", ["..", "%2e%2e", "..%2f..%2fetc", "t_%2e%2e%2fx", "t_" + "a" * 32, "%00", "a" * 3000]
)
async def test_ids_that_are_none(client: TestClient, target_id: str) -> None:
    for address in (f"/api/targets/{target_id}", f"/api/targets/{target_id}/image"):
        response = await client.get(address)
        assert response.status == 404
        await error_of(response)


@pytest.mark.parametrize(
    ("consent", "text"), [(None, "I may."), ("false", "I may."), ("", "x"), ("true", None), ("true", "  ")]
)
async def test_consent_is_required(
    client: TestClient, photo: Image.Image, consent: str | None, text: str | None
) -> None:
    data = form(("a.jpg", encoded(photo)), consent=consent, text=text)
    assert await error_of(await client.post("/api/targets", data=data)) == (400, "consent_required")
    assert stored(client).uploads() == 0


async def test_consent_may_come_after_the_photos(client: TestClient, photo: Image.Image) -> None:
    data = FormData()
    data.add_field("photos", encoded(photo), filename="a.jpg")
    data.add_field("consent_text", "I may.")
    data.add_field("consent", "true")
    data.add_field("name", "  Ada\u0007 ")
    response = await client.post("/api/targets", data=data)
    assert response.status == 201
    assert (await response.json())["name"] == "Ada"


async def test_each_refused_photo_is_named(client: TestClient, photo: Image.Image) -> None:
    two = Image.new("RGB", (1024, 512))
    two.paste(photo, (0, 0))
    two.paste(photo, (512, 0))
    small = Image.new("RGB", (600, 600), "grey")
    small.paste(photo.resize((256, 256)), (50, 50))
    photos = [
        ("good.jpg", encoded(photo)),
        ("two.png", encoded(two, "PNG")),
        ("small.webp", encoded(small, "WEBP", quality=95)),
        ("sky.jpg", encoded(Image.new("RGB", (400, 300), "skyblue"))),
        ("half.jpg", encoded(photo)[:9000]),
        ("holiday/moving.jpg", encoded(photo, "GIF")),
        ("large.png", encoded(Image.new("1", (8000, 8000)), "PNG")),
    ]
    response = await client.post("/api/targets", data=form(*photos))
    assert await error_of(response) == (422, "several_faces")
    found = {(p["index"], p["file"]): p["code"] for p in (await response.json())["photos"]}
    assert found == {
        (1, "two.png"): "several_faces",
        (2, "small.webp"): "face_too_small",
        (3, "sky.jpg"): "no_face",
        (4, "half.jpg"): "unreadable",
        (5, "moving.jpg"): "unsupported_format",
        (6, "large.png"): "too_many_pixels",
    }
    assert stored(client).uploads() == 0
    metrics = await (await client.get("/metrics")).text()
    assert 'understudy_photos_refused_total{code="no_face"} 1.0' in metrics
    assert 'understudy_uploads_total{outcome="several_faces"} 1.0' in metrics


async def test_a_photo_with_too_many_bytes_is_named(start: Start, photo: Image.Image) -> None:
    limits = UploadLimits(photo=PhotoLimits(max_bytes=60_000))
    client = await start(targets=TargetsApiOptions(upload=limits))
    data = form(("ok.jpg", encoded(photo)), ("big.jpg", encoded(photo) + bytes(60_000)))
    response = await client.post("/api/targets", data=data)
    assert await error_of(response) == (413, "too_large")
    assert (await response.json())["photos"][0]["file"] == "big.jpg"


async def test_a_request_that_is_far_too_large_is_not_read(start: Start) -> None:
    limits = UploadLimits(max_photos=2, photo=PhotoLimits(max_bytes=10_000))
    client = await start(targets=TargetsApiOptions(upload=limits))

    async def endless():
        for _ in range(40):
            yield bytes(64 * 1024)

    boundary = "b"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\n'.encode()

    async def body():
        yield head
        async for chunk in endless():
            yield chunk

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    chunked = await client.post("/api/targets", data=body(), headers=headers)
    assert await error_of(chunked) == (413, "too_large")
    told = await client.post("/api/targets", data=bytes(1_000_000), headers=headers)
    assert await error_of(told) == (413, "too_large")


async def test_too_many_photos(client: TestClient, photo: Image.Image) -> None:
    small = encoded(photo.resize((64, 64)))
    data = form(*((f"{k}.jpg", small) for k in range(9)))
    assert await error_of(await client.post("/api/targets", data=data)) == (413, "too_many_photos")
    assert await error_of(await client.post("/api/targets", data=form())) == (400, "no_photos")


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"{}", (415, "unsupported_media_type")),
        ("multipart/form-data", b"x", (400, "bad_request")),
        ("multipart/form-data; boundary=b", b"nonsense", (400, "bad_request")),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n", (400, "bad_request")),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: x\r\n\r\nabc",
            (400, "bad_request"),
        ),
        ("multipart/form-data; boundary=b", b"--b--\r\n", (400, "consent_required")),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n",
            (400, "bad_request"),
        ),
    ],
)
async def test_malformed_forms(
    client: TestClient, content_type: str, body: bytes, expected: tuple[int, str]
) -> None:
    headers = {"Content-Type": content_type}
    assert await error_of(await client.post("/api/targets", data=body, headers=headers)) == expected


async def test_many_fields_are_refused(client: TestClient) -> None:
    data = FormData()
    for k in range(50):
        data.add_field(f"f{k}", "x" * 10)
    data.add_field("photos", b"x", filename="x")
    assert await error_of(await client.post("/api/targets", data=data)) == (400, "bad_request")


async def test_a_stalled_upload_ends(start: Start) -> None:
    client = await start(targets=TargetsApiOptions(upload=UploadLimits(stall_timeout_s=0.2)))

    async def stalling():
        yield b'--b\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\nabc'
        await asyncio.sleep(5)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await client.post("/api/targets", data=stalling(), headers=headers)
    assert await error_of(response) == (408, "request_timeout")


async def test_only_so_many_uploads_at_once(start: Start, photo: Image.Image) -> None:
    client = await start(targets=TargetsApiOptions(concurrent_uploads=1))
    going = asyncio.Event()

    async def slow():
        yield b'--b\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\nabc'
        await going.wait()
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    first = asyncio.create_task(client.post("/api/targets", data=slow(), headers=headers))
    await asyncio.sleep(0.1)
    second = await client.post("/api/targets", data=form(("a.jpg", encoded(photo))))
    assert await error_of(second) == (503, "busy")
    assert second.headers["Retry-After"]
    going.set()
    assert await error_of(await first) == (400, "consent_required")
    await upload(client, photo)


async def test_who_is_slow_keeps_nobody_else_out(start: Start, photo: Image.Image) -> None:
    client = await start(targets=TargetsApiOptions(forwarded_header="X-Forwarded-For"))
    going = asyncio.Event()

    async def slow():
        yield b'--b\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\nabc'
        await going.wait()
        yield b"\r\n--b--\r\n"

    async def stalling() -> tuple[int, str]:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "X-Forwarded-For": "1.1.1.1"}
        return await error_of(await client.post("/api/targets", data=slow(), headers=headers))

    first = asyncio.create_task(stalling())
    await asyncio.sleep(0.1)
    assert [await stalling() for _ in range(2)] == [(429, "too_many_at_once")] * 2
    headers = {"X-Forwarded-For": "2.2.2.2"}
    other = await client.post("/api/targets", data=form(("a.jpg", encoded(photo))), headers=headers)
    assert other.status == 201
    going.set()
    assert await first == (400, "consent_required")
    assert await stalling() == (400, "consent_required"), "the place is free again"


async def test_each_address_has_a_rate(start: Start) -> None:
    client = await start(
        targets=TargetsApiOptions(upload_burst=2, upload_refill_s=60, forwarded_header="X-Forwarded-For")
    )

    async def attempt(address: str) -> tuple[int, str]:
        headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}
        return await error_of(await client.post("/api/targets", data=form(), headers=headers))

    assert [await attempt("1.1.1.1") for _ in range(3)] == [
        (400, "no_photos"),
        (400, "no_photos"),
        (429, "rate_limited"),
    ]
    assert await attempt("2.2.2.2") == (400, "no_photos")


async def test_a_full_disk(client: TestClient, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull(28, "full")

    monkeypatch.setattr(stored(client), "save", full)
    response = await client.post("/api/targets", data=form(("a.jpg", encoded(photo))))
    assert await error_of(response) == (507, "insufficient_storage")


async def test_nothing_of_the_file_but_the_face_is_kept(
    client: TestClient, photo: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET description"
    exif[0x0110] = "SECRET camera"
    exif.get_ifd(0x8825)[1] = "N"
    content = encoded(photo, "JPEG", exif=exif.tobytes(), comment=b"SECRET comment", quality=95)
    assert content.count(b"SECRET") == 3
    response = await client.post("/api/targets", data=form(("SECRET.jpg", content + b"SECRET")))
    created = await response.json()
    for path in (tmp_path / "data").rglob("*"):
        assert "SECRET" not in path.name
        if path.is_file():
            assert b"SECRET" not in path.read_bytes(), path
    served = await (await client.get(created["image"])).read()
    with Image.open(io.BytesIO(served)) as image:
        assert not image.getexif()
        assert "SECRET" not in json.dumps({key: str(value) for key, value in image.info.items()})


async def test_an_uploaded_photo_on_its_side_stands_upright(client: TestClient, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    lying = photo.transpose(Image.Transpose.ROTATE_270)
    response = await client.post(
        "/api/targets", data=form(("a.jpg", encoded(lying, "JPEG", exif=exif.tobytes(), quality=95)))
    )
    target = stored(client).load((await response.json())["id"])
    reference = stored(client).load("astronaut")
    assert np.abs(target.landmarks[0, :, :2] - reference.landmarks[0, :, :2]).mean() < 6


async def test_expired_uploads_are_swept(start: Start, photo: Image.Image, tmp_path: Path) -> None:
    options = TargetsApiOptions(sweep_interval_s=0.05)
    client = await start(target_ttl_s=1.0, targets=options)
    created = await upload(client, photo)
    folder = tmp_path / "data" / "targets" / created["id"]
    assert folder.is_dir()
    for _ in range(100):
        if not folder.exists():
            break
        await asyncio.sleep(0.05)
    assert not folder.exists()
    assert (await client.get(created["image"])).status == 404


async def test_uploads_of_a_former_run_are_swept_at_the_start(
    start: Start, photo: Image.Image, tmp_path: Path
) -> None:
    old = TargetStore(tmp_path / "data", clock=lambda: 1_000_000.0)
    crop = np.zeros((1, 512, 512, 3), np.uint8)
    from server.targets import Consent

    record = old.save(crop, np.zeros((1, 478, 3), np.float32), name="old", consent=Consent("x", 0.0))
    client = await start()
    assert (await client.get(f"/api/targets/{record.id}")).status == 404
    for _ in range(100):
        if not (tmp_path / "data" / "targets" / record.id).exists():
            return
        await asyncio.sleep(0.02)
    pytest.fail("the expired upload is still there")


async def test_the_event_loop_stays_free_while_photos_are_prepared(
    client: TestClient, photo: Image.Image
) -> None:
    large = photo.resize((4000, 4000))
    uploading = asyncio.create_task(client.post("/api/targets", data=form(("a.jpg", encoded(large)))))
    answered = 0
    while not uploading.done():
        assert (await client.get("/healthz")).status == 200
        answered += 1
        await asyncio.sleep(0.01)
    assert (await uploading).status == 201
    assert answered >= 10


@pytest.mark.parametrize("waiting", ["prepare", "save"])
async def test_who_cancels_an_upload_leaves_no_target(
    waiting: str, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would have learned its id, so nobody could have deleted it."""
    begun, gone = asyncio.Event(), asyncio.Event()
    prepare, to_thread = PreparationPool.prepare, asyncio.to_thread

    async def preparing(pool: PreparationPool, content: bytes) -> object:
        if waiting == "prepare":
            begun.set()
            await gone.wait()
        return await prepare(pool, content)

    async def saving(call: object, *arguments: object, **named: object) -> object:
        result = await to_thread(call, *arguments, **named)  # type: ignore[arg-type]
        if waiting == "save" and getattr(getattr(call, "func", None), "__name__", "") == "save":
            begun.set()
            await gone.wait()
        return result

    monkeypatch.setattr(PreparationPool, "prepare", preparing)
    monkeypatch.setattr(asyncio, "to_thread", saving)
    # Tests' own servers cancel handlers whose clients have gone; the service's does not.
    app = build_app(AppConfig(data_dir=tmp_path))
    runner = web.AppRunner(app, **RUNNER_OPTIONS)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession(f"http://{host}:{port}") as http:
            data = form(("me.jpg", encoded(photo)))
            sent = asyncio.create_task(http.post("/api/targets", data=data))
            async with asyncio.timeout(20):
                await begun.wait()
            sent.cancel()
            await asyncio.wait([sent])
            await asyncio.sleep(0.2)  # until the server has seen it
            gone.set()
            async with asyncio.timeout(20):
                while 'status="499"} 1.0' not in await (await http.get("/metrics")).text():
                    await asyncio.sleep(0.05)
        assert app[STORE].uploads() == 0
    finally:
        await runner.cleanup()
