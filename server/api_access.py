"""Who may ask what over HTTP: a rule for every route, enforced before any handler runs.

A route without a rule is a fault of the program: the application does not start with one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from aiohttp import web

from server.api_errors import ApiError, Handler, error_of_status
from server.api_limits import RateLimiter, client_address
from server.exposure import is_local_only
from server.settings import Settings
from signaling.admission import bearer, is_own_host, may_read_metrics, origin_allowed, same_secret
from signaling.grants import NO_TOKEN, Grant
from signaling.tokens import TokenDenied, verify

logger = logging.getLogger(__name__)


class Rule(Enum):
    """What a route asks of who comes."""

    PUBLIC = auto()  # nothing: the page, the gallery
    HEALTH = auto()  # nothing, under any host name and at any rate: probes
    CAPABILITY = auto()  # an upload's id, which is in its address and cannot be guessed
    JOIN = auto()  # a join token as bearer token, where the service is by invitation
    BACKEND = auto()  # the operator's API key as bearer token
    SECRET = auto()  # the worker secret as bearer token
    METRICS = auto()  # the metrics secret as bearer token; without one, to be this machine
    TERMINAL = auto()  # a WebSocket whose hello carries the join token (signaling.gate)
    WORKER = auto()  # a WebSocket whose hello carries the worker secret (signaling.workers)


RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("GET", "/"): Rule.PUBLIC,
    ("GET", "/favicon.ico"): Rule.PUBLIC,
    ("GET", "/static/{path}"): Rule.PUBLIC,
    ("GET", "/api/config"): Rule.PUBLIC,
    ("GET", "/api/targets"): Rule.PUBLIC,
    ("POST", "/api/targets"): Rule.JOIN,
    ("GET", "/api/targets/{id}"): Rule.CAPABILITY,
    ("DELETE", "/api/targets/{id}"): Rule.CAPABILITY,
    ("GET", "/api/targets/{id}/image"): Rule.CAPABILITY,
    ("GET", "/api/templates"): Rule.PUBLIC,
    ("POST", "/api/animate"): Rule.JOIN,
    ("GET", "/api/animate/{id}"): Rule.CAPABILITY,
    ("DELETE", "/api/animate/{id}"): Rule.CAPABILITY,
    ("GET", "/api/animate/{id}/events"): Rule.CAPABILITY,
    ("GET", "/api/animate/{id}/result"): Rule.CAPABILITY,
    ("POST", "/api/tokens"): Rule.BACKEND,
    ("GET", "/healthz"): Rule.HEALTH,
    ("GET", "/readyz"): Rule.HEALTH,
    ("GET", "/metrics"): Rule.METRICS,
    ("GET", "/ws"): Rule.TERMINAL,
    ("GET", "/worker"): Rule.WORKER,
    ("GET", "/worker/targets/{id}"): Rule.SECRET,
}

#: Where a handler finds the grant of a request that needed a join token.
GRANT: Final = web.RequestKey("grant", Grant)

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class AccessConfig:
    """Keys and limits.

    Attributes:
        join_key: signs join tokens; empty: everybody who reaches the service may use it.
        api_key: of the operator's backend, which mints tokens with it; empty: nobody does.
        worker_secret: of the media workers; empty: none is taken.
        metrics_secret: for /metrics; empty: only programs on this machine read it.
        own_host_only: requests must have come to localhost; for a service that is open because it is local.
        allowed_origins: further origins whose pages may send what changes something.
        forwarded_header: set by a reverse proxy in front (see :func:`server.api_limits.client_address`).
        request_burst, requests_per_second: of one address.
        person_burst, person_refill_s: requests that need a join token, of one token.
        wrong_key_burst, wrong_key_refill_s: wrong keys of one address until it is made to wait.
    """

    join_key: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    worker_secret: str = field(default="", repr=False)
    metrics_secret: str = field(default="", repr=False)
    own_host_only: bool = False
    allowed_origins: tuple[str, ...] = ()
    forwarded_header: str | None = None
    request_burst: float = 1000
    requests_per_second: float = 50.0
    person_burst: float = 20
    person_refill_s: float = 30.0
    wrong_key_burst: float = 10
    wrong_key_refill_s: float = 6.0


def access_config(settings: Settings) -> AccessConfig:
    """The access part of all settings."""
    return AccessConfig(
        join_key=settings.join_key.get_secret_value(),
        api_key=settings.api_key.get_secret_value(),
        worker_secret=settings.worker_secret.get_secret_value(),
        metrics_secret=settings.metrics_secret.get_secret_value(),
        own_host_only=is_local_only(settings),
        allowed_origins=tuple(settings.allowed_origins),
        forwarded_header=settings.forwarded_header,
    )


class Access:
    """Enforces the rules.

    Args:
        config: keys and limits.
        rules: by method and route pattern; HEAD goes by GET's.
    """

    def __init__(self, config: AccessConfig, rules: Mapping[tuple[str, str], Rule] = RULES) -> None:
        self._config = config
        self._rules = rules
        self._requests = RateLimiter(config.request_burst, config.requests_per_second)
        self._persons = RateLimiter(config.person_burst, 1 / config.person_refill_s)
        self._wrong_keys = RateLimiter(config.wrong_key_burst, 1 / config.wrong_key_refill_s)
        self._wrong_secrets = RateLimiter(config.wrong_key_burst, 1 / config.wrong_key_refill_s)

    async def require_rules(self, app: web.Application) -> None:
        """Startup signal.

        Raises:
            RuntimeError: a route has no rule.
        """
        bare = [key for route in app.router.routes() if (key := _key(route)) not in self._rules]
        if bare:
            raise RuntimeError(f"Routes without a rule in server.api_access.RULES: {bare}")

    def middleware(self) -> object:
        """Lets a request through to its handler, or answers with an error."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.match_info.http_exception is None:  # a route was found
                self.admit(request)
            return await handler(request)

        return guard

    def admit(self, request: web.Request) -> None:
        """Let a request through.

        Raises:
            ApiError: 401, 403 or 429.
        """
        rule = self._rules.get(_key(request.match_info.route))
        if rule is None:
            raise error_of_status(403)
        if rule is Rule.HEALTH:
            return
        config = self._config
        address = client_address(request, config.forwarded_header)
        if self._requests.take(address) > 0:
            raise error_of_status(429, {"Retry-After": "1"})
        if rule is Rule.WORKER:
            return
        if rule is Rule.SECRET:  # workers know the service by whatever name they reach it
            self._check_worker_secret(request, address)
            return
        if config.own_host_only and not is_own_host(request.host):
            raise ApiError(
                403,
                "own_host_only",
                "Without join tokens this serves localhost alone: open it under that name, or set join_key.",
            )
        if request.method not in _SAFE_METHODS:
            self._check_origin(request)
        match rule:
            case Rule.METRICS:
                if not may_read_metrics(config.metrics_secret, request.remote, request.headers):
                    raise _unauthorised("This needs the metrics secret as a bearer token.")
            case Rule.BACKEND:
                self._check_api_key(request, address)
            case Rule.JOIN:
                self._check_join_token(request)

    def _check_origin(self, request: web.Request) -> None:
        """A page of another site must not act with a visitor's address, nor fill the disk through it."""
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        allowed = origin_allowed(origin, request.host, self._config.allowed_origins)
        if not allowed or (origin is None and site not in ("same-origin", "none")):
            raise ApiError(403, "origin", "Pages of other sites may not send this.")

    def _check_api_key(self, request: web.Request, address: str) -> None:
        if not self._config.api_key:
            raise ApiError(403, "tokens_off", "No API key is set here (api_key), so none is right.")
        if not same_secret(self._config.api_key, bearer(request.headers)):
            self._note_wrong(self._wrong_keys, address, "API key")
            raise _unauthorised("This needs the operator's API key as a bearer token.")

    def _check_worker_secret(self, request: web.Request, address: str) -> None:
        if "Origin" in request.headers:
            raise ApiError(403, "origin", "This is for media workers, not for pages.")
        if not same_secret(self._config.worker_secret, bearer(request.headers)):
            self._note_wrong(self._wrong_secrets, address, "worker secret")
            raise _unauthorised("This needs the worker secret as a bearer token.")

    def _note_wrong(self, limiter: RateLimiter, address: str, kind: str) -> None:
        """Who has the right key is never made to wait for those who guess."""
        if limiter.take(address) > 0:
            raise error_of_status(429, {"Retry-After": "60"})
        logger.warning("A wrong %s was shown by %s.", kind, address)

    def _check_join_token(self, request: web.Request) -> None:
        if not self._config.join_key:
            return
        token = bearer(request.headers)
        if token is None:
            raise _unauthorised(NO_TOKEN.message, NO_TOKEN.code.value)
        try:
            grant = verify(self._config.join_key, token)
        except TokenDenied as error:
            raise _unauthorised(error.denied.message, error.denied.code.value) from None
        if self._persons.take(grant.id) > 0:
            raise error_of_status(429, {"Retry-After": "30", "Connection": "close"})
        request[GRANT] = grant


def _key(route: web.AbstractRoute) -> tuple[str, str]:
    resource = route.resource
    method = "GET" if route.method == "HEAD" else route.method
    return method, resource.canonical if resource is not None else ""


def _unauthorised(message: str, code: str = "unauthorised") -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer", "Connection": "close"})
