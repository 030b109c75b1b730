"""One WebSocket connection: a bounded queue out, so that who does not read holds nobody else up."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import WSCloseCode, web

from signaling.protocol import MAX_MESSAGE_BYTES, Error, ErrorCode, encode

#: What a connection takes in at all. Between the protocol's limit and this a message is refused and the
#: connection goes on; beyond it nothing more is read.
HARD_LIMIT_BYTES = 4 * MAX_MESSAGE_BYTES
CLOSE_TIMEOUT_S = 5.0


class Socket(web.WebSocketResponse):
    """A WebSocket without compression (no decompression bombs) that names the fault before closing on it."""

    def __init__(self) -> None:
        # Pings and pongs come to the reader too, so that a flood of them counts like any other.
        super().__init__(
            compress=False,
            max_msg_size=HARD_LIMIT_BYTES,
            autoping=False,
            decode_text=False,
            timeout=CLOSE_TIMEOUT_S,
        )

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self.closed:
            error = Error(
                code=ErrorCode.TOO_LARGE,
                message=f"The message has more than {HARD_LIMIT_BYTES} bytes; the connection is closed.",
            )
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.send_str(encode(error))
            except (OSError, RuntimeError):
                pass  # the other side is gone already; TimeoutError is an OSError
        return await super().close(code=code, message=message, drain=drain)


class Connection:
    """Sends texts in order without ever blocking the caller.

    Args:
        number: names the connection for the state machine.
        socket: the prepared WebSocket.
        transport: what it runs on.
        address: where it comes from.
        max_messages, max_bytes: what may wait; beyond that the connection is cut.
    """

    def __init__(
        self,
        number: int,
        socket: Socket,
        transport: asyncio.Transport,
        address: str,
        *,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        self.number = number
        self.socket = socket
        self.address = address
        self.person: str | None = None  # id of the join token that it was let in with
        self.registered = False  # a terminal or worker was welcomed on it
        self.closing = False  # nothing that still comes in counts
        self.overflowed = False
        self._transport = transport
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queue: deque[str] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._close: tuple[int, str] | None = None

    def send(self, text: str) -> None:
        """Queue a message; cut the connection when too much waits already."""
        if self.closing:
            return
        self._bytes += len(text)
        self._queue.append(text)
        if len(self._queue) > self._max_messages or self._bytes > self._max_bytes:
            self.overflowed = True
            self.abort()
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued has gone out, or when it does not go out in time."""
        if self.closing:
            return
        self.closing = True
        self._close = (code, reason)
        self._wake.set()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """Cut the connection at once."""
        self.closing = True
        self._queue.clear()
        self._wake.set()
        self._transport.abort()

    async def write(self) -> None:
        """Send what is queued until the connection closes. Run as a task beside the reader."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    text = self._queue.popleft()
                    self._bytes -= len(text)
                    await self.socket.send_str(text)
                if self._close is not None:
                    code, reason = self._close
                    await self.socket.close(code=code, message=reason.encode())
                if self.closing:
                    return
        except (ConnectionError, RuntimeError):
            return  # the other side is gone; the reader notices too and tells the state machine
