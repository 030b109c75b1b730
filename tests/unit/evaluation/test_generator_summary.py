"""Means, intervals, changes and bars on rows that were made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.evaluation.generator_summary import bars, summarise, worst_cases


def row(person: str, ours: float, theirs: float, metric: str = "l1", group: str = "self 1") -> dict[str, Any]:
    return {
        "group": group,
        "person": person,
        "figures": {"net": {metric: ours}, "mesh-warp": {metric: theirs}, "copy": {metric: 2 * theirs}},
    }


def test_people_count_alike_however_many_cases_they_have() -> None:
    rows = [row("ann", 1.0, 1.0), row("bob", 4.0, 1.0), row("bob", 2.0, 1.0)]
    entry = summarise(rows)["self 1"]["net"]["l1"]
    assert entry["mean"] == pytest.approx(2.0)
    assert entry["people"] == 2
    assert entry["low"] == pytest.approx(1.0)
    assert entry["high"] == pytest.approx(3.0)


def test_changes_are_paired() -> None:
    """Methods that differ by the same factor on everybody differ by it for certain, however people differ."""
    random = np.random.default_rng(0)
    values = random.uniform(0.01, 1.0, 12)
    rows = [row(f"p{index}", 0.7 * value, value) for index, value in enumerate(values)]
    summary = summarise(rows)["self 1"]["net"]["l1"]
    assert summary["against"]["mesh-warp"] == pytest.approx([-0.3, -0.3, -0.3])
    assert summary["against"]["copy"][0] == pytest.approx(-0.65)
    assert summary["high"] / summary["low"] > 1.3


def test_prmse_is_the_root_of_the_mean() -> None:
    rows = [row("ann", 9.0, 36.0, "pose_squared"), row("bob", 23.0, 36.0, "pose_squared")]
    entry = summarise(rows)["self 1"]["net"]["pose_squared"]
    assert entry["mean"] == pytest.approx(4.0)
    assert entry["against"]["mesh-warp"][0] == pytest.approx(4.0 / 6.0 - 1.0)


def test_a_figure_that_is_missing_for_somebody_is_compared_on_the_others() -> None:
    rows = [row("ann", 1.0, 2.0), row("bob", 5.0, 5.0)]
    del rows[1]["figures"]["mesh-warp"]
    entry = summarise(rows)["self 1"]["net"]["l1"]
    assert entry["people"] == 2
    assert entry["against"]["mesh-warp"][0] == pytest.approx(-0.5)


def test_bars_hold_where_figures_are_good_enough() -> None:
    rows = [row("ann", 0.70, 1.0), row("bob", 0.74, 1.0), row("ann", 0.5, 1.0, group="self 4")]
    held = {bar["bar"]: bar["holds"] for bar in bars(summarise(rows), "net")}
    assert held == {
        "L1 against mesh-warp": True, "L1 against copy": True, "L1, 4 photos against 1": True
    }  # fmt: skip
    worse = [row("ann", 0.76, 1.0), row("ann", 0.8, 1.0, group="self 4")]
    held = {bar["bar"]: bar["holds"] for bar in bars(summarise(worse), "net")}
    assert not held["L1 against mesh-warp"]
    assert not held["L1, 4 photos against 1"]


def test_bars_know_which_way_is_better() -> None:
    rows = [row("ann", 0.9, 0.8, "csim"), row("ann", 0.78, 0.8, "csim", "cross 1")]
    held = {bar["bar"]: bar["holds"] for bar in bars(summarise(rows), "net")}
    assert held == {
        "CSIM against mesh-warp": True, "CSIM against copy": False, "cross 1: CSIM against mesh-warp": True
    }  # fmt: skip


def test_the_worst_come_first() -> None:
    rows = [row(f"p{value}", value, 1.0, "l1_face") for value in (0.2, 0.9, 0.5)]
    rows.append(row("other", 5.0, 1.0, "l1_face", "self 4"))
    assert [one["person"] for one in worst_cases(rows, "net", 2)] == ["p0.9", "p0.5"]
