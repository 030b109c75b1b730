"""A media worker's connection to signaling: made anew after growing waits, never in the way of media."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType

from server import metrics
from signaling.protocol import (
    MAX_MESSAGE_BYTES,
    WORKER_COMMAND,
    Message,
    ProtocolError,
    WorkerHello,
    decode,
    encode,
)

logger = logging.getLogger(__name__)

#: Messages that may wait for a connection that is slow.
MAX_UNSENT: Final = 2000
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 3.0


class SignalingLink:
    """Says hello on each new connection, hands commands over, sends messages while it is welcome.

    Args:
        url: WebSocket address of signaling's ``/worker``.
        hello: first message of each connection.
        on_command: takes each command (a ``WorkerCommand``); what it raises ends :meth:`run`.
        on_lost: told when a connection, or an attempt at one, has ended.
    """

    def __init__(
        self,
        url: str,
        hello: WorkerHello,
        on_command: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.welcome = asyncio.Event()
        self._url = url
        self._hello = hello
        self._on_command = on_command
        self._on_lost = on_lost
        self._unsent: asyncio.Queue[Message] = asyncio.Queue(MAX_UNSENT)

    def send(self, message: Message) -> None:
        """Send soon; not at all while not welcome: after a loss signaling is told anew how things stand."""
        if not self.welcome.is_set():
            return
        try:
            self._unsent.put_nowait(message)
        except asyncio.QueueFull:  # the connection's heartbeat will find it dead, if it is
            logger.warning("Signaling takes no messages at the moment; one is lost")

    def welcomed(self) -> None:
        """From now on messages are sent."""
        self.welcome.set()

    async def run(self) -> None:
        """Keep connected for ever."""
        wait = FIRST_WAIT_S
        async with ClientSession(timeout=ClientTimeout(total=None, connect=5)) as http:
            while True:
                try:
                    async with http.ws_connect(
                        self._url, heartbeat=10, max_msg_size=2 * MAX_MESSAGE_BYTES
                    ) as socket:
                        metrics.SIGNALING_CONNECTIONS.inc()
                        await self._converse(socket)
                        wait = FIRST_WAIT_S
                except (ClientError, OSError, TimeoutError) as error:
                    logger.info("Signaling is out of reach: %s", error or type(error).__name__)
                finally:
                    self.welcome.clear()
                    # Said to no avail: on the next connection anything before the welcome ends it.
                    while not self._unsent.empty():
                        self._unsent.get_nowait()
                    self._on_lost()
                await asyncio.sleep(wait * random.uniform(0.7, 1.3))
                wait = min(LONGEST_WAIT_S, wait * 1.7)

    async def _converse(self, socket: ClientWebSocketResponse) -> None:
        await socket.send_str(encode(self._hello))
        sending = asyncio.create_task(self._send_all(socket), name="sending to signaling")
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                try:
                    command = decode(WORKER_COMMAND, message.data)
                except ProtocolError as error:
                    logger.warning("A command of signaling could not be read: %s", error)
                    continue
                self._on_command(command)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, socket: ClientWebSocketResponse) -> None:
        try:
            while True:
                await socket.send_str(encode(await self._unsent.get()))
        finally:
            if not socket.closed:
                await socket.close()
