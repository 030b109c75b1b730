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
from models.landmarks.geometry import normalise, yaw_pitch_roll
from models.landmarks.raster import draw_landmarks
from models.landmarks.topology import canonical_face
from models.marionette.attention import AttentionMemory
from models.marionette.network import MarionetteNetwork, NetworkConfig, TargetCode
from models.mesh_maps import mesh_maps, mesh_pyramid

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
_FORMAT: Final = "understudy-marionette-1"
_MAPS_SHARE: Final = 4  # mesh maps are splatted at a quarter of the picture's size


class WeightsError(ValueError):
    """A file of weights is missing, truncated, or not one of this network's."""


@dataclass(frozen=True)
class MarionetteTarget:
    """A target as the network keeps it.

    Attributes:
        landmarks: of the reference photo, ``[478, 3]`` in pixels of the 512 crop.
        code: everything that does not depend on the driver, a batch of one.
    """

    landmarks: Landmarks
    code: TargetCode


class MarionetteGenerator:
    """Generates with :class:`MarionetteNetwork`.

    Args:
        network: trained, or untrained, which equals the mesh flow's warp.
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
        self._canonical = torch.as_tensor(canonical_face(), dtype=torch.float32, device=self._device)

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
        """See :class:`models.generator.Generator`; the most frontal photo is the reference."""
        turned = [np.abs(yaw_pitch_roll(normalise(face)[1].rotation)).sum() for face in landmarks]
        order = np.argsort(turned, kind="stable")
        photos = torch.stack([self._photo(images[index], self._inner) for index in order])
        points = torch.stack([self._points(landmarks[index]) for index in order])
        rasters = torch.stack([self._raster(landmarks[index], self._inner) for index in order])
        coarsest = self._network.config.resolutions[-1]
        between = mesh_maps(points[:1].expand_as(points), points, self._canonical, coarsest)
        code = self._network.encode_target(
            photos[None],
            rasters[None],
            between.to(self._precision)[None],
            torch.ones(1, len(order), dtype=torch.bool, device=self._device),
            self._photo(images[order[0]], self.size)[None],
        )
        return MarionetteTarget(np.asarray(landmarks[order[0]], np.float32), code)

    @torch.inference_mode()
    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`. Landmarks that are not finite show the target at rest."""
        own = [target for target in targets if isinstance(target, MarionetteTarget)]
        if len(own) != len(targets):
            raise TypeError("these targets were encoded by another generator")
        if not own:
            return np.empty((0, self.size, self.size, 3), np.uint8)
        shown = [
            face if np.isfinite(face).all() else target.landmarks
            for face, target in zip(landmarks, own, strict=True)
        ]
        maps = mesh_maps(
            torch.stack([self._points(face) for face in shown]),
            torch.stack([self._points(target.landmarks) for target in own]),
            self._canonical,
            self._inner // _MAPS_SHARE,
        ).to(self._precision)
        rasters = torch.stack([self._raster(face, self._inner // 2) for face in shown])
        pyramid = mesh_pyramid(maps, self._network.config.resolutions)
        out = self._network.reenact(join_codes([target.code for target in own]), rasters, pyramid)
        pictures = ((out.picture.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
        return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())

    def _photo(self, image: npt.NDArray[np.uint8], size: int) -> Tensor:
        if image.shape[0] != size:
            image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
        picture = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return picture.permute(2, 0, 1).to(self._precision) / 127.5 - 1.0

    def _points(self, landmarks: Landmarks) -> Tensor:
        points = (np.asarray(landmarks[:, :2], np.float32) + 0.5) / TARGET_CROP
        return torch.from_numpy(points).to(self._device)

    def _raster(self, landmarks: Landmarks, size: int) -> Tensor:
        raster = torch.from_numpy(draw_landmarks((landmarks[:, :2] + 0.5) / TARGET_CROP, size))
        return raster.to(self._device).permute(2, 0, 1).to(self._precision) / 255.0


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
        torch.cat([code.photo for code in codes]),
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
