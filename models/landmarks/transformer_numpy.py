"""The landmark transformer's forward pass without torch, for processes that have no other use for it.

Importing torch takes a second and 200 MB; a driver's frame needs three small matrix products, and a target's
photo, once, a dozen small convolutions. Tests hold both forward passes together.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

Float32 = npt.NDArray[np.float32]
Parameters = dict[str, Float32]

__all__ = ["NumpyTransformer", "load_numpy_transformers"]

#: As in :mod:`models.landmarks.transformer`, which imports torch.
_FORMAT = "understudy-landmark-transformer-1"
_INPUT_SIZE = 64
_NORM_GROUPS = 4
_NORM_EPSILON = np.float32(1e-5)


class NumpyTransformer:
    """Estimates expression, one frame at a time, as ``transformer.LandmarkTransformer`` does.

    Args:
        parameters: of the network by name, float32.
        average: ``[N * 3]``.
        basis, prior: ``[n_exp, N * 3]``.
        scale, lambda_exp: numbers of the network.
        blocks: residual blocks of the image encoder; -1 where there is none.
    """

    def __init__(
        self,
        parameters: Parameters,
        average: Float32,
        basis: Float32,
        prior: Float32,
        *,
        scale: float,
        lambda_exp: float,
        blocks: int,
    ) -> None:
        self.average = average
        self.needs_face = blocks >= 0
        self._basis = basis * np.float32(lambda_exp)
        self._prior = np.ascontiguousarray(prior.T)
        self._inverse_scale = np.float32(1.0 / scale)
        self._blocks = blocks
        self._parameters = parameters
        # linear layers are numbers 0, 3 and 6 of the MLP: activations and dropout stand between them
        self._layers = [
            (np.ascontiguousarray(parameters[f"mlp.{n}.weight"].T), parameters[f"mlp.{n}.bias"])
            for n in (0, 3, 6)
        ]

    def expression(self, normalised: npt.ArrayLike, face: npt.NDArray[np.uint8] | None = None) -> Float32:
        """Expression landmarks ``[N, 3]`` of normalised landmarks ``[N, 3]`` (Eq. 7).

        Args:
            normalised: landmarks.
            face: aligned, uint8 ``[64 or more, 64 or more, 3]``, for a network with an image encoder.

        Raises:
            ValueError: a face is missing, or given where none is used.
        """
        if (face is not None) != self.needs_face:
            raise ValueError("give a face to a transformer with an image encoder, and only to such a one")
        difference = (np.asarray(normalised, np.float64).ravel() - self.average).astype(np.float32)
        hidden = difference * self._inverse_scale
        if face is not None:
            hidden = np.concatenate([hidden, self._encode(face)])
        for number, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight + bias
            if number < 2:
                hidden = _silu(hidden)
        coefficients = difference @ self._prior + hidden
        return np.asarray((coefficients @ self._basis).reshape(-1, 3), np.float32)

    def _encode(self, face: npt.NDArray[np.uint8]) -> Float32:
        """Image feature ``[F]`` of an aligned face."""
        get = self._parameters.__getitem__
        edge = (face.shape[0] - _INPUT_SIZE) // 2
        middle = face[edge : edge + _INPUT_SIZE, edge : edge + _INPUT_SIZE]
        x = np.ascontiguousarray(middle.transpose(2, 0, 1)).astype(np.float32) / np.float32(127.5) - 1
        x = _silu(_convolve(x, get("encoder.0.weight"), get("encoder.0.bias"), padding=1))
        for block in range(2, 2 + self._blocks):
            name = f"encoder.{block}"
            inner = _convolve(x, get(f"{name}.first.weight"), None, padding=1)
            inner = _group_norm(inner, get(f"{name}.first_norm.weight"), get(f"{name}.first_norm.bias"))
            inner = _silu(inner)
            inner = _convolve(inner, get(f"{name}.second.weight"), None, padding=1, stride=1)
            inner = _group_norm(inner, get(f"{name}.second_norm.weight"), get(f"{name}.second_norm.bias"))
            x = _silu(_convolve(x, get(f"{name}.shortcut.weight"), get(f"{name}.shortcut.bias")) + inner)
        last = f"encoder.{4 + self._blocks}"  # after flattening and dropout
        return _silu(x.ravel() @ get(f"{last}.weight").T + get(f"{last}.bias"))


def load_numpy_transformers(path: Path) -> tuple[NumpyTransformer, NumpyTransformer]:
    """Both transformers of a weights file: the one with an image encoder, the one of landmarks only.

    Raises:
        ValueError: not such a file.
        OSError, safetensors.SafetensorError: it cannot be read.
    """
    with safe_open(str(path), "numpy") as file:
        header = json.loads((file.metadata() or {}).get("understudy", "{}"))
        if header.get("format") != _FORMAT:
            raise ValueError(f"{path} holds no landmark transformer of format {_FORMAT}")
        tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118

    def make(name: str) -> NumpyTransformer:
        config = header[name]
        return NumpyTransformer(
            {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(f"{name}.")},
            tensors["average"].ravel(),
            tensors["basis"],
            tensors["prior"],
            scale=header["scale"],
            lambda_exp=header["lambda_exp"],
            blocks=len(config["channels"]) - 1 if config["image_features"] else -1,
        )

    return make("image"), make("landmarks")


def _silu(x: Float32) -> Float32:
    return np.asarray(x / (1 + np.exp(-np.clip(x, -60, 60))), np.float32)


def _convolve(
    x: Float32, weight: Float32, bias: Float32 | None, *, padding: int = 0, stride: int = 2
) -> Float32:
    """Cross-correlation of ``[C, H, W]`` with ``[O, C, k, k]``."""
    if padding:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[-1]
    view = np.lib.stride_tricks.sliding_window_view
    windows: Float32 = view(x, (size, size), axis=(1, 2))  # type: ignore[call-overload]
    windows = windows[:, ::stride, ::stride]
    out = np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4)))
    return np.asarray(out if bias is None else out + bias[:, None, None], np.float32)


def _group_norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    groups = x.reshape(_NORM_GROUPS, -1)
    centred = groups - groups.mean(1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + _NORM_EPSILON)
    return np.asarray(normed.reshape(x.shape) * weight[:, None, None] + bias[:, None, None], np.float32)
