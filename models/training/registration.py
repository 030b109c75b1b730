"""Learns where skin lies beside the landmarks (:mod:`models.landmarks.registration`) from optical flow.

    understudy train registration --data data/faces --out models/weights/skin-registration.safetensors

Two frames of a clip show one person: the mesh warp makes the second of the first, and optical flow between
what it made and what was filmed says how far the skin at each landmark is from where the landmarks put it.
A network makes it with less to add to where it was told that skin lies: so, given one (``--through``), the
next registration learns from nearer pictures.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from torch import nn

from models.evaluation.generator_cases import crops
from models.generator import Generator
from models.landmarks.registration import PhotoFace, Registration, RegistrationInputs
from models.landmarks.topology import MIRROR
from models.marionette.generator import MarionetteGenerator, registration_of
from models.marionette.selection import RuntimeName, make_runtime, select_runtime
from models.marionette.weights import read_weights
from models.mesh_warp.generator import MeshWarpGenerator
from models.mesh_warp.picture import to_picture_pixels
from models.training.clips import ClipShard, Split
from models.training.samples import load_people

Float32 = npt.NDArray[np.float32]

_SIZE = 256
#: Of so many frames the one is taken that is farthest from the photo.
_CANDIDATES = 6
#: Optical flow is smoothed by so many pixels: what is finer is texture that it confused.
_SMOOTH = 3.0
#: Components along which faces differ by less, as a share of the first's deviation, are not blown up to it.
_LEAST_DEVIATION = 1e-3
_NOTHING = 0.05  # of a face: a deviation below which there is nothing to tell


@dataclass(frozen=True)
class RegistrationTraining:
    """Settings of a run.

    Attributes:
        pairs: of frames, for training; each also serves mirrored. An eighth as many measure.
        components: principal components kept of shape, change, displacement and of the result.
        hidden: width of both hidden layers.
    """

    pairs: int = 16_000
    components: tuple[int, int, int, int] = (50, 50, 50, 60)
    hidden: int = 256
    epochs: int = 30
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: tuple[float, float] = (0.1, 0.3)
    seed: int = 1


class Pairs(NamedTuple):
    """What was seen in pairs of frames.

    Attributes:
        photos, shown: landmarks of both, ``[n, 478, 3]`` in pixels of 256.
        shifts: where the skin is, relative to the landmarks shown, ``[n, 478, 2]`` in pixels.
    """

    photos: Float32
    shown: Float32
    shifts: Float32

    def mirrored(self) -> Pairs:
        """The same faces in a mirror."""
        photos, shown, shifts = (part[:, MIRROR].copy() for part in self)
        for landmarks in (photos, shown):
            landmarks[..., 0] = _SIZE - 1 - landmarks[..., 0]
        shifts[..., 0] *= -1
        return Pairs(photos, shown, shifts)


class Explained(NamedTuple):
    """How much of pairs' shifts a registration explains: of their squares, and of their sizes."""

    squared: float
    absolute: float


def skin_shifts(made: npt.NDArray[np.uint8], filmed: npt.NDArray[np.uint8], landmarks: Float32) -> Float32:
    """How far what lies at each landmark in a filmed picture lies from it in the made one, ``[N, 2]`` pixels.

    Args:
        made, filmed: ``[S, S, 3]`` RGB.
        landmarks: ``[N, >=2]``, pixels.
    """
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (filmed, made)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = cv2.GaussianBlur(dis.calc(grey[0], grey[1], None), (0, 0), _SMOOTH)
    x, y = (np.ascontiguousarray(landmarks[None, :, axis], np.float32) for axis in (0, 1))
    return np.asarray(-cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])


def collect_pairs(
    data: Path,
    split: Split,
    count: int,
    seed: int,
    *,
    through: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Pairs:
    """Draw pairs by person and measure them.

    Args:
        data, split: of a built dataset.
        count: of pairs.
        seed: which; the same with any number of workers.
        through: weights of the network that makes the pictures; by default the mesh warp does.
        workers: processes, by default one a processor; 1 is this one.
        progress: told how many more there are.

    Raises:
        ValueError: the dataset holds nobody of this split.
        models.marionette.weights.WeightsError: the weights cannot be used.
        RuntimeError: nothing here computes such a network.
    """
    draws = [(seed, index) for index in range(count)]
    found = []
    with ExitStack() as stack:
        runtime = None if through is None else select_runtime(read_weights(through)).name
        begun = (data, split, through, runtime)
        _begin(*begun)  # who is not there is missed here, not in a process
        measured: Iterable[tuple[Float32, Float32, Float32]] = map(_measured, draws)
        if workers != 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(context.Pool(workers, _begin, begun))
            measured = pool.imap(_measured, draws, chunksize=16)
        for pair in measured:
            found.append(pair)
            progress(1)
    return Pairs(*(np.stack(part) for part in zip(*found, strict=True)))


_people: Sequence[Sequence[ClipShard]] = ()
_generator: Generator | None = None
#: What moved the landmarks before the generator saw them.
_before: Registration | None = None


def _begin(data: Path, split: Split, through: Path | None, runtime: RuntimeName | None) -> None:
    global _people, _generator, _before
    _people, _generator, _before = load_people(data, [split]), MeshWarpGenerator(_SIZE), None
    if through is not None and runtime is not None:
        weights = read_weights(through)
        _generator = MarionetteGenerator(make_runtime(runtime, weights), _SIZE)
        _before = registration_of(weights.config)
    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)


def _measured(seed: tuple[int, int]) -> tuple[Float32, Float32, Float32]:
    assert _generator is not None
    random = np.random.default_rng(seed)
    person = _people[random.integers(len(_people))]
    clip = person[random.integers(len(person))]
    photo = int(random.integers(len(clip)))
    candidates = random.choice(len(clip), size=min(_CANDIDATES, len(clip)), replace=False)
    points = clip.landmarks[..., :2]
    frame = int(candidates[np.abs(points[candidates] - points[photo]).mean((1, 2)).argmax()])
    images, landmarks = crops(clip, [photo, frame])
    target = _generator.encode_target(images[:1], landmarks[:1])
    made = _generator.generate([target], landmarks[1:])[0]
    filmed = np.asarray(cv2.resize(images[1], (_SIZE, _SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    first, second = (to_picture_pixels(face, _SIZE) for face in landmarks)
    shifts = skin_shifts(made, filmed, second)
    if _before is not None:
        shifts += _before.shift(PhotoFace.of(first), second)
    return first, second, shifts


def fit(
    pairs: Pairs, settings: RegistrationTraining, progress: Callable[[int], None] = lambda _: None
) -> Registration:
    """Train on pairs, and on their mirror images; ``progress`` is told of every epoch."""
    inputs, wanted = _told(pairs)
    whitened: dict[str, Float32] = {}
    for name, keep in zip(("shape", "change", "displacement"), settings.components, strict=False):
        mean, basis, deviation = _principal(np.stack([getattr(item, name) for item in inputs]), keep)
        whitened |= {f"{name}.mean": mean, f"{name}.basis": (basis / deviation).astype(np.float32)}
    mean, basis, deviation = _principal(wanted, settings.components[3])
    loudest = float(deviation[0])
    whitened |= {"result.mean": mean, "result.basis": (basis.T * loudest).astype(np.float32)}
    given = Registration(whitened)
    x = torch.from_numpy(np.stack([given.coefficients(item) for item in inputs]))
    y = torch.from_numpy(((wanted - mean) @ basis / loudest).astype(np.float32))

    torch.manual_seed(settings.seed)
    first, later = settings.dropout
    network = nn.Sequential(
        nn.Dropout(first), nn.Linear(x.shape[1], settings.hidden), nn.SiLU(),
        nn.Dropout(later), nn.Linear(settings.hidden, settings.hidden), nn.SiLU(),
        nn.Dropout(later), nn.Linear(settings.hidden, y.shape[1]),
    )  # fmt: skip
    steps = settings.epochs * -(-len(x) // settings.batch)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps)
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(x)).split(settings.batch):
            loss = (network(x[chosen]) - y[chosen]).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        progress(1)
    layers = [part for part in network if isinstance(part, nn.Linear)]
    for number, layer in enumerate(layers):
        whitened |= {
            f"weight{number}": layer.weight.detach().numpy(), f"bias{number}": layer.bias.detach().numpy()
        }  # fmt: skip
    return Registration(whitened)


def explained(registration: Registration, pairs: Pairs) -> Explained:
    """How much of these pairs' shifts a registration explains; 0 is what doing nothing explains."""
    made = np.stack(
        [
            registration.shift(PhotoFace.of(photo), shown)
            for photo, shown in zip(pairs.photos, pairs.shown, strict=True)
        ]
    )
    rest = made - pairs.shifts
    return Explained(
        1 - float(np.square(rest).sum() / np.square(pairs.shifts).sum()),
        1 - float(np.abs(rest).sum() / np.abs(pairs.shifts).sum()),
    )


def save_registration(registration: Registration, path: Path) -> None:
    """Write the weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(array, np.float16) for name, array in registration.arrays.items()}
    save_file(arrays, str(path), metadata={"format": "understudy-skin-registration-1"})


def train_registration(
    data: Path,
    settings: RegistrationTraining,
    task: Callable[[str, int], Callable[[int], None]],
    *,
    through: Path | None = None,
    workers: int | None = None,
) -> tuple[Registration, Explained | None]:
    """Collect pairs of the split train, fit, and measure on those of dev, where there are any.

    Args:
        data: a built dataset.
        settings: of the run.
        task: called with a name and a total, gives what is told of progress.
        through, workers: see :func:`collect_pairs`.

    Raises:
        ValueError: nobody to learn from.
    """

    def collected(split: Split, name: str, count: int) -> Pairs:
        told = task(name, count)
        return collect_pairs(
            data, split, count, settings.seed, through=through, workers=workers, progress=told
        )

    registration = fit(collected("train", "pairs", settings.pairs), settings, task("epochs", settings.epochs))
    try:
        held_out = collected("dev", "held-out pairs", settings.pairs // 8)
    except ValueError:
        return registration, None
    return registration, explained(registration, held_out)


def _told(pairs: Pairs) -> tuple[list[RegistrationInputs], Float32]:
    """Inputs, and wanted results ``[2n, 956]`` in their frames, of pairs and of their mirror images."""
    inputs, wanted = [], []
    for photo, shown, shift in _both(pairs):
        given = RegistrationInputs.of(PhotoFace.of(photo), shown)
        inputs.append(given)
        wanted.append((shift @ np.linalg.inv(given.frame)).ravel())
    return inputs, np.asarray(wanted, np.float32)


def _both(pairs: Pairs) -> Iterator[tuple[Float32, Float32, Float32]]:
    for side in (pairs, pairs.mirrored()):
        yield from zip(*side, strict=True)


def _principal(values: npt.NDArray[np.floating], keep: int) -> tuple[Float32, Float32, Float32]:
    """Mean ``[n]``, the first principal components ``[n, k]`` and the deviations along them ``[k]``."""
    mean = values.mean(0)
    centred = np.asarray(values - mean, np.float64)
    variance, components = np.linalg.eigh(centred.T @ centred / len(values))
    basis = components[:, ::-1][:, :keep]
    deviation = np.sqrt(np.maximum(variance[::-1][:keep], 0.0))
    deviation = np.maximum(deviation, _LEAST_DEVIATION * max(deviation[0], _NOTHING))
    return np.asarray(mean, np.float32), basis.astype(np.float32), deviation.astype(np.float32)
