"""Means over people with confidence intervals, changes against the baselines, and the bars to be met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.evaluation.generator_metrics import METRICS

__all__ = ["bars", "group_name", "summarise", "worst_cases"]

#: Resamples of the bootstrap.
_RESAMPLES: Final = 2000
#: What a method is compared with, where it was measured.
BASELINES: Final = ("copy", "mesh-warp")

Summary = dict[str, dict[str, dict[str, dict[str, Any]]]]


def group_name(kind: str, photos: int) -> str:
    """Name of a group of cases: ``self 1``, ``cross 4``, and ``video 1`` for the runs of frames."""
    return f"{kind} {photos}"


def summarise(rows: Sequence[dict[str, Any]], *, seed: int = 1) -> Summary:
    """Means over people: first over the cases of each target person, then over people, all alike.

    Args:
        rows: each with ``group``, ``person`` and ``figures`` (by method, then metric).
        seed: of the bootstrap.

    Returns:
        By group, method and metric: ``mean``; ``low`` and ``high``, its 95 % interval by bootstrap over
        people; ``people``; and for each other baseline under ``against`` the relative change of the mean
        with its interval ``[change, low, high]``, people resampled alike for both (paired).
    """
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for method, figures in row["figures"].items():
            for metric, value in figures.items():
                values[row["group"], method, metric][row["person"]].append(value)
    means = {key: {person: float(np.mean(all_)) for person, all_ in by.items()} for key, by in values.items()}
    result: Summary = {}
    for (group, method, metric), by_person in means.items():
        finish = METRICS[metric].finish
        entry: dict[str, Any] = {
            "people": len(by_person),
            "mean": finish(float(np.mean([*by_person.values()]))),
        }
        draws = _resampled(np.array([*by_person.values()]), seed)
        entry["low"], entry["high"] = (finish(float(np.percentile(draws, edge))) for edge in (2.5, 97.5))
        for baseline in BASELINES:
            other = means.get((group, baseline, metric))
            if baseline != method and other is not None:
                change = _change(by_person, other, metric, seed)
                if change is not None:
                    entry.setdefault("against", {})[baseline] = change
        result.setdefault(group, {}).setdefault(method, {})[metric] = entry
    return result


def _resampled(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Means of the values of people drawn with replacement, ``[resamples]`` or ``[resamples, ...]``."""
    chosen = np.random.default_rng(seed).integers(0, len(values), (_RESAMPLES, len(values)))
    return np.asarray(values[chosen].mean(1))


def _change(ours: dict[str, float], theirs: dict[str, float], metric: str, seed: int) -> list[float] | None:
    people = [person for person in ours if person in theirs]
    pairs = np.array([(ours[person], theirs[person]) for person in people])
    if not len(pairs):
        return None
    finish = np.vectorize(METRICS[metric].finish, otypes=[float])
    draws = finish(_resampled(pairs, seed))
    both = finish(pairs.mean(0))
    if both[1] == 0 or (draws[:, 1] == 0).any():
        return None
    changes = draws[:, 0] / draws[:, 1] - 1.0
    low, high = np.percentile(changes, [2.5, 97.5])
    return [float(both[0] / both[1] - 1.0), float(low), float(high)]


def worst_cases(rows: Sequence[dict[str, Any]], method: str, count: int) -> list[dict[str, Any]]:
    """The rows in which a method does worst, the worst first, each case once.

    Self-reenactments with one target, by perceptual distance inside the face, or L1 there without it.
    """
    fit = [row for row in rows if row["group"] == group_name("self", 1) and method in row["figures"]]

    def badness(row: dict[str, Any]) -> float:
        figures = row["figures"][method]
        return float(figures.get("perceptual_face", figures["l1_face"]))

    return sorted(fit, key=badness, reverse=True)[:count]


def bars(summary: Summary, method: str) -> list[dict[str, Any]]:
    """What a generator has to reach before it is shipped, each with its figure and whether it holds.

    Against copying the target and against the mesh warp on self-reenactment from one photo; four photos
    against one; cross-person against the mesh warp. A bar whose figures were not measured is left out.
    """
    rows: list[dict[str, Any]] = []

    def change(group: str, metric: str, baseline: str) -> float | None:
        entry = summary.get(group, {}).get(method, {}).get(metric, {})
        found = entry.get("against", {}).get(baseline)
        return None if found is None else float(found[0])

    def add(what: str, figure: float | None, goal: float, *, higher: bool) -> None:
        if figure is not None:
            holds = figure >= goal - 1e-12 if higher else figure <= goal + 1e-12
            rows.append({"bar": what, "figure": figure, "goal": goal, "holds": bool(holds)})

    one = group_name("self", 1)
    for metric, goal in (
        ("l1", -0.25), ("perceptual", -0.25), ("l1_face", -0.05), ("perceptual_face", -0.10),
        ("l1_mouth", -0.05), ("perceptual_mouth", -0.10),
    ):  # fmt: skip
        label = METRICS[metric].label
        add(f"{label} against mesh-warp", change(one, metric, "mesh-warp"), goal, higher=False)
    for metric in ("ssim", "psnr", "csim", "aucon"):
        add(f"{METRICS[metric].label} against mesh-warp", change(one, metric, "mesh-warp"), 0.0, higher=True)
    add("PRMSE against mesh-warp", change(one, "pose_squared", "mesh-warp"), 0.0, higher=False)
    for metric in ("l1", "perceptual", "ssim", "psnr", "csim"):
        higher = METRICS[metric].better == "higher"
        add(f"{METRICS[metric].label} against copy", change(one, metric, "copy"), 0.0, higher=higher)
    for metric in ("l1", "perceptual"):
        few = summary.get(one, {}).get(method, {}).get(metric)
        many = summary.get(group_name("self", 4), {}).get(method, {}).get(metric)
        if few and many:
            figure = many["mean"] / few["mean"] - 1.0
            add(f"{METRICS[metric].label}, 4 photos against 1", figure, 0.0, higher=False)
    for group in summary:
        if group.startswith("cross"):
            add(f"{group}: CSIM against mesh-warp", change(group, "csim", "mesh-warp"), -0.05, higher=True)
            add(f"{group}: AUCON against mesh-warp", change(group, "aucon", "mesh-warp"), 0.0, higher=True)
    return rows
