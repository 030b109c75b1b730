"""What the landmark transformer is trained on: the settings of a run, and the batches drawn from people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor

from models.landmarks.transformer import INPUT_SIZE
from models.training.landmark_data import Person, mirrored

Float64 = npt.NDArray[np.float64]

__all__ = ["Samples", "TransformerTraining"]


@dataclass(frozen=True)
class TransformerTraining:
    """All that decides a run.

    Attributes:
        seed: of everything random.
        variance: of each semantic group's expressions that its basis holds.
        frames_per_person: the most frames of one person that are used, evenly spread.
        full_weight_frames: people with fewer frames count less: their many-shot identity is worth less.
        photo_weight: of a person of whom there are photos only, as sample; they count fully as identity.
        ridge: added to the covariances' diagonals before they are inverted.
        mix: share of samples whose identity is replaced by a mixture of two other people's.
        hidden, image_features, channels, dropout: see :class:`TransformerConfig`.
        image_steps, landmark_steps: optimiser steps of the two trainings; a learning rate of 0 at the end.
        batch, learning_rate, weight_decay: of both.
        taught: share of the teacher's answer in what the transformer of landmarks only is taught.
        log_steps, evaluate_steps, checkpoint_steps: how often.
    """

    seed: int = 1
    variance: float = 0.97
    frames_per_person: int = 300
    full_weight_frames: int = 35
    photo_weight: float = 0.05
    ridge: float = 1e-4
    mix: float = 0.5
    hidden: int = 256
    image_features: int = 64
    channels: tuple[int, ...] = (16, 24, 48, 64)
    dropout: float = 0.4
    image_steps: int = 900
    landmark_steps: int = 600
    batch: int = 96
    learning_rate: float = 7e-4
    weight_decay: float = 0.3
    taught: float = 0.5
    log_steps: int = 20
    evaluate_steps: int = 150
    checkpoint_steps: int = 50

    @classmethod
    def load(cls, path: Path) -> TransformerTraining:
        """Read a YAML file.

        Raises:
            ValueError: it is no mapping, or a key is unknown; the message names it.
        """
        content = yaml.safe_load(path.read_text()) or {}
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a mapping of settings")
        known = {item.name for item in fields(cls)}
        if unknown := set(content) - known:
            raise ValueError(
                f"{path}: unknown {', '.join(sorted(map(str, unknown)))}; known: {', '.join(sorted(known))}"
            )
        if "channels" in content:
            content["channels"] = tuple(content["channels"])
        return cls(**content)


@dataclass(frozen=True)
class Samples:
    """Frames to train on, with the parts that they are made of.

    Attributes:
        identity, expression: float32 ``[F, N * 3]``; average + identity + expression is the frame.
        crops: uint8 ``[F, S, S, 3]``.
        weight: probability of being drawn, ``[F]``.
        identities: ``[P, N * 3]`` of all people and their mirror images, to mix.
        average: ``[N, 3]``.
    """

    identity: Tensor
    expression: Tensor
    crops: Tensor
    weight: Tensor
    identities: Tensor
    average: Float64

    @classmethod
    def of(cls, people: Sequence[Person], config: TransformerTraining) -> Samples:
        """From the people to train on; drawn (``generated``) people count as well as real ones.

        The average is over the people of the split ``train`` who are on video, each counting the same, as in
        Eq. 9, where all videos are of one length.

        Raises:
            ValueError: no person of the split ``train`` is on video, or crops are missing.
        """
        average_of = [person.mean for person in people if person.split == "train" and not person.still]
        if not average_of:
            raise ValueError("there is nobody of the split train")
        average = np.mean(average_of, axis=0)
        identities, identity, expression, crops, weight = [], [], [], [], []
        for person in people:
            if person.split == "dev":
                continue
            if person.crops is None:
                raise ValueError(
                    f"{person.name} has no face crops: separate the videos again with --crops 72"
                )
            own = person.mean - average
            identities += [own, mirrored(own)]
            chosen = np.linspace(0, len(person.landmarks) - 1, config.frames_per_person).round().astype(int)
            chosen = np.unique(chosen)
            crops.append(person.crops[chosen])
            expression.append(person.landmarks[chosen] - average - own)
            identity.append(np.broadcast_to(own, expression[-1].shape))
            trust = config.photo_weight if person.still else len(chosen) / config.full_weight_frames
            weight.append(np.full(len(chosen), min(1.0, trust) / len(chosen)))

        def flat(parts: list[Any]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(np.float32)).flatten(1)

        return cls(
            identity=flat(identity),
            expression=flat(expression),
            crops=torch.from_numpy(np.concatenate(crops)),
            weight=torch.from_numpy(np.concatenate(weight)),
            identities=torch.from_numpy(np.stack(identities).astype(np.float32)).flatten(1),
            average=average,
        )

    def covariances(self) -> tuple[Float64, Float64]:
        """Of expressions and of identities, ``[N * 3, N * 3]`` each, mirror images included."""
        expression = self.expression.numpy().astype(np.float64)
        weight = (self.weight / self.weight.sum()).numpy()[:, None]
        flipped = mirrored(expression.reshape(len(expression), -1, 3)).reshape(expression.shape)
        of_expression = (expression.T @ (weight * expression) + flipped.T @ (weight * flipped)) / 2
        identities = self.identities.numpy().astype(np.float64)
        return of_expression, identities.T @ identities / len(identities)

    def draw(
        self, config: TransformerTraining, generator: torch.Generator, *, faces: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """A batch: normalised landmarks ``[B, N, 3]``, their expressions ``[B, N * 3]``, faces if wanted.

        Because landmarks are a sum, a frame of a person who does not exist, but whose expression is known, is
        made by putting an expression on a mixture of other people's identities.
        """
        count = config.batch

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        index = torch.multinomial(self.weight, count, replacement=True, generator=generator)
        expression, identity = self.expression[index], self.identity[index]
        share = uniform(count, 1)
        pairs = torch.randint(len(self.identities), (2, count), generator=generator)
        mixed = share * self.identities[pairs[0]] + (1 - share) * self.identities[pairs[1]]
        mixed *= (0.7 + 0.6 * uniform(count, 1)) / torch.sqrt(share**2 + (1 - share) ** 2)
        identity = torch.where(uniform(count, 1) < config.mix, mixed, identity)
        flip = uniform(count) < 0.5
        average = torch.from_numpy(self.average.astype(np.float32))
        expression = torch.where(flip[:, None], _mirrored_flat(expression), expression)
        identity = torch.where(flip[:, None], _mirrored_flat(identity), identity)
        pictures = _augmented(self.crops[index], flip, generator) if faces else None
        return average + (identity + expression).unflatten(1, (-1, 3)), expression, pictures


def _mirrored_flat(landmarks: Tensor) -> Tensor:
    return torch.from_numpy(mirrored(landmarks.unflatten(1, (-1, 3)).numpy())).flatten(1)


def _augmented(crops: Tensor, flip: Tensor, generator: torch.Generator) -> Tensor:
    """Crops ``[B, S, S, 3]`` shifted by some pixels, of other brightness, contrast or grey, some mirrored."""
    spare = crops.shape[1] - INPUT_SIZE + 1
    top, left = torch.randint(spare, (2,), generator=generator).tolist()
    faces = crops[:, top : top + INPUT_SIZE, left : left + INPUT_SIZE].float()
    faces = torch.where(flip[:, None, None, None], faces.flip(2), faces)
    shape = (len(crops), 1, 1, 1)
    faces = (faces - 127.5) * (0.7 + 0.6 * torch.rand(shape, generator=generator))
    faces = faces + 127.5 + 51 * (torch.rand(shape, generator=generator) - 0.5)
    grey = torch.rand(shape, generator=generator) < 0.3
    return torch.where(grey, faces.mean(3, keepdim=True), faces)
