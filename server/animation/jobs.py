"""Jobs that make moving pictures: in turn, each in a process of its own, bounded, forgotten after a while."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from server.animation.worker import Order
from server.environment import decoder_environment

logger = logging.getLogger(__name__)

__all__ = ["AnimationJobs", "Job", "JobLimits", "JobUnknown", "TooManyJobs"]

State = Literal["waiting", "running", "finished", "failed"]

_PREFIX: Final = "a_"
_LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class JobLimits:
    """How jobs are bounded.

    Attributes:
        at_once: processes that run at the same time.
        waiting: jobs that may wait for them.
        each: unfinished jobs of one owner.
        kept: results kept at the same time; the oldest go first.
        timeout_s: for one job, waiting not counted.
        ttl_s: how long a job is remembered once it is over, and its result kept.
    """

    at_once: int = 1
    waiting: int = 8
    each: int = 2
    kept: int = 64
    timeout_s: int = 120
    ttl_s: float = 3600.0


class JobUnknown(LookupError):
    """No such job, or no longer."""


class TooManyJobs(RuntimeError):
    """As many jobs wait as may.

    Args:
        own: as many of this owner's; others' would be taken.
    """

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.own = own


@dataclass
class Job:
    """One moving picture in the making.

    Attributes:
        id: its capability: unguessable, never listed.
        folder: where its files lie; removed with it.
        result: the file, once ``state`` is ``finished``.
        owner: who asked for it.
        stage, done, total: how far it is.
        error: code and sentence, once ``state`` is ``failed``.
        expires_at: seconds since the epoch; None until it is over.
    """

    id: str
    folder: Path
    result: Path
    owner: str = field(default="", repr=False)
    state: State = "waiting"
    stage: str = ""
    done: int = 0
    total: int | None = None
    error: tuple[str, str] | None = None
    expires_at: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ("finished", "failed")

    def update(self, **values: Any) -> None:
        """Change it, and let those know who watch."""
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()


class AnimationJobs:
    """All jobs of this process. All methods belong to one event loop.

    Args:
        folder: under which each job has its own.
        limits: see there.
        kept: names of files in a job's folder that stay as long as its result; others, which were sent, are
            deleted once it is over.
    """

    def __init__(self, folder: Path, limits: JobLimits | None = None, *, kept: Sequence[str] = ()) -> None:
        self.limits = limits or JobLimits()
        self._kept = frozenset(kept)
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Semaphore(self.limits.at_once)

    async def open(self, suffix: str, owner: str = "") -> Job:
        """A new job with a folder of its own, in which its files can be put; :meth:`start` or
        :meth:`remove` must follow.

        Args:
            suffix: of the result, without the dot.
            owner: who asks for it: one cannot have all places.

        Raises:
            TooManyJobs: as many wait as may, or as many of this owner's.
            OSError: the folder cannot be made.
        """
        unfinished = [job.owner for job in self._jobs.values() if not job.over]
        if len(unfinished) >= self.limits.at_once + self.limits.waiting:
            raise TooManyJobs(own=False)
        if unfinished.count(owner) >= self.limits.each:
            raise TooManyJobs(own=True)
        job_id = _PREFIX + secrets.token_urlsafe(24)
        folder = self._folder / job_id
        job = Job(job_id, folder, folder / f"result.{suffix}", owner)
        self._jobs[job_id] = job
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
        except BaseException:
            del self._jobs[job_id]
            raise
        return job

    def start(self, job: Job, order: Order) -> None:
        """Let it be made when its turn comes."""
        job.task = asyncio.create_task(self._run(job, order))

    def find(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            JobUnknown: there is none.
        """
        job = self._jobs.get(job_id)
        if job is None or (job.expires_at is not None and job.expires_at <= time.time()):
            raise JobUnknown(job_id)
        return job

    async def remove(self, job: Job) -> None:
        """Stop it if it runs, and forget it and its files."""
        self._jobs.pop(job.id, None)
        if job.task is not None and not job.task.done():
            job.task.cancel()
            with suppress(asyncio.CancelledError):
                await job.task
        if not job.over:
            job.update(state="failed", error=("cancelled", "It was cancelled."))
        await asyncio.to_thread(shutil.rmtree, job.folder, ignore_errors=True)

    async def sweep(self) -> None:
        """Forget what has expired, the oldest results beyond the number kept, and what was left over."""
        now = time.time()
        over = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.expires_at or 0.0)
        beyond = max(0, len(over) - self.limits.kept)
        for index, job in enumerate(over):
            if index < beyond or (job.expires_at or 0.0) <= now:
                await self.remove(job)
        await asyncio.to_thread(self._sweep_strays, set(self._jobs), now - self.limits.ttl_s - 3600.0)

    async def close(self) -> None:
        """Stop and forget everything."""
        for job in list(self._jobs.values()):
            await self.remove(job)

    def _sweep_strays(self, known: set[str], before: float) -> None:
        with suppress(OSError):
            for entry in os.scandir(self._folder):
                if (
                    entry.name.startswith(_PREFIX)
                    and entry.name not in known
                    and entry.stat().st_mtime < before
                ):
                    shutil.rmtree(entry.path, ignore_errors=True)

    async def _run(self, job: Job, order: Order) -> None:
        async with self._turn:
            job.update(state="running")
            try:
                async with asyncio.timeout(self.limits.timeout_s):
                    outcome = await self._make(job, order)
            except TimeoutError:
                outcome = {"ok": False, "code": "timed_out", "message": "Making it took too long."}
            except OSError as error:
                logger.error("an animation process did not start: %r", error)
                outcome = {"ok": False, "code": "unavailable", "message": "It cannot be made at the moment."}
            except Exception:  # a job that is never over would hold its owner's place for good
                logger.exception("an animation failed inside")
                outcome = {"ok": False, "code": "internal", "message": "Something went wrong on the server."}
        expires_at = time.time() + self.limits.ttl_s
        # what was sent is not needed any more, whatever became of it
        kept = self._kept if outcome.get("ok") else frozenset()
        try:
            await asyncio.to_thread(_remove_inputs, job, kept)
        except Exception:  # no thread is to be had; the sweep removes the folder
            logger.exception("what was sent for an animation could not be removed yet")
        if outcome.get("ok"):
            job.update(state="finished", done=job.total or job.done, expires_at=expires_at)
        else:
            reason = str(outcome.get("code", "internal")), str(outcome.get("message", ""))
            job.update(state="failed", error=reason, expires_at=expires_at)

    async def _make(self, job: Job, order: Order) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server.animation.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=decoder_environment(),
            limit=_LINE_BYTES,
        )
        try:
            assert process.stdin is not None
            with suppress(ConnectionError):
                process.stdin.write(order.model_dump_json().encode())
                await process.stdin.drain()
                process.stdin.close()
            async for message in _messages(process):
                if "ok" in message:
                    return message
                job.update(stage=str(message["stage"]), done=int(message["done"]), total=message.get("total"))
        except (ValueError, KeyError, TypeError):
            pass  # what it says makes no sense: it has broken down
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            # Closes the pipes at once instead of when the garbage collector comes by.
            process._transport.close()  # type: ignore[attr-defined]
        logger.warning("an animation process broke down")
        return {"ok": False, "code": "unreadable", "message": "Reading what was sent failed."}


async def _messages(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("not an object")
        yield message


def _remove_inputs(job: Job, kept: Set[str]) -> None:
    with suppress(OSError):
        for entry in os.scandir(job.folder):
            if entry.path != str(job.result) and entry.name not in kept:
                os.unlink(entry.path)
