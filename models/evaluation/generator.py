"""Runs generators on cases, side by side and as the call runs them, and measures every picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from models.evaluation.action_units import action_units, agreement, states
from models.evaluation.generator_cases import Case, crops, draw_cross_cases, draw_self_cases
from models.evaluation.generator_metrics import (
    PerceptualMetric,
    flicker,
    jitter,
    picture_metrics,
    pose_error,
    regions,
)
from models.evaluation.identity_network import IdentityNetwork, cosine
from models.generator import TARGET_CROP, Generator, Landmarks, Picture, TargetFeatures
from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverMotion, DriverTracker
from models.landmarks.identity import few_shot
from models.landmarks.retarget import RetargetTarget, retarget
from models.mesh_warp.generator import MeshWarpGenerator, best_photo
from models.training.clips import ClipOptions, ClipShard

__all__ = [
    "CopyGenerator", "GeneratorEvaluation", "Measured", "Method", "baselines", "load_network_methods",
    "tracked",
]  # fmt: skip

#: Frames of the videos that jitter and flicker are measured on.
_RUN: Final = 10
#: Frames that a person's rest, and identity, are means of.
_REST_FRAMES, _IDENTITY_FRAMES = 60, 5


@dataclass(frozen=True)
class _CopiedTarget:
    landmarks: Landmarks
    photo: Picture


class CopyGenerator:
    """Shows the target's best photo whatever the driver does: what doing nothing is worth."""

    name = "copy"
    best_batch = 1

    def __init__(self, size: int = 256) -> None:
        self.size = size

    def encode_target(self, images: Picture, landmarks: Landmarks) -> _CopiedTarget:
        """See :class:`models.generator.Generator`."""
        best = best_photo(landmarks)
        photo = cv2.resize(images[best], (self.size, self.size), interpolation=cv2.INTER_AREA)
        return _CopiedTarget(np.asarray(landmarks[best], np.float32), np.asarray(photo, np.uint8))

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`."""
        return np.stack([target.photo for target in targets if isinstance(target, _CopiedTarget)])


@dataclass(frozen=True)
class Method:
    """A generator under test.

    Attributes:
        name: unique; in tables, and in the names of files.
        generator: makes the pictures, 256 pixels a side.
        about: file, size and so on, for the report.
    """

    name: str
    generator: Generator
    about: dict[str, Any] = field(default_factory=dict)


def baselines() -> list[Method]:
    """Copying the target, and the mesh warp."""
    return [Method("copy", CopyGenerator()), Method("mesh-warp", MeshWarpGenerator())]


@dataclass(frozen=True)
class Measured:
    """Figures of all methods on one case with so many targets.

    Attributes:
        case, photos: what was measured; with how many photos (fewer than asked for where a clip is short).
        asked: number of photos asked for.
        figures: by method, then by metric; a metric that has no value is missing.
    """

    case: Case
    asked: int
    photos: int
    figures: dict[str, dict[str, float]]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """With the names of the people instead of their indices."""
        case = asdict(self.case) | {
            "target": names[self.case.target], "driver": names[self.case.driver],
        }  # fmt: skip
        return {"case": case, "asked": self.asked, "photos": self.photos, "figures": self.figures}


class _Person:
    """What is known of a person from all of its footage."""

    def __init__(self, clips: Sequence[ClipShard], random: np.random.Generator) -> None:
        self.clips = clips
        self.name = clips[0].person
        every = [(clip, frame) for clip in range(len(clips)) for frame in range(len(clips[clip]))]
        chosen = random.permutation(len(every))
        self._sample = [every[index] for index in chosen[:_REST_FRAMES]]

    @cached_property
    def rest(self) -> npt.NDArray[np.float64]:
        """Mean action units."""
        measures = [action_units(self.clips[clip].landmarks[frame]) for clip, frame in self._sample]
        return np.asarray(np.mean(measures, axis=0), np.float64)

    def embedding(self, network: IdentityNetwork) -> npt.NDArray[np.float64]:
        """Mean embedding of a few frames."""
        embedded = [
            network.embed(self.clips[clip].frame(frame), self.clips[clip].landmarks[frame])
            for clip, frame in self._sample[:_IDENTITY_FRAMES]
        ]
        return np.asarray(np.mean(embedded, axis=0), np.float64)


class GeneratorEvaluation:
    """Measures methods on people that none of them was trained on.

    Self-reenactment rebuilds a frame of a clip from other frames of it, with the frame's own landmarks.
    Cross-person reenactment runs the driver's clip through the call's own tracking and retargeting up to
    the frame, relative to the driver's neutral state, so the pose that is compared is the one that was asked
    for. Every method sees the same cases, one frame at a time.

    Where no face is found in a picture, CSIM and AUCON are 0; its pose is left out, and ``lost`` is 1.

    Args:
        people: clips by person.
        methods: at least one.
        detector: static; closed by the caller.
        perceptual: left out when None, and so are its figures.
        identity: by the name of their figure (``csim``, ``csim_arcface``).
        background: clips by person of others, whose faces say what all faces have in common; see
            :meth:`IdentityNetwork.centre`.
        seed: of the draws.
    """

    def __init__(
        self,
        people: Sequence[Sequence[ClipShard]],
        methods: Sequence[Method],
        detector: FaceDetector,
        *,
        perceptual: PerceptualMetric | None = None,
        identity: Mapping[str, IdentityNetwork] | None = None,
        background: Sequence[Sequence[ClipShard]] = (),
        seed: int = 1,
    ) -> None:
        self.methods = list(methods)
        self.seed = seed
        self._detector = detector
        self._perceptual = perceptual
        self._identity = dict(identity or {})
        random = np.random.default_rng(seed)
        self.people = [_Person(clips, random) for clips in people]
        others = [_Person(clips, random) for clips in background] or self.people
        self._embeddings: dict[str, list[npt.NDArray[np.float64]]] = {}
        for name, network in self._identity.items():
            network.centre(np.stack([person.embedding(network) for person in others]))
            self._embeddings[name] = [person.embedding(network) for person in self.people]

    def self_cases(self, pairs: int, photos: int) -> list[Case]:
        """See :func:`draw_self_cases`."""
        return draw_self_cases([p.clips for p in self.people], pairs=pairs, photos=photos, seed=self.seed)

    def cross_cases(self, pairs: int, photos: int) -> list[Case]:
        """See :func:`draw_cross_cases`."""
        return draw_cross_cases([p.clips for p in self.people], pairs=pairs, photos=photos, seed=self.seed)

    def pictures(self, case: Case, photos: int) -> dict[str, Picture]:
        """``target``, ``driver`` and each method's picture, by its name: ``[256, 256, 3]`` RGB each."""
        images, landmarks, driver, aim = self._inputs(case, photos)
        shown = {"target": images[best_photo(landmarks)], "driver": driver}
        for method in self.methods:
            shown[method.name] = self._generate(method, images, landmarks, aim)[0]
        return {name: _at_256(picture) for name, picture in shown.items()}

    def measure(self, case: Case, photos: int) -> Measured:
        """All figures of one case with ``photos`` targets."""
        images, landmarks, driver, aim = self._inputs(case, photos)
        made = [self._generate(method, images, landmarks, aim) for method in self.methods]
        pictures, truth = [picture for picture, _ in made], _at_256(driver)
        figures: list[dict[str, float]] = [{} for _ in made]
        if case.kind == "self":
            masks = regions(_to_256(made[0][1]), truth.shape[0])
            for figure, picture in zip(figures, pictures, strict=True):
                figure |= picture_metrics(picture, truth, masks)
            if self._perceptual is not None:
                for figure, distances in zip(figures, self._perceptual(pictures, truth, masks), strict=True):
                    figure |= distances
        seen = self._seen(case, truth)
        for figure, (picture, wanted) in zip(figures, made, strict=True):
            figure |= self._face_figures(case, picture, _to_256(wanted), truth, seen)
        by_name = {method.name: figure for method, figure in zip(self.methods, figures, strict=True)}
        return Measured(case, photos, len(images), by_name)

    def steadiness(self, person: int) -> dict[str, dict[str, float]]:
        """Jitter and flicker by method, on a run of frames of the person's longest clip, from one photo."""
        clips = self.people[person].clips
        clip = max(clips, key=len)
        count = min(_RUN, len(clip) - 1)
        random = np.random.default_rng((self.seed, person, 2))
        start = int(random.integers(1, len(clip) - count + 1))
        photo = int(random.choice(np.setdiff1d(np.arange(len(clip)), np.arange(start, start + count))))
        images, landmarks = crops(clip, [photo])
        frames, wanted = crops(clip, range(start, start + count))
        truth = [_at_256(frame) for frame in frames]
        found = [self._detect(frame) for frame in truth]
        figures = {}
        for method in self.methods:
            features = method.generator.encode_target(images, landmarks)
            video = [method.generator.generate([features], points[None])[0] for points in wanted]
            shown = [self._detect(picture) for picture in video]
            both = [(a, b) for a, b in zip(shown, found, strict=True) if a is not None and b is not None]
            figures[method.name] = {"flicker": flicker(video, truth)}
            if len(both) == count:
                figures[method.name]["jitter"] = jitter([a for a, _ in both], [b for _, b in both])
        return figures

    # ------------------------------------------------------------ one case

    def _inputs(
        self, case: Case, photos: int
    ) -> tuple[Picture, Landmarks, Picture, Callable[[TargetFeatures], Landmarks]]:
        """Photos, their landmarks, the driver's frame, and what puts its motion on an encoded target."""
        target = self.people[case.target].clips[case.target_clip]
        images, landmarks = crops(target, case.photos[:photos])
        clip = self.people[case.driver].clips[case.driver_clip]
        driver, own = crops(clip, [case.frame])
        if case.kind == "self":
            return images, landmarks, driver[0], lambda _: own[0]
        motion = tracked(clip, case.frame)
        neutral = few_shot().target(images, landmarks)

        def aim(features: TargetFeatures) -> Landmarks:
            return retarget(motion, RetargetTarget.of(features.landmarks, neutral))

        return images, landmarks, driver[0], aim

    def _generate(
        self, method: Method, images: Picture, landmarks: Landmarks,
        aim: Callable[[TargetFeatures], Landmarks],
    ) -> tuple[Picture, Landmarks]:  # fmt: skip
        features = method.generator.encode_target(images, landmarks)
        wanted = aim(features)
        return _at_256(method.generator.generate([features], wanted[None])[0]), wanted

    def _seen(self, case: Case, driver: Picture) -> Landmarks:
        """The driver's landmarks by the detector that judges the generated pictures: its errors cancel."""
        found = self._detect(driver)
        if found is not None:
            return found
        clip = self.people[case.driver].clips[case.driver_clip]  # the dataset's own tracking found it
        return np.asarray(clip.landmarks[case.frame] * np.float32(256 / clip.size), np.float32)

    def _face_figures(
        self, case: Case, picture: Picture, wanted: Landmarks, driver: Picture, seen: Landmarks
    ) -> dict[str, float]:
        """Pose, action units and identity of the face that is found in the picture."""
        found = self._detect(picture)
        figures = {"lost": float(found is None), "aucon": 0.0}
        figures |= dict.fromkeys(self._identity, 0.0)
        if found is None:
            return figures
        figures["aucon"] = agreement(
            states(action_units(found), self.people[case.target].rest),
            states(action_units(seen), self.people[case.driver].rest),
        )
        figures["pose_squared"] = pose_error(found, seen if case.kind == "self" else wanted)
        for name, network in self._identity.items():
            embedding, people = network.embed(picture, found), self._embeddings[name]
            if case.kind == "self":
                figures[name] = cosine(embedding, network.embed(driver, seen))
            else:
                figures[name] = cosine(embedding, people[case.target])
                figures[f"{name}_driver"] = cosine(embedding, people[case.driver])
        return figures

    def _detect(self, picture: Picture) -> npt.NDArray[np.float32] | None:
        faces = self._detector.detect(picture)
        return np.asarray(faces[0], np.float32) if faces else None


def tracked(clip: ClipShard, frame: int) -> DriverMotion:
    """The driver's motion in a frame, as a call that began with the clip would see it."""
    tracker = DriverTracker(few_shot=few_shot().driver)
    step = 1.0 / ClipOptions().fps
    for index in range(frame):
        tracker.update(clip.landmarks[index], index * step)
    return tracker.update(clip.landmarks[frame], frame * step)


def _at_256(picture: Picture) -> Picture:
    if picture.shape[0] == 256:
        return picture
    return np.asarray(cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def _to_256(landmarks: Landmarks) -> Landmarks:
    """Landmarks in pixels of the 512 crop to those of a picture half as large."""
    scale = np.float32(256 / TARGET_CROP)
    points = np.asarray(landmarks, np.float32) * scale
    points[:, :2] += 0.5 * scale - 0.5
    return points


def load_network_methods(files: Sequence[Path]) -> list[Method]:
    """Networks from files of weights, or from trainers' checkpoints (``.pt``: their averaged weights).

    Named after their files, a ``checkpoint.pt`` after its folder.

    Raises:
        WeightsError: a file cannot be used; the message says which and why.
    """
    from models.marionette.generator import MarionetteGenerator
    from models.marionette.weights import load_checkpoint, load_network

    methods: list[Method] = []
    for path in files:
        network = load_checkpoint(path) if path.suffix == ".pt" else load_network(path)
        stem = path.resolve().parent.name if path.stem == "checkpoint" else path.stem
        taken = {method.name for method in methods} | {"copy", "mesh-warp", "target", "driver"}
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 99))) if n not in taken)
        about = {
            "file": path.name,
            "bytes": path.stat().st_size,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "config": asdict(network.config),
        }
        methods.append(Method(name, MarionetteGenerator(network), about))
    return methods
