"""Measures the landmark transformer on held-out people: identity, transfer, round trip, start of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.landmarks.features import eye_heights, lip_gap
from models.landmarks.geometry import Pose, denormalise, normalise
from models.landmarks.identity import DriverIdentity, FewShot
from models.landmarks.separation import separate
from models.landmarks.topology import SEMANTIC_GROUPS
from models.landmarks.transformer import LandmarkTransformer
from models.training.landmark_data import Person

Float64 = npt.NDArray[np.float64]

__all__ = [
    "IdentityFigures", "StartFigures", "TransferFigures",
    "call_expressions", "few_shot_expressions", "identity_figures", "start_figures", "transfer_figures",
]  # fmt: skip

#: A mean over less footage than this is no many-shot identity: an expression that is held stays in it.
MANY_SHOT_S = 8.0


@dataclass(frozen=True)
class IdentityFigures:
    """Distance of identity estimates to many-shot identities, means over people.

    Attributes:
        people: measured.
        naive: of landmark - average, from one frame.
        image: few-shot with the image encoder, from one frame.
        landmarks: few-shot from landmarks only, from one frame.
        naive_four, image_four: the means over four frames.
        shares: ``image / naive`` of each person, by name.
    """

    people: int
    naive: float
    image: float
    landmarks: float
    naive_four: float
    image_four: float
    shares: dict[str, float]


@dataclass(frozen=True)
class TransferFigures:
    """Driving person Y with person X, over all ordered pairs of people, Y known from few photos (Eq. 8).

    Attributes:
        pairs: measured.
        nearer: share of pairs in which the transferred video's identity (Eq. 10) is nearer to Y than to X.
        nearer_frames: share of single transferred frames whose few-shot identity is.
        naive_nearer: the same as ``nearer`` for X's landmarks as they are.
        correlation: mean over pairs of the correlation of mouth, eyes and brows with X's own.
        worst: least correlation of a pair, by feature.
        round_trip: energy of the error of X's expression after it was put on Y, posed and seen in pixels, and
            taken off by many-shot separation of that video, as a share of the expression's.
        round_trip_few: the same, taken off by the few-shot estimate of each frame alone.
    """

    pairs: int
    nearer: float
    nearer_frames: float
    naive_nearer: float
    correlation: dict[str, float]
    worst: dict[str, float]
    round_trip: float
    round_trip_few: float


@dataclass(frozen=True)
class StartFigures:
    """Distance to the many-shot identity after a call's first seconds, means over people.

    Attributes:
        seconds: since the first frame.
        many: of the running mean alone.
        few: of the mean of the few-shot estimates alone.
        blend: of what the call uses.
    """

    seconds: list[float]
    many: list[float]
    few: list[float]
    blend: list[float]


def identity_figures(
    people: Sequence[Person],
    image: LandmarkTransformer,
    landmarks: LandmarkTransformer,
    *,
    frames: int = 200,
    seed: int = 1,
) -> IdentityFigures:
    """Identity from one frame, and from four, against the many-shot identity (the person's mean, Eq. 10).

    The distance is the Euclidean one over all coordinates; every person counts the same.
    """
    random = np.random.default_rng(seed)
    sums = np.zeros(5)
    shares = {}
    average = image.average.view(-1, 3)
    for person in people:
        chosen = np.unique(np.linspace(0, len(person.landmarks) - 1, frames).round().astype(int))
        shown, truth = (
            torch.from_numpy(person.landmarks[chosen]),
            torch.from_numpy(person.mean).float() - average,
        )
        with torch.inference_mode():
            by_image = image.identity(shown, image(shown, _faces(person, chosen)))
            by_landmarks = landmarks.identity(shown, landmarks(shown))
        naive = shown - average
        four = torch.from_numpy(random.integers(0, len(chosen), (len(chosen), 4)))
        estimates = (naive, by_image, by_landmarks, naive[four].mean(1), by_image[four].mean(1))
        means = [float((estimate - truth).flatten(1).norm(dim=1).mean()) for estimate in estimates]
        sums += means
        shares[person.name] = means[1] / means[0]
    one, with_image, alone, four_naive, four_image = (sums / max(len(people), 1)).tolist()
    return IdentityFigures(len(people), one, with_image, alone, four_naive, four_image, shares)


def transfer_figures(
    people: Sequence[Person],
    image: LandmarkTransformer,
    landmarks: LandmarkTransformer,
    drivers: Mapping[str, Float64],
    *,
    photos: int = 1,
    frames: int = 120,
    seed: int = 1,
) -> TransferFigures:
    """Cross-person transfer (Eq. 8) and round trip, every person driving every other one.

    Args:
        people: with face crops.
        image: for the targets: Y's identity is estimated from frames drawn anew for each pair.
        landmarks: for single transferred frames.
        drivers: expressions ``[T, N, 3]`` of the first T frames of each person, by name; see
            :func:`call_expressions` and :func:`few_shot_expressions`.
        photos: how many frames of Y.
        frames: the most frames of X that are used.
        seed: of the drawing of frames, and of the poses.
    """
    random = np.random.default_rng(seed)
    average = image.average.view(-1, 3)
    truth = {p.name: torch.from_numpy(p.mean).float() - average for p in people}
    nearer, naive, single, trips, few_trips = [], [], [], [], []
    correlations: list[dict[str, float]] = []
    for x in people:
        expression = torch.from_numpy(drivers[x.name][:frames]).float()
        clip = torch.from_numpy(x.landmarks[: len(expression)])
        measured = _features(clip)
        for y in people:
            if x is y:
                continue
            chosen = random.integers(0, len(y.landmarks), photos)
            with torch.inference_mode():
                identity = image.target_identity(torch.from_numpy(y.landmarks[chosen]), _faces(y, chosen))
                moved = image.transfer(identity, expression)
                taken = landmarks.expression(landmarks(moved))
            own, other = truth[y.name], truth[x.name]
            nearer.append(_nearer(moved.mean(0) - average, own, other))
            naive.append(_nearer(clip.mean(0) - average, own, other))
            single += [_nearer(one, own, other) for one in moved - average - taken]
            correlations.append(_correlations(_features(moved), measured))
            wanted = (expression - expression.mean(0)).numpy().astype(np.float64)
            trips.append(_share(_seen_and_separated(moved, random), wanted))
            few_trips.append(_share(taken.numpy(), expression.numpy()))
    return TransferFigures(
        pairs=len(nearer),
        nearer=float(np.mean(nearer)),
        nearer_frames=float(np.mean(single)),
        naive_nearer=float(np.mean(naive)),
        correlation=_mean(correlations),
        worst={name: min(row[name] for row in correlations if name in row) for name in correlations[0]},
        round_trip=float(np.mean(trips)),
        round_trip_few=float(np.mean(few_trips)),
    )


def few_shot_expressions(people: Sequence[Person], estimate: FewShot) -> dict[str, Float64]:
    """Each frame's expression from that frame alone (Eq. 7), ``[T, N, 3]`` by name."""
    return {
        person.name: np.stack([frame - estimate.driver(frame) for frame in person.landmarks])
        for person in people
    }


def call_expressions(people: Sequence[Person], estimate: FewShot) -> dict[str, Float64]:
    """Each frame's expression as in a call (Eq. 11), ``[T, N, 3]`` by name.

    The identity is that of :class:`DriverIdentity` up to this frame, from the first on.
    """
    expressions = {}
    for person in people:
        driver, step = DriverIdentity(estimate), person.seconds / len(person.landmarks)
        expressions[person.name] = np.stack(
            [frame - driver.update(frame, step) for frame in person.landmarks.astype(np.float64)]
        )
    return expressions


def start_figures(
    people: Sequence[Person],
    estimate: FewShot,
    *,
    seconds: Sequence[float] = (0.25, 1.0, 2.0, 5.0, 10.0),
    starts: int = 6,
    seed: int = 1,
) -> StartFigures:
    """How near to the many-shot identity a driver's is after its first seconds, from random starts.

    People with less footage than the last of ``seconds`` are left out.
    """
    random = np.random.default_rng(seed)
    rows = []
    for person in people:
        if person.seconds < max(seconds) * 1.25:
            continue
        step = person.seconds / len(person.landmarks)
        for _ in range(starts):
            begin = int(random.integers(len(person.landmarks) - int(max(seconds) / step)))
            blended = DriverIdentity(estimate)
            many, few = np.zeros_like(person.mean), np.zeros_like(person.mean)
            row = []
            for number in range(int(max(seconds) / step) + 1):
                frame = person.landmarks[min(begin + number, len(person.landmarks) - 1)].astype(np.float64)
                blend = blended.update(frame, step)
                many += (frame - many) / (number + 1)
                few += (estimate.driver(frame) - few) / (number + 1)
                row.append([float(np.linalg.norm(part - person.mean)) for part in (many, few, blend)])
            rows.append([row[min(max(round(second / step) - 1, 0), len(row) - 1)] for second in seconds])
    means = np.mean(rows, axis=0) if rows else np.full((len(seconds), 3), np.nan)
    return StartFigures(list(seconds), *(means[:, column].tolist() for column in range(3)))


def _faces(person: Person, chosen: npt.NDArray[np.int_]) -> torch.Tensor:
    if person.crops is None:
        raise ValueError(f"{person.name} has no face crops: separate the videos again with --crops 72")
    return torch.from_numpy(person.crops[chosen])


def _nearer(identity: torch.Tensor, own: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((identity - own).norm() < (identity - other).norm())


def _features(track: torch.Tensor) -> dict[str, Float64]:
    """Mouth opening, eye opening and brow height of every frame ``[T, 478, 3]``."""
    frames = track.numpy().astype(np.float64)
    brows = np.concatenate([SEMANTIC_GROUPS["right_eyebrow"], SEMANTIC_GROUPS["left_eyebrow"]])
    corners = [33, 133, 263, 362]
    return {
        "mouth": np.array([lip_gap(frame) for frame in frames]),
        "eyes": np.array([eye_heights(frame).mean() for frame in frames]),
        "brows": frames[:, corners, 1].mean(1) - frames[:, brows, 1].mean(1),
    }


def _correlations(moved: dict[str, Float64], driver: dict[str, Float64]) -> dict[str, float]:
    return {
        name: float(np.corrcoef(moved[name], driver[name])[0, 1])
        for name in driver
        if moved[name].std() > 1e-6 and driver[name].std() > 1e-6
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in rows[0]}


def _seen_and_separated(track: torch.Tensor, random: np.random.Generator) -> Float64:
    """Expressions of a video in which the head turns about, by normalising and separating what is seen."""
    angles = random.uniform(-0.5, 0.5, (2, 3))
    seen = []
    for number, frame in enumerate(track.numpy()):
        share = number / len(track)
        pose = Pose(
            70.0 + 20.0 * share,
            _turned(*(angles[0] + share * (angles[1] - angles[0]))),
            np.array([250.0, 260.0, 0.0]),
        )
        seen.append(normalise(denormalise(frame, pose).astype(np.float32))[0])
    return separate([np.stack(seen)]).expression[0]


def _share(found: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> float:
    """Energy of an error as a share of that of what was wanted."""
    return float(((found - wanted) ** 2).sum() / max(float((wanted**2).sum()), 1e-12))


def _turned(yaw: float, pitch: float, roll: float) -> Float64:
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    return np.asarray(about_z @ about_x @ about_y)
