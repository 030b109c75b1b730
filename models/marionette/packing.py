"""All that a device keeps of a target in one run of bytes, so that putting it into a batch is one copy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Layout"]

_ALIGNED = 16  # bytes; views of wider types must begin at multiples of their width


class Layout:
    """Where each of several named tensors lies.

    Args:
        example: the tensors, without a batch's dimension; only their types and shapes matter.
    """

    def __init__(self, example: Mapping[str, Tensor]) -> None:
        self._places: dict[str, tuple[int, int, torch.dtype, torch.Size]] = {}
        end = 0
        for name, tensor in example.items():
            size = tensor.numel() * tensor.element_size()
            self._places[name] = end, end + size, tensor.dtype, tensor.shape
            end += -(-size // _ALIGNED) * _ALIGNED
        self.size = end

    def pack(self, tensors: Mapping[str, Tensor], device: torch.device) -> Tensor:
        """The tensors as bytes ``[size]`` on a device."""
        packed = torch.zeros(self.size, dtype=torch.uint8, device=device)
        for name, (begin, end, dtype, _) in self._places.items():
            content = tensors[name].to(device, dtype).contiguous()
            packed[begin:end] = content.view(-1).view(torch.uint8)
        return packed

    def unpack(self, packed: Tensor) -> dict[str, Tensor]:
        """Views of bytes ``[B, size]``: each tensor with a batch's dimension before its own."""
        return {
            name: packed[:, begin:end].view(dtype).unflatten(1, shape)
            for name, (begin, end, dtype, shape) in self._places.items()
        }
