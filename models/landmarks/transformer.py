"""Few-shot separation: a network that tells expression from identity in one frame (FIG. 5-6, Eq. 5-8)."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.landmarks.identity import WEIGHTS
from models.landmarks.topology import LANDMARK_COUNT

__all__ = [
    "FaceEncoder",
    "LandmarkTransformer",
    "TransformerConfig",
    "load_transformer",
    "save_transformer",
]

#: Pixels a side of what the encoder sees.
INPUT_SIZE: Final = 64

_FORMAT: Final = "understudy-landmark-transformer-1"


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the networks.

    Attributes:
        coefficients: number of expression basis vectors, n_exp.
        hidden: width of the MLP.
        image_features: length of the image feature; 0 makes a transformer of landmarks only.
        channels: of the image encoder, at half the input's side, a quarter, and so on.
        dropout: in the MLP, while training.
    """

    coefficients: int
    hidden: int = 256
    image_features: int = 64
    channels: tuple[int, ...] = (16, 24, 48, 64)
    dropout: float = 0.4


class ResidualDown(nn.Module):
    """Residual block that halves the side: ``[B, C_in, H, W]`` to ``[B, C_out, H / 2, W / 2]``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.first_norm = nn.GroupNorm(4, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(4, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(self.activation(self.first_norm(self.first(x)))))
        return self.activation(self.shortcut(x) + inner)


class FaceEncoder(nn.Sequential):
    """The first neural network of FIG. 6: a small residual CNN from an aligned face to a feature.

    Maps ``[B, 3, 64, 64]`` in -1..1 to ``[B, features]``.
    """

    def __init__(self, features: int, channels: tuple[int, ...], dropout: float = 0.3) -> None:
        blocks: list[nn.Module] = [nn.Conv2d(3, channels[0], 3, 2, 1), nn.SiLU()]
        for inputs, outputs in itertools.pairwise(channels):
            blocks.append(ResidualDown(inputs, outputs))
        side = INPUT_SIZE // 2 ** len(channels)
        super().__init__(
            *blocks,
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels[-1] * side * side, features),
            nn.SiLU(),
            nn.Dropout(dropout),
        )


class LandmarkTransformer(nn.Module):
    """Estimates the PCA coefficients of the expression in one frame, and what follows from them.

    The coefficients are a linear estimate plus what the MLP of FIG. 6 adds to it. The linear part is the
    posterior mean of the expression for Gaussian identities and expressions, in closed form from the training
    people's covariances; with people by the hundred it generalises better than an MLP alone, which
    starts from it.

    Args:
        config: sizes.
        average: ``[N, 3]``, of the training people.
        basis: ``[n_exp, N * 3]``, orthonormal rows.
        prior: ``[n_exp, N * 3]``, the linear estimate of the coefficients.
        scale: typical deviation of a landmark's coordinate from the average; inputs are divided by it.
        lambda_exp: intensity of the estimated expression (Eq. 7).
    """

    average: Tensor
    basis: Tensor
    prior: Tensor

    def __init__(
        self,
        config: TransformerConfig,
        average: Tensor,
        basis: Tensor,
        prior: Tensor,
        *,
        scale: float,
        lambda_exp: float = 1.0,
    ) -> None:
        super().__init__()
        if basis.shape != (config.coefficients, average.numel()) or prior.shape != basis.shape:
            raise ValueError("basis and prior must be [n_exp, N * 3]")
        self.config = config
        self.scale = scale
        self.lambda_exp = lambda_exp
        self.register_buffer("average", average.reshape(-1).float())
        self.register_buffer("basis", basis.float())
        self.register_buffer("prior", prior.float())
        self.encoder = FaceEncoder(config.image_features, config.channels) if config.image_features else None
        last = nn.Linear(config.hidden, config.coefficients)
        nn.init.zeros_(last.weight)  # training starts at the linear estimate
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(
            nn.Linear(average.numel() + config.image_features, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            last,
        )

    def forward(self, normalised: Tensor, faces: Tensor | None = None) -> Tensor:
        """Coefficients of the expression in each frame.

        Args:
            normalised: landmarks ``[B, N, 3]``.
            faces: aligned, uint8 ``[B, 64 or more, 64 or more, 3]``; not for a transformer of landmarks only.

        Returns:
            ``[B, n_exp]``.

        Raises:
            ValueError: faces are missing, or given where none are used.
        """
        if (faces is None) != (self.encoder is None):
            raise ValueError("give faces to a transformer with an image encoder, and only to such a one")
        difference = normalised.flatten(1) - self.average  # FIG. 6, first processing
        features = [difference / self.scale]
        if self.encoder is not None and faces is not None:
            features.append(self.encoder(prepare_faces(faces)))
        return difference @ self.prior.T + self.mlp(torch.cat(features, 1))

    def expression(self, coefficients: Tensor) -> Tensor:
        """Expression landmarks ``[B, N, 3]`` of coefficients ``[B, n_exp]`` (Eq. 7)."""
        return (self.lambda_exp * coefficients @ self.basis).unflatten(1, (-1, 3))

    def identity(self, normalised: Tensor, coefficients: Tensor) -> Tensor:
        """Identity landmarks ``[B, N, 3]`` of frames ``[B, N, 3]`` with these coefficients (Eq. 6)."""
        return normalised - self.average.view(-1, 3) - self.expression(coefficients)

    def target_identity(self, normalised: Tensor, faces: Tensor | None = None) -> Tensor:
        """Identity ``[N, 3]`` of one person from K frames ``[K, N, 3]``: the mean over them ([0139])."""
        return self.identity(normalised, self(normalised, faces)).mean(0)

    def transfer(self, target_identity: Tensor, driver_expression: Tensor) -> Tensor:
        """Landmarks ``[..., N, 3]`` of the target's identity with the driver's expression (Eq. 8)."""
        return self.average.view(-1, 3) + target_identity + driver_expression


def prepare_faces(faces: Tensor) -> Tensor:
    """Aligned faces, uint8 ``[B, S, S, 3]``, to the encoder's input: the middle, -1..1, channels first."""
    edge = (faces.shape[1] - INPUT_SIZE) // 2
    middle = faces[:, edge : edge + INPUT_SIZE, edge : edge + INPUT_SIZE]
    return middle.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def save_transformer(
    path: Path, image: LandmarkTransformer, landmarks: LandmarkTransformer, notes: dict[str, Any]
) -> None:
    """Write both transformers to one safetensors file: parameters in half precision, buffers in single.

    Args:
        path: of the file.
        image: with an image encoder.
        landmarks: of landmarks only, with the same average and basis.
        notes: for the header: data, figures.
    """
    tensors: dict[str, Tensor] = {"average": image.average, "basis": image.basis, "prior": image.prior}
    for name, model in (("image", image), ("landmarks", landmarks)):
        for key, value in model.named_parameters():
            tensors[f"{name}.{key}"] = value.detach().half().contiguous()
    header = {
        "format": _FORMAT,
        "image": asdict(image.config),
        "landmarks": asdict(landmarks.config),
        "scale": image.scale,
        "lambda_exp": image.lambda_exp,
        **notes,
    }
    partial = path.with_name(path.name + ".part")
    save_file(tensors, str(partial), metadata={"understudy": json.dumps(header)})
    partial.chmod(0o644)  # safetensors writes files that nobody else can read
    partial.replace(path)


def load_transformer(path: Path = WEIGHTS) -> tuple[LandmarkTransformer, LandmarkTransformer]:
    """Read both transformers, in evaluation mode: the one with an image encoder, the one of landmarks only.

    Raises:
        ValueError: not such a file, or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb"):
        pass
    try:
        with safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {}).get("understudy", "{}"))
            if header.get("format") != _FORMAT:
                raise ValueError(f"{path} holds no landmark transformer of format {_FORMAT}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated, or no safetensors file ({error})") from None
    models = []
    for name in ("image", "landmarks"):
        config = header[name]
        model = LandmarkTransformer(
            TransformerConfig(**{**config, "channels": tuple(config["channels"])}),
            tensors["average"].reshape(LANDMARK_COUNT, 3),
            tensors["basis"],
            tensors["prior"],
            scale=header["scale"],
            lambda_exp=header["lambda_exp"],
        )
        parameters = {
            key.removeprefix(f"{name}."): value.float()
            for key, value in tensors.items()
            if key.startswith(f"{name}.")
        }
        missing, unexpected = model.load_state_dict(parameters, strict=False)
        if unexpected or set(missing) - {"average", "basis", "prior"}:
            raise ValueError(f"{path}: its weights do not fit the sizes that it names")
        models.append(model.eval().requires_grad_(False))
    return models[0], models[1]
