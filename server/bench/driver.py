"""A synthetic driver: a terminal without a browser, that sends a film and counts the pictures it gets.

It sends pre-encoded packets and does not decode what it receives, so that it costs little of the machine
that is being measured.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import aiohttp
import aiortc.rtcrtpreceiver
import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from signaling import protocol

logger = logging.getLogger(__name__)

_VIDEO_CLOCK: Final = 90_000
_AUDIO_CLOCK: Final = 48_000


class _Undecoded:
    """Takes a decoder's place and hands each coded frame on as it is."""

    def decode(self, encoded_frame: Any) -> list[Any]:
        return [encoded_frame]


@contextmanager
def received_frames_stay_coded() -> Iterator[None]:
    """While this holds, peer connections of this process deliver coded frames instead of decoding them."""
    receiver: Any = aiortc.rtcrtpreceiver
    decoders = receiver.get_decoder
    receiver.get_decoder = lambda codec: _Undecoded()
    try:
        yield
    finally:
        receiver.get_decoder = decoders


class PacketTrack(MediaStreamTrack):
    """Sends coded packets in a loop, at their pace.

    Args:
        kind: video or audio.
        packets: the coded frames; the first one can be decoded by itself.
        rate: packets a second.
    """

    def __init__(self, kind: str, packets: Sequence[bytes], rate: int) -> None:
        super().__init__()
        self.kind = kind
        self._packets = packets
        self._rate = rate
        self._clock = _VIDEO_CLOCK if kind == "video" else _AUDIO_CLOCK
        self._index = 0
        self._started = 0.0

    async def recv(self) -> Any:  # aiortc packs an av.Packet without encoding it
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._index == 0:
            self._started = now
        await asyncio.sleep(max(0.0, self._started + self._index / self._rate - now))
        packet = av.Packet(self._packets[self._index % len(self._packets)])
        packet.pts = self._index * self._clock // self._rate
        packet.time_base = Fraction(1, self._clock)
        self._index += 1
        return packet


@dataclass
class ReceivedStream:
    """One video stream that a driver receives.

    Attributes:
        of: the terminal whose generated picture it is.
        frames: coded frames received since the last :meth:`SyntheticDriver.reset`.
    """

    of: str
    frames: int = 0


@dataclass
class Film:
    """What a synthetic driver sends: coded video at ``fps`` and Opus packets of 20 ms."""

    video: Sequence[bytes]
    audio: Sequence[bytes]
    fps: int


@dataclass
class SyntheticDriver:
    """One terminal in a room, sending a film and receiving its own and its peers' generated pictures.

    Args:
        name: display name.
        room: the room to meet in.
        target: the target's id.
        film: what to send.
        calls: whether it asks the others in the room for a call (one of a room does, the others accept).

    Attributes:
        streams: the video streams received, by session.
        live: set once the worker says that its generated frames flow.
        errors: what signaling refused, in words.
    """

    name: str
    room: str
    target: str
    film: Film
    calls: bool = False
    streams: dict[str, ReceivedStream] = field(default_factory=dict)
    live: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[str] = field(default_factory=list)
    terminal: str = ""
    live_after_s: float | None = None

    def __post_init__(self) -> None:
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._connections: dict[str, RTCPeerConnection] = {}
        self._subscribed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ice_servers: list[RTCIceServer] = []
        self._requested = False
        self._started = 0.0

    async def start(self, http: aiohttp.ClientSession, url: str) -> None:
        """Enter the room and begin to send.

        Args:
            http: for the WebSocket.
            url: the signaling server's ``/ws``.

        Raises:
            aiohttp.ClientError: no connection.
            RuntimeError: signaling did not welcome the terminal.
        """
        self._started = time.monotonic()
        self._socket = await http.ws_connect(url, max_msg_size=4 * protocol.MAX_MESSAGE_BYTES)
        await self._send(protocol.Hello(name=self.name))
        welcome = protocol.decode(protocol.SERVER_MESSAGE, await self._socket.receive_str(timeout=10))
        if not isinstance(welcome, protocol.Welcome):
            raise RuntimeError(f"{self.name} was not welcomed: {welcome}")
        self.terminal = welcome.terminal
        self._ice_servers = [
            RTCIceServer(server.urls, server.username, server.credential) for server in welcome.ice_servers
        ]
        self._spawn(self._listen(self._socket))
        self._spawn(self._beat(welcome.heartbeat_s / 2))
        await self._send(protocol.SelectTarget(target=self.target))
        await self._send(protocol.SetMedia(camera=True, microphone=True))
        await self._send(protocol.JoinRoom(room=self.room))
        await self._publish()

    def reset(self) -> None:
        """Count received frames from zero."""
        for stream in self.streams.values():
            stream.frames = 0

    async def stop(self) -> None:
        """Say goodbye and end everything."""
        if self._socket is not None and not self._socket.closed:
            with suppress(aiohttp.ClientError, ConnectionError):
                await self._send(protocol.Bye())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pc.close() for pc in self._connections.values()), return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    async def _send(self, message: protocol.Message) -> None:
        assert self._socket is not None
        await self._socket.send_str(protocol.encode(message))

    async def _beat(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._send(protocol.Ping())

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for received in socket:
            if received.type is aiohttp.WSMsgType.TEXT:
                await self._handle(protocol.decode(protocol.SERVER_MESSAGE, received.data))

    async def _handle(self, message: Any) -> None:
        match message:
            case protocol.RoomState(members=members):
                others = [member for member in members if member.terminal != self.terminal]
                if others and self.calls and not self._requested:
                    self._requested = True
                    await self._send(protocol.RequestRelay(kind="video"))
            case protocol.RelayIncoming(request=request):
                await self._send(protocol.AcceptRelay(request=request))
            case protocol.CallState(members=members):
                for member in members:
                    if member.terminal not in {self.terminal, *self._subscribed}:
                        self._subscribed.add(member.terminal)
                        self._spawn(self._subscribe(member.terminal))
            case protocol.MediaReply(session=session, description=description) if description is not None:
                answer = RTCSessionDescription(sdp=description.sdp, type=description.type)
                await self._connections[session].setRemoteDescription(answer)
            case protocol.MediaStatus(terminal=self.terminal, state="live") if not self.live.is_set():
                self.live_after_s = time.monotonic() - self._started
                self.live.set()
            case protocol.Error(code=code, message=text):
                self.errors.append(f"{code}: {text}")

    async def _publish(self) -> None:
        connection = self._connection(session := secrets.token_hex(8), self.terminal)
        video = PacketTrack("video", self.film.video, self.film.fps)
        connection.addTransceiver(video, direction="sendrecv")
        connection.addTransceiver(PacketTrack("audio", self.film.audio, 50), direction="sendonly")
        await self._offer(connection, session, "publish", None)

    async def _subscribe(self, peer: str) -> None:
        connection = self._connection(session := secrets.token_hex(8), peer)
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
        await self._offer(connection, session, "subscribe", peer)

    def _connection(self, session: str, of: str) -> RTCPeerConnection:
        # Without a list aiortc asks a public STUN server.
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._ice_servers))
        self._connections[session] = connection

        def received(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                self.streams[session] = ReceivedStream(of)
                self._spawn(self._count(track, self.streams[session]))
            else:
                self._spawn(self._count(track, ReceivedStream(of)))

        connection.on("track", received)
        return connection

    async def _offer(
        self,
        connection: RTCPeerConnection,
        session: str,
        channel: protocol.MediaChannel,
        peer: str | None,
    ) -> None:
        await connection.setLocalDescription(await connection.createOffer())
        local = connection.localDescription
        await self._send(
            protocol.MediaSignal(
                channel=channel,
                session=session,
                peer=peer,
                description=protocol.SessionDescription(type="offer", sdp=local.sdp),
            )
        )

    async def _count(self, track: MediaStreamTrack, stream: ReceivedStream) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                stream.frames += 1

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(f"{type(error).__name__}: {error}")
            logger.debug("%s", self.name, exc_info=error)
