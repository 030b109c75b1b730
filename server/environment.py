"""The environments of processes that the service starts, without what these have no business with."""

from __future__ import annotations

import os

from server.settings import ENV_PREFIX


def environment_without_settings() -> dict[str, str]:
    """This process's environment without the service's settings: no operator's keys and databases.

    However they are written: settings are read from names in upper and lower case.
    """
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX)}


def decoder_environment() -> dict[str, str]:
    """For a process that decodes strangers' files: no secrets, one thread, and libraries that say little."""
    quiet = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    return environment_without_settings() | quiet
