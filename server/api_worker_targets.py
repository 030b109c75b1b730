"""Prepared uploads for media workers on other machines, who have no part of the data directory.

GET /worker/targets/<id>    with the worker secret as bearer token (:data:`server.api_access.Rule.SECRET`)

An entity tag lets a worker ask whether an upload is still there without being sent it again.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from server.api_errors import ApiError
from server.targets.store import TargetStore, TargetUnknown, is_upload_id
from server.targets.transfer import DIGEST, digest, pack, tag


class WorkerTargetsApi:
    """The handler.

    Args:
        store: where uploads live.
    """

    def __init__(self, store: TargetStore) -> None:
        self._store = store

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Put the handler into an application."""
        router.add_get("/worker/targets/{id}", self.show)

    async def show(self, request: web.Request) -> web.Response:
        """GET /worker/targets/<id>; 304 to one whose copy is still good, 404 when the upload is gone."""
        target_id = request.match_info["id"]
        try:
            if not is_upload_id(target_id):
                raise TargetUnknown(target_id)  # built-in ones every worker has
            record = await asyncio.to_thread(self._store.record, target_id)
            headers = {"ETag": tag(record), "Cache-Control": "no-store"}
            if headers["ETag"] in request.headers.get("If-None-Match", ""):
                return web.Response(status=304, headers=headers)
            target = await asyncio.to_thread(self._store.load, target_id)
        except TargetUnknown:
            raise ApiError(
                404, "target_unknown", "There is no such upload, or it has been deleted."
            ) from None
        body = await asyncio.to_thread(pack, record, target)
        headers[DIGEST] = await asyncio.to_thread(digest, body)
        return web.Response(body=body, content_type="application/octet-stream", headers=headers)
