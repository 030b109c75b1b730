"""What all tests share: the order in which they run, and which of them may run beside others."""

from __future__ import annotations

from pathlib import Path

import pytest

_ORDER = ("unit", "integration", "load", "faults", "e2e")
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: what they find need not be looked for in a browser.

    Where processes share the tests (pytest-xdist, ``--dist loadgroup``), each takes a file of unit tests at a
    time. All others are one group, which comes last: calls, timeouts and browsers need the machine.
    """

    def place(item: pytest.Item) -> int:
        kind = item.path.relative_to(_HERE).parts[0] if item.path.is_relative_to(_HERE) else ""
        return _ORDER.index(kind) if kind in _ORDER else 0

    items.sort(key=place)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.stem if place(item) == 0 else "alone"))
