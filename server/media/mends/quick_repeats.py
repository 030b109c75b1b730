"""Send again what connecting needs before its loss would be noticed.

aioice waits half a second for an answer to a connectivity check, OpenSSL a whole one for the next flight of
the DTLS handshake, and both twice as long each further time: on a network that loses a fifth, one connection
in twenty took 9 s and one in fifty more than 30. What is sent is a handful of small datagrams, so copies of
each follow within a third of a second. They harm nobody: the same STUN request has the same answer (RFC 8489,
6.3.1), and a DTLS record's number is taken once (RFC 6347, 4.1.2.6).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aioice.ice import Connection, StunProtocol
from aioice.stun import Class, Message
from aiortc.rtcdtlstransport import RTCDtlsTransport

#: When copies follow, in seconds after the datagram itself.
REPEATED_AFTER_S: Final = (0.05, 0.15, 0.35)


def repeat_checks(connection: Connection) -> None:
    """Make an ICE connection ask again soon whatever was not answered; it has not begun to connect."""
    connect = connection.connect

    async def connecting() -> None:
        for protocol in connection._protocols:
            _repeat_requests(protocol)
        await connect()

    connection.connect = connecting  # type: ignore[method-assign]


def _repeat_requests(protocol: StunProtocol) -> None:
    send = protocol.send_stun

    def again(request: Message, address: tuple[str, int]) -> None:
        if request.transaction_id in protocol.transactions:  # aioice takes it out before it closes the socket
            send(request, address)

    def repeated(message: Message, address: tuple[str, int]) -> None:
        send(message, address)
        if message.message_class == Class.REQUEST:
            for delay in REPEATED_AFTER_S:
                asyncio.get_running_loop().call_later(delay, again, message, address)

    protocol.send_stun = repeated  # type: ignore[method-assign, assignment]


def repeat_handshake(transport: RTCDtlsTransport) -> None:
    """Make a transport that has not started yet send what belongs to its handshake several times."""
    ice = transport.transport
    send = ice._send

    async def repeated(data: bytes) -> None:
        await send(data)
        if _is_dtls(data):
            task = asyncio.create_task(_send_copies(data))
            copying.add(task)
            task.add_done_callback(copying.discard)

    async def _send_copies(data: bytes) -> None:
        before = 0.0
        with suppress(ConnectionError):  # closed meanwhile
            for after in REPEATED_AFTER_S:
                await asyncio.sleep(after - before)
                await send(data)
                before = after

    copying: set[asyncio.Task[None]] = set()
    ice._send = repeated


def _is_dtls(data: bytes) -> bool:
    """Whether a datagram is DTLS's own, not media sealed with its keys (RFC 7983)."""
    return 19 < data[0] < 64
