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
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from signaling.terminal_messages import (
    AcceptRelay,
    Bye,
    CallEnded,
    CallState,
    CancelRelay,
    CloseMedia,
    CreateRoom,
    DeclineRelay,
    Error,
    Hello,
    JoinRoom,
    LeaveCall,
    LeaveRoom,
    MediaIce,
    MediaReply,
    MediaSignal,
    MediaStats,
    MediaStatus,
    Member,
    Ping,
    Pong,
    React,
    Recalibrate,
    RelayIncoming,
    RelayState,
    RequestRelay,
    RoomLeft,
    RoomState,
    SelectTarget,
    SendText,
    ServerMessage,
    ServerReply,
    SetMedia,
    TerminalMessage,
    TerminalRequest,
    Text,
    Welcome,
    WorkerGone,
)
from signaling.vocabulary import (
    MAX_MESSAGE_BYTES,
    MAX_SDP_BYTES,
    PROTOCOL_VERSION,
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
    Sentence,
    SessionDescription,
    TargetId,
    TerminalId,
    WorkerId,
)
from signaling.worker_messages import (
    DriverGone,
    DriverReact,
    DriverRecalibrate,
    DriverUpdate,
    SessionClose,
    SessionSignal,
    WorkerCommand,
    WorkerError,
    WorkerHello,
    WorkerLoad,
    WorkerMessage,
    WorkerRefused,
    WorkerSignal,
    WorkerStats,
    WorkerStatus,
    WorkerWelcome,
)

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_SDP_BYTES",
    "PROTOCOL_VERSION",
    "SERVER_MESSAGE",
    "TERMINAL_MESSAGE",
    "WORKER_COMMAND",
    "WORKER_MESSAGE",
    "AcceptRelay",
    "Bye",
    "CallEnded",
    "CallMode",
    "CallState",
    "CancelRelay",
    "CloseMedia",
    "CreateRoom",
    "DeclineRelay",
    "DisplayName",
    "DriverGone",
    "DriverReact",
    "DriverRecalibrate",
    "DriverState",
    "DriverUpdate",
    "Error",
    "ErrorCode",
    "Hello",
    "IceCandidate",
    "IceServer",
    "Identifier",
    "JoinRoom",
    "LeaveCall",
    "LeaveRoom",
    "MediaChannel",
    "MediaIce",
    "MediaReply",
    "MediaSignal",
    "MediaStats",
    "MediaStatus",
    "Member",
    "Message",
    "Ping",
    "Pong",
    "Presence",
    "ProtocolError",
    "React",
    "Recalibrate",
    "RelayIncoming",
    "RelayKind",
    "RelayState",
    "RequestRelay",
    "RoomLeft",
    "RoomName",
    "RoomState",
    "SelectTarget",
    "SendText",
    "Sentence",
    "ServerMessage",
    "ServerReply",
    "SessionClose",
    "SessionDescription",
    "SessionSignal",
    "SetMedia",
    "TargetId",
    "TerminalId",
    "TerminalMessage",
    "TerminalRequest",
    "Text",
    "Welcome",
    "WorkerCommand",
    "WorkerError",
    "WorkerGone",
    "WorkerHello",
    "WorkerId",
    "WorkerLoad",
    "WorkerMessage",
    "WorkerRefused",
    "WorkerSignal",
    "WorkerStats",
    "WorkerStatus",
    "WorkerWelcome",
    "decode",
    "encode",
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
