"""Logging of every process: rich lines on a terminal, plain ones with time and process elsewhere."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str, process: str) -> None:
    """Send all log records to standard error.

    Args:
        level: least severity: debug, info, warning or error.
        process: short name of this process (serve, worker, inference ...), shown in each line.
    """
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="%X")
        handler.setFormatter(logging.Formatter(f"[{process}] %(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s")
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":  # each request and each ICE check is a line at info
        for chatty in ("aioice", "aiortc", "aiohttp.access"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
