"""The network as OpenVINO graphs, built from its weights alone.

Torch takes seconds to load and to trace the network; building the same operations here takes a fraction of
one, so a process that has to replace another is ready in time. That these graphs compute what the modules
of :mod:`models.marionette.network` compute is tested; a change there needs its like here.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from models.marionette.config import NetworkConfig
from models.marionette.flow_units import FLOW_GAIN, GATE_GAIN, MESH_MAPS, RESIDUAL_GAIN, TRUST_BIAS
from models.marionette.openvino_int8 import quantised
from models.marionette.positions import positional_encoding
from models.marionette.runtime import Float32
from models.marionette.silent_openvino import openvino, ops
from models.marionette.weights import ActivationRanges, Arrays
from models.mesh_maps import MAPS_SIZE

__all__ = ["Graphs"]

_EPSILON: Final = 1e-5  # of torch's instance norm
#: Multiplications from which a convolution is quicker in 8 bits, rounding included. Smaller ones gain nothing
#: and among them are those that end in a flow, which needs its precision.
_WORTH_INT8: Final = 20_000_000
Node = Any  # openvino's nodes are untyped


class Graphs:
    """Builds the network's three parts for one picture at a time.

    Args:
        config: sizes.
        weights: parameters by their names in ``MarionetteNetwork.state_dict()``.
        ranges: of what convolutions read; the large ones of these are computed in 8-bit arithmetic.

    Raises:
        KeyError: (of every method) a parameter is missing.
    """

    def __init__(
        self, config: NetworkConfig, weights: Arrays, ranges: ActivationRanges | None = None
    ) -> None:
        self._config = config
        self._ranges = _of_bytes(ranges, config) if ranges else {}
        self._weights = {**weights, **_by_pixel(weights, config)}

    # ------------------------------------------------------------ parts

    def encoder(self) -> openvino.Model:
        """One photo's features ([0169]-[0174], Eq. 12) and what attention reads of it (Eq. 13).

        Takes photo and raster, uint8 ``[1, S, S, 3]``, and mesh maps ``[1, 6, M, M]`` from the reference.
        Gives key ``[1, h*w, c_a]`` and value ``[1, h*w, c_x]`` of each attention block, then the
        pose-normalised features, finest first.
        """
        size, stride = self._config.size, self._config.finest // 2
        photo, raster = _bytes(size), _bytes(size)
        maps = _floats(1, MESH_MAPS, MAPS_SIZE, MAPS_SIZE)
        name = "target_encoder"
        x = self._conv(f"{name}.stem", _concat(_channels_first(_signed(photo)), _unit(raster)), stride)
        features = []
        for level in range(self._config.scales + 1):
            x = self._residual(f"{name}.down.{level}", x, "down", normalise=False)
            features.append(x)
        *scales, deepest = features
        up = self._residual(f"{name}.up", deepest, "up", normalise=False)
        z_y = self._conv(f"{name}.join", _concat(up, scales[-1]))
        coarse = _resize(maps, _side(z_y))
        flow, _ = self._flow(f"{name}.flow", z_y, coarse, _channels(coarse, 0, 2))
        normalised = [_warp(scale, _resize(flow, _side(scale))) for scale in scales]
        rows = _rows(z_y)
        memories = []
        for block in range(self._config.attention_blocks):
            at = f"attention.{block}"
            memories += [
                ops.add(self._linear(f"{at}.key", rows), self._positions(f"{at}.key_position", z_y)),
                self._linear(f"{at}.value", rows),
            ]
        return openvino.Model([*memories, *normalised], [photo, raster, maps], "encoder")

    def aligner(self, positions: int) -> openvino.Model:
        """The target in the driver's pose: ``u``, float16, and the learned flow ``[1, h, w, 2]``.

        Takes the raster, uint8 ``[1, S/2, S/2, 3]``, mesh maps ``[1, 6, M, M]``, and what :meth:`encoder`
        gives, keys and values of ``positions`` places of all photos, features averaged over the photos.
        """
        config = self._config
        raster = _bytes(config.size // 2)
        maps = _floats(1, MESH_MAPS, MAPS_SIZE, MAPS_SIZE)
        coarsest = config.channels[-1]
        memories = [
            (_floats(1, positions, config.attention_channels), _floats(1, positions, coarsest))
            for _ in range(config.attention_blocks)
        ]
        normalised = [
            _floats(1, width, side, side)
            for width, side in zip(config.channels, config.resolutions, strict=True)
        ]
        pyramid = [_resize(maps, side) for side in config.resolutions]
        x = self._conv("driver_encoder.stem", _unit(raster), config.driver_stride)
        for level in range(len(config.driver_channels) - 1):
            x = self._residual(f"driver_encoder.levels.{level}", x, "down")
        mixed = self._conv("enter_driver", _concat(x, pyramid[-1]))
        for block, (key, value) in enumerate(memories):
            mixed = self._attention(f"attention.{block}", mixed, key, value)
        u, correction = self._decode(mixed, normalised, pyramid)
        inputs = [raster, maps, *(part for memory in memories for part in memory), *normalised]
        # as float32 OpenVINO would reorder u by a routine that takes ten times as long
        return openvino.Model([ops.convert(u, "f16"), _channels_last(correction)], inputs, "aligner")

    def synthesiser(self, size: int) -> openvino.Model:
        """From ``u`` and the aligned photo to the picture.

        Takes ``u`` as :meth:`aligner` gives it and the photo in cells, bytes ``[1, n, n, 3*cell*cell]`` with
        ``n = size / cell``: of each pixel of a cell, row by row, the three colours. The picture is alike.
        """
        fine, cell = self._config.resolutions[0], self._config.synthesis_cell
        side = size // cell
        u = ops.parameter([1, self._config.channels[0], fine, fine], openvino.Type.f16)
        photo = ops.parameter([1, side, side, 3 * cell**2], openvino.Type.u8)
        cells = _channels_first(_signed(photo))
        # joining both maps in memory would take as long as convolving them: each by its part of the weights
        x = self._conv_parts("decoder.synthesis.0", _resize(ops.convert(u, "f32"), side), cells)
        x = _silu(self._conv("decoder.synthesis.2", _silu(x)))
        picture = ops.add(cells, self._conv("decoder.add", x))
        whole = ops.round(ops.multiply(ops.add(picture, _value(1.0)), _value(127.5)), "half_to_even")
        # as bytes: as floats their reordering takes a fifth of the time
        picture = _channels_last(ops.convert(ops.clamp(whole, 0.0, 255.0), "u8"))
        return openvino.Model([picture], [u, photo], "synthesiser")

    # ------------------------------------------------------------ modules

    def _decode(self, z_xy: Node, normalised: Sequence[Node], pyramid: Sequence[Node]) -> tuple[Node, Node]:
        """See :class:`models.marionette.decoder.Decoder`."""
        scales = list(zip(normalised, pyramid, strict=True))[::-1]
        u = self._conv("decoder.enter", _concat(z_xy, scales[0][1]))
        correction = None
        for index, (features, maps) in enumerate(scales):
            mesh = base = _channels(maps, 0, 2)
            if correction is not None:
                u = self._residual(f"decoder.up.{index - 1}", u, "up")
                base = ops.add(mesh, _resize(correction, _side(u)))
            name = f"decoder.align.{index}"
            flow, trust = self._flow(f"{name}.flow", u, maps, base)
            aligned = ops.multiply(_warp(features, flow), trust)
            u = ops.add(u, self._conv(f"{name}.join", _concat(u, aligned)))
            correction = ops.subtract(flow, mesh)
        return u, correction

    def _flow(self, name: str, u: Node, maps: Node, base: Node) -> tuple[Node, Node]:
        """See :class:`models.marionette.flow.FlowHead`."""
        seen = _concat(u, maps, ops.multiply(base, _value(FLOW_GAIN)))
        estimate = self._conv(f"{name}.estimate", _silu(self._conv(f"{name}.hidden.0", seen)))
        gate = ops.sigmoid(ops.multiply(_channels(estimate, 0, 1), _value(GATE_GAIN)))
        residual = ops.multiply(_channels(estimate, 1, 3), _value(RESIDUAL_GAIN))
        trust = ops.multiply(_channels(estimate, 3, 4), _value(GATE_GAIN))
        flow = ops.add(ops.multiply(base, ops.multiply(gate, _value(2.0))), residual)
        return flow, ops.sigmoid(ops.add(trust, _value(TRUST_BIAS)))

    def _attention(self, name: str, driver: Node, key: Node, value: Node) -> Node:
        """See :class:`models.marionette.attention.ImageAttention`."""
        shape = _shape(driver)
        query = self._linear(f"{name}.query", _rows(driver))
        query = ops.add(query, self._positions(f"{name}.query_position", driver))
        query = ops.multiply(query, _value(1.0 / math.sqrt(self._config.attention_channels)))
        attended = ops.matmul(ops.softmax(ops.matmul(query, key, False, True), 2), value, False, False)
        attended = ops.reshape(ops.transpose(attended, _whole(0, 2, 1)), _whole(*shape), False)
        mixed = self._norm(f"{name}.norm1", ops.add(driver, attended))
        inner = self._conv(f"{name}.conv.2", _silu(self._conv(f"{name}.conv.0", mixed)))
        return self._norm(f"{name}.norm2", ops.add(mixed, inner))

    def _residual(self, name: str, x: Node, resample: str, *, normalise: bool = True) -> Node:
        """See :class:`models.marionette.blocks.ResidualBlock`."""
        norm = self._norm if normalise else lambda _, node: node
        residual = _silu(norm(f"{name}.norm1", x))
        first = self._conv_of_doubled if resample == "up" else self._conv
        second = self._averaged_conv if resample == "down" else self._conv
        residual = second(f"{name}.conv2", _silu(norm(f"{name}.norm2", first(f"{name}.conv1", residual))))
        # a 1x1 convolution may come before the doubling and after the averaging: there are fewer places
        shortcut = _averaged(x, 2) if resample == "down" else x
        if f"{name}.skip.weight" in self._weights:
            shortcut = self._conv(f"{name}.skip", shortcut)
        if resample == "up":
            shortcut = _doubled(shortcut)
        return ops.add(shortcut, residual)

    def _averaged_conv(self, name: str, x: Node) -> Node:
        """A 3x3 convolution and the mean of each 2x2 places: as one of 4x4 in steps of two, it takes 4/9."""
        weight = 0.25 * _spread(self._weights[f"{name}.weight"])
        return ops.add(self._convolved(x, weight, 2, self._ranges.get(name)), self._bias(name))

    def _conv_of_doubled(self, name: str, x: Node) -> Node:
        """A 3x3 convolution of a map whose places are doubled: as one of 4x4 transposed, it takes 4/9."""
        weight = _spread(self._weights[f"{name}.weight"][:, :, ::-1, ::-1]).swapaxes(0, 1)
        weight = ops.constant(np.ascontiguousarray(weight))
        x = ops.convolution_backprop_data(x, weight, [2, 2], pads_begin=[1, 1], pads_end=[1, 1])
        return ops.add(x, self._bias(name))

    def _conv(self, name: str, x: Node, stride: int = 1) -> Node:
        x = self._convolved(x, self._weights[f"{name}.weight"], stride, self._ranges.get(name))
        return ops.add(x, self._bias(name))

    def _conv_parts(self, name: str, *parts: Node) -> Node:
        """A 3x3 convolution of maps that are not joined: the sum of each one's share."""
        weight, ranges, first, shares = self._weights[f"{name}.weight"], self._ranges.get(name), 0, []
        for part in parts:
            of_part = slice(first, first + _shape(part)[1])
            read = None if ranges is None else ranges[:, of_part]
            shares.append(self._convolved(part, weight[:, of_part], 1, read))
            first = of_part.stop
        return ops.add(functools.reduce(ops.add, shares), self._bias(name))

    def _convolved(self, x: Node, weight: Float32, stride: int, ranges: Float32 | None) -> Node:
        # 3x3 keeps the size, 1x1 too; one of 4x4 in steps of two halves it
        pad = [1, 1] if weight.shape[-1] > 1 else [0, 0]
        if ranges is not None and weight.size * (_side(x) // stride) ** 2 >= _WORTH_INT8:
            x, kernel = quantised(x, weight, ranges)
        else:
            kernel = ops.constant(np.ascontiguousarray(weight))
        return ops.convolution(x, kernel, [stride, stride], pad, pad, [1, 1])

    def _norm(self, name: str, x: Node) -> Node:
        x = ops.mvn(x, _whole(2, 3), True, _EPSILON, "inside_sqrt")
        x = ops.multiply(x, ops.constant(self._weights[f"{name}.weight"].reshape(1, -1, 1, 1)))
        return ops.add(x, self._bias(name))

    def _bias(self, name: str) -> Node:
        return ops.constant(self._weights[f"{name}.bias"].reshape(1, -1, 1, 1))

    def _linear(self, name: str, rows: Node) -> Node:
        return ops.matmul(rows, ops.constant(self._weights[f"{name}.weight"]), False, True)

    def _positions(self, name: str, features: Node) -> Node:
        """The encoded positions' part of queries or keys: it does not depend on the features."""
        _, channels, height, width = _shape(features)
        encoded = positional_encoding(height, width, channels).reshape(channels, -1).T
        return ops.constant((encoded @ self._weights[f"{name}.weight"].T)[None])


def _by_pixel(weights: Arrays, config: NetworkConfig) -> Arrays:
    """What reads and adds cells, its channels in the order of bytes instead of colour by colour (torch)."""
    cell, first = config.synthesis_cell, config.channels[0]
    order = np.arange(3 * cell**2).reshape(3, cell, cell).transpose(1, 2, 0).ravel()
    reads, adds = "decoder.synthesis.0.weight", "decoder.add"
    return {
        reads: np.concatenate([weights[reads][:, :first], weights[reads][:, first:][:, order]], axis=1),
        f"{adds}.weight": np.ascontiguousarray(weights[f"{adds}.weight"][order]),
        f"{adds}.bias": weights[f"{adds}.bias"][order],
    }


def _of_bytes(ranges: ActivationRanges, config: NetworkConfig) -> ActivationRanges:
    """Cells of a photo, the last of what is read there, are of -1..1 whatever was measured."""
    reads = "decoder.synthesis.0"
    whole = ranges[reads].copy()
    whole[:, config.channels[0] :] = [[-1.0], [1.0]]
    return {**ranges, reads: whole}


# ---------------------------------------------------------------- operations


def _bytes(size: int) -> Node:
    return ops.parameter([1, size, size, 3], openvino.Type.u8)


def _floats(*shape: int) -> Node:
    return ops.parameter(list(shape), openvino.Type.f32)


def _value(value: float) -> Node:
    return ops.constant(np.float32(value))


def _whole(*values: int) -> Node:
    return ops.constant(np.array(values, np.int64))


def _shape(node: Node) -> list[int]:
    return [int(side) for side in node.output(0).get_shape()]


def _side(node: Node) -> int:
    return _shape(node)[2]


def _channels_first(maps: Node) -> Node:
    return ops.transpose(maps, _whole(0, 3, 1, 2))


def _channels_last(maps: Node) -> Node:
    return ops.transpose(maps, _whole(0, 2, 3, 1))


def _signed(pictures: Node) -> Node:
    """Bytes as -1..1."""
    return ops.subtract(ops.multiply(ops.convert(pictures, "f32"), _value(1 / 127.5)), _value(1.0))


def _unit(rasters: Node) -> Node:
    return ops.multiply(ops.convert(_channels_first(rasters), "f32"), _value(1 / 255.0))


def _rows(maps: Node) -> Node:
    """``[1, C, h, w]`` to ``[1, h*w, C]``."""
    _, channels, height, width = _shape(maps)
    flat = ops.reshape(maps, _whole(1, channels, height * width), False)
    return ops.transpose(flat, _whole(0, 2, 1))


def _concat(*maps: Node) -> Node:
    return ops.concat(list(maps), 1)


def _channels(maps: Node, first: int, end: int) -> Node:
    return ops.slice(maps, _whole(first), _whole(end), _whole(1), _whole(1))


def _silu(x: Node) -> Node:
    return ops.swish(x)


def _spread(kernel: np.ndarray) -> np.ndarray:
    """``[..., 3, 3]`` to ``[..., 4, 4]``: the sum of the kernel at each 2x2 shifts."""
    wide = np.zeros((*kernel.shape[:-2], 4, 4), np.float32)
    for row, column in itertools.product((0, 1), repeat=2):
        wide[..., row : row + 3, column : column + 3] += kernel
    return wide


def _averaged(x: Node, factor: int) -> Node:
    sides = [factor, factor]
    return ops.avg_pool(x, sides, [0, 0], [0, 0], sides, True)


def _doubled(x: Node) -> Node:
    """Each pixel repeated, as torch's ``nearest``."""
    side = 2 * _side(x)
    return ops.interpolate(
        x, _whole(side, side), "nearest", "sizes",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor", axes=_whole(2, 3),
    )  # fmt: skip


def _resize(maps: Node, side: int) -> Node:
    """See :func:`models.marionette.blocks.resize`."""
    now = _side(maps)
    if now == side:
        return maps
    if now % side == 0:
        return _averaged(maps, now // side)
    return ops.interpolate(
        maps, _whole(side, side), "linear_onnx", "sizes",
        coordinate_transformation_mode="pytorch_half_pixel", axes=_whole(2, 3),
    )  # fmt: skip


def _warp(features: Node, flow: Node) -> Node:
    """See :func:`models.marionette.blocks.warp`."""
    side = _side(flow)
    centres = ((np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0).astype(np.float32)
    grid = np.stack(np.meshgrid(centres, centres), axis=-1)[None]
    places = ops.add(_channels_last(flow), ops.constant(grid))
    how = {"align_corners": False, "mode": "bilinear", "padding_mode": "border"}
    return ops.grid_sample(features, places, how)
