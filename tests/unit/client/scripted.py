"""A server of the page that says what a test wants said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from server.api_errors import add_security_headers
from server.api_page import Page as PageFiles

CLIENT = Path(__file__).parents[3] / "client"
TARGETS = [
    {"id": f"face-{k}", "name": f"Face {k}", "image": f"/api/targets/face-{k}/image"} for k in range(3)
]
TEMPLATES = [
    {"name": "happy", "title": "Happy", "description": "A smile.", "seconds": 0.1, "built_in": True},
    {"name": "wink-left", "title": "Wink (left)", "description": "A wink.", "seconds": 0.1, "built_in": True},
    *(
        {"name": f"own-{k}", "title": f"Own {k}", "description": "", "seconds": 1, "built_in": False}
        for k in range(9)
    ),
]
ADA = {"terminal": "ada", "name": "Ada", "presence": "online", "camera": True, "microphone": True}
ME = {**ADA, "terminal": "me", "name": "Me"}


class ScriptedServer:
    """Serves the page; greets terminals, lets them into rooms, and says what else a test wants said."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.socket: web.WebSocketResponse | None = None
        self.judged = asyncio.Event()  # uploaded photos are answered when it is set
        app = web.Application()
        app.on_response_prepare.append(add_security_headers)
        PageFiles(CLIENT).add_routes(app.router)
        app.router.add_get("/api/targets", self._targets)
        app.router.add_post("/api/targets", self._upload)
        app.router.add_get("/api/targets/{id}/image", self._image)
        app.router.add_get("/api/config", self._config)
        app.router.add_get("/api/templates", self._templates)
        app.router.add_post("/api/animate", self._animate)
        app.router.add_get("/api/animate/{id}/events", self._events)
        app.router.add_delete("/api/animate/{id}", self._events)
        app.router.add_get("/ws", self._talk)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/"))

    async def say(self, **message: Any) -> None:
        assert self.socket is not None
        await self.socket.send_json({"v": 1, **message})

    async def until_heard(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The last message of a type with these fields; waits for it."""
        async with asyncio.timeout(10):
            while True:
                for message in reversed(self.heard):
                    if message["type"] == kind and fields.items() <= message.items():
                        return message
                await asyncio.sleep(0.02)

    async def start_call(self, mode: str = "reenacted", call: str = "c1") -> None:
        """Ada enters the room that the page has entered, and their call begins."""
        await self.until_heard("room.join")
        await self.say(type="room.state", room="r", members=[ME, ADA])
        await self.say(type="call.state", call=call, kind="video", mode=mode, members=[ME, ADA])

    async def _targets(self, request: web.Request) -> web.Response:
        return web.json_response({"targets": TARGETS})

    async def _upload(self, request: web.Request) -> web.Response:
        await self.judged.wait()
        return web.json_response({"id": "own", "name": "Mine", "image": "/api/targets/own/image"}, status=201)

    async def _image(self, request: web.Request) -> web.Response:
        return web.FileResponse(CLIENT / "favicon.svg")  # type: ignore[return-value]

    async def _templates(self, request: web.Request) -> web.Response:
        return web.json_response({"templates": TEMPLATES})

    async def _events(self, request: web.Request) -> web.Response:
        failed = 'event: failed\ndata: {"error": {"code": "unavailable", "message": ""}}\n\n'
        return web.Response(text=failed, content_type="text/event-stream")

    async def _animate(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "job", "events": "/api/animate/job/events"}, status=202)

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"upload": {"max_photos": 2, "max_bytes": 1000, "formats": ["image/png"]}})

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            message = json.loads(frame.data)
            self.heard.append(message)
            if message["type"] == "hello":
                await self.say(
                    type="welcome",
                    terminal="me",
                    resume="token",
                    resumed="resume" in message,
                    resume_s=30,
                    heartbeat_s=3,
                    ice_servers=[],
                )
            elif message["type"] == "ping":
                await self.say(type="pong")
            elif message["type"] == "room.join":
                await self.say(type="room.state", re=message["id"], room=message["room"], members=[ME])
        return socket
