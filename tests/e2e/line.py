"""A line between a browser and the service that can be cut, and mended from another address."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from server.serve import free_port


class Line:
    """Passes TCP connections on, in a thread of its own.

    Args:
        port: the service's.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._service = port
        self._source = "127.0.0.1"
        self._ends: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()
        self._do(self._listen())

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def cut(self) -> None:
        """Break all connections, and let none come about."""
        self._do(self._break())

    def mend(self, source: str) -> None:
        """Let connections come about again; to the service they come from another address."""
        self._source = source
        self._do(self._listen())

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _break(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in list(self._ends):
            end.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with suppress(OSError):
            there, theirs = await asyncio.open_connection(
                "127.0.0.1", self._service, local_addr=(self._source, 0)
            )
            self._ends |= {writer, theirs}
            await asyncio.gather(_pass_on(reader, theirs), _pass_on(there, writer), return_exceptions=True)
            self._ends -= {writer, theirs}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
