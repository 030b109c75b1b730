"""What all tests share: the order in which they run, and which of them may run beside others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

_ORDER = ("unit", "integration", "load", "faults", "e2e")
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: what they find need not be looked for in a browser."""

    def place(item: pytest.Item) -> int:
        kind = item.path.relative_to(_HERE).parts[0] if item.path.is_relative_to(_HERE) else ""
        return _ORDER.index(kind) if kind in _ORDER else 0

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Where several processes share the tests (``-n 2``), each takes a file of unit tests at a time.

    All others come last and stay with one process: calls, timeouts and browsers need the machine.
    (Marks of ``--dist loadgroup`` would say the same, but pytest-xdist 3.8 loses them under pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class UnitTestsByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return file if file.startswith("tests/unit/") else "one by one"

    config.option.loadscopereorder = False  # the order is the one above
    return UnitTestsByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Name a test whose process died when it dies: the summary does, but a run that is cut off has none."""
    print(f"\n{report.longrepr}", file=sys.stderr, flush=True)
