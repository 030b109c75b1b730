"""Logging of every process: rich lines on a terminal, plain ones elsewhere, or JSON lines for collectors.

Each record carries the terminal, call and session that it is about, where that is known
(:mod:`signaling.log_context`). What would open a door or tell who somebody is (ids of uploads and
animations, join tokens, full addresses) is taken out of every line, tracebacks included.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, Literal

from signaling.log_context import log_fields

LogFormat = Literal["text", "json"]

_UPLOAD: Final = re.compile(r"\b([ta])_[A-Za-z0-9_-]{16,}")  # server.targets.store, server.animation.jobs
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+")  # a JSON Web Token
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")

_format: LogFormat = "text"


def redact(text: str) -> str:
    """The text without capabilities, tokens and full addresses.

    Of an address its network stays (IPv4 /24, IPv6 /48), since operators must tell one storm from
    many; loopback and unspecified addresses are of nobody and stay whole.
    """
    text = _TOKEN.sub("(token)", _UPLOAD.sub(r"\1_(hidden)", text))
    return _IPV6.sub(_network, _IPV4.sub(_network, text))


def _network(match: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:  # a time of day, a version
        return match[0]
    if address.is_loopback or address.is_unspecified:
        return match[0]
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _TextFormatter(_Redacting):
    """A line of text, its fields behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = "".join(f" {key}={value}" for key, value in log_fields().items())
        return super().formatMessage(record) + fields


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, process, logger, message, fields, exception.

    Args:
        process: name of this process.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **log_fields(),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def log_format() -> LogFormat:
    """The format in use, for child processes that are to log alike."""
    return _format


def configure_logging(level: str, process: str, fmt: LogFormat = "text") -> None:
    """Send all log records to standard error.

    Args:
        level: least severity: debug, info, warning or error.
        process: short name of this process (serve, worker, inference ...), shown in each line.
        fmt: text or JSON lines.
    """
    global _format
    _format = fmt
    handler: logging.Handler
    if fmt == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter(process))
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="%X")
        handler.setFormatter(_TextFormatter(f"[{process}] %(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_TextFormatter(f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":  # each request and each ICE check is a line at info
        for chatty in ("aioice", "aiortc", "aiohttp.access", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
