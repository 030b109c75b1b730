"""The worker against real signaling: registration, calls, reconnection, reports, draining, stopping."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.media.aiortc_peer import AiortcPeerFactory
from server.media.mends.vp8_encoder import bounds_for
from server.media.service import Limits
from server.worker import RefusedError, Worker, WorkerSettings
from signaling.app import setup_signaling
from signaling.config import SignalingConfig
from tests.integration.media.harness import (
    GENERATED,
    SIZE,
    Browser,
    Camera,
    FakeInference,
    Tone,
    shows,
    until,
)

SECRET = "between us"


class Figures:
    generator, fps, frame_ms, age_ms, size = "fake", 29.5, 4.0, 9.0, SIZE


class Inference(FakeInference):
    def stats(self, driver: str) -> object:
        return Figures()


class Server:
    """A signaling server that can be stopped and started again on its port."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        setup_signaling(app, SignalingConfig(worker_secret=SECRET, worker_grace_s=10, tick_s=0.05))
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


class Terminal:
    """A browser with its WebSocket and its media sessions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self.received: list[dict[str, Any]] = []
        self.browsers: list[Browser] = []
        self._reading = asyncio.create_task(self._read())
        self.id = ""

    async def _read(self) -> None:
        async for message in self._socket:
            self.received.append(message.json())

    async def send(self, **message: Any) -> None:
        await self._socket.send_json(message)

    async def get(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The newest message of a type with these fields."""

        def found() -> list[dict[str, Any]]:
            return [
                message
                for message in self.received
                if message["type"] == kind and all(message.get(k) == v for k, v in fields.items())
            ]

        await until(found)
        return found()[-1]

    async def hello(self, name: str, room: str) -> None:
        await self.send(type="hello", name=name)
        self.id = (await self.get("welcome"))["terminal"]
        await self.send(type="target.select", target="astronaut")
        await self.send(type="room.join", room=room)
        await self.get("room.state")

    async def _negotiate(self, browser: Browser) -> Browser:
        self.browsers.append(browser)
        signal = (await browser.offer()).model_dump(exclude={"terminal", "v", "type"}, exclude_none=True)
        await self.send(type="media.signal", **signal)
        answer = await self.get("media.signal", session=browser.session)
        await browser.take(answer["description"]["sdp"])
        return browser

    async def publish(self) -> Browser:
        browser = Browser(self.id, f"p{next(self._numbers)}")
        browser.publish(Camera(), Tone())
        return await self._negotiate(browser)

    async def subscribe(self, peer: Terminal) -> Browser:
        browser = Browser(self.id, f"s{next(self._numbers)}", peer.id)
        browser.subscribe()
        return await self._negotiate(browser)

    async def close(self) -> None:
        for browser in self.browsers:
            await browser.close()
        await self._socket.close()
        self._reading.cancel()


class House:
    """Signaling, a worker and terminals."""

    def __init__(self, **settings: Any) -> None:
        self.server = Server()
        self.inference = Inference()
        self.stop = asyncio.Event()
        self.abort = asyncio.Event()
        self._settings = settings
        self._http = aiohttp.ClientSession()
        self._terminals: list[Terminal] = []

    async def start(self) -> None:
        await self.server.start()
        self.settings = replace(
            WorkerSettings(
                signaling_url=f"{self.server.url}/worker",
                secret=SECRET,
                worker_id="w1",
                size=SIZE,
                drain_s=5,
                metrics_port=0,
                limits=Limits(connect_s=5, linger_s=0.2),
            ),
            **self._settings,
        )
        self.worker = Worker(self.settings, self.inference, AiortcPeerFactory(bounds_for(SIZE)))
        self.inference.picture_ready = self.worker.picture_ready
        self.running = asyncio.create_task(self.worker.run(self.stop, self.abort))

    async def terminal(self, name: str, room: str = "r") -> Terminal:
        socket = await self._http.ws_connect(f"{self.server.url}/ws")
        terminal = Terminal(socket)
        self._terminals.append(terminal)
        await terminal.hello(name, room)
        return terminal

    async def call(self) -> tuple[Terminal, Terminal]:
        """Two terminals in a reenacted call."""
        await self.worker.connected.wait()
        alice, bob = await self.terminal("Alice"), await self.terminal("Bob")
        await alice.send(type="relay.request")
        request = (await bob.get("relay.incoming"))["request"]
        await bob.send(type="relay.accept", request=request)
        await alice.get("call.state")
        await bob.get("call.state")
        return alice, bob

    async def page(self, path: str) -> str:
        assert self.worker.status is not None
        address = f"http://127.0.0.1:{self.worker.status.port}{path}"
        async with self._http.get(address) as response:
            assert response.status == 200
            return await response.text()

    async def close(self) -> None:
        for terminal in self._terminals:
            await terminal.close()
        await self._http.close()
        self.stop.set()
        self.abort.set()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.server.stop()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.start()
    yield made
    await made.close()


async def test_a_call_over_real_signaling(house: House) -> None:
    alice, bob = await house.call()
    own, theirs = await alice.publish(), await bob.publish()
    seen_by_bob, seen_by_alice = await bob.subscribe(alice), await alice.subscribe(bob)
    for browser in (own, theirs, seen_by_bob, seen_by_alice):
        await until(lambda browser=browser: shows(browser, GENERATED))  # type: ignore[misc]
    stats = await bob.get("media.stats", terminal=alice.id)
    assert (stats["generator"], stats["fps"], stats["size"]) == ("fake", 29.5, SIZE)
    house.worker.status_changed(alice.id, "no_face", "Nobody is to be seen.")
    status = await bob.get("media.status", terminal=alice.id)
    assert (status["state"], status["detail"]) == ("no_face", "Nobody is to be seen.")
    await alice.send(type="media.recalibrate")
    await until(lambda: house.inference.drivers[alice.id].recalibrated == 1)
    await alice.send(type="media.react", template="happy")
    await until(lambda: house.inference.drivers[alice.id].reactions == ["happy"])
    await alice.send(type="target.select", target="other")
    await until(lambda: house.inference.drivers[alice.id].target == "other")
    await alice.send(type="media.set", camera=False, microphone=False)
    await until(lambda: not house.inference.drivers[alice.id].camera)
    await bob.send(type="bye")
    await until(lambda: seen_by_bob.connection.connectionState in {"closed", "failed"})
    await until(lambda: house.worker.media.open_drivers == [alice.id])


async def test_leaving_a_call_ends_what_was_seen(house: House) -> None:
    alice, bob = await house.call()
    await alice.publish()
    seen = await bob.subscribe(alice)
    await until(lambda: shows(seen, GENERATED))
    call = (await alice.get("call.state"))["call"]
    await alice.send(type="call.leave", call=call)
    await until(lambda: seen.connection.connectionState in {"closed", "failed"})
    assert house.worker.media.publishing == [alice.id]


async def test_media_go_on_while_signaling_is_away_and_obey_it_afterwards(house: House) -> None:
    alice, bob = await house.call()
    own = await alice.publish()
    seen = await bob.subscribe(alice)
    await until(lambda: shows(seen, GENERATED))
    await house.server.stop()
    await until(lambda: not house.worker.connected.is_set())
    away = time.monotonic()
    await until(lambda: seen.pictures[-1][0] > away + 0.5)
    assert own.connection.connectionState == "connected"
    await house.server.start()  # one that knows of nobody
    await house.worker.connected.wait()
    await until(lambda: house.worker.media.sessions == 0)
    assert house.worker.media.open_drivers == []


async def test_without_signaling_media_end_in_time() -> None:
    house = House(orphan_s=0.3)
    await house.start()
    alice, _ = await house.call()
    await alice.publish()
    await house.server.stop()
    await until(lambda: house.worker.media.sessions == 0)
    await house.close()


async def test_the_worker_waits_for_signaling(house: House) -> None:
    await house.worker.connected.wait()
    await house.server.stop()
    await until(lambda: not house.worker.connected.is_set())
    await asyncio.sleep(0.5)
    await house.server.start()
    async with asyncio.timeout(5):
        await house.worker.connected.wait()
    alice, _ = await house.call()
    own = await alice.publish()
    await until(lambda: shows(own, GENERATED))


async def test_a_wrong_secret_ends_the_worker() -> None:
    house = House(secret="wrong")
    await house.start()
    with pytest.raises(RefusedError, match="secret"):
        await asyncio.wait_for(house.running, 5)
    await house.close()


async def test_a_full_worker_is_busy() -> None:
    house = House(capacity=1)
    await house.start()
    await house.worker.connected.wait()
    alice, bob = await house.terminal("Alice", "a"), await house.terminal("Bob", "b")
    await alice.publish()
    browser = Browser(bob.id, "p0")
    browser.publish(Camera())
    signal = (await browser.offer()).model_dump(exclude={"terminal", "v", "type"}, exclude_none=True)
    await bob.send(type="media.signal", **signal)
    assert (await bob.get("error", session="p0"))["code"] == "worker_busy"
    await browser.close()
    await house.close()


async def test_an_idle_worker_stops_at_once_and_a_busy_one_drains(house: House) -> None:
    alice, _ = await house.call()
    own = await alice.publish()
    await until(lambda: shows(own, GENERATED))
    house.stop.set()
    await until(lambda: house.worker.media.draining)
    later = time.monotonic()
    await until(lambda: own.pictures[-1][0] > later + 0.3)
    assert not house.running.done()
    await own.close()
    async with asyncio.timeout(4):
        await house.running


async def test_draining_has_an_end() -> None:
    house = House(drain_s=0.3)
    await house.start()
    alice, _ = await house.call()
    await alice.publish()
    house.stop.set()
    async with asyncio.timeout(4):
        await house.running
    await house.close()


async def test_an_interrupt_ends_all_at_once(house: House) -> None:
    alice, _ = await house.call()
    own = await alice.publish()
    await until(lambda: shows(own, GENERATED))
    house.abort.set()
    house.stop.set()
    async with asyncio.timeout(3):
        await house.running
    await until(lambda: own.connection.connectionState in {"closed", "failed"})
    assert house.inference.drivers == {}


async def test_it_stops_while_inference_is_still_starting(house: House) -> None:
    class Slow(Inference):
        async def start(self) -> None:
            await asyncio.sleep(60)

    worker = Worker(house.settings, Slow(), AiortcPeerFactory(bounds_for(SIZE)))
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await asyncio.sleep(0.1)
    stop.set()
    async with asyncio.timeout(3):
        await running


async def test_a_command_that_fails_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, _ = await house.call()
    own = await alice.publish()
    await until(lambda: shows(own, GENERATED))

    def fail(*_: object) -> None:
        raise KeyError("inference has a bad day")

    monkeypatch.setattr(house.inference, "set_target", fail)
    monkeypatch.setattr(house.inference, "stats", fail)
    await alice.send(type="target.select", target="other")
    await until(lambda: "A command of signaling failed" in caplog.text)
    await until(lambda: "Figures could not be gathered" in caplog.text)
    later = time.monotonic()
    await until(lambda: shows(own, GENERATED) and own.pictures[-1][0] > later + 0.3)
    assert house.worker.connected.is_set()


async def test_metrics_and_health(house: House) -> None:
    alice, _ = await house.call()
    own = await alice.publish()
    await until(lambda: shows(own, GENERATED))
    text = await house.page("/metrics")
    for name in (
        "understudy_event_loop_lag_seconds_bucket",
        "understudy_frame_age_seconds_bucket",
        'understudy_frames_total{stage="submitted"}',
        'understudy_media_sessions{channel="publish"} 1.0',
        "understudy_drivers 1.0",
    ):
        assert name in text
    assert '"registered": true' in await house.page("/healthz")


async def test_a_target_that_is_gone_is_put_away_and_one_that_came_late_is_shown(house: House) -> None:
    alice, bob = await house.call()
    await alice.publish()
    await until(lambda: house.inference.drivers[alice.id].target == "astronaut")
    assert house.worker.media.targets == {"astronaut"}
    house.worker.media.show_again("another")
    house.worker.media.put_away("another")
    assert house.inference.drivers[alice.id].target == "astronaut"
    house.worker.media.put_away("astronaut")
    assert house.inference.drivers[alice.id].target is None
    assert (await alice.get("error"))["code"] == "target_unknown"
    assert not [message for message in bob.received if message["type"] == "error"]
    house.worker.media.show_again("astronaut")
    assert house.inference.drivers[alice.id].target == "astronaut"
