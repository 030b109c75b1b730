"""Every setting of Understudy: what it means and its bounds.

A setting has one name everywhere: ``port`` in the TOML file, ``UNDERSTUDY_PORT`` in the environment,
``--set port=...`` on the command line. :mod:`server.settings_sources` reads these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from models.concurrency import usable_cores
from server.generators import GeneratorName
from server.logs import LogFormat
from signaling.protocol import IceServer
from signaling.tokens import MIN_KEY_BYTES

ENV_PREFIX: Final = "UNDERSTUDY_"
#: Names the settings file; not a setting itself. Empty: read no file.
CONFIG_VARIABLE: Final = "UNDERSTUDY_CONFIG"

LogLevel = Literal["debug", "info", "warning", "error"]
MarkPlace = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


def _listed(value: object) -> object:
    """A list given as text: JSON, or parts between commas."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith(("[", "{")):
        parsed = json.loads(text)
        return parsed if isinstance(parsed, list) else [parsed]
    return [part.strip() for part in text.split(",") if part.strip()]


def _ice_servers(value: object) -> object:
    """A bare URL stands for a server without credentials; a table may give one URL without a list."""
    value = _listed(value)
    if not isinstance(value, list):
        return value
    servers: list[object] = []
    for server in value:
        if isinstance(server, str):
            server = {"urls": [server]}
        elif isinstance(server, dict) and isinstance(server.get("urls"), str):
            server = {**server, "urls": [server["urls"]]}
        urls = server.get("urls") if isinstance(server, dict) else None
        for url in urls if isinstance(urls, list) else []:
            if not str(url).startswith(("stun:", "stuns:", "turn:", "turns:")):
                raise ValueError(f"{url!r} is no STUN or TURN URL (stun:host:port, turn:host:port)")
        servers.append(server)
    return servers


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _whole_number(value: object) -> object:
    """Text that is a number, for types that compare without converting (``Literal``)."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def _none_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"{ENV_PREFIX}{name.upper()}"


class Settings(BaseSettings):
    """All settings, validated. Made by :func:`load_settings`; keyword arguments are for tests."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=False
    )

    # ---- where it listens and keeps things
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the page and of signaling; 0: any free one.")
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("understudy", appauthor=False),
        examples=["/var/lib/understudy"],
        description="Folder of prepared targets.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lowered)] = Field(
        "info", description="Least severity that is logged: debug, info, warning or error."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lowered)] = Field(
        "text", description="How log lines are written: text, or json for a log collector."
    )
    allowed_origins: Annotated[list[str], NoDecode, BeforeValidator(_listed)] = Field(
        default_factory=list,
        examples=[["https://meet.example.org"]],
        description="Origins of other sites whose pages may connect (https://meet.example.org); "
        "the service's own page always may.",
    )

    forwarded_header: Annotated[str | None, BeforeValidator(_none_if_blank)] = Field(
        None,
        pattern=r"^[A-Za-z0-9-]+$",
        examples=["X-Forwarded-For"],
        description="Behind a proxy: the header whose last entry is the client's address.",
    )

    # ---- who may come in
    join_key: SecretStr = Field(
        SecretStr(""),
        examples=["`understudy token --new-key` makes one"],
        description="Signs join tokens, at least 32 characters; with it nobody enters without a token. "
        "Without one the service is open, and for this machine alone.",
    )
    open_access: bool = Field(
        False, description="Let everybody in who can reach the service, also from other machines."
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        examples=["a long random word"],
        description="With it as bearer token the operator's own backend mints tokens: POST /api/tokens.",
    )
    metrics_secret: SecretStr = Field(
        SecretStr(""),
        examples=["a long random word"],
        description="Bearer token for /metrics; none: only programs on this machine may read it.",
    )

    connections_per_address: int = Field(
        128, ge=1, description="WebSockets that one address may hold at once."
    )
    connects_per_second: float = Field(
        20.0, gt=0, description="WebSockets that one address may open a second, in the long run."
    )
    connect_burst: int = Field(
        256, ge=1, description="WebSockets that one address may open at once; a load test needs more."
    )

    # ---- rooms and calls
    heartbeat_s: float = Field(
        3.0, ge=0.2, le=30, description="Terminals send a heartbeat at least this often (seconds)."
    )
    resume_s: float = Field(
        30.0,
        ge=1,
        le=600,
        description="A lost terminal's place in room and call is kept this long (seconds).",
    )
    ring_timeout_s: float = Field(
        45.0, ge=1, le=600, description="An unanswered call request is closed after this long (seconds)."
    )
    room_capacity: int = Field(8, ge=2, le=32, description="Terminals that a room holds.")
    ice_servers: Annotated[list[IceServer], NoDecode, BeforeValidator(_ice_servers)] = Field(
        default_factory=list,
        examples=[["stun:stun.example.org:3478"]],
        description="STUN and TURN servers: URLs, or tables with urls, username and credential. "
        "None are needed on one machine or one network.",
    )

    turn_urls: Annotated[list[str], NoDecode, BeforeValidator(_listed)] = Field(
        default_factory=list,
        examples=[["turn:turn.example.org:3478", "turns:turn.example.org:5349"]],
        description="TURN servers that share turn_secret (coturn: use-auth-secret): each terminal gets "
        "short-lived credentials of its own.",
    )
    turn_secret: SecretStr = Field(
        SecretStr(""),
        validate_default=True,
        examples=["a long random word"],
        description="Secret shared with the TURN servers (coturn: static-auth-secret).",
    )
    turn_ttl_s: float = Field(
        3600.0, ge=60, le=86400, description="TURN credentials are good for this long (seconds)."
    )

    # ---- media worker
    signaling_url: str = Field(
        "ws://127.0.0.1:8080/worker",
        pattern=r"^wss?://\S+$",
        description="Where a worker that is started by itself registers.",
    )
    worker_secret: SecretStr = Field(
        SecretStr(""),
        examples=["a long random word"],
        description="Secret that workers and signaling share, at least 16 characters: who has it is sent "
        "people's cameras. `understudy serve` makes its own.",
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        examples=["redis://127.0.0.1:6379/0"],
        description="Redis that joins several signaling nodes (redis:// or rediss://); none: there is one.",
    )
    worker_id: Annotated[str | None, BeforeValidator(_none_if_blank)] = Field(
        None,
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$",
        examples=["worker-1"],
        description="A worker's name; by default host and process.",
    )
    capacity: Annotated[int | None, BeforeValidator(_none_if_blank)] = Field(
        None,
        ge=1,
        le=1000,
        examples=[8],
        description="Drivers a worker serves at once; by default 2 for each CPU, at least 4.",
    )
    drain_s: float = Field(
        60.0, ge=0, le=86400, description="A worker told to stop lets its calls go on this long (seconds)."
    )
    metrics_port: Annotated[int | None, BeforeValidator(_none_if_blank)] = Field(
        None,
        ge=0,
        le=65535,
        examples=[9100],
        description="Port of a worker's own /metrics, on the loopback address; none: off.",
    )

    # ---- the picture
    generator: GeneratorName = Field(
        "auto",
        description="What generates the picture: marionette, the network; mesh-warp, which is geometry alone "
        "and takes a third of the time (backgrounds, necks and hair do not follow as well); or auto: the "
        "network where this machine is quick enough for it, else the mesh warp.",
    )
    size: Annotated[Literal[256, 512], BeforeValidator(_whole_number)] = Field(
        256, description="Side of the generated picture in pixels: 256 or 512."
    )
    fps: int = Field(30, ge=1, le=60, description="Most generated frames a second for each driver.")
    mark_enabled: bool = Field(True, description="Write a visible mark on every generated frame.")
    mark_text: str = Field(
        "AI-generated", min_length=1, max_length=40, description="Text of the visible mark."
    )
    mark_place: Annotated[MarkPlace, BeforeValidator(_lowered)] = Field(
        "bottom-right", description="Corner of the visible mark."
    )
    watermark: bool = Field(
        True,
        description="Weave an invisible watermark into every generated frame; `understudy provenance check` "
        "finds it.",
    )

    # ---- uploaded targets
    target_ttl_h: float = Field(
        24.0, gt=0, le=24 * 365, description="An uploaded target is deleted after this long (hours)."
    )
    max_uploads: int = Field(1000, ge=0, le=1_000_000, description="Uploaded targets kept at once.")

    # ---- audit log
    audit_enabled: bool = Field(
        True, description="Keep a log of who was in which room behind which target; never pictures or texts."
    )
    audit_url: SecretStr = Field(
        SecretStr(""),
        examples=["postgresql://understudy:password@localhost/understudy"],
        description="Database of the audit log; by default audit.db (SQLite) in data_dir.",
    )
    audit_retention_days: float = Field(
        90.0, gt=0, le=3650, description="Entries of the audit log are deleted after this long (days)."
    )

    @field_validator("join_key", "api_key", "metrics_secret", "turn_secret", "worker_secret")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        least = MIN_KEY_BYTES if info.field_name == "join_key" else 16
        if 0 < len(value.get_secret_value().encode()) < least:
            raise ValueError(f"give at least {least} characters, drawn at random")
        return value

    @field_validator("api_key")
    @classmethod
    def _has_a_key_to_sign_with(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        join_key = info.data.get("join_key")
        if value.get_secret_value() and join_key is not None and not join_key.get_secret_value():
            raise ValueError("there is no join_key that tokens could be signed with")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_needs_a_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        url = value.get_secret_value()
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("give a Redis URL (redis://host:port/database, rediss:// with TLS)")
        worker_secret = info.data.get("worker_secret")
        if url and worker_secret is not None and not worker_secret.get_secret_value():
            raise ValueError("several signaling nodes need a worker_secret, the same for all")
        return value

    @field_validator("turn_urls")
    @classmethod
    def _turn_urls(cls, value: list[str]) -> list[str]:
        for url in value:
            if not url.startswith(("turn:", "turns:")):
                raise ValueError(f"{url!r} is no TURN URL (turn:host:port, turns:host:port)")
        return value

    @field_validator("turn_secret")
    @classmethod
    def _turn_needs_it(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("turn_urls") and not value.get_secret_value():
            raise ValueError("turn_urls need the secret that the TURN servers share")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"{origin!r} is no origin (scheme://host[:port], nothing behind it)")
        return value

    @property
    def worker_capacity(self) -> int:
        """Drivers a worker serves at once, the default worked out."""
        return self.capacity if self.capacity is not None else max(4, 2 * usable_cores())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # load_settings() reads each source itself, to be able to say where a bad value came from.
        return (init_settings,)

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for a media worker that is to run with the same ones."""
        variables = {CONFIG_VARIABLE: ""}
        # Left out is what lets people in: a worker that is broken into must not give it away.
        for name in set(type(self).model_fields) - _NOT_FOR_WORKERS:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                text = value.get_secret_value()
            elif isinstance(value, list):
                text = json.dumps(
                    [v if isinstance(v, str) else v.model_dump(exclude_none=True) for v in value]
                )
            else:
                text = "" if value is None else str(value)
            variables[variable_of(name)] = text
        return variables


_NOT_FOR_WORKERS: Final = {
    *("join_key", "api_key", "metrics_secret", "turn_urls", "turn_secret", "audit_url", "redis_url"),
}
