"""From targets and landmarks to pictures in tensors alone: the whole frame of a batch on one device."""

from __future__ import annotations

import torch
from torch import Tensor

from models.generator import TARGET_CROP
from models.landmarks.tensor_raster import draw_landmarks
from models.marionette.attention import AttentionMemory
from models.marionette.decoder import photo_flow
from models.marionette.generator import MarionetteTarget
from models.marionette.network import MarionetteNetwork, TargetCode
from models.mesh_maps import mesh_pyramid
from models.mesh_warp.eyes import eyes_in_frames
from models.mesh_warp.tensor_maps import FaceGeometry, moved_faces
from models.mesh_warp.tensor_plates import (
    EyeTensors,
    MouthTensors,
    draw_plates,
    eye_tensors,
    kept_mouth,
    mouth_tensors,
)
from models.mesh_warp.tensors import pixel_grid, sampled

__all__ = ["FrameProgram", "target_tensors"]


def target_tensors(target: MarionetteTarget) -> dict[str, Tensor]:
    """All that :class:`FrameProgram` needs of a target whose code is a :class:`TargetCode`."""
    size, plates, code = len(target.photo), target.plates, target.code
    tensors = {
        "photo": torch.from_numpy(target.photo.transpose(2, 0, 1).copy()),
        "points": torch.from_numpy(target.points),
        "skull": torch.from_numpy(target.skull),
        "eyes": torch.from_numpy(eyes_in_frames(target.points)),
    }
    mouth = mouth_tensors(plates)
    tensors |= {"mouth.edges": mouth.edges[0], "mouth.numbers": mouth.numbers[0]}
    for side in (0, 1):
        eye = eye_tensors(plates, side, size)
        tensors |= {f"eye{side}.{name}": value[0] for name, value in eye._asdict().items()}
    for index, memory in enumerate(code.memories):
        tensors |= {f"key{index}": memory.key[0], f"value{index}": memory.value[0]}
    return tensors | {f"feature{index}": scale[0] for index, scale in enumerate(code.normalised)}


class FrameProgram:
    """What :meth:`MarionetteGenerator.generate` does, without leaving the device.

    No step waits for the host or depends on the data in its size, so it can be captured as a CUDA graph.
    Geometry and drawing are in single precision, the network in its own.

    Args:
        network: on its device, in its precision.
        size: pixels a side of the pictures.
    """

    def __init__(self, network: MarionetteNetwork, size: int) -> None:
        self._network = network
        self._size = size

    def __call__(self, targets: dict[str, Tensor], landmarks: Tensor) -> Tensor:
        """Pictures ``[B, size, size, 3]`` uint8.

        Args:
            targets: what :func:`target_tensors` gives, of B targets with equally many photos.
            landmarks: as shown, ``[B, 478, 3]`` in pixels of the 512 crop.
        """
        config, size = self._network.config, self._size
        precision = targets["feature0"].dtype
        scale = size / TARGET_CROP
        shown = landmarks * scale
        shown[..., :2] += 0.5 * scale - 0.5
        moved = moved_faces(FaceGeometry(targets["points"], targets["skull"], targets["eyes"]), shown, size)

        raster = draw_landmarks((landmarks[..., :2] + 0.5) / TARGET_CROP, config.size // 2)
        code = TargetCode(
            [
                AttentionMemory(targets[f"key{index}"], targets[f"value{index}"])
                for index in range(config.attention_blocks)
            ],
            None,
            [targets[f"feature{index}"] for index in range(config.scales)],
        )
        pyramid = mesh_pyramid(moved.maps.to(precision), config.resolutions)
        aligned = self._network.align(code, raster.to(precision), pyramid)

        photos = targets["photo"].float()
        flow = (0.5 * size) * photo_flow(moved.maps, aligned.correction.float(), size)
        x, y = pixel_grid(size, photos)
        warped = sampled(photos, x + flow[:, 0], y + flow[:, 1], "reflection").round()
        eyes = [EyeTensors(*(targets[f"eye{side}.{name}"] for name in EyeTensors._fields)) for side in (0, 1)]
        mouth = MouthTensors(targets["mouth.edges"], targets["mouth.numbers"])
        drawn = draw_plates(warped, photos, eyes, mouth, shown, moved.opened)

        picture = self._network.decoder.synthesise(aligned.u, (drawn / 127.5 - 1.0).to(precision))
        whole = ((picture.float() + 1.0) * 127.5).clamp(0, 255)
        whole = (whole + kept_mouth(shown, size) * (drawn - whole)).round().to(torch.uint8)
        return whole.permute(0, 2, 3, 1).contiguous()
