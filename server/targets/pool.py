"""Prepares uploaded photos in a process of its own: bounded in time and memory, replaced when it breaks.

Nothing that a stranger's file does to a decoder or a detector reaches the event loop that serves calls.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from server.environment import decoder_environment
from server.targets.decode import PhotoLimits
from server.targets.errors import REFUSAL_CODES, PhotoRefused, PreparationFailed, RefusalCode
from server.targets.preparer import ANSWER_HEAD, REQUEST_HEAD
from server.targets.store import CROP_SIZE, LANDMARKS

logger = logging.getLogger(__name__)

_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class PoolOptions:
    """How preparing is bounded.

    Attributes:
        limits: what a photo may be.
        timeout_s: time for one photo; its process is killed then.
        memory_bytes: address space for reading a photo, on top of what the models take (measured: 0.9 GB
            for 40 megapixels); 0: unbounded.
        recycle_after: photos after which the process is replaced, so that nothing piles up in it.
    """

    limits: PhotoLimits = field(default_factory=PhotoLimits)
    timeout_s: float = 20.0
    memory_bytes: int = 2 * 1024**3
    recycle_after: int = 200


class PreparationPool:
    """One preparation process, used by one photo at a time; callers wait for each other in turn.

    Started at the first photo or by :meth:`warm_up`. All methods belong to one event loop.
    """

    def __init__(self, options: PoolOptions | None = None) -> None:
        self.options = options or PoolOptions()
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of the running preparation process, if one runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def warm_up(self) -> None:
        """Start the process and load its models, so that the first upload need not wait for that."""
        async with self._lock:
            if not self._closed:
                with suppress(PreparationFailed):
                    await self._running()

    async def prepare(self, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Cut the face out of a photo.

        Args:
            content: the bytes of the file as they were sent.

        Returns:
            The crop ``[512, 512, 3]`` uint8 RGB and its landmarks ``[478, 3]`` float32, pixels of the crop.

        Raises:
            PhotoRefused: the photo cannot be used; ``timed_out`` when it took too long.
            PreparationFailed: the process could not be started, or the pool is closed.
        """
        async with self._lock:
            if self._closed:
                raise PreparationFailed("The service is shutting down.")
            process = await self._running()
            try:
                async with asyncio.timeout(self.options.timeout_s):
                    head, body = await _exchange(process, content)
            except TimeoutError:
                await self._end()
                raise PhotoRefused("timed_out", "Reading the photo took too long.") from None
            except (OSError, EOFError, ValueError) as error:
                # EOFError covers asyncio.IncompleteReadError: the process died on this photo.
                logger.warning("the preparation process broke down on a photo: %r", error)
                await self._end()
                raise PhotoRefused("unreadable", "Reading the photo failed.") from None
            except BaseException:
                # Cancelled half-way: an answer nobody reads would be taken for the next photo's.
                await self._end()
                raise
            self._served += 1
            if self._served >= self.options.recycle_after:
                await self._end()
        if not head.get("ok"):
            code = head.get("code")
            known: RefusalCode = next((known for known in REFUSAL_CODES if known == code), "unreadable")
            raise PhotoRefused(known, str(head.get("message", "")))
        return _unpack(body)

    async def close(self) -> None:
        """End the process; photos still waiting get :class:`PreparationFailed`."""
        self._closed = True
        await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        options = self.options
        arguments = (
            options.limits.max_bytes,
            options.limits.max_pixels,
            options.limits.min_face_px,
            int(options.timeout_s + 0.999),
            options.memory_bytes,
        )
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "server.targets.preparer",
                *(str(argument) for argument in arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=decoder_environment(),
            )
            self._process = process
            self._served = 0
            async with asyncio.timeout(_START_TIMEOUT_S):
                await _read_answer(process)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            logger.error("the preparation process did not start: %r", error)
            await self._end()
            raise PreparationFailed("Photos cannot be prepared at the moment.") from error
        except BaseException:
            await self._end()
            raise
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        # Closes the pipes at once instead of when the garbage collector comes by.
        process._transport.close()  # type: ignore[attr-defined]


async def _exchange(process: asyncio.subprocess.Process, content: bytes) -> tuple[dict[str, object], bytes]:
    assert process.stdin is not None
    process.stdin.write(REQUEST_HEAD.pack(len(content)))
    process.stdin.write(content)
    await process.stdin.drain()
    return await _read_answer(process)


async def _read_answer(process: asyncio.subprocess.Process) -> tuple[dict[str, object], bytes]:
    assert process.stdout is not None
    head_length, body_length = ANSWER_HEAD.unpack(await process.stdout.readexactly(ANSWER_HEAD.size))
    if head_length + body_length > _MAX_ANSWER_BYTES:
        raise ValueError("The answer is too long.")
    head = json.loads(await process.stdout.readexactly(head_length))
    if not isinstance(head, dict):
        raise ValueError("The answer is malformed.")
    return head, await process.stdout.readexactly(body_length)


def _unpack(body: bytes) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    try:
        tensors = load(body)
        crop, landmarks = tensors["crop"], tensors["landmarks"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise PreparationFailed("The preparation process answered nonsense.") from error
    if crop.shape != (CROP_SIZE, CROP_SIZE, 3) or landmarks.shape != (LANDMARKS, 3):
        raise PreparationFailed("The preparation process answered nonsense.")
    return crop, landmarks
