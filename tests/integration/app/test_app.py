"""Page, health, configuration, metrics, security headers and errors of the web application."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from server.api_metrics import merge_expositions
from server.app import RUNNER_OPTIONS, AppConfig, build_app

from .conftest import Start


async def test_the_page_and_its_files(client: TestClient) -> None:
    for address, content_type in (
        ("/", "text/html; charset=utf-8"),
        ("/static/app.css", "text/css; charset=utf-8"),
        ("/static/js/main.js", "text/javascript; charset=utf-8"),
        ("/?room=R&name=N&target=astronaut&join=1", "text/html; charset=utf-8"),
    ):
        response = await client.get(address)
        assert response.status == 200
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Cache-Control"] == "no-cache"
        again = await client.get(address, headers={"If-None-Match": response.headers["ETag"]})
        assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "notes.py",
        ".hidden.js",
        "link.js",
        "js",
        "js/",
        "no.js",
        "../outside.js",
        "%2e%2e/outside.js",
        "..%2foutside.js",
        "%00.js",
        "a" * 5000 + ".js",
        "js/../../outside.js",
        "/etc/passwd",
    ],
)
async def test_files_that_are_not_the_pages(client: TestClient, path: str) -> None:
    response = await client.get(f"/static/{path}")
    assert response.status in (400, 404)
    assert "secret" not in await response.text()


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/static/no.js", 404, "not_found"),
        ("PUT", "/api/targets", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
    ],
)
async def test_errors_are_json(client: TestClient, method: str, address: str, status: int, code: str) -> None:
    response = await client.request(method, address)
    assert response.status == status
    assert response.content_type == "application/json"
    assert (await response.json())["error"]["code"] == code
    if status == 405:
        assert "GET" in response.headers["Allow"]


async def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for address in ("/", "/static/app.css", "/api/targets", "/api/config", "/metrics", "/nothing"):
        headers = (await client.get(address)).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "camera=(self)" in headers["Permissions-Policy"]
        assert "aiohttp" not in headers["Server"].lower()


async def test_a_failure_inside_is_not_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await start()

    def failing(*_: object) -> None:
        raise RuntimeError("the password is 1234")

    from server.app import STORE

    assert client.app is not None
    monkeypatch.setattr(client.app[STORE], "record", failing)
    response = await client.get("/api/targets/astronaut")
    assert response.status == 500
    assert await response.json() == {
        "error": {"code": "internal", "message": "Something went wrong on the server."}
    }


@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("route", ["/api/targets", "/api/animate"])
async def test_who_goes_in_the_middle_of_an_upload_is_no_fault(
    route: str, length: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Tests' own servers cancel handlers whose clients have gone; the service's does not.
    runner = web.AppRunner(build_app(AppConfig(data_dir=tmp_path)), **RUNNER_OPTIONS)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    head = f"POST {route} HTTP/1.1\r\nHost: {host}:{port}\r\n{length}\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\nabc'
    body = f"{len(part):x}\r\n{part}\r\n" if "chunked" in length else part
    counted = f'understudy_http_requests_total{{method="POST",route="{route}",status="499"}} 1.0'
    try:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n{body}".encode())
        await asyncio.sleep(0.1)
        writer.transport.abort()
        async with ClientSession(f"http://{host}:{port}") as http, asyncio.timeout(10):
            while counted not in await (await http.get("/metrics")).text():
                await asyncio.sleep(0.05)
    finally:
        await runner.cleanup()
    assert [record for record in caplog.records if record.levelname == "ERROR" or record.exc_info] == []


async def test_health_and_readiness(start: Start) -> None:
    ready, trouble = False, None
    client = await start(ready=lambda: ready, trouble=lambda: trouble)
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).status == 503
    ready = True
    assert (await client.get("/readyz")).status == 200
    trouble = "The log is out of reach."
    response = await client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["error"]["message"] == trouble
    assert (await client.get("/healthz")).status == 200


async def test_what_the_page_is_told(start: Start) -> None:
    client = await start(size=512, mark_text="made up", room_capacity=3, target_ttl_s=7200.0)
    config = await (await client.get("/api/config")).json()
    assert config["size"] == 512
    assert config["mark"] == {"text": "made up"}
    assert config["room_capacity"] == 3
    assert config["generator"] == "mesh-warp"
    assert config["upload"] == {
        "max_photos": 8,
        "max_bytes": 10 * 1024 * 1024,
        "formats": ["image/jpeg", "image/png", "image/webp"],
        "ttl_h": 2.0,
    }
    assert config["version"]


async def test_metrics_of_a_worker_are_merged(start: Start) -> None:
    async def worker_metrics(_: web.Request) -> web.Response:
        text = (
            "# HELP understudy_frames_total Frames.\n# TYPE understudy_frames_total counter\n"
            "understudy_frames_total 7.0\n# TYPE understudy_uploads_total counter\n"
            'understudy_uploads_total{outcome="elsewhere"} 1.0\n'
        )
        return web.Response(text=text)

    worker = web.Application()
    worker.router.add_get("/metrics", worker_metrics)
    server = TestServer(worker)
    await server.start_server()
    try:
        client = await start(
            worker_metrics_urls=[str(server.make_url("/metrics")), "http://127.0.0.1:1/metrics"]
        )
        await client.get("/healthz")
        response = await client.get("/metrics")
        text = await response.text()
    finally:
        await server.close()
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "understudy_frames_total 7.0" in text
    assert 'understudy_uploads_total{outcome="elsewhere"} 1.0' in text
    assert text.count("# TYPE understudy_uploads_total counter") == 1
    assert 'understudy_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text


async def test_metrics_of_a_worker_may_come_in_pieces(start: Start) -> None:
    async def slow_metrics(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"understudy_first 1.0\n")
        await asyncio.sleep(0.1)
        await response.write(b"understudy_last 2.0\n")
        return response

    async def endless_metrics(_: web.Request) -> web.Response:
        return web.Response(text="understudy_much 1.0\n" * 300_000)

    worker = web.Application()
    worker.router.add_get("/metrics", slow_metrics)
    worker.router.add_get("/endless", endless_metrics)
    async with TestServer(worker) as server:
        urls = [str(server.make_url(path)) for path in ("/metrics", "/endless")]
        text = await (await (await start(worker_metrics_urls=urls)).get("/metrics")).text()
    assert "understudy_first 1.0" in text
    assert "understudy_last 2.0" in text
    assert "understudy_much" not in text


def test_merging_keeps_the_samples_of_a_metric_together() -> None:
    first = "# HELP a A.\n# TYPE a counter\na 1\n# HELP b B.\n# TYPE b gauge\nb 2\n"
    second = '# HELP a A.\n# TYPE a counter\na{x="y"} 3\n'
    expected = '# HELP a A.\n# TYPE a counter\na 1\na{x="y"} 3\n# HELP b B.\n# TYPE b gauge\nb 2\n'
    assert merge_expositions([first, second]) == expected
    assert merge_expositions(["", ""]) == ""


def test_the_application_starts_without_the_models() -> None:
    code = (
        "import sys, tempfile, pathlib; from server.app import AppConfig, build_app; "
        "build_app(AppConfig(pathlib.Path(tempfile.gettempdir()))); "
        "print([m for m in ('mediapipe', 'torch', 'aiortc', 'skimage', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_that_never_finishes_its_request_is_closed(
    sent: bytes, tmp_path: Path, page_dir: Path
) -> None:
    app = build_app(AppConfig(data_dir=tmp_path, client_dir=page_dir))
    runner = web.AppRunner(app, **{**RUNNER_OPTIONS, "keepalive_timeout": 0.2})
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert b" 200 " not in answer
    finally:
        await runner.cleanup()
