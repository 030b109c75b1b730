"""Draws a grid of drivers x targets: what each target does when each driver moves it, as landmark lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.landmarks.report import draw_face
from models.landmarks.transformer import LandmarkTransformer
from models.training.landmark_data import Person

__all__ = ["draw_grid"]


def draw_grid(
    path: Path,
    people: Sequence[Person],
    image: LandmarkTransformer,
    landmarks: LandmarkTransformer,
    *,
    count: int = 5,
) -> None:
    """Write a PNG: a row for each target, a column for each driver; nothing of the people but their lines.

    The targets are those farthest from the average, the drivers' frames those with the largest
    expression, so that there is something to see.

    Args:
        path: of the picture.
        people: to choose from; with face crops.
        image: for the targets, from one frame each.
        landmarks: for the drivers.
        count: of targets and of drivers at most.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    average = image.average.view(-1, 3)
    by_identity = sorted(people, key=lambda p: -float(np.linalg.norm(p.mean - average.numpy())))
    targets = by_identity[:count]
    drivers: list[torch.Tensor] = []
    for person in sorted(people, key=lambda p: -_largest(p)[0]):
        if len(drivers) < count:
            drivers.append(torch.from_numpy(person.landmarks[_largest(person)[1]])[None])
    with torch.inference_mode():
        expressions = [landmarks.expression(landmarks(frame))[0] for frame in drivers]
        identities = []
        for person in targets:
            calm = int(np.linalg.norm(person.landmarks - person.mean, axis=(1, 2)).argmin())
            assert person.crops is not None
            crop = torch.from_numpy(person.crops[calm : calm + 1])
            identities.append(
                image.target_identity(torch.from_numpy(person.landmarks[calm : calm + 1]), crop)
            )
    columns, rows = len(drivers) + 1, len(targets) + 1
    figure, axes = plt.subplots(rows, columns, figsize=(1.5 * columns, 1.6 * rows), layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    axes[0, 0].text(
        0.5, 0.5, "targets ↓\ndrivers →", ha="center", va="center", transform=axes[0, 0].transAxes
    )
    for column, driver in enumerate(drivers, 1):
        draw_face(axes[0, column], driver[0], colour="#777777")
    for row, identity in enumerate(identities, 1):
        draw_face(axes[row, 0], average + identity, colour="#777777")
        for column, expression in enumerate(expressions, 1):
            draw_face(axes[row, column], image.transfer(identity, expression))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _largest(person: Person) -> tuple[float, int]:
    """Size and index of a person's largest expression."""
    sizes = np.linalg.norm(person.landmarks - person.mean, axis=(1, 2))
    return float(sizes.max()), int(sizes.argmax())
