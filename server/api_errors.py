"""Every HTTP error as JSON ``{"error": {"code", "message"}}``, and the headers that every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Strict: nothing but what is named, nothing inline, nothing from elsewhere. Camera pictures are MediaStreams
# and blob: URLs; 'self' covers the WebSocket of the same host (CSP Level 3, section 6.7.2.8).
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text becomes markup or code
        "trusted-types 'none'",
    )
)

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(self), fullscreen=(self), display-capture=(), "
    "geolocation=(), payment=(), usb=(), serial=(), midi=()",
    "Referrer-Policy": "no-referrer",  # a room's link, and a token in it, let people in; not for others
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
}

#: Counted in the metrics, never sent: the client went before it was answered (nginx' own code).
CLIENT_GONE: Final = 499

_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request cannot be understood."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take that method."),
    408: ("request_timeout", "The request took too long to arrive."),
    411: ("length_required", "The request must say how long it is."),
    413: ("too_large", "The request is too large."),
    415: ("unsupported_media_type", "The request is of a type that is not taken here."),
    429: ("rate_limited", "Too many requests; try again later."),
    500: ("internal", "Something went wrong on the server."),
    503: ("unavailable", "The service cannot do this at the moment."),
    507: ("insufficient_storage", "The server has no room left."),
}


class ApiError(Exception):
    """A refusal with a status, a code for programs and a sentence for people.

    Args:
        status: of HTTP.
        code, message: as they are sent.
        headers: more headers of the answer, for example Retry-After.
        extra: more members of the answer beside ``error``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> web.Response:
        """The answer that says so."""
        body = {"error": {"code": self.code, "message": self.message}, **self.extra}
        return web.json_response(
            body, status=self.status, headers={"Cache-Control": "no-store", **self.headers}
        )


def error_of_status(status: int, headers: Mapping[str, str] | None = None) -> ApiError:
    """The plain error of an HTTP status."""
    code, message = _CODES.get(status, ("error", f"The request failed with status {status}."))
    return ApiError(status, code, message, headers=headers)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal and every failure into a JSON error; what failed inside is logged, not told."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return error_of_status(error.status, kept).response()
    except Exception as error:
        if isinstance(error, ConnectionError) and (
            request.transport is None or request.transport.is_closing()
        ):
            # Who sent this has gone: no fault, and nobody is there for the answer. A traceback for each would
            # let strangers fill the log.
            return web.Response(status=CLIENT_GONE)
        # The address is not logged: the id of an upload in it is a capability.
        resource = request.match_info.route.resource
        logger.exception("%s %s failed", request.method, resource.canonical if resource else "?")
        return error_of_status(500).response()


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler (``on_response_prepare``): the security headers, on every answer."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "understudy"  # not which versions of what
