"""Builds a dataset: every clip of a folder to a shard, in parallel, resumable, with a report."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from models.training.clips import Clip, ClipOptions, ClipReport, find_clips, process_clip

Engine = Literal["pool", "ray"]


def build_dataset(
    source: Path,
    out: Path,
    options: ClipOptions,
    *,
    engine: Engine = "pool",
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ClipReport]:
    """Make a shard of every usable clip below ``source``, and ``report.json`` beside them.

    Args:
        source: a folder that :func:`models.training.clips.find_clips` understands.
        out: folder of the shards; shards that are there already are kept.
        options: how clips are cut.
        engine: ``pool`` uses this machine's processes; ``ray`` runs the same function on Ray Data.
        workers: processes; as many as there are processors when left out.
        progress: told after each clip how many of how many are done.

    Raises:
        ValueError: no clips below ``source``.
        ModuleNotFoundError: the engine is ``ray`` and Ray is not installed.
    """
    clips = find_clips(source)
    shards = out / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    run = _run_on_ray if engine == "ray" else _run_in_pool
    reports: list[ClipReport] = []
    for report in run(clips, shards, options, workers):
        reports.append(report)
        progress(len(reports), len(clips))
    reports.sort(key=lambda report: report.name)
    content = {"options": asdict(options), "clips": [asdict(report) for report in reports]}
    (out / "report.json").write_text(json.dumps(content, indent=1))
    return reports


def _run_in_pool(
    clips: list[Clip], shards: Path, options: ClipOptions, workers: int | None
) -> Iterator[ClipReport]:
    # spawned, not forked: a fork of a process in which a detector's threads run may hang or crash
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn")) as pool:
        for future in as_completed([pool.submit(process_clip, clip, shards, options) for clip in clips]):
            yield future.result()


def _run_on_ray(
    clips: list[Clip], shards: Path, options: ClipOptions, workers: int | None
) -> Iterator[ClipReport]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    import ray.data

    def process(row: dict[str, Clip]) -> dict[str, ClipReport]:
        return {"report": process_clip(row["clip"], shards, options)}

    rows = ray.data.from_items([{"clip": clip} for clip in clips]).map(process, concurrency=workers)
    for row in rows.iter_rows():
        yield row["report"]


def summarise(reports: list[ClipReport]) -> dict[str, Counter[str]]:
    """People, clips and frames kept by split, and reasons of what was left out."""
    kept = [report for report in reports if report.left_out is None]
    return {
        "clips": Counter(report.split for report in kept),
        "frames": sum((Counter({report.split: report.frames}) for report in kept), start=Counter[str]()),
        "people": Counter(split for _, split in {(report.person, report.split) for report in kept}),
        "left out": Counter(
            report.left_out.split(":")[0] for report in reports if report.left_out is not None
        ),
    }
