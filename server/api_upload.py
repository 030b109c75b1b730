"""Reads an upload of photos from the wire: multipart/form-data, streamed, with a limit on everything."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from server.api_errors import ApiError, error_of_status
from server.targets.decode import PhotoLimits

_CHUNK_BYTES: Final = 64 * 1024
_FIELD_BYTES: Final = 4096
_MAX_PARTS: Final = 32
_OVERHEAD_BYTES: Final = 256 * 1024
_FILE_NAME_CHARACTERS: Final = 120

# A stranger's malformed header is no warning of ours, and Python keeps the text of each that it has shown.
warnings.simplefilter("ignore", BadContentDispositionHeader)
warnings.simplefilter("ignore", BadContentDispositionParam)


@dataclass(frozen=True)
class UploadLimits:
    """What an upload may be.

    Attributes:
        max_photos: photos of one target.
        photo: what each photo may be.
        read_timeout_s: time for the whole request to arrive.
        stall_timeout_s: longest pause within it.
    """

    max_photos: int = 8
    photo: PhotoLimits = field(default_factory=PhotoLimits)
    read_timeout_s: float = 120.0
    stall_timeout_s: float = 20.0

    @property
    def max_request_bytes(self) -> int:
        """The most bytes that a request can have and still be useful."""
        return self.max_photos * self.photo.max_bytes + _OVERHEAD_BYTES


@dataclass
class UploadedPhoto:
    """One file of the upload: its ``content`` as sent, or None if it had too many bytes to be kept."""

    file: str
    content: bytes | None


@dataclass(frozen=True)
class ClipSink:
    """Where a film that comes with an upload (part ``clip``) is written as it arrives.

    Attributes:
        path: of the file.
        max_bytes: of the film; the request may be so much larger.
    """

    path: Path
    max_bytes: int


@dataclass
class Upload:
    """What was sent: the photos in their order, the text fields, and whether a film came along."""

    photos: list[UploadedPhoto] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    clip: bool = False

    @property
    def consented(self) -> bool:
        """Whether the statement of consent was ticked."""
        return self.fields.get("consent", "").strip().lower() in ("true", "on", "yes", "1")


async def read_upload(request: web.Request, limits: UploadLimits, clip: ClipSink | None = None) -> Upload:
    """Read the request's form.

    A photo of too many bytes is read past, so that the answer can say which one it was, as long as the
    request as a whole stays within what all photos together may have.

    Raises:
        ApiError: not a form (``bad_request``, ``unsupported_media_type``), ``too_large``,
            ``too_many_photos``, or it did not arrive in time (``request_timeout``).
    """
    if request.content_type != "multipart/form-data":
        raise ApiError(415, "unsupported_media_type", "Photos must be sent as multipart/form-data.")
    most = limits.max_request_bytes + (clip.max_bytes if clip else 0)
    if request.content_length is not None and request.content_length > most:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.read_timeout_s):
            return await _Reader(limits, clip).read(request)
    except TimeoutError:
        raise error_of_status(408, {"Connection": "close"}) from None
    except (ValueError, AssertionError, RuntimeError, LookupError, HttpProcessingError) as error:
        # What aiohttp's multipart reader raises on malformed bodies.
        raise ApiError(
            400, "bad_request", "The form is malformed.", headers={"Connection": "close"}
        ) from error


class _Reader:
    """Reads one form, counting."""

    def __init__(self, limits: UploadLimits, clip: ClipSink | None) -> None:
        self._limits = limits
        self._clip = clip
        self._total = 0

    async def read(self, request: web.Request) -> Upload:
        upload = Upload()
        form = await request.multipart()
        parts = 0
        while True:
            async with asyncio.timeout(self._limits.stall_timeout_s):
                part = await form.next()
            if part is None:
                return upload
            parts += 1
            if not isinstance(part, BodyPartReader) or parts > _MAX_PARTS:
                raise ValueError("nested or too many parts")
            if part.name == "clip" and self._clip is not None:
                if upload.clip:
                    raise ValueError("more than one clip")
                await self._write_clip(part, self._clip)
                upload.clip = True
            elif part.name == "photos" or part.filename is not None:
                if len(upload.photos) >= self._limits.max_photos:
                    raise ApiError(
                        413,
                        "too_many_photos",
                        f"A target takes at most {self._limits.max_photos} photos.",
                        headers={"Connection": "close"},
                    )
                content = await self._content(part, self._limits.photo.max_bytes)
                upload.photos.append(UploadedPhoto(_file_name(part), content))
            else:
                value = await self._content(part, _FIELD_BYTES)
                if value is None:
                    raise ValueError("a field is too long")
                upload.fields[part.name or ""] = value.decode("utf-8", "replace")

    async def _write_clip(self, part: BodyPartReader, clip: ClipSink) -> None:
        written = 0
        with await asyncio.to_thread(open, clip.path, "xb") as file:
            while True:
                async with asyncio.timeout(self._limits.stall_timeout_s):
                    chunk = await part.read_chunk(_CHUNK_BYTES)
                if not chunk:
                    return
                written += len(chunk)
                if written > clip.max_bytes:
                    megabytes = clip.max_bytes / (1024 * 1024)
                    raise ApiError(
                        413,
                        "driver_too_large",
                        f"The clip is larger than {megabytes:g} MB.",
                        headers={"Connection": "close"},
                    )
                await asyncio.to_thread(file.write, chunk)

    async def _content(self, part: BodyPartReader, limit: int) -> bytes | None:
        content = bytearray()
        kept = True
        while True:
            async with asyncio.timeout(self._limits.stall_timeout_s):
                chunk = await part.read_chunk(_CHUNK_BYTES)
            if not chunk:
                return bytes(content) if kept else None
            self._total += len(chunk)
            if self._total > self._limits.max_request_bytes:
                raise _too_large(self._limits)
            if kept and len(content) + len(chunk) > limit:
                kept = False
                content.clear()
            if kept:
                content += chunk


def _too_large(limits: UploadLimits) -> ApiError:
    megabytes = limits.photo.max_bytes / (1024 * 1024)
    return ApiError(
        413,
        "too_large",
        f"The photos together are too large: at most {limits.max_photos} of {megabytes:g} MB each.",
        headers={"Connection": "close"},
    )


def _file_name(part: BodyPartReader) -> str:
    """The file's name as its sender knows it; only ever shown back, never used as a path."""
    name = (part.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in name if c.isprintable())[:_FILE_NAME_CHARACTERS]
