"""The preparation process: reads photos from its standard input, answers with crops and landmarks.

Started by :class:`server.targets.pool.PreparationPool` as ``python -m server.targets.preparer``. It
decodes what strangers send, so it has little to lose: a bounded address space, no secrets in its
environment, a low priority, an alarm that ends it when one photo takes too long even if its parent is
gone, and an answer format (safetensors) that executes nothing when read.

On the pipe, each photo is an 8-byte length and its bytes; each answer two 4-byte lengths, a JSON head
(``{"ok": true}`` or ``{"ok": false, "code", "message"}``) and a safetensors body.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from server.targets.faces import PhotoPreparer

REQUEST_HEAD = struct.Struct("!Q")
ANSWER_HEAD = struct.Struct("!II")


def main(arguments: list[str]) -> None:
    """Serve until the input ends. Arguments: max_bytes, max_pixels, min_face_px, timeout_s, memory_bytes."""
    max_bytes, max_pixels, min_face_px, timeout_s, memory_bytes = (int(argument) for argument in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent closes the pipe
    with suppress(OSError):
        os.nice(5)  # calls go first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries print to standard output: that becomes standard error, and answers get their own descriptor.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    from server.targets.decode import PhotoLimits
    from server.targets.faces import PhotoPreparer

    preparer = PhotoPreparer(PhotoLimits(max_bytes, max_pixels, min_face_px))
    preparer.warm_up()
    _bound_memory(memory_bytes)
    _answer(answers, {"ok": True})  # ready
    while (content := _read_request(sys.stdin.buffer)) is not None:
        signal.alarm(timeout_s + 5)
        _answer(answers, *_prepare(preparer, content))
        signal.alarm(0)


def _bound_memory(more_bytes: int) -> None:
    """Let the address space grow by so much from now on. (What the models' threads reserve depends on the
    machine's cores, so that a fixed bound would fit some machines and not others.)"""
    statm = Path("/proc/self/statm")
    if more_bytes and statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _prepare(preparer: PhotoPreparer, content: bytes) -> tuple[dict[str, object], bytes]:
    from safetensors.numpy import save

    from server.targets.errors import PhotoRefused

    try:
        photo = preparer.prepare(content)
    except PhotoRefused as refusal:
        return {"ok": False, "code": refusal.code, "message": refusal.message}, b""
    except MemoryError:
        message = "Reading the picture takes more memory than is allowed."
        return {"ok": False, "code": "unreadable", "message": message}, b""
    return {"ok": True}, save({"crop": photo.crop, "landmarks": photo.landmarks})


def _read_request(stream: BinaryIO) -> bytes | None:
    head = stream.read(REQUEST_HEAD.size)
    if len(head) < REQUEST_HEAD.size:
        return None
    (length,) = REQUEST_HEAD.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def _answer(stream: BinaryIO, head: dict[str, object], body: bytes = b"") -> None:
    text = json.dumps(head).encode()
    stream.write(ANSWER_HEAD.pack(len(text), len(body)) + text + body)
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
