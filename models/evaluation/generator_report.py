"""Runs a whole evaluation of generators; figures as JSON and tables, and a page with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from models.evaluation.generator import GeneratorEvaluation
from models.evaluation.generator_cases import Case
from models.evaluation.generator_metrics import METRICS
from models.evaluation.generator_summary import Summary, bars, group_name, summarise, worst_cases

__all__ = ["FORMAT", "case_of", "evaluate", "read_report", "show", "strip", "write_json", "write_page"]

FORMAT: Final = "understudy-generator-evaluation-1"
#: How many cases the page shows besides the worst.
_SHOWN: Final = 12

Report = dict[str, Any]
Picture = npt.NDArray[np.uint8]


def evaluate(
    evaluation: GeneratorEvaluation,
    *,
    pairs: int,
    photos: Sequence[int] = (1, 4, 8),
    cross_photos: Sequence[int] = (1,),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Measure everything.

    Args:
        evaluation: of the people and methods.
        pairs: cases a person, for self-reenactment and for cross-person reenactment each.
        photos: numbers of targets of self-reenactment.
        cross_photos: numbers of targets of cross-person reenactment; nothing is measured when empty.
        progress: told how many of how many cases are done.

    Returns:
        A report that JSON can hold: ``format``, ``settings``, ``methods``, ``rows`` (one a case and number
        of photos), ``summary`` (see :func:`summarise`) and ``bars`` of each network.
    """
    work = [
        (case, count) for case in evaluation.self_cases(pairs, max(photos)) for count in photos
    ]  # fmt: skip
    if cross_photos:
        work += [
            (case, count)
            for case in evaluation.cross_cases(pairs, max(cross_photos))
            for count in cross_photos
        ]
    names = [person.name for person in evaluation.people]
    total = len(work) + len(names)
    rows: list[dict[str, Any]] = []
    for done, (case, count) in enumerate(work):
        measured = evaluation.measure(case, count).to_json(names)
        rows.append({"group": group_name(case.kind, count), "person": measured["case"]["target"], **measured})
        progress(done + 1, total)
    for index, name in enumerate(names):
        rows.append(
            {"group": group_name("video", 1), "person": name, "figures": evaluation.steadiness(index)}
        )
        progress(len(work) + index + 1, total)
    summary = summarise(rows)
    networks = [method.name for method in evaluation.methods if method.about]
    return {
        "format": FORMAT,
        "version": version("understudy"),
        "settings": {
            "pairs": pairs,
            "photos": [*photos],
            "cross_photos": [*cross_photos],
            "seed": evaluation.seed,
        },
        "people": names,
        "methods": [{"name": method.name, **method.about} for method in evaluation.methods],
        "rows": rows,
        "summary": summary,
        "bars": {name: bars(summary, name) for name in networks},
    }  # fmt: skip


def write_json(path: Path, report: Report) -> None:
    """Write a report to a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def read_report(path: Path) -> Report:
    """Read what :func:`write_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    report = json.loads(path.read_text())
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise ValueError(f"{path} is no report of format {FORMAT}")
    return report


def case_of(row: dict[str, Any], people: Sequence[str]) -> Case:
    """The case of a report's row, for people in the order of the report."""
    values = dict(row["case"])
    values |= {"target": people.index(values["target"]), "driver": people.index(values["driver"])}
    return Case(**values | {"photos": tuple(values["photos"])})


def table_rows(
    summary: Summary, group: str, methods: Sequence[str], *, intervals: bool = True
) -> list[tuple[str, list[str]]]:
    """Label of each metric of a group, and each method's cell: mean, and change against the mesh warp.

    Without ``intervals`` a star says that the change's interval leaves out zero.
    """
    rows = []
    for name, metric in METRICS.items():
        entries = [summary[group].get(method, {}).get(name) for method in methods]
        if not any(entries) or (name == "lost" and not any(entry and entry["mean"] for entry in entries)):
            continue
        arrow = "↓" if metric.better == "lower" else "↑"
        cells = []
        for entry in entries:
            if entry is None:
                cells.append("-")
                continue
            cell = f"{entry['mean']:.{metric.digits}f}"
            change = entry.get("against", {}).get("mesh-warp")
            # a share of a cosine that may be near zero says nothing
            if change is not None and name != "lost" and not name.endswith("_driver"):
                if intervals:
                    cell += f" ({change[0]:+.0%}, {change[1]:+.0%} to {change[2]:+.0%})"
                else:
                    cell += f" {change[0]:+.0%}" + ("*" if change[1] * change[2] > 0 else "")
            cells.append(cell)
        rows.append((f"{metric.label} {arrow}", cells))
    return rows


GROUP_TITLES: Final = {
    "self": "self-reenactment from {} photo(s)",
    "cross": "cross-person reenactment from {} photo(s)",
    "video": "steadiness of video from {} photo",
}


def group_title(group: str, report: Report) -> str:
    """What a group is, and how much was measured; where clips are short, how many photos there were."""
    kind, photos = group.split()
    rows = [row for row in report["rows"] if row["group"] == group]
    title = GROUP_TITLES[kind].format(photos) + f": {len({row['person'] for row in rows})} people"
    if kind != "video":
        title += f", {len(rows)} pictures"
        used = float(np.mean([row["photos"] for row in rows]))
        if used < int(photos) - 0.05:
            title += f"; short clips gave {used:.1f} photos on average"
    return title


def show(report: Report) -> None:
    """Print a report's tables."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console()
    methods = [method["name"] for method in report["methods"]]
    for group in report["summary"]:
        table = Table("", *methods, box=SIMPLE, title=group_title(group, report), title_justify="left")
        for label, cells in table_rows(report["summary"], group, methods, intervals=False):
            table.add_row(label, *cells)
        console.print(table)
    console.print(
        "Per cent: change against the mesh warp; * where its 95 % interval over people leaves out 0."
    )
    for name, rows in report["bars"].items():
        table = Table("", "figure", "goal", "", box=SIMPLE, title=f"bars: {name}", title_justify="left")
        for row in rows:
            held = "[green]holds[/]" if row["holds"] else "[red]missed[/]"
            table.add_row(row["bar"], f"{row['figure']:+.1%}", f"{row['goal']:+.0%}", held)
        console.print(table)


def strip(pictures: dict[str, Picture], height: int = 256) -> Picture:
    """Pictures side by side, ``[height, height * n, 3]``."""
    return np.concatenate(
        [
            cv2.resize(picture, (height, height), interpolation=cv2.INTER_AREA)
            for picture in pictures.values()
        ],
        axis=1,
    )


def write_page(
    folder: Path,
    report: Report,
    evaluation: GeneratorEvaluation,
    *,
    worst: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write ``index.html`` and its pictures: tables, some cases of each group, and the worst ones.

    The pictures show the people of the dataset: mind where the folder goes.

    Args:
        folder: made where missing.
        report: of this evaluation.
        evaluation: makes the pictures again.
        worst: how many of the worst cases of the first network (of the mesh warp, where there is none).
        progress: told how many of how many pictures are written.
    """
    from jinja2 import Environment, PackageLoader

    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    names = [method["name"] for method in report["methods"]]
    judged = next(iter(report["bars"]), names[-1])
    sections = [
        (f"The {worst} worst cases of {judged}", f"{judged}, one photo, by perceptual distance in the face",
         worst_cases(report["rows"], judged, worst))
    ]  # fmt: skip
    for group in report["summary"]:
        rows = [row for row in report["rows"] if row["group"] == group and "case" in row]
        if rows:
            spread = [rows[int(i)] for i in np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows)))]
            sections.append((group_title(group, report), "evenly spread over the cases, not chosen", spread))
    total, done = sum(len(rows) for _, _, rows in sections), 0
    shown: list[dict[str, Any]] = []
    for title, note, rows in sections:
        cases: list[dict[str, Any]] = []
        for row in rows:
            case = case_of(row, report["people"])
            name = f"pictures/{len(shown)}-{len(cases):02d}.jpg"
            picture = strip(evaluation.pictures(case, row["asked"]))
            cv2.imwrite(str(folder / name), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            cases.append({"picture": name, "about": _about(row), "figures": row["figures"]})
            done += 1
            progress(done, total)
        shown.append({"title": title, "note": note, "cases": cases})
    tables = [
        {"title": group_title(group, report), "rows": table_rows(report["summary"], group, names)}
        for group in report["summary"]
    ]
    environment = Environment(loader=PackageLoader("models.evaluation"), autoescape=True, trim_blocks=True)
    page = folder / "index.html"
    page.write_text(
        environment.get_template("generator.html").render(
            report=report, methods=names, tables=tables, sections=shown,
            columns=["target", "driver", *names],
        )
    )  # fmt: skip
    return page


def _about(row: dict[str, Any]) -> str:
    case = row["case"]
    who = f"{case['target']}" if case["kind"] == "self" else f"{case['driver']} drives {case['target']}"
    return f"{who}, clip {case['driver_clip']} frame {case['frame']}, far in {case['far']}"
