"""What the wire protocol's messages are made of: identifiers, choices, error codes, descriptions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core import to_json

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
TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
TargetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
DisplayName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Sentence = Annotated[str, StringConstraints(max_length=1000)]

RelayKind = Literal["video", "text"]
CallMode = Literal["reenacted", "direct"]
MediaChannel = Literal["publish", "subscribe", "direct"]
Presence = Literal["online", "away"]

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


class ErrorCode(StrEnum):
    """Why a message was refused or a call could not go on."""

    MALFORMED = "malformed"  # not JSON, unknown type, a field missing or out of range
    TOO_LARGE = "too_large"
    VERSION_UNSUPPORTED = "version_unsupported"
    RATE_LIMITED = "rate_limited"
    HELLO_EXPECTED = "hello_expected"
    OUT_OF_ORDER = "out_of_order"  # valid, but not in the terminal's present state
    UNAUTHORISED = "unauthorised"
    TOKEN_MISSING = "token_missing"  # the service is by invitation and the hello had no join token
    TOKEN_REFUSED = "token_refused"  # a join token that is not signed here, or of another kind
    TOKEN_EXPIRED = "token_expired"
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
    UNAVAILABLE = "unavailable"  # the log that joins signaling nodes is out of reach; try again soon
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
