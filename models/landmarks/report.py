"""Writes report.html: what a separation found, drawn. One file, pictures inside, nothing to fetch."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.landmarks.basis import semantic_partition
from models.landmarks.store import LandmarkStore
from models.landmarks.topology import LANDMARK_COUNT, RASTER_LINES, SEMANTIC_GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_face", "principal_components", "write_report"]

#: Beyond these, the report tells of the first ones only: pages of thousands of drawings help nobody.
_MAX_IDENTITIES = 24
_MAX_TIMELINES = 12
_COMPONENTS = 5
_PCA_FRAMES = 4000
_LINE_COLOURS = ("#4a6fa5", "#2f4858", "#b5495b")


def draw_face(axes: Axes, landmarks: npt.ArrayLike, *, colour: str | None = None, width: float = 1.0) -> None:
    """Draw landmarks ``[478, 3]`` as lines, from the front; other point counts are drawn as dots."""
    points = np.asarray(landmarks)
    if len(points) == LANDMARK_COUNT:
        for group, default in zip(RASTER_LINES, _LINE_COLOURS, strict=True):
            for line in group:
                axes.plot(points[line, 0], points[line, 1], color=colour or default, linewidth=width)
    else:
        axes.plot(points[:, 0], points[:, 1], ".", color=colour or _LINE_COLOURS[0], markersize=2)
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(2.1, -2.1)  # y grows downwards
    axes.set_aspect("equal")
    axes.axis("off")


@dataclass(frozen=True)
class Components:
    """First principal components of expressions over the whole face.

    Attributes:
        vectors: ``[K, N, 3]``, of length one.
        deviation: standard deviation along each, ``[K]``.
        share: of the expressions' energy that each holds, ``[K]``.
    """

    vectors: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]


def principal_components(store: LandmarkStore, count: int = _COMPONENTS) -> Components:
    """Of the expressions in a store, from at most some thousand frames spread evenly over it."""
    every = max(1, -(-len(store.video) // _PCA_FRAMES))
    rows = [store.expression(video)[::every] for video in range(len(store.sources))]
    data = np.concatenate(rows).astype(np.float64)
    flat = data.reshape(len(data), -1)
    _, singular, vectors = np.linalg.svd(flat, full_matrices=False)
    count = min(count, len(singular))
    energy = max(float((singular**2).sum()), 1e-30)
    return Components(
        vectors[:count].reshape(count, *data.shape[1:]),
        singular[:count] / np.sqrt(len(data)),
        singular[:count] ** 2 / energy,
    )


def write_report(
    path: Path, store: LandmarkStore, left_out: Sequence[tuple[str, str]] = (), *, title: str = "Landmarks"
) -> None:
    """Write the report of a store.

    Args:
        path: of the HTML file.
        store: what was separated.
        left_out: (name, reason) of each video that was not used.
        title: of the page.
    """
    import matplotlib

    matplotlib.use("agg")
    components = principal_components(store)
    sections = [
        _section(
            "Average face",
            "The mean over all frames of all videos, from the front and from the side (Eq. 3).",
            _average_figure(store),
            "The average face drawn from the front and the side",
        ),
        _section(
            "Identities",
            "What each person differs by from the average (Eq. 4), drawn in red over the average in grey. "
            "The number is the distance: root mean square over the landmarks, in hundredths of a face unit.",
            _identity_figure(store),
            "The face of each video's person over the average face",
        ),
        _section(
            "Expression over time",
            "Root mean square of the expression landmarks of each semantic group (Eq. 11), in hundredths.",
            _energy_figure(store),
            "Curves of expression energy of each semantic group over each video",
        ),
        _section(
            "Principal components",
            "The average face two standard deviations to either side along the first components of all "
            f"expressions; together they hold {components.share.sum():.0%} of the expressions' energy.",
            _component_figure(store, components),
            "The first principal components of expression drawn as faces",
        ),
    ]
    path.write_text(_page(title, store, left_out, sections), encoding="utf-8")


def _average_figure(store: LandmarkStore) -> Figure:
    figure, axes = _grid(2, 2, 3.2)
    draw_face(axes[0], store.average)
    draw_face(axes[1], store.average[:, [2, 1, 0]] * np.array([1.0, 1.0, -1.0]))
    return figure


def _identity_figure(store: LandmarkStore) -> Figure:
    shown = min(len(store.sources), _MAX_IDENTITIES)
    figure, axes = _grid(shown, 6, 2.1)
    for number, ax in enumerate(axes[:shown]):
        draw_face(ax, store.average, colour="#c4c9cf", width=0.8)
        draw_face(ax, store.average + store.identity[number], colour="#b5495b", width=0.8)
        distance = 100 * np.sqrt((store.identity[number] ** 2).sum(1).mean())
        ax.set_title(f"{_short(store.sources[number].name)}\n{distance:.1f}", fontsize=7)
    return figure


def _energy_figure(store: LandmarkStore) -> Figure:
    import matplotlib.pyplot as plt

    shown = min(len(store.sources), _MAX_TIMELINES)
    figure, axes = plt.subplots(shown, 1, figsize=(9, 1.5 * shown + 0.6), squeeze=False, layout="constrained")
    whole = len(store.average) == LANDMARK_COUNT
    groups = semantic_partition() if whole else {"all": np.arange(len(store.average))}
    start = 0
    for number, ax in enumerate(axes[:, 0]):
        source = store.sources[number]
        frames = store.frame[start : start + source.frames]
        start += source.frames
        times = frames / source.fps if source.fps else frames
        expression = store.expression(number).astype(np.float64)
        for name, points in groups.items():
            energy = 100 * np.sqrt((expression[:, points] ** 2).sum(2).mean(1))
            ax.plot(times, energy, linewidth=0.9, label=name.replace("_", " "))
        ax.set_title(_short(source.name, 60), fontsize=8, loc="left")
        ax.tick_params(labelsize=7)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("s" if source.fps else "frame", fontsize=7)
    axes[0, 0].legend(fontsize=6, ncols=max(4, len(SEMANTIC_GROUPS) // 2), loc="upper right")
    return figure


def _component_figure(store: LandmarkStore, components: Components) -> Figure:
    count = len(components.vectors)
    figure, axes = _grid(3 * count, 3, 2.2)
    for number in range(count):
        for column, amount in enumerate((-2, 0, 2)):
            face = store.average + amount * components.deviation[number] * components.vectors[number]
            ax = axes[3 * number + column]
            draw_face(ax, face)
            label = (
                f"component {number + 1}: {components.share[number]:.0%}" if amount == 0 else f"{amount:+d} σ"
            )
            ax.set_title(label, fontsize=7)
    return figure


def _grid(count: int, columns: int, side: float) -> tuple[Figure, list[Any]]:
    import matplotlib.pyplot as plt

    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(side * columns, side * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    return figure, list(axes.flat)


def _png(figure: Figure) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _section(title: str, text: str, figure: Figure, alternative: str) -> str:
    return (
        f"<section><h2>{title}</h2><p>{text}</p>"
        f'<img alt="{alternative}" src="data:image/png;base64,{_png(figure)}"></section>'
    )


def _page(
    title: str, store: LandmarkStore, left_out: Sequence[tuple[str, str]], sections: Sequence[str]
) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(source.name)}</td><td>{source.frames}</td><td>used</td></tr>"
        for source in store.sources
    ) + "".join(
        f'<tr class="out"><td>{html.escape(name)}</td><td></td><td>left out: {html.escape(reason)}</td></tr>'
        for name, reason in left_out
    )
    more = len(store.sources) - _MAX_TIMELINES
    note = f"<p>Drawings show the first videos only; {more} more are in the store.</p>" if more > 0 else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }}
img {{ max-width: 100%; background: #fff; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; }}
.out {{ color: #9c2c3f; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{len(store.sources)} videos, {len(store.video)} frames, {len(store.average)} landmarks a frame.
Normalised by {html.escape(str(store.header["normalisation"]))}; made by
{html.escape(str(store.header["software"]))}.</p>
{note}{"".join(sections)}
<section><h2>Videos</h2><table><tr><th>video</th><th>frames</th><th></th></tr>{rows}</table></section>
</body></html>
"""


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]
