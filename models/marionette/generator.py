"""The network behind the interface of every generator: photos and landmarks in, pictures out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from models.generator import TARGET_CROP, Landmarks, Picture, TargetFeatures
from models.landmarks.raster import draw_landmarks
from models.marionette.attention import AttentionMemory
from models.marionette.network import MarionetteNetwork, NetworkConfig, TargetCode
from models.mesh_maps import mesh_maps, mesh_pyramid
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.generator import best_photo
from models.mesh_warp.picture import FacePlates, to_picture_pixels, warp_photo

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
_FORMAT: Final = "understudy-marionette-1"


class WeightsError(ValueError):
    """A file of weights is missing, truncated, or not one of this network's."""


@dataclass(frozen=True)
class MarionetteTarget:
    """A target as the network keeps it.

    Attributes:
        landmarks: of the reference photo, ``[478, 3]`` in pixels of the 512 crop.
        photo: the reference photo, ``[size, size, 3]``.
        points: its landmarks in its pixels.
        plates: its eyes and mouth.
        code: everything else that does not depend on the driver, a batch of one.
    """

    landmarks: Landmarks
    photo: Picture
    points: npt.NDArray[np.float32]
    plates: FacePlates
    code: TargetCode


class MarionetteGenerator:
    """Generates with :class:`MarionetteNetwork`.

    Args:
        network: trained, or untrained, which equals the mesh warp.
        size: pixels a side of the pictures; 512 aligns a 512 photo with the flow of the 256 network.
        device: where it runs.
        precision: of the network's computation.
    """

    name = "marionette"
    best_batch = 64

    def __init__(
        self,
        network: MarionetteNetwork,
        size: int = 256,
        *,
        device: str = "cpu",
        precision: torch.dtype = torch.float32,
    ) -> None:
        if size not in (256, 512):
            raise ValueError(f"size must be 256 or 512, not {size}")
        self.size = size
        self._device = torch.device(device)
        self._precision = precision
        self._network = network.to(self._device, precision).eval().requires_grad_(False)
        self._inner = network.config.size

    @classmethod
    def load(cls, weights: Path, size: int = 256, *, device: str = "cpu") -> MarionetteGenerator:
        """From shipped weights; half precision on a GPU.

        Raises:
            WeightsError: they cannot be used; the message says why.
        """
        precision = torch.float16 if device.startswith("cuda") else torch.float32
        return cls(load_network(weights), size, device=device, precision=precision)

    @torch.inference_mode()
    def encode_target(self, images: Picture, landmarks: Landmarks) -> MarionetteTarget:
        """See :class:`models.generator.Generator`; the mesh warp's photo is the reference."""
        best = best_photo(landmarks)
        order = [best, *(index for index in range(len(landmarks)) if index != best)]
        points = [to_picture_pixels(landmarks[index], self._inner) for index in order]
        maps = np.stack([mesh_maps(photo, points[0], self._inner) for photo in points])
        code = self._network.encode_target(
            torch.stack([self._tensor(self._resized(images[index], self._inner)) for index in order])[None],
            torch.stack([self._raster(landmarks[index], self._inner) for index in order])[None],
            mesh_pyramid(self._maps(maps), self._network.config.resolutions[-1:])[0][None],
            torch.ones(1, len(order), dtype=torch.bool, device=self._device),
        )
        reference = np.asarray(landmarks[order[0]], np.float32)
        photo = self._resized(images[order[0]], self.size)
        at = to_picture_pixels(reference, self.size)
        return MarionetteTarget(reference, photo, at, FacePlates.of(photo, at), code)

    @torch.inference_mode()
    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`. Landmarks that are not finite show the target at rest."""
        own = [target for target in targets if isinstance(target, MarionetteTarget)]
        if len(own) != len(targets):
            raise TypeError("these targets were encoded by another generator")
        if not own:
            return np.empty((0, self.size, self.size, 3), np.uint8)
        faces = [
            face if np.isfinite(face).all() else target.landmarks
            for face, target in zip(landmarks, own, strict=True)
        ]
        shown = [to_picture_pixels(face, self.size) for face in faces]
        maps = np.stack(
            [mesh_maps(target.points, points, self.size) for target, points in zip(own, shown, strict=True)]
        )
        aligned = self._network.align(
            join_codes([target.code for target in own]),
            torch.stack([self._raster(face, self._inner // 2) for face in faces]),
            mesh_pyramid(self._maps(maps), self._network.config.resolutions),
        )
        correction = aligned.correction.float().permute(0, 2, 3, 1).cpu().numpy()
        drawn = [
            _drawn(target, points, mesh[:2].transpose(1, 2, 0), learned)
            for target, points, mesh, learned in zip(own, shown, maps, correction, strict=True)
        ]
        photos = torch.stack([self._tensor(picture) for picture in drawn])
        pictures = self._network.decoder.synthesise(aligned.u, photos)
        whole = ((pictures.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
        return np.ascontiguousarray(whole.permute(0, 2, 3, 1).cpu().numpy())

    def _tensor(self, picture: Picture) -> Tensor:
        """``[S, S, 3]`` to ``[3, S, S]`` in -1..1."""
        return torch.from_numpy(picture).to(self._device).permute(2, 0, 1).to(self._precision) / 127.5 - 1.0

    def _maps(self, maps: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(maps).to(self._device, self._precision)

    def _resized(self, image: Picture, size: int) -> Picture:
        if image.shape[0] != size:
            image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
        return np.ascontiguousarray(image, np.uint8)

    def _raster(self, landmarks: Landmarks, size: int) -> Tensor:
        raster = torch.from_numpy(draw_landmarks((landmarks[:, :2] + 0.5) / TARGET_CROP, size))
        return raster.to(self._device).permute(2, 0, 1).to(self._precision) / 255.0


def _drawn(
    target: MarionetteTarget,
    shown: npt.NDArray[np.float32],
    mesh_flow: npt.NDArray[np.float32],
    correction: npt.NDArray[np.float32],
) -> Picture:
    """The photo warped by both flows (``[h, w, 2]``, ``grid_sample`` units), eyes and mouth drawn over it."""
    size = len(target.photo)
    whole = (size, size)
    flow = cv2.resize(mesh_flow, whole, interpolation=cv2.INTER_LINEAR)
    flow += cv2.resize(correction, whole, interpolation=cv2.INTER_LINEAR)
    picture = warp_photo(target.photo, 0.5 * flow)
    target.plates.draw(picture, shown, with_open_eyes(shown, target.points))
    return picture


def join_codes(codes: Sequence[TargetCode]) -> TargetCode:
    """One batch of several targets' codes; shorter memories are padded and masked."""
    if len(codes) == 1:
        return codes[0]
    longest = max(code.mask.shape[1] for code in codes)

    def padded(tensor: Tensor) -> Tensor:
        missing = longest - tensor.shape[1]
        if not missing:
            return tensor
        return F.pad(tensor, (0, missing) if tensor.dim() == 2 else (0, 0, 0, missing))

    blocks = zip(*(code.memories for code in codes), strict=True)
    return TargetCode(
        [
            AttentionMemory(
                torch.cat([padded(memory.key) for memory in block]),
                torch.cat([padded(memory.value) for memory in block]),
            )
            for block in blocks
        ],
        torch.cat([padded(code.mask) for code in codes]),
        [torch.cat(scale) for scale in zip(*(code.normalised for code in codes), strict=True)],
    )


def save_network(network: MarionetteNetwork, path: Path) -> None:
    """Write the weights in half precision, with the network's sizes beside them."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    header = {"format": _FORMAT, "config": asdict(network.config)}
    save_file(tensors, str(path), metadata={"understudy": json.dumps(header)})


def load_network(path: Path) -> MarionetteNetwork:
    """Read weights written by :func:`save_network`.

    Raises:
        WeightsError: the file is missing, truncated, of another format or another network.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("understudy", "{}"))
        if header.get("format") != _FORMAT:
            raise WeightsError(f"{path} does not hold weights of format {_FORMAT}")
        network = MarionetteNetwork(NetworkConfig(**header["config"]))
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(str(path)).items()})
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from None
    return network


def load_checkpoint(path: Path) -> MarionetteNetwork:
    """The averaged weights of a trainer's ``checkpoint.pt``, rounded as :func:`save_network` rounds them.

    Raises:
        WeightsError: the file is missing, truncated, or no such checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = MarionetteNetwork(NetworkConfig(**state["config"]["network"]))
        network.load_state_dict({name: tensor.half().float() for name, tensor in state["average"].items()})
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}") from None
    return network
