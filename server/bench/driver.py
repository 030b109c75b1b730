"""A synthetic driver: a terminal without a browser, that sends a film and counts the pictures it gets.

It sends pre-encoded packets and decodes what it receives only where somebody looks at it, so that it costs
little of the machine that is being measured.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import aiohttp
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from server.bench.receiving import Received, SyntheticConnection
from server.bench.terminal import SyntheticTerminal
from server.media.mends.gathering import ice_servers
from signaling import protocol

_VIDEO_CLOCK: Final = 90_000
_AUDIO_CLOCK: Final = 48_000
#: A session that was refused or failed is tried anew after this long, each time twice as long.
_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 8.0


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


class Watcher:
    """Told of all that a driver sends and receives; this one looks at nothing.

    Times are ``time.monotonic``. ``looks`` says whether a terminal's pictures are to be decoded for it.
    """

    def sent(self, message: protocol.Message, at: float) -> None:
        """A message went to signaling."""

    def told(self, message: protocol.Message, at: float) -> None:
        """A message came from signaling."""

    def frame(self, of: str, at: float) -> None:
        """A coded picture of a terminal arrived whole."""

    def sound(self, of: str, payload: bytes, timestamp: int, at: float) -> None:
        """An Opus packet of a terminal arrived."""

    def looks(self, of: str) -> bool:
        """Whether :meth:`picture` is to be told of this terminal's pictures."""
        return False

    def picture(self, of: str, picture: av.VideoFrame, at: float) -> None:
        """A terminal's newest picture was decoded."""


@dataclass
class _Session:
    """A media session with the worker; ``peer`` is whose picture is subscribed to, None when publishing."""

    peer: str | None
    connection: RTCPeerConnection
    answered: bool = False


@dataclass
class SyntheticDriver:
    """One terminal in a room, sending a film and receiving its own and its peers' generated pictures.

    Args:
        name: display name.
        room: the room to meet in.
        target: the target's id.
        film: what to send.
        calls: whether it asks the others in the room for a call (one of a room does, the others accept).
        watcher: told of all that is sent and received.

    Attributes:
        streams: the video streams received, by session.
        live: set once the worker says that its generated frames flow.
    """

    name: str
    room: str
    target: str
    film: Film
    calls: bool = False
    watcher: Watcher = field(default_factory=Watcher)
    streams: dict[str, ReceivedStream] = field(default_factory=dict)
    live: asyncio.Event = field(default_factory=asyncio.Event)
    live_after_s: float | None = None

    def __post_init__(self) -> None:
        self._signaling = SyntheticTerminal(self.name, self._handle)
        self._sessions: dict[str, _Session] = {}
        self._peers: set[str] = set()
        self._ice_servers: list[RTCIceServer] = []
        self._failures: Counter[str | None] = Counter()
        self._requested = False
        self._started = 0.0

    @property
    def terminal(self) -> str:
        """The terminal's id; empty until it was welcomed."""
        return self._signaling.id

    @property
    def errors(self) -> list[str]:
        """What was refused or failed, in words."""
        return self._signaling.errors

    @property
    def tally(self) -> Counter[str]:
        """What was lost, refused or failed: see :class:`SyntheticTerminal`; also ``ice_failed``,
        ``media_lost`` and ``session_retried``."""
        return self._signaling.tally

    async def start(self, http: aiohttp.ClientSession, url: str) -> None:
        """Enter the room and begin to send.

        Args:
            http: for the WebSocket.
            url: the signaling server's ``/ws``.

        Raises:
            aiohttp.ClientError, TimeoutError: no connection.
            NotWelcomed: signaling did not welcome the terminal.
        """
        self._started = time.monotonic()
        welcome = await self._signaling.enter(http, url)
        self._ice_servers = ice_servers(welcome.ice_servers)
        await self._settle()

    def use_token(self, token: str | None) -> None:
        """Enter with this join token; for before :meth:`start`."""
        self._signaling.token = token

    def reset(self) -> None:
        """Count received frames from zero."""
        for stream in self.streams.values():
            stream.frames = 0

    async def send(self, message: protocol.Message) -> None:
        """Send a message to signaling, and tell the watcher."""
        self.watcher.sent(message, time.monotonic())
        await self._signaling.send(message)

    async def stop(self) -> None:
        """Say goodbye and end everything."""
        await self._signaling.leave()
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(s.connection.close() for s in sessions.values()), return_exceptions=True)

    # ------------------------------------------------------------ signaling

    async def _settle(self) -> None:
        """All that a terminal says that the server knows nothing of."""
        await self.send(protocol.SelectTarget(target=self.target))
        await self.send(protocol.SetMedia(camera=True, microphone=True))
        await self.send(protocol.JoinRoom(room=self.room))
        await self._publish()

    async def _handle(self, message: Any, at: float) -> None:
        self.watcher.told(message, at)
        match message:
            case protocol.Welcome(resumed=resumed):
                await self._returned(resumed)
            case protocol.RoomState(members=members):
                others = [member for member in members if member.terminal != self.terminal]
                if others and self.calls and not self._requested:
                    self._requested = True
                    await self.send(protocol.RequestRelay(kind="video"))
            case protocol.RelayIncoming(request=request):
                await self.send(protocol.AcceptRelay(request=request))
            case protocol.CallState(members=members):
                self._meet({member.terminal for member in members} - {self.terminal})
            case protocol.CallEnded():
                self._meet(set())
            case protocol.MediaReply(session=session, description=description) if description is not None:
                await self._answered(session, RTCSessionDescription(description.sdp, description.type))
            case protocol.MediaIce(ice_servers=servers):
                self._ice_servers = ice_servers(servers)
            case protocol.MediaStatus(terminal=self.terminal, state="live") if not self.live.is_set():
                self.live_after_s = time.monotonic() - self._started
                self.live.set()
            case protocol.WorkerGone():
                self.tally["media_lost"] += 1
                await self._begin_anew()
            case protocol.Error(session=session) if session is not None:
                self._fail(session)

    async def _returned(self, resumed: bool) -> None:
        """Back after a lost connection: in the old place, or as a new terminal that nobody knows."""
        if resumed:
            for session in [key for key, held in self._sessions.items() if not held.answered]:
                self._fail(session)
            return
        self._requested = False
        self._meet(set())
        for session in list(self._sessions):
            await self._close(session)
        await self._settle()

    def _meet(self, peers: set[str]) -> None:
        for session in [key for key, held in self._sessions.items() if held.peer in self._peers - peers]:
            self._signaling.spawn(self._close(session))
        for peer in peers - self._peers:
            self._signaling.spawn(self._subscribe(peer))
        self._peers = peers

    # ------------------------------------------------------------ media sessions

    async def _publish(self) -> None:
        session, connection = self._new(None)
        video = PacketTrack("video", self.film.video, self.film.fps)
        connection.addTransceiver(video, direction="sendrecv")
        connection.addTransceiver(PacketTrack("audio", self.film.audio, 50), direction="sendonly")
        await self._offer(connection, session, "publish", None)

    async def _subscribe(self, peer: str) -> None:
        session, connection = self._new(peer)
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
        await self._offer(connection, session, "subscribe", peer)

    def _new(self, peer: str | None) -> tuple[str, RTCPeerConnection]:
        session, of = secrets.token_hex(8), peer or self.terminal
        stream = self.streams[session] = ReceivedStream(of)
        watcher = self.watcher

        def on_frame() -> None:
            stream.frames += 1
            watcher.frame(of, time.monotonic())

        def on_sound(payload: bytes, timestamp: int) -> None:
            watcher.sound(of, payload, timestamp, time.monotonic())

        def on_picture(picture: av.VideoFrame) -> None:
            watcher.picture(of, picture, time.monotonic())

        received = Received(on_frame, on_sound, on_picture if watcher.looks(of) else None)
        # Without a list aiortc asks a public STUN server.
        connection = SyntheticConnection(RTCConfiguration(iceServers=self._ice_servers), received)
        self._sessions[session] = _Session(peer, connection)

        def changed() -> None:
            if connection.connectionState == "failed" and session in self._sessions:
                self.tally["ice_failed"] += 1
                self.errors.append("ice_failed: a media session was not, or no longer, connected")
                self._fail(session)
            elif connection.connectionState == "connected":
                self._failures.pop(peer, None)

        connection.on("connectionstatechange", changed)
        return session, connection

    async def _offer(
        self,
        connection: RTCPeerConnection,
        session: str,
        channel: protocol.MediaChannel,
        peer: str | None,
    ) -> None:
        await connection.setLocalDescription(await connection.createOffer())
        local = connection.localDescription
        await self.send(
            protocol.MediaSignal(
                channel=channel,
                session=session,
                peer=peer,
                description=protocol.SessionDescription(type="offer", sdp=local.sdp),
            )
        )

    async def _answered(self, session: str, answer: RTCSessionDescription) -> None:
        held = self._sessions.get(session)
        if held is not None and not held.answered:
            held.answered = True
            await held.connection.setRemoteDescription(answer)

    def _fail(self, session: str) -> None:
        """Try a session anew after a while."""
        held = self._sessions.get(session)
        if held is None:
            return
        wait = min(_LONGEST_RETRY_S, _RETRY_S * 2 ** self._failures[held.peer])
        self._failures[held.peer] += 1
        self._signaling.spawn(self._retry(session, held.peer, wait))

    async def _retry(self, session: str, peer: str | None, wait: float) -> None:
        await self._close(session)
        await asyncio.sleep(wait)
        if peer is None:
            self.tally["session_retried"] += 1
            await self._publish()
        elif peer in self._peers and all(held.peer != peer for held in self._sessions.values()):
            self.tally["session_retried"] += 1
            await self._subscribe(peer)

    async def _begin_anew(self) -> None:
        """The worker and all sessions with it are gone."""
        for session in list(self._sessions):
            await self._close(session)
        await self._publish()
        for peer in self._peers:
            await self._subscribe(peer)

    async def _close(self, session: str) -> None:
        held = self._sessions.pop(session, None)
        self.streams.pop(session, None)
        if held is not None:
            await held.connection.close()
