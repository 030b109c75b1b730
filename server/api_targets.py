"""The targets API: the gallery, uploading photos of a new target, its picture, forgetting it.

GET    /api/targets               the built-in targets; uploads are never listed
POST   /api/targets               a new target from 1 to 8 photos of one person
GET    /api/targets/<id>          one target; for an upload the id is the capability
GET    /api/targets/<id>/image    its picture, 256x256 WebP
DELETE /api/targets/<id>          forget an upload (204)
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from server.api_errors import ApiError, error_of_status
from server.api_limits import RateLimiter, client_address
from server.api_metrics import ApiMetrics
from server.api_slots import NoSlot, Slots, own_are_taken, requester
from server.api_upload import Upload, UploadedPhoto, UploadLimits, read_upload
from server.audit.service import note
from server.targets.decode import too_large
from server.targets.errors import PhotoRefused, PreparationFailed
from server.targets.pool import PreparationPool
from server.targets.store import (
    Consent,
    StorageFull,
    TargetProtected,
    TargetRecord,
    TargetStore,
    TargetUnknown,
)

logger = logging.getLogger(__name__)

_THUMBNAILS_KEPT: Final = 64
_NAME_CHARACTERS: Final = 64
_STATEMENT_CHARACTERS: Final = 2000


@dataclass(frozen=True)
class TargetsApiOptions:
    """How the targets API is bounded.

    Attributes:
        upload: what an upload may be.
        concurrent_uploads: uploads read and prepared at the same time; each may hold all its photos in
            memory. Further ones are told to come again.
        uploads_each: of these, of one person or address.
        upload_burst, upload_refill_s: uploads that one address may make at once, and the seconds after
            which it may make one more.
        sweep_interval_s: how often expired uploads are deleted.
        forwarded_header: set by a reverse proxy in front (see :func:`server.api_limits.client_address`).
    """

    upload: UploadLimits = field(default_factory=UploadLimits)
    concurrent_uploads: int = 3
    uploads_each: int = 1
    upload_burst: float = 20
    upload_refill_s: float = 30.0
    sweep_interval_s: float = 60.0
    forwarded_header: str | None = None


class TargetsApi:
    """The handlers of ``/api/targets``, and the periodic sweep of what has expired.

    Args:
        store: where targets live.
        pool: prepares photos; its limits should be those of ``options.upload.photo``.
        metrics: what is counted.
        options: limits.
    """

    def __init__(
        self,
        store: TargetStore,
        pool: PreparationPool,
        metrics: ApiMetrics,
        options: TargetsApiOptions | None = None,
    ) -> None:
        self.options = options or TargetsApiOptions()
        self._store = store
        self._pool = pool
        self._metrics = metrics
        self._uploading = Slots(self.options.concurrent_uploads, self.options.uploads_each)
        self._limiter = RateLimiter(self.options.upload_burst, 1 / self.options.upload_refill_s)
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Put the handlers into an application."""
        router.add_get("/api/targets", self.list_built_in)
        router.add_post("/api/targets", self.create)
        router.add_get("/api/targets/{id}", self.show)
        router.add_delete("/api/targets/{id}", self.delete)
        router.add_get("/api/targets/{id}/image", self.image)

    # ------------------------------------------------------------ handlers

    async def list_built_in(self, request: web.Request) -> web.Response:
        """GET /api/targets"""
        targets = [_described(record) for record in self._store.built_ins()]
        return web.json_response({"targets": targets}, headers={"Cache-Control": "no-cache"})

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/targets/<id>"""
        record = await self._record(request)
        return web.json_response(_described(record), headers={"Cache-Control": "no-store"})

    async def image(self, request: web.Request) -> web.Response:
        """GET /api/targets/<id>/image"""
        record = await self._record(request)
        encoded = self._thumbnails.get(record.id)
        if encoded is None:
            try:
                encoded = await asyncio.to_thread(self._store.thumbnail, record.id)
            except TargetUnknown:
                raise _unknown() from None
            if record.built_in:  # uploads are shown to one person; what is deleted must not stay here
                self._thumbnails[record.id] = encoded
                while len(self._thumbnails) > _THUMBNAILS_KEPT:
                    self._thumbnails.popitem(last=False)
        kept = "public, max-age=3600" if record.built_in else "no-store"
        return web.Response(body=encoded, content_type="image/webp", headers={"Cache-Control": kept})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /api/targets/<id>"""
        try:
            await asyncio.to_thread(self._store.delete, request.match_info["id"])
        except TargetUnknown:
            raise _unknown() from None
        except TargetProtected:
            raise ApiError(403, "protected", "Built-in targets cannot be deleted.") from None
        note(request, "target.deleted", target=request.match_info["id"])
        return web.Response(status=204)

    async def create(self, request: web.Request) -> web.Response:
        """POST /api/targets"""
        try:
            return await self._create(request)
        except ApiError as error:
            self._metrics.uploads.labels(error.code).inc()
            raise

    # ------------------------------------------------------------ parts of create

    async def _create(self, request: web.Request) -> web.Response:
        wait = self._limiter.take(client_address(request, self.options.forwarded_header))
        if wait > 0:
            raise error_of_status(429, {"Retry-After": str(math.ceil(wait)), "Connection": "close"})
        try:
            with self._uploading.hold(requester(request, self.options.forwarded_header)):
                upload = await read_upload(request, self.options.upload)
                consent = self._consent(upload)
                if not upload.photos:
                    raise ApiError(400, "no_photos", "Send at least one photo.")
                record = await self._prepared(request, upload, consent)
                note(request, "target.uploaded", target=record.id, detail=consent.statement)
        except NoSlot as error:
            raise _busy(error.own) from None
        self._metrics.uploads.labels("created").inc()
        photos = [{"index": k, "file": photo.file, "ok": True} for k, photo in enumerate(upload.photos)]
        return web.json_response(
            {**_described(record), "photos": photos},
            status=201,
            headers={"Location": f"/api/targets/{record.id}", "Cache-Control": "no-store"},
        )

    def _consent(self, upload: Upload) -> Consent:
        statement = upload.fields.get("consent_text", "").strip()
        if not upload.consented or not statement:
            raise ApiError(
                400,
                "consent_required",
                "The statement that the person in the photos consents must be ticked and sent.",
            )
        return Consent(statement[:_STATEMENT_CHARACTERS], time.time())

    async def _prepared(self, request: web.Request, upload: Upload, consent: Consent) -> TargetRecord:
        crops, landmarks, refusals = [], [], []
        for index, photo in enumerate(upload.photos):
            try:
                crop, points = await self._prepare_one(photo)
            except PhotoRefused as refusal:
                refusals.append((index, photo.file, refusal))
                continue
            except PreparationFailed as error:
                raise ApiError(503, "unavailable", str(error), headers={"Retry-After": "5"}) from None
            finally:
                photo.content = None  # originals are never kept, not even here longer than needed
            crops.append(crop)
            landmarks.append(points)
        if refusals:
            raise _refused(refusals)
        name = upload.fields.get("name", "").strip()
        name = "".join(c for c in name if c.isprintable())[:_NAME_CHARACTERS] or "Your photo"
        save = functools.partial(self._store.save, crops, landmarks, name=name, consent=consent)
        _require_client(request)
        try:
            record = await asyncio.to_thread(save)
        except StorageFull:
            logger.warning("an upload was refused: no room for another target")
            raise error_of_status(507) from None
        try:
            _require_client(request)
        except ConnectionError:
            await asyncio.to_thread(self._store.delete, record.id)
            raise
        return record

    async def _prepare_one(self, photo: UploadedPhoto) -> tuple[Any, Any]:
        if photo.content is None:
            raise too_large(self.options.upload.photo)
        started = time.perf_counter()
        try:
            return await self._pool.prepare(photo.content)
        except PhotoRefused as refusal:
            self._metrics.photos_refused.labels(refusal.code).inc()
            raise
        finally:
            self._metrics.preparation_seconds.observe(time.perf_counter() - started)

    async def _record(self, request: web.Request) -> TargetRecord:
        try:
            return await asyncio.to_thread(self._store.record, request.match_info["id"])
        except TargetUnknown:
            raise _unknown() from None

    # ------------------------------------------------------------ lifetime

    async def run(self, app: web.Application) -> Any:
        """Cleanup context of an application: sweeps at the start and then periodically, warms the pool up."""
        tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._pool.warm_up())]
        yield
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self._pool.close()

    async def _sweep(self) -> None:
        while True:
            try:
                swept = await asyncio.to_thread(self._store.sweep)
                self._metrics.uploaded_targets.set(await asyncio.to_thread(self._store.uploads))
                if swept:
                    logger.info("deleted %d expired targets", swept)
            except OSError:
                logger.exception("sweeping expired targets failed")
            await asyncio.sleep(self.options.sweep_interval_s)


def _described(record: TargetRecord) -> dict[str, object]:
    described: dict[str, object] = {
        "id": record.id,
        "name": record.name,
        "image": f"/api/targets/{record.id}/image",
    }
    if record.built_in:
        return described | {"credit": record.credit, "licence": record.licence}
    expires = datetime.fromtimestamp(record.expires_at or 0.0, UTC)
    return described | {"expires_at": expires.isoformat(timespec="seconds").replace("+00:00", "Z")}


def _busy(own: bool) -> ApiError:
    if own:
        return own_are_taken(
            "Photos of yours, or from your address, are being prepared already; wait for them."
        )
    headers = {"Retry-After": "2", "Connection": "close"}
    return ApiError(503, "busy", "Other photos are being prepared; try again shortly.", headers=headers)


def _unknown() -> ApiError:
    return ApiError(404, "target_unknown", "There is no such target, or it has been deleted.")


def _require_client(request: web.Request) -> None:
    """Somebody must be there for the answer: nobody else learns the id, so nobody could delete the target.

    Raises:
        ConnectionError: who sent the photos has gone, or has cancelled.
    """
    if request.transport is None or request.transport.is_closing():
        raise ConnectionError


def _refused(refusals: list[tuple[int, str, PhotoRefused]]) -> ApiError:
    photos = [
        {"index": index, "file": file, "code": refusal.code, "message": refusal.message}
        for index, file, refusal in refusals
    ]
    index, _, first = refusals[0]
    status = 413 if first.code == "too_large" else 415 if first.code == "unsupported_format" else 422
    return ApiError(status, first.code, f"Photo {index + 1}: {first.message}", extra={"photos": photos})
