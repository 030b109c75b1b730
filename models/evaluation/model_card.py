"""Writes the figures of a generator's model card from a report, with pictures that may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from models.evaluation.generator import GeneratorEvaluation, tracked
from models.evaluation.generator_metrics import METRICS
from models.evaluation.generator_report import case_of, group_title, table_rows
from models.evaluation.generator_summary import group_name, worst_cases
from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from models.landmarks.identity import few_shot
from models.landmarks.retarget import RetargetTarget, retarget
from models.training.clips import ClipShard

__all__ = ["card_section", "motion_sheet", "write_card"]

_WORST: Final = 20
_TILE: Final = 128
Picture = npt.NDArray[np.uint8]


def card_section(report: dict[str, Any], sheet: str | None = None) -> str:
    """The section *Figures* of a model card, in Markdown.

    Args:
        report: see :func:`models.evaluation.generator_report.evaluate`.
        sheet: name of the picture of :func:`motion_sheet`, if there is one.
    """
    methods = [method["name"] for method in report["methods"]]
    settings = report["settings"]
    lines = [
        "## Figures",
        "",
        f"`understudy evaluate generator --pairs {settings['pairs']} --seed {settings['seed']}`, on "
        f"{len(report['people'])} people who were never trained on. L1 of pictures in -1..1; perceptual: "
        "relative feature L1 of an edge-tuned VGG16 to relu3_3 at half size, a trunk that training uses too; "
        "CSIM: cosine of dlib's face embeddings, centred so that strangers have 0; CSIM ArcFace and "
        "CSIM FaceRes: the same of two other networks, MobileFaceNet and HSE-FaceRes; PRMSE, AUCON: of the "
        "landmarks found in the picture; jitter and flicker: change from frame to frame that nobody asked "
        "for. In brackets: change against the mesh warp, with its 95 % interval over people.",
        "",
    ]
    for group in report["summary"]:
        lines += [
            f"### {group_title(group, report)}",
            "",
            _row(["", *methods]),
            _row(["---"] * (len(methods) + 1)),
        ]
        lines += [_row([label, *cells]) for label, cells in table_rows(report["summary"], group, methods)]
        lines.append("")
    for name, rows in report["bars"].items():
        lines += [f"### Bars: {name}", "", _row(["", "figure", "goal", ""]), _row(["---"] * 4)]
        lines += [
            _row([
                row["bar"], f"{row['figure']:+.1%}", f"{row['goal']:+.0%}",
                "holds" if row["holds"] else "**missed**",
            ])
            for row in rows
        ]  # fmt: skip
        lines.append("")
        lines += _worst(report, name)
    if sheet:
        lines += [
            "The motion of the worst cases on faces that may be shown (photo, mesh warp, network), the worst "
            "first, left to right:",
            "",
            f"![The worst cases' motion on other faces]({sheet})",
            "",
        ]
    return "\n".join(lines)


def _worst(report: dict[str, Any], name: str) -> list[str]:
    """A table of the worst cases: where they were far, and the figures beside the mesh warp's."""
    metrics = [
        metric for metric in ("perceptual_face", "l1_mouth", "csim", "aucon")
        if metric in report["summary"][group_name("self", 1)][name]
    ]  # fmt: skip
    labels = [METRICS[metric].label for metric in metrics]
    lines = [
        f"### The {_WORST} worst cases: {name}", "",
        _row(["person, clip, frame", "far in", *(f"{label} (mesh warp)" for label in labels)]),
        _row(["---"] * (len(metrics) + 2)),
    ]  # fmt: skip
    for row in worst_cases(report["rows"], name, _WORST):
        case, figures = row["case"], row["figures"]
        cells = [
            f"{figures[name][m]:.{METRICS[m].digits}f} ({figures['mesh-warp'][m]:.{METRICS[m].digits}f})"
            for m in metrics
        ]
        where = f"{case['driver']}, {case['driver_clip']}, {case['frame']}"
        lines.append(_row([where, case["far"], *cells]))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def motion_sheet(
    report: dict[str, Any], evaluation: GeneratorEvaluation, photos: Sequence[Picture], method: str
) -> Picture:
    """The worst cases' motion put onto other faces: photo, mesh warp and network, four cases a row.

    People of a dataset mostly may not be shown in a model card; how a network fails at their motion can.

    Args:
        report: of this evaluation.
        evaluation: has the clips and the methods.
        photos: faces that may be shown, RGB ``[H, W, 3]``; they take turns.
        method: the network whose worst cases are shown.

    Raises:
        ValueError: no face is found in a photo.
    """
    generators = {m.name: m.generator for m in evaluation.methods}
    encoded = []
    with FaceDetector(static=True) as detector:
        for photo in photos:
            faces = detector.detect(photo)
            if not faces:
                raise ValueError("no face was found in a photo for the card")
            crop, landmarks, _ = face_crop(photo, faces[0], 512)
            neutral = few_shot().target([crop], [landmarks])
            features = {
                name: generators[name].encode_target(crop[None], landmarks[None])
                for name in ("mesh-warp", method)
            }
            encoded.append((crop, features, neutral))
    cells = []
    for index, row in enumerate(worst_cases(report["rows"], method, _WORST)):
        case = case_of(row, report["people"])
        clip: ClipShard = evaluation.people[case.driver].clips[case.driver_clip]
        motion = tracked(clip, case.frame)
        crop, features, neutral = encoded[index % len(encoded)]
        tiles = [crop]
        for name, code in features.items():
            wanted = retarget(motion, RetargetTarget.of(code.landmarks, neutral))
            tiles.append(generators[name].generate([code], wanted[None])[0])
        small = [cv2.resize(tile, (_TILE, _TILE), interpolation=cv2.INTER_AREA) for tile in tiles]
        cells.append(np.concatenate(small, axis=1))
    while len(cells) % 4:
        cells.append(np.full_like(cells[0], 255))
    return np.concatenate([np.concatenate(cells[i : i + 4], axis=1) for i in range(0, len(cells), 4)])


def write_card(
    path: Path,
    report: dict[str, Any],
    evaluation: GeneratorEvaluation | None = None,
    photos: Sequence[Path] = (),
) -> None:
    """Write :func:`card_section` and, for the first network, ``NAME-worst.webp`` of :func:`motion_sheet`.

    Args:
        path: of the Markdown file.
        report: what is written about.
        evaluation: that it is of; without it there is no picture.
        photos: faces that may be shown; scikit-image's portrait of an astronaut (public domain) otherwise.

    Raises:
        ValueError: a photo cannot be read, or shows no face.
    """
    sheet = None
    if evaluation is not None and report["bars"]:
        pictures = [_read(photo) for photo in photos] or [_astronaut()]
        drawn = motion_sheet(report, evaluation, pictures, next(iter(report["bars"])))
        sheet = f"{path.stem}-worst.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path.with_name(sheet)), drawn[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(card_section(report, sheet))


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _astronaut() -> Picture:
    import skimage.data

    return np.asarray(skimage.data.astronaut(), np.uint8)
