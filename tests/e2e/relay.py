"""A real TURN server for tests: coturn on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from server.serve import free_port


class Coturn:
    """``turnserver`` on 127.0.0.1, with short-lived credentials made from a shared secret.

    Args:
        folder: for its log.
        secret: shared with signaling.
    """

    def __init__(self, folder: Path, secret: str) -> None:
        program = shutil.which("turnserver")
        assert program is not None, "no coturn found; scripts/system_packages.sh relay installs it"
        self.port = free_port()
        self.log = folder / "turnserver.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(
                        program,
                        "-n",
                        "--no-cli",
                        "--no-tls",
                        "--no-dtls",
                        "--no-multicast-peers",
                        "--verbose",
                    ),
                    *("--listening-ip", "127.0.0.1", "--listening-port", str(self.port)),
                    *("--relay-ip", "127.0.0.1", "--allow-loopback-peers", "--realm", "test"),
                    *("--use-auth-secret", "--static-auth-secret", secret),
                    *("--log-file", "stdout", "--simple-log", "--pidfile", str(folder / "turnserver.pid")),
                    *("--userdb", str(folder / "turndb")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    @property
    def url(self) -> str:
        """For browsers."""
        return f"turn:127.0.0.1:{self.port}"

    def wait_until_ready(self, within: float = 10.0) -> None:
        """Wait until it takes connections (TCP, beside UDP)."""
        until = time.monotonic() + within
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def said(self, words: str) -> int:
        """How often these words stand in its log."""
        return self.log.read_text(errors="replace").count(words)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
