"""TensorFlow.js networks computed by torch: libraries that read such files would bring TensorFlow along."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["GraphModel"]


class GraphModel:
    """A convolutional network in TensorFlow.js' graph format, computed by torch.

    Args:
        graph: the ``.json``; its weights (``.bin``, of a single file) are beside it.
        output: name of the node that is wanted.

    Raises:
        ValueError: the file is no such graph, or what leads to ``output`` has an operation not known here.
    """

    def __init__(self, graph: Path, output: str) -> None:
        try:
            content = json.loads(graph.read_text())
            nodes = [node for node in content["modelTopology"]["node"] if node["op"] != "Const"]
            self._weights = _read_weights(content["weightsManifest"][0]["weights"], graph.with_suffix(".bin"))
            last = [node["name"] for node in nodes].index(output)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{graph} does not hold a network with {output}: {error}") from None
        self._output = output
        self._steps: list[tuple[str, list[str], Callable[..., Tensor]]] = []
        for node in nodes[: last + 1]:
            inputs = [name.split(":")[0] for name in node.get("input", ())]
            if node["op"] == "Placeholder":
                self._input = node["name"]
                continue
            if node["op"] in _KERNELS:
                self._weights[inputs[1]] = self._weights[inputs[1]].permute(_KERNELS[node["op"]]).contiguous()
            self._steps.append((node["name"], inputs, _operation(node)))

    def __call__(self, pictures: Tensor) -> Tensor:
        """The output for ``[B, 3, H, W]`` in the units that the network was trained with."""
        values = {self._input: pictures}
        for name, inputs, operation in self._steps:
            values[name] = operation(
                *(values[source] if source in values else self._weights[source] for source in inputs)
            )
        return values[self._output]


def _read_weights(manifest: list[dict[str, Any]], path: Path) -> dict[str, Tensor]:
    content, offset, weights = path.read_bytes(), 0, {}
    for entry in manifest:
        kind = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"], dtype=int))
        values = np.frombuffer(content, kind, count, offset).astype(entry["dtype"]).reshape(entry["shape"])
        weights[entry["name"]] = torch.from_numpy(values)
        offset += count * kind.itemsize
    return weights


#: What brings kernels (``[h, w, in, out]``, depthwise ``[h, w, channels, 1]``) into torch's order.
_KERNELS: Final = {"Conv2D": (3, 2, 0, 1), "DepthwiseConv2dNative": (2, 3, 0, 1)}
_ELEMENTWISE: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "Add": torch.add, "Mul": torch.mul, "Minimum": torch.minimum, "Maximum": torch.maximum,
}  # fmt: skip


def _operation(node: dict[str, Any]) -> Callable[..., Tensor]:
    kind = node["op"]
    if kind in _KERNELS:
        return _convolution(node["attr"])
    if kind in _ELEMENTWISE:
        # constants have one number a channel, which comes last there and second here
        return lambda x, by: _ELEMENTWISE[kind](x, by[:, None, None] if by.ndim == 1 else by)
    if kind == "Relu":
        return torch.relu
    if kind == "Mean":
        return lambda x, _: x.mean((2, 3))
    raise ValueError(f"operation {kind} is not known")


def _convolution(attributes: dict[str, Any]) -> Callable[..., Tensor]:
    stride = int(attributes["strides"]["list"]["i"][1])
    same = base64.b64decode(attributes["padding"]["s"]) == b"SAME"

    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        if same:  # TensorFlow pads the end more than the beginning
            sides = zip(x.shape[2:], kernel.shape[2:], strict=True)
            high, wide = (max((-(-size // stride) - 1) * stride + taps - size, 0) for size, taps in sides)
            x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])

    return convolve
