"""Draws sample sheets during training, and measures the network on held-out people as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.evaluation.generator_cases import crops, draw_self_cases
from models.evaluation.generator_metrics import PerceptualMetric, picture_metrics, regions
from models.generator import Generator, Landmarks
from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork
from models.mesh_warp.generator import MeshWarpGenerator
from models.training.clips import ClipShard

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["SampleSheet"]

#: Pixels a side of the pictures that are measured, and of those on a sheet.
_SIZE: Final = 256
_COLUMNS: Final = ("target", "driver", "mesh warp", "ours")
_HEADER: Final = 20
#: Figures that are logged; the others are for `understudy evaluate generator`.
_LOGGED: Final = (
    "l1", "l1_face", "l1_mouth", "perceptual", "perceptual_face", "perceptual_mouth", "ssim", "psnr",
)  # fmt: skip

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Sample:
    """A case with all that does not depend on the network."""

    photo: Picture  # [1, 512, 512, 3]
    photo_landmarks: Landmarks  # [1, 478, 3]
    wanted: Landmarks  # [478, 3], in pixels of the 512 crop
    truth: Picture  # [256, 256, 3]
    masks: dict[str, npt.NDArray[np.float32]]
    mesh_warp: Picture  # [256, 256, 3]


class SampleSheet:
    """Rebuilds frames of held-out people from one photo each, as a call would: what a trainer evaluates with.

    The same frames every time, far from their photos in expression and in pose by turns. A call draws
    ``sheet-STEP.png`` (target | driver | mesh warp | ours), shows it in TensorBoard and gives the figures.

    Args:
        people: held out, clips by person.
        out: folder of the sheets.
        pairs: frames of each person that are measured.
        rows: of a sheet, two cases each; the rest is measured only.
        tile: pixels a side of a picture on a sheet.
        perceptual: left out when None.
        device: where the network is.
        seed: of the draws.

    Raises:
        ValueError: there are no people.
    """

    def __init__(
        self,
        people: Sequence[Sequence[ClipShard]],
        out: Path,
        *,
        pairs: int = 2,
        rows: int = 8,
        tile: int = 192,
        perceptual: PerceptualMetric | None = None,
        device: torch.device | str = "cpu",
        seed: int = 1,
    ) -> None:
        if not people:
            raise ValueError("a sample sheet needs people who are held out")
        self._out = out
        self._rows = rows
        self._tile = tile
        self._perceptual = perceptual
        self._device = str(device)
        mesh_warp = MeshWarpGenerator(_SIZE)
        cases = draw_self_cases(people, pairs=pairs, photos=1, seed=seed)
        # one frame of everybody before the second of anybody: the sheet shows the first ones
        cases = [case for number in range(pairs) for case in cases[number::pairs]]
        self._samples = []
        for case in cases:
            clip = people[case.target][case.target_clip]
            photo, photo_landmarks = crops(clip, case.photos)
            driver, wanted = crops(clip, [case.frame])
            truth = np.asarray(cv2.resize(driver[0], (_SIZE, _SIZE), interpolation=cv2.INTER_AREA), np.uint8)
            masks = regions(wanted[0] * (_SIZE / driver.shape[1]), _SIZE)
            warped = _made(mesh_warp, photo, photo_landmarks, wanted[0])
            self._samples.append(_Sample(photo, photo_landmarks, wanted[0], truth, masks, warped))
        self._mesh_warp = self._figures([sample.mesh_warp for sample in self._samples])

    def __call__(
        self, network: MarionetteNetwork, step: int, writer: SummaryWriter | None = None
    ) -> dict[str, float]:
        """Measure the network and draw a sheet; nothing random, and the network is left as it was.

        Returns:
            Means over the cases, and as ``NAME_change`` each figure's relative change against the mesh warp.
        """
        training = network.training
        needing = [parameter for parameter in network.parameters() if parameter.requires_grad]
        generator = MarionetteGenerator(network, _SIZE, device=self._device)
        try:
            pictures = [
                _made(generator, sample.photo, sample.photo_landmarks, sample.wanted)
                for sample in self._samples
            ]
        finally:  # a generator takes its network for finished
            network.train(training)
            for parameter in needing:
                parameter.requires_grad_(True)
        sheet = self._draw(pictures)
        self._out.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self._out / f"sheet-{step:07d}.png"), sheet[..., ::-1])
        if writer is not None:
            writer.add_image("dev/sheet", sheet, step, dataformats="HWC")
        figures = self._figures(pictures)
        changes = {f"{name}_change": value / self._mesh_warp[name] - 1.0 for name, value in figures.items()}
        return figures | changes

    def _figures(self, pictures: Sequence[Picture]) -> dict[str, float]:
        every = []
        for picture, sample in zip(pictures, self._samples, strict=True):
            figures = picture_metrics(picture, sample.truth, sample.masks)
            if self._perceptual is not None:
                figures |= self._perceptual([picture], sample.truth, sample.masks)[0]
            every.append(figures)
        return {name: float(np.mean([f[name] for f in every])) for name in _LOGGED if name in every[0]}

    def _draw(self, pictures: Sequence[Picture]) -> Picture:
        tile = self._tile
        strips = []
        for sample, picture in list(zip(self._samples, pictures, strict=True))[: 2 * self._rows]:
            shown = (sample.photo[0], sample.truth, sample.mesh_warp, picture)
            small = [cv2.resize(one, (tile, tile), interpolation=cv2.INTER_AREA) for one in shown]
            strips.append(np.concatenate(small, axis=1))
        if len(strips) % 2:
            strips.append(np.full_like(strips[0], 255))
        rows = [np.concatenate(strips[i : i + 2], axis=1) for i in range(0, len(strips), 2)]
        header = np.full((_HEADER, rows[0].shape[1], 3), 255, np.uint8)
        for index, name in enumerate(_COLUMNS * 2):
            cv2.putText(
                header, name, (index * tile + 4, _HEADER - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1,
                cv2.LINE_AA,
            )  # fmt: skip
        return np.concatenate([header, *rows])


def _made(generator: Generator, photo: Picture, photo_landmarks: Landmarks, wanted: Landmarks) -> Picture:
    target = generator.encode_target(photo, photo_landmarks)
    return generator.generate([target], wanted[None])[0]
