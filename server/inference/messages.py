"""What media and inference process say to each other.

Orders and reports travel as small records on a local socket, file descriptors with them. Frames travel in
mailboxes (:mod:`server.inference.memory`), whose notes are :class:`CameraNote` and :class:`PictureNote`.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Self, get_args

from server.inference.memory import ReaderEnd, WriterEnd
from server.provenance import MarkSettings

_MOST_DESCRIPTORS: Final = len(ReaderEnd._fields) + len(WriterEnd._fields)
_MOST_BYTES: Final = 16 * 1024


@dataclass(frozen=True)
class InferenceSettings:
    """How the inference process is set up.

    Attributes:
        data_dir: where uploaded targets lie.
        generator: dotted name ``module:function`` of a function from size to a generator.
        size: pixels a side of generated pictures.
        mark: on every generated frame.
        max_batch: most frames that are generated at once.
        company_s: how long a frame waits for another driver's at most.
        lanes: frames of how many drivers are worked on at once by a generator that does not batch.
        fetched_dir: where the worker puts uploads that it fetches (:mod:`server.targets.local`).
    """

    data_dir: str
    generator: str
    size: int
    mark: MarkSettings
    max_batch: int = 16
    company_s: float = 0.002
    lanes: int = 1
    fetched_dir: str | None = None

    @property
    def picture_bytes(self) -> int:
        """Size of a generated frame (I420)."""
        return self.size * self.size * 3 // 2


# ---------------------------------------------------------------- media -> inference


@dataclass(frozen=True)
class Open:
    """A new driver. The ends of its mailboxes travel with it: reader of cameras, writer of pictures.

    Attributes:
        driver: number that no other driver has had.
        camera_bytes: the largest camera frame.
    """

    driver: int
    camera_bytes: int


@dataclass(frozen=True)
class Assign:
    """The driver shows this target as soon as it is prepared; until then the former one goes on."""

    driver: int
    epoch: int
    target: str | None


@dataclass(frozen=True)
class Recalibrate:
    """Take the driver's neutral pose and expression anew."""

    driver: int


@dataclass(frozen=True)
class React:
    """Play an expression template over what the driver's target does."""

    driver: int
    template: str


@dataclass(frozen=True)
class Release:
    """The driver is gone."""

    driver: int


@dataclass(frozen=True)
class CameraNote:
    """Beside a camera frame.

    Attributes:
        since: number that is new each time the camera is switched on; comes back in the answer.
        time: when the frame was decoded, monotonic seconds.
        width, height: pixels, even.
    """

    since: int
    time: float
    width: int
    height: int

    _FORM: ClassVar = struct.Struct("=qdII")

    def pack(self) -> bytes:
        """As a note."""
        return self._FORM.pack(self.since, self.time, self.width, self.height)

    @classmethod
    def unpack(cls, note: bytes) -> Self:
        """From a note."""
        return cls(*cls._FORM.unpack(note))


# ---------------------------------------------------------------- inference -> media


@dataclass(frozen=True)
class Ready:
    """The process has loaded its models; ``generator`` is its generator's name."""

    generator: str


@dataclass(frozen=True)
class Alive:
    """Nothing to say, but not hanging."""


@dataclass(frozen=True)
class LastWords:
    """Why the process ends: a sentence."""

    reason: str


Outcome = Literal["live", "calibrating", "no_face", "failed"]
_OUTCOMES: Final = get_args(Outcome)


@dataclass(frozen=True)
class PictureNote:
    """What became of a camera frame.

    Attributes:
        epoch: of the :class:`Assign` whose target it shows.
        since, time: of the camera frame.
        outcome: ``live`` or ``calibrating`` come with a generated frame; the others come without.
        landmark_s: time that detection, smoothing and retargeting of this frame took.
        generate_s: time that generation of its batch took.
        batch: frames in that batch.
        detail: a sentence, when it failed.
    """

    epoch: int
    since: int
    time: float
    outcome: Outcome
    landmark_s: float = 0.0
    generate_s: float = 0.0
    batch: int = 0
    detail: str = ""

    _FORM: ClassVar = struct.Struct("=qqdBddI")
    _MOST_DETAIL: ClassVar = 400

    @property
    def generated(self) -> bool:
        """Whether a generated frame came with it."""
        return self.outcome in ("live", "calibrating")

    def pack(self) -> bytes:
        """As a note; a long detail is cut."""
        numbers = self._FORM.pack(
            self.epoch, self.since, self.time, _OUTCOMES.index(self.outcome),
            self.landmark_s, self.generate_s, self.batch,
        )  # fmt: skip
        return numbers + self.detail.encode()[: self._MOST_DETAIL]

    @classmethod
    def unpack(cls, note: bytes) -> Self:
        """From a note."""
        epoch, since, time, outcome, landmark_s, generate_s, batch = cls._FORM.unpack_from(note)
        detail = note[cls._FORM.size :].decode(errors="ignore")
        return cls(epoch, since, time, _OUTCOMES[outcome], landmark_s, generate_s, batch, detail)


Order = Open | Assign | Recalibrate | React | Release
Report = Ready | Alive | LastWords


class Channel:
    """One end of the socket that orders and reports travel on; never blocks, keeps message borders.

    Args:
        end: of :meth:`pair`; closed with this object.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Two connected ends."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        """Of the socket; -1 after closing."""
        return self._socket.fileno()

    def send(self, message: Order | Report, descriptors: Sequence[int] = ()) -> bool:
        """Send, or say False when the other side does not read or is gone."""
        try:
            socket.send_fds(self._socket, [pickle.dumps(message, pickle.HIGHEST_PROTOCOL)], list(descriptors))
        except OSError:
            return False
        return True

    def receive(self) -> tuple[Order | Report, list[int]] | None:
        """The next message and what file descriptors came with it; None when there is none now.

        Raises:
            EOFError: the other side is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _MOST_BYTES, _MOST_DESCRIPTORS)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return pickle.loads(data), descriptors  # both ends are this program's

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
