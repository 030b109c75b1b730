"""Every message on the wire between terminals, signaling and media workers: typed unions, versioned.

Terminals speak on ``/ws`` (:data:`TerminalMessage` up, :data:`ServerMessage` down), media workers on
``/worker`` (:data:`WorkerMessage` up, :data:`WorkerCommand` down). ``PROTOCOL.md`` has an example of each.

A terminal holds one *publish* media session with a worker (its camera and microphone up, its own
reenacted picture down), one *subscribe* session for each peer of its call (that peer's reenacted
picture and sound down), or, in a ``direct`` call, one session with the peer itself. Each session is
one peer connection, negotiated once: the terminal offers, the other side answers.
"""

from __future__ import annotations

import re as regex
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json, to_json

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 64 * 1024
#: An SDP as it stands inside a message, escapes included: what is forwarded gets a few fields more than
#: what came in and must still fit MAX_MESSAGE_BYTES.
MAX_SDP_BYTES: Final = 60 * 1024

TerminalId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
RoomName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
WorkerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
#: A target's id. The id of an uploaded target is its capability: who knows it may use it.
TargetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
DisplayName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Sentence = Annotated[str, StringConstraints(max_length=1000)]

RelayKind = Literal["video", "text"]
CallMode = Literal["reenacted", "direct"]
MediaChannel = Literal["publish", "subscribe", "direct"]
Presence = Literal["online", "away"]


class ErrorCode(StrEnum):
    """Why a message was refused or a call could not go on."""

    MALFORMED = "malformed"  # not JSON, unknown type, a field missing or out of range
    TOO_LARGE = "too_large"
    VERSION_UNSUPPORTED = "version_unsupported"
    RATE_LIMITED = "rate_limited"
    HELLO_EXPECTED = "hello_expected"
    OUT_OF_ORDER = "out_of_order"  # valid, but not in the terminal's present state
    UNAUTHORISED = "unauthorised"
    RESUME_REFUSED = "resume_refused"  # unknown or expired resume token; a new terminal was made
    SUPERSEDED = "superseded"  # the same terminal connected again elsewhere
    ROOM_UNKNOWN = "room_unknown"
    ROOM_FULL = "room_full"
    PEER_UNKNOWN = "peer_unknown"
    REQUEST_UNKNOWN = "request_unknown"
    CALL_UNKNOWN = "call_unknown"
    MODE_MISMATCH = "mode_mismatch"  # a direct call must be accepted as direct
    WORKER_UNAVAILABLE = "worker_unavailable"
    WORKER_BUSY = "worker_busy"
    WORKER_LOST = "worker_lost"
    MEDIA_FAILED = "media_failed"
    TARGET_UNKNOWN = "target_unknown"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class Message(BaseModel):
    """Common part of every message: its type (in each subclass) and the protocol's version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1] = PROTOCOL_VERSION


class IceServer(BaseModel):
    """One STUN or TURN server, as RTCPeerConnection takes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class SessionDescription(BaseModel):
    """An SDP offer or answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["offer", "answer"]
    sdp: Annotated[str, StringConstraints(max_length=48 * 1024)]

    @field_validator("sdp")
    @classmethod
    def _fits_a_message(cls, sdp: str) -> str:
        if len(to_json(sdp)) > MAX_SDP_BYTES:
            raise ValueError(f"an SDP may take at most {MAX_SDP_BYTES} bytes of a message")
        return sdp


class IceCandidate(BaseModel):
    """A trickled candidate, as RTCIceCandidate.toJSON() gives it; an empty string ends the candidates."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    candidate: Annotated[str, StringConstraints(max_length=2048)]
    sdp_mid: Annotated[str, StringConstraints(max_length=64)] | None = Field(default=None, alias="sdpMid")
    sdp_m_line_index: Annotated[int, Field(ge=0, le=255)] | None = Field(default=None, alias="sdpMLineIndex")


# ---------------------------------------------------------------- terminal -> signaling


class TerminalRequest(Message):
    """A message a terminal sends. ``id``, when given, comes back as ``re`` in the direct answer or error."""

    id: Identifier | None = None


class Hello(TerminalRequest):
    """First message of a connection. With a ``resume`` token the terminal takes its old place back."""

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
    """Answer to hello. When ``resumed``, the room and call states that still hold follow."""

    type: Literal["welcome"] = "welcome"
    terminal: TerminalId
    resume: str
    resumed: bool
    resume_s: float  # how long a lost terminal's place is kept
    heartbeat_s: float  # send a ping at least this often
    ice_servers: list[IceServer]
    target: TargetId | None = None  # the terminal's own chosen target, kept across a resume


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


DriverState = Literal[
    "live",  # generated frames are flowing
    "calibrating",  # the neutral pose is being taken
    "no_video",  # no camera frames arrive (yet, or any more)
    "camera_off",
    "no_target",
    "no_face",
    "late",  # the generator does not keep up: the still is shown
    "failed",  # the model failed on this target: the still is shown
    "restarting",  # the inference process is being restarted
]


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
    """The media worker was lost; publish and subscribe anew (another worker, or the same restarted)."""

    type: Literal["media.lost"] = "media.lost"


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
    | MediaStatus
    | MediaStats
    | WorkerGone
    | Text
    | Pong
    | Error,
    Field(discriminator="type"),
]

# ---------------------------------------------------------------- media worker -> signaling


class WorkerHello(Message):
    """First message of a worker's connection; also sent after a reconnection.

    ``instance`` is drawn anew at each start of the worker. A worker that comes back with the same one
    within a few seconds still has its sessions; otherwise they are taken for lost.
    """

    type: Literal["worker.hello"] = "worker.hello"
    worker: WorkerId
    secret: Annotated[str, StringConstraints(max_length=256)]
    capacity: Annotated[int, Field(ge=0, le=10_000)]  # drivers it can serve at once
    instance: Identifier | None = None


class WorkerLoad(Message):
    """Heartbeat of a worker, every two seconds."""

    type: Literal["worker.load"] = "worker.load"
    drivers: Annotated[int, Field(ge=0)]
    load: Annotated[float, Field(ge=0)]  # 0 idle .. 1 full
    draining: bool = False


class WorkerSignal(Message):
    """Connection information from the worker for one of a terminal's media sessions."""

    type: Literal["worker.signal"] = "worker.signal"
    terminal: TerminalId
    session: Identifier
    channel: Literal["publish", "subscribe"]
    peer: TerminalId | None = None
    description: SessionDescription | None = None
    candidate: IceCandidate | None = None


class WorkerStatus(Message):
    type: Literal["worker.status"] = "worker.status"
    terminal: TerminalId
    state: DriverState
    detail: str = ""


class WorkerStats(Message):
    type: Literal["worker.stats"] = "worker.stats"
    terminal: TerminalId
    generator: str
    fps: float
    frame_ms: float
    age_ms: float
    size: int


class WorkerError(Message):
    """Something went wrong for one terminal."""

    type: Literal["worker.error"] = "worker.error"
    terminal: TerminalId
    code: ErrorCode
    message: Sentence
    session: Identifier | None = None


WorkerMessage = Annotated[
    WorkerHello | WorkerLoad | WorkerSignal | WorkerStatus | WorkerStats | WorkerError,
    Field(discriminator="type"),
]

# ---------------------------------------------------------------- signaling -> media worker


class WorkerWelcome(Message):
    """The worker is registered. Everything it should hold follows; what it holds beyond that it drops.

    ``drivers`` names all terminals it should hold: a ``driver.update`` follows for each.
    """

    type: Literal["worker.welcome"] = "worker.welcome"
    ice_servers: list[IceServer]
    drivers: list[TerminalId] = []


class DriverUpdate(Message):
    """A terminal that this worker serves, as it stands now; sent whole at each change."""

    type: Literal["driver.update"] = "driver.update"
    terminal: TerminalId
    name: str
    target: TargetId | None = None
    camera: bool
    microphone: bool
    viewers: list[TerminalId]  # the terminals that may subscribe to it: its call's other members


class DriverRecalibrate(Message):
    type: Literal["driver.recalibrate"] = "driver.recalibrate"
    terminal: TerminalId


class DriverGone(Message):
    """The terminal left, or its place was kept long enough: end its sessions and forget it."""

    type: Literal["driver.gone"] = "driver.gone"
    terminal: TerminalId


class SessionSignal(Message):
    """An offer or candidate of a terminal for the worker, already authorised by the signaling server."""

    type: Literal["session.signal"] = "session.signal"
    terminal: TerminalId
    session: Identifier
    channel: Literal["publish", "subscribe"]
    peer: TerminalId | None = None
    description: SessionDescription | None = None
    candidate: IceCandidate | None = None


class SessionClose(Message):
    type: Literal["session.close"] = "session.close"
    terminal: TerminalId
    session: Identifier


class WorkerRefused(Message):
    type: Literal["worker.refused"] = "worker.refused"
    code: ErrorCode
    message: str


WorkerCommand = Annotated[
    WorkerWelcome
    | DriverUpdate
    | DriverRecalibrate
    | DriverGone
    | SessionSignal
    | SessionClose
    | WorkerRefused,
    Field(discriminator="type"),
]

TERMINAL_MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(TerminalMessage)
SERVER_MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(ServerMessage)
WORKER_MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(WorkerMessage)
WORKER_COMMAND: Final[TypeAdapter[Any]] = TypeAdapter(WorkerCommand)


class ProtocolError(ValueError):
    """A message that cannot be taken.

    Attributes:
        code: why.
        message: a sentence for people, naming the field at fault and never repeating its value.
        re: the refused message's ``id``, when it could be read.
    """

    def __init__(self, code: ErrorCode, message: str, re: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.re = re


def encode(message: Message) -> str:
    """The message as JSON text; fields that are None are left out."""
    return message.model_dump_json(by_alias=True, exclude_none=True)


def decode(adapter: TypeAdapter[Any], text: str | bytes) -> Any:
    """Read one message of the adapter's union.

    Raises:
        ProtocolError: the text is too large, not JSON, of another version, or not of the union.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            ErrorCode.TOO_LARGE, f"The message has {size} bytes; the limit is {MAX_MESSAGE_BYTES}."
        )
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        code, message = _explained(error)
    fields = _readable_fields(text)
    # A message of a later version may differ in anything else too: its version is what to speak of.
    if "v" in fields and fields["v"] != PROTOCOL_VERSION:
        code = ErrorCode.VERSION_UNSUPPORTED
        message = f"This server speaks protocol version {PROTOCOL_VERSION}."
    re = fields.get("id")
    known = isinstance(re, str) and _IDENTIFIER.fullmatch(re) is not None
    raise ProtocolError(code, message, re if known else None)


_IDENTIFIER: Final = regex.compile(r"[A-Za-z0-9_-]{1,64}")
_UNION_ERRORS: Final = {
    "union_tag_invalid": "type: there is no message of this type here",
    "union_tag_not_found": "type: the message has no type",
    "json_invalid": "message: this is not JSON",
}


def _explained(error: ValidationError) -> tuple[ErrorCode, str]:
    """The first fault as a sentence: where and what, never the value itself."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] in _UNION_ERRORS:
        return ErrorCode.MALFORMED, _UNION_ERRORS[first["type"]]
    if first["type"] == "extra_forbidden":
        first["loc"] = first["loc"][:-1]  # the name of an unknown field is the sender's own words
        first["msg"] = "there is a field that does not belong here"
    where = ".".join(str(part) for part in first["loc"]) or "message"
    return ErrorCode.MALFORMED, f"{where}: {first['msg'].removeprefix('Value error, ')}"


def _readable_fields(text: str | bytes) -> dict[str, Any]:
    try:
        value = from_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
