"""OpenVINO without its telemetry, and with one core for the process: import it from here alone.

Its import would start a thread that forks a process which tells Google Analytics of it. What calls use is
nobody else's business; and forking beside running threads is dangerous: a process was seen to wait for ever
in a matrix product after that import, its OpenBLAS thread gone (OpenBLAS ends its threads at a fork).

Raises:
    ImportError: OpenVINO is not installed.
"""

from __future__ import annotations

import sys

# What cannot be imported is replaced by OpenVINO's own stub, which does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["core", "openvino", "ops"]

#: Each further one would give its thread another stack for signals. Given back in another order than they
#: were made in, the last leaves the thread a stack that is no longer there: the next signal that Python
#: handles ends the process without a word (Ctrl-C, SIGTERM; segmentation fault).
core = openvino.Core()
