"""The animation API: expression templates, and photos that come alive.

GET    /api/templates               every template's name, title and length
POST   /api/animate                 a job (202): photos or a target, and templates or a clip (multipart)
GET    /api/animate/<id>            how far it is; the id is the capability
GET    /api/animate/<id>/events     the same as server-sent events, until it is over
GET    /api/animate/<id>/result     the file
DELETE /api/animate/<id>            cancel it, or forget its result (204)
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from models.templates.errors import TemplateError
from models.templates.library import Library, builtin_templates
from server.animation.jobs import AnimationJobs, Job, JobLimits, JobUnknown, TooManyJobs
from server.animation.options import FORMATS, AnimationOptions
from server.animation.worker import Order
from server.api_errors import ApiError, error_of_status
from server.api_limits import RateLimiter, client_address
from server.api_slots import NoSlot, Slots, own_are_taken, requester
from server.api_upload import ClipSink, Upload, UploadLimits, read_upload
from server.audit.entries import OF_TARGET, target_hash
from server.audit.service import note
from server.provenance import MarkSettings
from server.targets.store import TargetStore, TargetUnknown

logger = logging.getLogger(__name__)

_CONTENT_TYPES: Final[Mapping[str, str]] = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "gif": "image/gif",
    "webp": "image/webp",
}
_FIELDS: Final = frozenset({"seconds", "fps", "intensity", "play", "size", "whole"})
_STATEMENT_CHARACTERS: Final = 2000
_KNOWN_FIELDS: Final = _FIELDS | {"target", "templates", "format", "consent", "consent_text"}
#: What says that the disk, or this user's share of it, has no room left.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_EVENT_PAUSE_S: Final = 0.1
_HEARTBEAT_S: Final = 15.0


@dataclass(frozen=True)
class AnimateApiOptions:
    """How the animation API is bounded.

    Attributes:
        upload: what photos may be.
        jobs: how jobs are bounded.
        max_clip_bytes, max_clip_s: of a driver's clip.
        max_seconds, max_fps: of a result made of templates.
        max_templates: in a sequence.
        uploads_at_once, uploads_each: requests read at the same time, and of these, of one person or address.
        burst, refill_s: jobs that one address may start at once, and the seconds after which one more.
        sweep_interval_s: how often what has expired is deleted.
        generator: its name.
        mark: what says that a picture is generated.
        forwarded_header: see :func:`server.api_limits.client_address`.
    """

    upload: UploadLimits = field(default_factory=UploadLimits)
    jobs: JobLimits = field(default_factory=JobLimits)
    max_clip_bytes: int = 50 * 1024 * 1024
    max_clip_s: float = 30.0
    max_seconds: float = 20.0
    max_fps: float = 30.0
    max_templates: int = 8
    uploads_at_once: int = 3
    uploads_each: int = 1
    burst: float = 20
    refill_s: float = 10.0
    sweep_interval_s: float = 60.0
    generator: str = "mesh-warp"
    mark: MarkSettings = field(default_factory=MarkSettings)
    forwarded_header: str | None = None


class AnimateApi:
    """The handlers of ``/api/templates`` and ``/api/animate``.

    Args:
        store: where targets live.
        data_dir: where jobs' files and the operator's own templates lie.
        options: limits.
    """

    def __init__(self, store: TargetStore, data_dir: Path, options: AnimateApiOptions | None = None) -> None:
        self.options = options or AnimateApiOptions()
        self._store = store
        self._data_dir = data_dir
        self._library = Library(data_dir / "templates")
        self._jobs = AnimationJobs(data_dir / "animations", self.options.jobs, kept=[OF_TARGET])
        self._limiter = RateLimiter(self.options.burst, 1 / self.options.refill_s)
        self._reading = Slots(self.options.uploads_at_once, self.options.uploads_each)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Put the handlers into an application."""
        router.add_get("/api/templates", self.templates)
        router.add_post("/api/animate", self.create)
        router.add_get("/api/animate/{id}", self.show)
        router.add_delete("/api/animate/{id}", self.delete)
        router.add_get("/api/animate/{id}/events", self.events)
        router.add_get("/api/animate/{id}/result", self.result)

    # ------------------------------------------------------------ handlers

    async def templates(self, request: web.Request) -> web.Response:
        """GET /api/templates"""
        shipped = {template.name for template in await asyncio.to_thread(builtin_templates)}
        described = [
            {
                "name": template.name,
                "title": template.title,
                "description": template.description,
                "seconds": round(template.seconds, 2),
                "built_in": template.name in shipped,
            }
            for template in await asyncio.to_thread(self._library.all)
        ]
        return web.json_response({"templates": described}, headers={"Cache-Control": "no-cache"})

    async def create(self, request: web.Request) -> web.Response:
        """POST /api/animate"""
        wait = self._limiter.take(client_address(request, self.options.forwarded_header))
        if wait > 0:
            raise error_of_status(429, {"Retry-After": str(math.ceil(wait)), "Connection": "close"})
        who = requester(request, self.options.forwarded_header)
        try:
            with self._reading.hold(who):
                job, order = await self._read(request, who)
        except (NoSlot, TooManyJobs) as error:
            raise _busy(error.own) from None
        self._jobs.start(job, order)
        return web.json_response(
            _described(job),
            status=202,
            headers={"Location": f"/api/animate/{job.id}", "Cache-Control": "no-store"},
        )

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/animate/<id>"""
        return web.json_response(_described(self._job(request)), headers={"Cache-Control": "no-store"})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /api/animate/<id>"""
        await self._jobs.remove(self._job(request))
        return web.Response(status=204)

    async def result(self, request: web.Request) -> web.StreamResponse:
        """GET /api/animate/<id>/result"""
        job = self._job(request)
        if job.state != "finished":
            raise ApiError(409, "not_finished", "There is no result yet, or there will be none.")
        suffix = job.result.suffix.lstrip(".")
        return web.FileResponse(
            job.result,
            headers={
                "Content-Type": _CONTENT_TYPES[suffix],
                "Content-Disposition": f'attachment; filename="understudy.{suffix}"',
                "Cache-Control": "no-store",
            },
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /api/animate/<id>/events: ``progress`` for each change, then ``finished`` or ``failed``."""
        job = self._job(request)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        with suppress(ConnectionError):  # whoever listened is gone; the job goes on
            while True:
                changed = job.changed
                name = job.state if job.over else "progress"
                await response.write(f"event: {name}\ndata: {json.dumps(_described(job))}\n\n".encode())
                if job.over:
                    break
                await asyncio.sleep(_EVENT_PAUSE_S)
                while True:
                    try:
                        async with asyncio.timeout(_HEARTBEAT_S):
                            await changed.wait()
                        break
                    except TimeoutError:
                        await response.write(b": still there\n\n")
            await response.write_eof()
        return response

    # ------------------------------------------------------------ parts of create

    async def _read(self, request: web.Request, who: str) -> tuple[Job, Order]:
        """A job whose files are there, and what is to be made of them."""
        try:
            job = await self._jobs.open("part", who)
        except OSError as error:
            logger.error("no folder for an animation: %r", error)
            raise error_of_status(507) from None
        try:
            return job, await self._order(request, job)
        except BaseException as error:
            await self._jobs.remove(job)
            if isinstance(error, OSError) and error.errno in _FULL:
                logger.error("no room for what an animation is made of: %r", error)
                raise error_of_status(507, {"Connection": "close"}) from None
            raise

    async def _order(self, request: web.Request, job: Job) -> Order:
        options = self.options
        sink = ClipSink(job.folder / "clip", options.max_clip_bytes)
        upload = await read_upload(request, options.upload, sink)
        unknown = sorted(set(upload.fields) - _KNOWN_FIELDS)
        if unknown:
            raise ApiError(400, "option_invalid", f"There is no option {unknown[0][:40]!r}.")
        kind = upload.fields.get("format", "mp4").lower()
        if kind not in FORMATS:
            raise ApiError(400, "format_unknown", f"The format must be one of {', '.join(FORMATS)}.")
        job.result = job.folder / f"result.{kind}"
        chosen = self._chosen(upload)
        templates = [name.strip() for name in upload.fields.get("templates", "").split(",") if name.strip()]
        if bool(templates) == upload.clip:
            raise ApiError(400, "bad_request", "Give either templates or a clip of a driver.")
        if len(templates) > options.max_templates:
            raise ApiError(400, "too_many_templates", f"At most {options.max_templates} in a sequence.")
        for name in templates:
            try:
                await asyncio.to_thread(self._library.find, name)
            except TemplateError as error:
                raise ApiError(422, error.code, error.message) from None
        order = Order(
            data_dir=self._data_dir,
            templates=templates,
            driver=sink.path if upload.clip else None,
            out=job.result,
            options=chosen,
            generator=options.generator,
            mark=(options.mark.enabled, options.mark.text, options.mark.place, options.mark.watermark),
            max_driver_s=options.max_clip_s,
            timeout_s=options.jobs.timeout_s,
        )
        order = await self._with_subject(order, upload, job)
        statement = None if order.target else upload.fields["consent_text"].strip()[:_STATEMENT_CHARACTERS]
        note(request, "animation.ordered", target=order.target, detail=statement)
        return order

    def _chosen(self, upload: Upload) -> AnimationOptions:
        given = {name: value for name, value in upload.fields.items() if name in _FIELDS and value.strip()}
        numbers: dict[str, Any] = dict(given)
        if "size" in given and given["size"].isdigit():
            numbers["size"] = int(given["size"])
        try:
            chosen = AnimationOptions.model_validate(numbers)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ApiError(400, "option_invalid", f"{first['loc'][0]}: {first['msg']}.") from None
        for name, most in (("seconds", self.options.max_seconds), ("fps", self.options.max_fps)):
            value = getattr(chosen, name)
            if value is not None and value > most:
                raise ApiError(400, "option_invalid", f"{name}: at most {most:g}.")
        if chosen.fps is None and upload.clip:  # a clip's own rate could be anything
            chosen = chosen.model_copy(update={"fps": 25.0})
        return chosen

    async def _with_subject(self, order: Order, upload: Upload, job: Job) -> Order:
        target = upload.fields.get("target", "").strip()
        if bool(target) == bool(upload.photos):
            raise ApiError(400, "bad_request", "Give either photos or a target.")
        if target:
            if order.options.whole:
                raise ApiError(
                    422, "not_whole", "Of a target only the face is kept; send the photo for the whole of it."
                )
            try:
                await asyncio.to_thread(self._store.record, target)
            except TargetUnknown:
                message = "There is no such target, or it has been deleted."
                raise ApiError(404, "target_unknown", message) from None
            # By this `understudy forget` finds what was made of a target.
            await asyncio.to_thread((job.folder / OF_TARGET).write_text, target_hash(target))
            return order.model_copy(update={"target": target})
        if not upload.consented or not upload.fields.get("consent_text", "").strip():
            raise ApiError(
                400,
                "consent_required",
                "The statement that the person in the photos consents must be ticked and sent.",
            )
        paths = []
        for index, photo in enumerate(upload.photos):
            if photo.content is None:
                message = f"Photo {index + 1}: the file is too large."
                raise ApiError(413, "too_large", message)
            path = job.folder / f"photo {index + 1}"
            await asyncio.to_thread(path.write_bytes, photo.content)
            photo.content = None
            paths.append(path)
        return order.model_copy(update={"photos": paths})

    def _job(self, request: web.Request) -> Job:
        try:
            return self._jobs.find(request.match_info["id"])
        except JobUnknown:
            raise ApiError(404, "job_unknown", "There is no such job, or it has expired.") from None

    # ------------------------------------------------------------ lifetime

    async def run(self, app: web.Application) -> Any:
        """Cleanup context of an application: sweeps, and ends what still runs."""
        task = asyncio.create_task(self._sweep())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self._jobs.close()

    async def _sweep(self) -> None:
        while True:
            try:
                await self._jobs.sweep()
            except OSError:
                logger.exception("sweeping animations failed")
            await asyncio.sleep(self.options.sweep_interval_s)


def _described(job: Job) -> dict[str, object]:
    address = f"/api/animate/{job.id}"
    described: dict[str, object] = {
        "id": job.id,
        "state": job.state,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "events": f"{address}/events",
    }
    if job.state == "finished":
        described["result"] = f"{address}/result"
    if job.error:
        described["error"] = {"code": job.error[0], "message": job.error[1]}
    if job.expires_at is not None:
        expires = datetime.fromtimestamp(job.expires_at, UTC)
        described["expires_at"] = expires.isoformat(timespec="seconds").replace("+00:00", "Z")
    return described


def _busy(own: bool) -> ApiError:
    if own:
        return own_are_taken("Pictures for you, or for your address, are being made already; wait for them.")
    headers = {"Retry-After": "5", "Connection": "close"}
    return ApiError(503, "busy", "Other pictures are being made; try again shortly.", headers=headers)
