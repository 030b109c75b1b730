"""The process that makes one moving picture for the HTTP interface: strangers' files, little to lose.

Started by :class:`server.animation.jobs.AnimationJobs` as ``python -m server.animation.worker``. Its standard
input is one JSON object, an :class:`Order`; its standard output a JSON object a line: progress
``{"stage", "done", "total"}`` and at last ``{"ok": true, "pictures"}`` or ``{"ok": false, "code",
"message"}``. It has a bounded address space, a low priority, no secrets in its environment, and an alarm that
ends it when its parent is gone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from server.animation.options import AnimationOptions

#: Progress is told this often at most.
_TELL_S: Final = 0.1


class Order(BaseModel):
    """What is to be made.

    Attributes:
        photos: files of one person's photos; or none, and
        target: the id of a kept target in ``data_dir``.
        templates: names; or none, and
        driver: a film.
        out: the file that is written.
        options: as chosen.
        generator: its name in the settings.
        mark: enabled, text, place, watermark.
        max_driver_s, max_driver_pixels: bounds of the film.
        timeout_s: after this the process ends itself.
        memory_bytes: that its address space may grow by.
    """

    photos: list[Path] = []
    target: str | None = None
    data_dir: Path
    templates: list[str] = []
    driver: Path | None = None
    out: Path
    options: AnimationOptions
    generator: str = "mesh-warp"
    mark: tuple[bool, str, str, bool] = (True, "AI-generated", "bottom-right", True)
    max_driver_s: float = 30.0
    max_driver_pixels: int = 1920 * 1920
    timeout_s: int = 120
    memory_bytes: int = 3 * 1024**3


def main() -> None:
    """Do one order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent ends us
    with suppress(OSError):
        os.nice(10)  # calls go first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries print to standard output: that becomes standard error, and answers get their own descriptor.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    order = Order.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(order.timeout_s + 5)
    from models.templates.errors import TemplateError
    from server.animation.errors import AnimationError
    from server.targets.errors import PhotoRefused

    try:
        answer(ok=True, pictures=_make(order, answer))
    except (AnimationError, TemplateError, PhotoRefused) as refusal:
        answer(ok=False, code=refusal.code, message=refusal.message)
    except MemoryError:
        answer(ok=False, code="too_large", message="It takes more memory than is allowed.")


def _make(order: Order, answer: Any) -> int:
    from models.templates.library import Library
    from server.animation.clip import ClipLimits
    from server.animation.render import Work, render
    from server.animation.subjects import subject_of_photos, subject_of_target
    from server.generators import load_generator
    from server.provenance import MarkSettings
    from server.targets.store import TargetStore

    library = Library(order.data_dir / "templates")
    templates = [library.find(name) for name in order.templates]
    generator = load_generator(order.generator, order.data_dir)
    generator(256)  # what it loads is not counted against the bound
    _bound_memory(order.memory_bytes)
    answer(stage="looking for the face", done=0, total=None)
    if order.target is not None:
        subject = subject_of_target(TargetStore(order.data_dir), order.target)
    else:
        subject = subject_of_photos(order.photos)
    told = 0.0

    def tell(stage: str, done: int, total: int | None) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S or done == total:
            told = time.monotonic()
            answer(stage=stage, done=done, total=total)

    enabled, text, place, watermark = order.mark
    work = Work(
        subject=subject,
        out=order.out,
        templates=templates,
        driver=order.driver,
        options=order.options,
        mark=MarkSettings(enabled, text, place, watermark),  # type: ignore[arg-type]
        limits=ClipLimits(max_seconds=order.max_driver_s, max_pixels=order.max_driver_pixels),
    )
    return render(work, generator, tell)


def _bound_memory(more_bytes: int) -> None:
    """Let the address space grow by so much from now on."""
    statm = Path("/proc/self/statm")
    if more_bytes and statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
