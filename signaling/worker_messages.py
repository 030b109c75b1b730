"""Messages between media workers and the signaling server, on ``/worker``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from signaling.vocabulary import (
    DriverState,
    ErrorCode,
    IceCandidate,
    IceServer,
    Identifier,
    Message,
    Sentence,
    SessionDescription,
    TargetId,
    TemplateName,
    TerminalId,
    WorkerId,
)

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
    drivers: list[TerminalId] = Field(default_factory=list)


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


class DriverReact(Message):
    """Play an expression template over what the terminal's target does now."""

    type: Literal["driver.react"] = "driver.react"
    terminal: TerminalId
    template: TemplateName


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
    | DriverReact
    | DriverGone
    | SessionSignal
    | SessionClose
    | WorkerRefused,
    Field(discriminator="type"),
]
