"""What media and inference process say to each other: small records on a local socket."""

from __future__ import annotations

import pickle
import socket
from dataclasses import dataclass
from typing import Literal

from server.inference.memory import FrameRef
from server.provenance import MarkSettings


@dataclass(frozen=True)
class InferenceSettings:
    """How the inference process is set up.

    Attributes:
        data_dir: where uploaded targets lie.
        generator: dotted name ``module:function`` of a function from size to a generator.
        size: pixels a side of generated pictures.
        slots: drivers that fit.
        camera_bytes: the largest camera frame.
        mark: on every generated frame.
    """

    data_dir: str
    generator: str
    size: int
    slots: int
    camera_bytes: int
    mark: MarkSettings

    @property
    def picture_bytes(self) -> int:
        """Size of a generated frame."""
        return self.size * self.size * 3 // 2


@dataclass(frozen=True)
class Assign:
    """A slot serves this target from now on; what follows with another ``epoch`` is of former times.

    ``fresh``: it is another driver's, whose neutral state is unknown.
    """

    slot: int
    epoch: int
    target: str | None
    fresh: bool


@dataclass(frozen=True)
class Recalibrate:
    slot: int


@dataclass(frozen=True)
class Release:
    slot: int


@dataclass(frozen=True)
class CameraFrame:
    """A camera frame lies in the slot's input; ``time`` is when it was decoded (monotonic seconds)."""

    slot: int
    epoch: int
    frame: FrameRef
    time: float


@dataclass(frozen=True)
class Ready:
    """The process serves; ``generator`` is its generator's name."""

    generator: str


@dataclass(frozen=True)
class Alive:
    """Nothing to say, but not hanging."""


Outcome = Literal["live", "calibrating", "no_face", "failed"]


@dataclass(frozen=True)
class Done:
    """What became of a camera frame.

    Attributes:
        frame: the generated frame in the slot's output, if one was made.
        time: of the camera frame.
        landmark_s, generate_s: time spent on its landmarks, and on its batch's generation.
        batch: frames generated together.
        detail: a sentence, when it failed.
    """

    slot: int
    epoch: int
    outcome: Outcome
    frame: FrameRef | None
    time: float
    landmark_s: float = 0.0
    generate_s: float = 0.0
    batch: int = 0
    detail: str = ""


Command = Assign | Recalibrate | Release | CameraFrame
Report = Ready | Alive | Done


class Channel:
    """One end of the socket; keeps message borders, never blocks on sending."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Two connected ends."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Command | Report) -> bool:
        """Send, or say False when the other side does not read or is gone."""
        try:
            self._socket.send(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
        except (BlockingIOError, OSError):
            return False
        return True

    def receive(self) -> Command | Report | None:
        """The next message; None when there is none now.

        Raises:
            EOFError: the other side is gone.
        """
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        message: Command | Report = pickle.loads(data)  # both ends are this program's
        return message

    def close(self) -> None:
        self._socket.close()
