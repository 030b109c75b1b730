"""Settings reach the parts that they are meant for."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from server.composition import compose, signaling_config
from server.settings import Settings
from signaling.app import SIGNALING
from signaling.protocol import IceServer

SERVER = Path(__file__).parents[3] / "server"


def test_every_setting_is_read_somewhere() -> None:
    """A setting that nothing reads is a promise not kept."""
    sources = [p for p in SERVER.rglob("*.py") if p.name not in {"settings.py", "cli.py"}]
    text = "\n".join(path.read_text() for path in sources)
    read = set(re.findall(r"settings\.([a-z_]+)", text))
    read |= {"capacity"} if "worker_capacity" in read else set()
    assert set(Settings.model_fields) - read == set()


def test_signaling_gets_its_part() -> None:
    settings = Settings(
        heartbeat_s=1.5,
        resume_s=12,
        ring_timeout_s=7,
        room_capacity=3,
        ice_servers=[IceServer(urls=["stun:a.example:1"])],
        worker_secret="hush" * 4,
        allowed_origins=["https://a.example"],
        forwarded_header="X-Forwarded-For",
    )
    config = signaling_config(settings)
    assert (config.heartbeat_s, config.resume_s, config.ring_timeout_s) == (1.5, 12, 7)
    assert (config.room_capacity, config.worker_secret) == (3, "hush" * 4)
    assert config.ice_servers[0].urls == ["stun:a.example:1"]
    assert config.allowed_origins == ("https://a.example",)
    assert config.forwarded_header == "X-Forwarded-For"


async def test_page_is_told_what_it_shows(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, size=512, mark_text="made up", target_ttl_h=2, room_capacity=5)
    async with TestClient(TestServer(compose(settings, needs_worker=False))) as client:
        config = await (await client.get("/api/config")).json()
    assert config["size"] == 512
    assert config["mark"] == {"text": "made up"}
    assert config["upload"]["ttl_h"] == 2
    assert config["room_capacity"] == 5


async def test_service_is_ready_while_a_worker_is_there_that_stays(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, worker_secret="hush" * 4)
    app = compose(settings, needs_worker=True)
    known = app[SIGNALING].switchboard.state.workers
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/readyz")).status == 503
        async with client.ws_connect("/worker") as worker:
            await worker.send_json(
                {"type": "worker.hello", "worker": "w", "secret": "hush" * 4, "capacity": 1, "instance": "i"}
            )
            assert (await worker.receive_json(timeout=5))["type"] == "worker.welcome"
            assert (await client.get("/readyz")).status == 200
            for load, draining, status in ((1.0, False, 200), (0.0, True, 503), (0.0, False, 200)):
                told = {"type": "worker.load", "drivers": 0, "load": load, "draining": draining}
                await worker.send_json(told)
                async with asyncio.timeout(5):
                    while (known["w"].load, known["w"].draining) != (load, draining):
                        await asyncio.sleep(0.01)
                assert (await client.get("/readyz")).status == status, told
        assert (await client.get("/healthz")).status == 200
