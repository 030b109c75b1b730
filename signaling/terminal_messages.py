"""Messages between terminals and the signaling server, on ``/ws``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from signaling.vocabulary import (
    CallMode,
    DisplayName,
    DriverState,
    ErrorCode,
    IceCandidate,
    IceServer,
    Identifier,
    MediaChannel,
    Message,
    Presence,
    RelayKind,
    RoomName,
    SessionDescription,
    TargetId,
    TemplateName,
    TerminalId,
)

# ---------------------------------------------------------------- terminal -> signaling


class TerminalRequest(Message):
    """A message a terminal sends. ``id``, when given, comes back as ``re`` in the direct answer or error."""

    id: Identifier | None = None


class Hello(TerminalRequest):
    """First message of a connection. With a ``resume`` token the terminal takes its old place back.

    ``token`` is a join token (:mod:`signaling.tokens`), which a service by invitation asks for.
    """

    type: Literal["hello"] = "hello"
    name: DisplayName
    resume: Annotated[str, StringConstraints(max_length=256)] | None = None
    token: Annotated[str, StringConstraints(max_length=4096)] | None = None


class CreateRoom(TerminalRequest):
    """Make a room with an unguessable name and enter it."""

    type: Literal["room.create"] = "room.create"


class JoinRoom(TerminalRequest):
    """Enter a room, made if nobody is in it; leaves the room the terminal was in."""

    type: Literal["room.join"] = "room.join"
    room: RoomName


class LeaveRoom(TerminalRequest):
    """Leave the room, and with it every call and request in it."""

    type: Literal["room.leave"] = "room.leave"


class RequestRelay(TerminalRequest):
    """Ask for a relayed connection (FIG. 1, [0042]) with some (``to``) or all others in the room."""

    type: Literal["relay.request"] = "relay.request"
    kind: RelayKind = "video"
    mode: CallMode = "reenacted"
    to: Annotated[list[TerminalId], Field(max_length=32)] | None = None


class AcceptRelay(TerminalRequest):
    """Accept a relay request. ``mode`` must repeat the request's: nobody enters a direct call unaware."""

    type: Literal["relay.accept"] = "relay.accept"
    request: Identifier
    mode: CallMode = "reenacted"


class DeclineRelay(TerminalRequest):
    type: Literal["relay.decline"] = "relay.decline"
    request: Identifier


class CancelRelay(TerminalRequest):
    """Take one's own relay request back."""

    type: Literal["relay.cancel"] = "relay.cancel"
    request: Identifier


class LeaveCall(TerminalRequest):
    type: Literal["call.leave"] = "call.leave"
    call: Identifier


class SelectTarget(TerminalRequest):
    """Choose the face to be seen behind; allowed at any time, also during a call. ``None``: none."""

    type: Literal["target.select"] = "target.select"
    target: TargetId | None = None


class SetMedia(TerminalRequest):
    """Say whether camera and microphone are on. With the camera off, peers see the still target."""

    type: Literal["media.set"] = "media.set"
    camera: bool
    microphone: bool


class Recalibrate(TerminalRequest):
    """Take the driver's neutral pose and expression anew from the next second."""

    type: Literal["media.recalibrate"] = "media.recalibrate"


class React(TerminalRequest):
    """Play an expression template over what one's target does now, then blend back to it."""

    type: Literal["media.react"] = "media.react"
    template: TemplateName


class MediaSignal(TerminalRequest):
    """Connection information for one media session: an offer, or a trickled candidate.

    ``session`` is chosen by the terminal, new for each peer connection, so that stragglers of a former
    one are told apart. ``peer`` is the terminal whose picture is subscribed to, or the direct peer.
    """

    type: Literal["media.signal"] = "media.signal"
    channel: MediaChannel
    session: Identifier
    peer: TerminalId | None = None
    description: SessionDescription | None = None
    candidate: IceCandidate | None = None

    @model_validator(mode="after")
    def _is_one_signal(self) -> MediaSignal:
        if (self.description is None) == (self.candidate is None):
            raise ValueError("give either a description or a candidate")
        if (self.peer is None) != (self.channel == "publish"):
            raise ValueError("a peer belongs to subscribe and direct, and only to those")
        if self.channel != "direct" and self.description is not None and self.description.type != "offer":
            raise ValueError("towards a worker the terminal offers and the worker answers")
        return self


class CloseMedia(TerminalRequest):
    """End one media session."""

    type: Literal["media.close"] = "media.close"
    session: Identifier


class SendText(TerminalRequest):
    """A text to one (``to``) or all others of the calls (video or text) that the terminal is in."""

    type: Literal["text.send"] = "text.send"
    text: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    to: TerminalId | None = None


class Ping(TerminalRequest):
    """Heartbeat; at least every ``heartbeat_s`` of the welcome."""

    type: Literal["ping"] = "ping"


class Bye(TerminalRequest):
    """The terminal leaves for good: no waiting for it to resume."""

    type: Literal["bye"] = "bye"


TerminalMessage = Annotated[
    Hello
    | CreateRoom
    | JoinRoom
    | LeaveRoom
    | RequestRelay
    | AcceptRelay
    | DeclineRelay
    | CancelRelay
    | LeaveCall
    | SelectTarget
    | SetMedia
    | Recalibrate
    | React
    | MediaSignal
    | CloseMedia
    | SendText
    | Ping
    | Bye,
    Field(discriminator="type"),
]

# ---------------------------------------------------------------- signaling -> terminal


class ServerReply(Message):
    """A message to a terminal. ``re`` is the ``id`` of the message it answers, if it answers one."""

    re: Identifier | None = None


class Welcome(ServerReply):
    """Answer to hello. When ``resumed``, the room and call states that still hold follow.

    ``name`` and ``room`` are those of the join token, if it has any: how others see one, and where it leads.
    """

    type: Literal["welcome"] = "welcome"
    terminal: TerminalId
    resume: str
    resumed: bool
    resume_s: float  # how long a lost terminal's place is kept
    heartbeat_s: float  # send a ping at least this often
    ice_servers: list[IceServer]
    target: TargetId | None = None  # the terminal's own chosen target, kept across a resume
    name: str | None = None
    room: RoomName | None = None


class Member(BaseModel):
    """A terminal as others in its room see it. Says nothing of its target: the id is a capability."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    terminal: TerminalId
    name: str
    presence: Presence
    camera: bool
    microphone: bool


class RoomState(ServerReply):
    """Who is in the room now; sent whole at each change."""

    type: Literal["room.state"] = "room.state"
    room: RoomName
    members: list[Member]


class RoomLeft(ServerReply):
    type: Literal["room.left"] = "room.left"
    room: RoomName


class RelayIncoming(ServerReply):
    """Somebody asks for a call; answer within ``expires_s``."""

    type: Literal["relay.incoming"] = "relay.incoming"
    request: Identifier
    kind: RelayKind
    mode: CallMode
    sender: TerminalId
    name: str
    expires_s: float


class RelayState(ServerReply):
    """How a relay request stands, for its sender and for those asked.

    ``pending`` answers the request itself; ``accepted`` and ``declined`` name the terminal in ``by``
    (the request stays open while others have not answered); ``closed`` is the last word, with a reason.
    """

    type: Literal["relay.state"] = "relay.state"
    request: Identifier
    kind: RelayKind
    mode: CallMode
    state: Literal["pending", "accepted", "declined", "closed"]
    reason: Literal["answered", "cancelled", "timed_out", "sender_left", "nobody_left"] | None = None
    by: TerminalId | None = None
    call: Identifier | None = None


class CallState(ServerReply):
    """Who is in a call now; sent whole at each change, to every member."""

    type: Literal["call.state"] = "call.state"
    call: Identifier
    kind: RelayKind
    mode: CallMode
    members: list[Member]


class CallEnded(ServerReply):
    """The call is over for the terminal that receives this."""

    type: Literal["call.ended"] = "call.ended"
    call: Identifier
    reason: Literal["left", "alone", "peer_vanished", "shutting_down"]


class MediaReply(ServerReply):
    """Connection information from the worker, or in a direct call from the peer (``peer``)."""

    type: Literal["media.signal"] = "media.signal"
    channel: MediaChannel
    session: Identifier
    peer: TerminalId | None = None
    description: SessionDescription | None = None
    candidate: IceCandidate | None = None


class MediaIce(ServerReply):
    """New ICE servers, sent before the former ones' credentials expire: for sessions from now on."""

    type: Literal["media.ice"] = "media.ice"
    ice_servers: list[IceServer]


class MediaStatus(ServerReply):
    """What a terminal's picture shows now, sent to it and its call's peers at each change."""

    type: Literal["media.status"] = "media.status"
    terminal: TerminalId
    state: DriverState
    detail: str = ""  # a sentence for people


class MediaStats(ServerReply):
    """Figures of a terminal's generated picture, sent to it and its peers every two seconds."""

    type: Literal["media.stats"] = "media.stats"
    terminal: TerminalId
    generator: str
    fps: float  # generated frames a second
    frame_ms: float  # decoded driver frame to generated frame, median
    age_ms: float  # age of the shown frame when handed to the encoder, median
    size: int  # pixels a side


class WorkerGone(ServerReply):
    """Publish and subscribe anew: the media worker was lost, or is about to stop.

    In the latter case the former sessions play on for ``plays_on_s`` seconds, beside the new ones.
    """

    type: Literal["media.lost"] = "media.lost"
    plays_on_s: float = 0.0


class Text(ServerReply):
    type: Literal["text"] = "text"
    sender: TerminalId
    name: str
    text: str
    at: float  # seconds since the epoch, the server's clock
    private: bool = False


class Pong(ServerReply):
    type: Literal["pong"] = "pong"


class Error(ServerReply):
    """A refusal: a code for programs, a sentence for people."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    session: Identifier | None = None  # the media session concerned, if one is


ServerMessage = Annotated[
    Welcome
    | RoomState
    | RoomLeft
    | RelayIncoming
    | RelayState
    | CallState
    | CallEnded
    | MediaReply
    | MediaIce
    | MediaStatus
    | MediaStats
    | WorkerGone
    | Text
    | Pong
    | Error,
    Field(discriminator="type"),
]
