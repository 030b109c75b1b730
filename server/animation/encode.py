"""Writes pictures into a film or an animated image: mp4, webm, gif, webp; whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import av
import numpy as np
from PIL import Image

from models.film import open_film
from models.generator import Picture
from server.animation.errors import AnimationError
from server.animation.options import FORMATS, Format

__all__ = ["Writer", "format_of", "writing"]

#: What says to programs that the pictures are generated.
_COMMENT: Final = "AI-generated: made by Understudy from a photo"

#: Sound that begins later than this after the first picture is moved up to here.
_LATEST_SOUND_S: Final = 120.0


class Writer(Protocol):
    """Takes pictures of one size, one after another."""

    def write(self, picture: Picture) -> None:
        """Add a picture ``[H, W, 3]`` RGB."""
        ...


def format_of(path: Path) -> Format:
    """The format that a file's name asks for.

    Raises:
        AnimationError: ``format_unknown``.
    """
    suffix = path.suffix.lower().lstrip(".")
    for known in FORMATS:
        if suffix == known:
            return known
    raise AnimationError(
        "format_unknown", f"{path.name}: the name must end in {', '.join('.' + name for name in FORMATS)}."
    )


@contextmanager
def writing(
    path: Path, kind: Format, fps: float, *, sound: Path | None = None, seconds: float | None = None,
    endless: bool = False,
) -> Iterator[Writer]:  # fmt: skip
    """A writer whose file gets its name when all went well; otherwise nothing is left behind.

    Args:
        path: of the result; one that is there already is replaced at the end.
        kind: of file.
        fps: pictures a second.
        sound: a file whose sound goes along, in the formats that have one.
        seconds: where the sound is cut off; None: where the pictures end.
        endless: gif and webp begin again at their end.

    Raises:
        AnimationError: ``cannot_write``.
    """
    staged = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(6)}.part")
    try:
        with open(staged, "xb"):  # says at once when the folder is missing or not ours
            pass
        writer: _Film | _Animation
        if kind in ("mp4", "webm"):
            writer = _Film(staged, kind, fps, sound)
        else:
            writer = _Animation(staged, kind, fps, endless)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
        os.replace(staged, path)
    except OSError as error:
        raise AnimationError(
            "cannot_write", f"{path.name} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with suppress(OSError):
            staged.unlink()


class _Film:
    """mp4 (H.264, AAC) or webm (VP9, Opus)."""

    def __init__(self, path: Path, kind: Format, fps: float, sound: Path | None) -> None:
        self._container: Any = av.open(str(path), "w", format=kind, container_options={
            "movflags": "+faststart"} if kind == "mp4" else {})  # fmt: skip
        self._container.metadata["comment"] = _COMMENT
        self._kind = kind
        self._rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = None
        self._pictures = 0
        self._sound = _Sound(self._container, sound, kind) if sound is not None else None

    def write(self, picture: Picture) -> None:
        if self._stream is None:
            self._stream = self._open(picture.shape[1], picture.shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self._pictures, 1 / self._rate
        self._pictures += 1
        self._container.mux(self._stream.encode(frame))
        if self._sound:
            self._sound.write_until(float(self._pictures / self._rate))

    def _open(self, width: int, height: int) -> Any:
        if self._kind == "mp4":
            stream = self._container.add_stream("libx264", rate=self._rate)
            stream.options = {"crf": "18", "preset": "veryfast"}
        else:
            stream = self._container.add_stream("libvpx-vp9", rate=self._rate)
            stream.options = {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "6"}
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = 1
        stream.codec_context.thread_count = 2
        return stream

    def finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        if self._sound:
            self._sound.finish()
        # Here, where it is heard: FFmpeg tells of a full disk at the end at the earliest.
        self._container.close()

    def close(self) -> None:
        """Let go of the files, whatever became of them."""
        if self._sound:
            self._sound.close()
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()


class _Sound:
    """Carries the sound of another file over, as far as the pictures go."""

    def __init__(self, container: Any, source: Path, kind: Format) -> None:
        self._container = container
        self._source: Any = open_film(source)
        streams = self._source.streams.audio
        self._stream: Any = None
        if not streams:
            return
        codec, rate = ("aac", streams[0].rate or 48000) if kind == "mp4" else ("libopus", 48000)
        rate = rate if rate in (44100, 48000, 32000, 24000, 16000) else 48000
        layout = "mono" if (streams[0].channels or 2) == 1 else "stereo"
        self._stream = container.add_stream(codec, rate=rate, layout=layout)
        self._wanted = self._stream.codec_context.format or "fltp", layout, rate
        self._came: tuple[str, str, int] | None = None
        self._fifo = av.AudioFifo()
        self._rate = rate
        self._begin = self._begin_of_pictures()
        self._frames = self._source.decode(streams[0])
        self._taken = 0
        self._ended = False

    def _begin_of_pictures(self) -> float:
        """When the source's pictures begin, seconds: the sound is aligned to them."""
        stream = next(iter(self._source.streams.video), None)
        if stream is None or stream.start_time is None or stream.time_base is None:
            return 0.0
        return float(stream.start_time * stream.time_base)

    def write_until(self, seconds: float) -> None:
        """Encode the sound up to a moment of the film."""
        if self._stream is None:
            return
        wanted = round(seconds * self._rate)
        while not self._ended and self._taken + self._fifo.samples < wanted:
            self._read()
        size = self._stream.codec_context.frame_size or 960
        while self._fifo.samples >= size and self._taken + size <= wanted:
            self._encode(self._fifo.read(size))

    def _read(self) -> None:
        try:
            frame = next(self._frames)
        except (StopIteration, av.FFmpegError):
            self._ended = True
            return
        begins = float(frame.time or 0.0) - self._begin
        for part in self._resampled(frame):
            samples: Any = part.to_ndarray()
            if self._taken == 0 and self._fifo.samples == 0:
                late = round(min(begins, _LATEST_SOUND_S) * self._rate)
                if late < 0:  # sound from before the first picture
                    samples = samples[:, min(-late, samples.shape[1]) * self._interleaved(part) :]
                elif late > 0:
                    silence = np.zeros((samples.shape[0], late * self._interleaved(part)), samples.dtype)
                    samples = np.concatenate([silence, samples], axis=1)
                if samples.shape[1] == 0:
                    continue
            cut = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples), format=part.format.name, layout=part.layout.name
            )
            cut.sample_rate = self._rate
            self._fifo.write(cut)

    def _resampled(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """As it is encoded. What was recorded from a broadcast may change its rate and channels on the way.

        A resampler takes what came first for all that comes: anything else it may pass on as it is, and the
        queue then reads beyond it.
        """
        came = frame.format.name, frame.layout.name, frame.sample_rate
        if came != self._came:
            self._came, self._resampler = came, av.AudioResampler(*self._wanted)
        return self._resampler.resample(frame)

    @staticmethod
    def _interleaved(frame: Any) -> int:
        """Values for each moment in a row of the samples' array."""
        return 1 if frame.format.is_planar else len(frame.layout.channels)

    def _encode(self, frame: Any) -> None:
        if frame is None:
            return
        frame.pts, frame.time_base = self._taken, Fraction(1, self._rate)
        self._taken += frame.samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        if self._stream is None:
            return
        size = self._stream.codec_context.frame_size or 960
        if self._fifo.samples:
            self._encode(self._fifo.read(min(size, self._fifo.samples), partial=True))
        self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        self._source.close()


class _Animation:
    """gif or webp, through Pillow, which takes pictures one by one but keeps them until the end."""

    def __init__(self, path: Path, kind: Format, fps: float, endless: bool) -> None:
        self._path, self._kind, self._fps, self._endless = path, kind, fps, endless
        self._pictures: list[Image.Image] = []

    def write(self, picture: Picture) -> None:
        self._pictures.append(Image.fromarray(np.ascontiguousarray(picture)))

    def finish(self) -> None:
        if not self._pictures:
            raise OSError("there are no pictures")
        # gif counts hundredths of a second: rounding sums up to the right length
        unit = 10 if self._kind == "gif" else 1
        ends = [round((index + 1) * 1000 / self._fps / unit) * unit for index in range(len(self._pictures))]
        durations = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        options: dict[str, Any] = {"loop": 0} if self._endless else {} if self._kind == "gif" else {"loop": 1}
        if self._kind == "webp":
            options |= {"quality": 85, "method": 2}
        else:
            options |= {"disposal": 1, "comment": _COMMENT, "optimize": False}
            self._pictures = _with_one_palette(self._pictures)
        self._pictures[0].save(
            self._path,
            self._kind.upper(),
            save_all=True,
            append_images=self._pictures[1:],
            duration=durations,
            **options,
        )

    def close(self) -> None:
        self._pictures = []


def _with_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """The pictures in 256 colours that serve them all: a palette for each would flicker."""
    count = min(len(pictures), 6)
    chosen = [pictures[round(k * (len(pictures) - 1) / max(count - 1, 1))] for k in range(count)]
    together = Image.fromarray(np.concatenate([np.asarray(picture) for picture in chosen]))
    palette = together.quantize(256, Image.Quantize.MEDIANCUT)
    return [
        picture.quantize(256, palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures
    ]
