"""Trains the MarioNETte generator: reconstruct a frame of a clip from other frames of it.

    understudy dataset build FACES --out data/faces
    understudy train generator --config models/training/configs/lite.yaml --data data/faces --out runs/lite

Run it again with the same ``--out`` and it goes on from its last checkpoint. On several GPUs, each with its
own share of every step (so the samples of a step are as many times more):
``accelerate launch --num_processes 8 -m server.cli train generator --config ... --data ... --out ...``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

from models.marionette.discriminator import Discriminator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.weights import begin_with
from models.training.losses import (
    coarse_l1,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    taught_flow_loss,
    weighted_l1,
)
from models.training.perceptual import PerceptualTrunk, fetch_trunk, perceptual_losses
from models.training.processes import Processes
from models.training.reconstruction import reconstruct, teach
from models.training.samples import ClipSamples, SampleOptions, load_people

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: What measures the averaged network: called with it, the step and TensorBoard's writer.
Evaluate = Callable[[MarionetteNetwork, int, "SummaryWriter"], dict[str, float]]

#: Convolutions in bfloat16 are quickest so: the perceptual trunk takes 0.10 s instead of 0.26 with AMX.
_LAYOUT: Final = torch.channels_last

_Module = TypeVar("_Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Phase:
    """One stretch of training, with its own picture size and losses.

    Attributes:
        steps: optimiser steps.
        size: pixels a side.
        batch: samples a step, for each process.
        photos: the most target photos a sample has.
        learning_rate: at the start; it falls to ``final_rate`` times that along a cosine.
        l1, aligned_l1, coarse, perceptual, detail, taught_flow, adversarial, feature_matching: weights of the
            losses; 0 leaves one out, but ``detail`` (of a window of the face) goes with ``perceptual``.
        face: how many times as much as another a pixel of the face counts in L1 and ``perceptual``.
    """

    steps: int
    size: int = 128
    batch: int = 8
    photos: int = 1
    learning_rate: float = 1e-3
    final_rate: float = 0.1
    l1: float = 4.0
    aligned_l1: float = 1.0
    coarse: float = 0.0
    perceptual: float = 0.0
    detail: float = 1.0
    taught_flow: float = 20.0
    adversarial: float = 0.0
    feature_matching: float = 10.0
    face: float = 3.0


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a run.

    Attributes:
        network: sizes of the network.
        phases: one after another.
        start: weights (``.safetensors``) to begin with; what has another size in them begins anew.
        trunk: torchvision's VGG16 or VGG19 for the perceptual loss; by default the one that is fetched.
        ema: decay of the averaged weights, which are the ones that are kept.
        checkpoint_s, evaluate_steps: how often.
    """

    network: NetworkConfig
    phases: list[Phase]
    seed: int = 1
    start: str | None = None
    trunk: str | None = None
    ema: float = 0.998
    clip_gradient: float = 1.0
    weight_decay: float = 0.01
    bf16: bool = True
    workers: int = 1
    checkpoint_s: float = 240.0
    evaluate_steps: int = 500
    log_steps: int = 20
    discriminator: list[int] = field(default_factory=lambda: [32, 64, 128, 128])
    discriminator_rate: float = 2e-4

    @classmethod
    def load(cls, path: Path) -> TrainingConfig:
        """Read a YAML file.

        Raises:
            ValueError: a key is unknown or has a wrong type; the message names it.
        """
        content = yaml.safe_load(path.read_text())
        known = {item.name for item in fields(cls)}
        if unknown := set(content) - known:
            raise ValueError(
                f"{path}: unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        try:
            content["network"] = NetworkConfig(**content.get("network", {}))
            content["phases"] = [Phase(**phase) for phase in content["phases"]]
            return cls(**content)
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from None


class Trainer:
    """Holds everything that a checkpoint holds, and makes steps.

    Args:
        config: of the run.
        data: a built dataset.
        out: folder of the run: ``checkpoint.pt``, ``log.jsonl``, TensorBoard events, sample sheets.
        cache: where the perceptual trunk is kept.
        evaluate: called with the averaged network, the step and TensorBoard's writer; its figures are
            logged. See :class:`models.training.sheets.SampleSheet`.
        device: where it runs; see :class:`models.training.processes.Processes`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        data: Path,
        out: Path,
        *,
        cache: Path,
        evaluate: Evaluate | None = None,
        device: str | None = None,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        torch.manual_seed(config.seed)
        self.config = config
        self.out = out
        self.processes = Processes(device)
        self.device = self.processes.device
        out.mkdir(parents=True, exist_ok=True)
        self._evaluate = evaluate
        self._people = load_people(data, ["train", "generated"])
        self.network = self._laid_out(MarionetteNetwork(config.network))
        if config.start:
            begin_with(self.network, Path(config.start))
        self.average = MarionetteNetwork(config.network).to(self.device).eval().requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.discriminator = Discriminator(config.network.raster_channels, config.discriminator).to(
            self.device
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.discriminator_rate, betas=(0.0, 0.9)
        )
        self.trunk = (
            self._laid_out(PerceptualTrunk(Path(config.trunk) if config.trunk else fetch_trunk(cache)))
            if any(phase.perceptual for phase in config.phases)
            else None
        )
        self.step = 0
        self._writer = SummaryWriter(str(out)) if self.processes.main else None
        if self.checkpoint_path.exists():
            self._restore()
        for module in (self.network, self.average, self.discriminator):
            self.processes.begin_alike(module)

    @property
    def checkpoint_path(self) -> Path:
        return self.out / "checkpoint.pt"

    @property
    def total_steps(self) -> int:
        return sum(phase.steps for phase in self.config.phases)

    def _laid_out(self, module: _Module) -> _Module:
        # torch's types do not know memory_format
        return module.to(self.device, memory_format=_LAYOUT)  # type: ignore[call-overload]

    def run(self, progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None) -> None:
        """Train to the end of the last phase; checkpoints every few minutes and at the end of a phase."""
        saved = time.monotonic()
        first = 0
        for number, phase in enumerate(self.config.phases):
            last = first + phase.steps
            for batch in self._batches(phase, number, first) if self.step < last else ():
                figures = self._train_step(phase, batch, (self.step - first) / phase.steps)
                self.step += 1
                if self.step % self.config.log_steps == 0:
                    self._log(figures)
                    progress(self.step, self.total_steps, figures)
                if (
                    self._evaluate
                    and self._writer
                    and (self.step % self.config.evaluate_steps == 0 or self.step == last)
                ):
                    dev = self._evaluate(self.average, self.step, self._writer)
                    self._log({f"dev/{name}": value for name, value in dev.items()})
                if time.monotonic() - saved > self.config.checkpoint_s:
                    self.save()
                    saved = time.monotonic()
                if self.step >= last:
                    break
            self.save()
            first = last
        self.processes.wait()  # whoever reads the checkpoint now, in any of them, finds it whole

    def _batches(self, phase: Phase, number: int, first: int) -> Iterator[dict[str, Tensor]]:
        """Batches of a phase from the present step on: which samples, depends on seed and step only."""
        options = SampleOptions(
            size=phase.size, photos=phase.photos, face=phase.face, registered=self.config.network.registered
        )
        together = phase.batch * self.processes.count
        samples = ClipSamples(
            self._people, options, length=phase.steps * together, seed=self.config.seed * 1000 + number
        )
        rest = self.processes.share((self.step - first) * together, len(samples), phase.batch)
        loader: DataLoader[dict[str, Tensor]] = DataLoader(
            torch.utils.data.Subset(samples, rest),
            batch_size=phase.batch,
            num_workers=self.config.workers,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )
        for batch in loader:
            yield {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def _train_step(self, phase: Phase, batch: dict[str, Tensor], progress: float) -> dict[str, float]:
        rate = phase.learning_rate * (
            phase.final_rate + (1 - phase.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))
        )
        warm_up = min(1.0, (self.step + 1) / 100)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * warm_up
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            out = reconstruct(self.network, batch)
            wanted, weight = batch["driver"], batch["weight"]
            picture = out.picture.float()
            losses = {
                "l1": phase.l1 * weighted_l1(picture, wanted, weight),
                "aligned_l1": phase.aligned_l1 * weighted_l1(out.aligned_photo.float(), wanted, weight),
            }
            if phase.coarse:
                losses["coarse"] = phase.coarse * coarse_l1(picture, wanted, weight)
            if phase.taught_flow:
                taught, sure = teach(batch)
                losses["flow"] = phase.taught_flow * taught_flow_loss(out.flows, taught, sure)
            if phase.perceptual and self.trunk is not None:
                # drawn for this step alone: a run that is resumed looks where it would have looked
                random = torch.Generator().manual_seed(self.step * self.processes.count + self.processes.rank)
                seen = perceptual_losses(
                    self.trunk, picture, wanted, weight, batch["driver_landmarks"], random
                )
                losses["perceptual"] = phase.perceptual * seen.whole.mean()
                losses["detail"] = phase.detail * seen.detail.mean()
            if phase.adversarial:
                losses |= self._adversarial(phase, picture, wanted, batch["driver_raster"])
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.processes.average_gradients(self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_gradient)
        if torch.isfinite(norm):
            self.optimiser.step()
        self._update_average()
        return {name: float(loss.detach()) for name, loss in losses.items()} | {
            "rate": rate, "gradient": float(norm)
        }  # fmt: skip

    def _adversarial(
        self, phase: Phase, picture: Tensor, wanted: Tensor, raster: Tensor
    ) -> dict[str, Tensor]:
        raster = torch.nn.functional.interpolate(raster, picture.shape[2:], mode="bilinear")
        real, real_features = self.discriminator(wanted, raster)
        fake, _ = self.discriminator(picture.detach(), raster)
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        hinge_discriminator_loss(real.float(), fake.float()).backward()
        self.processes.average_gradients(self.discriminator.parameters())
        self.discriminator_optimiser.step()
        self.discriminator.requires_grad_(False)
        score, features = self.discriminator(picture, raster)
        self.discriminator.requires_grad_(True)
        return {
            "adversarial": phase.adversarial * hinge_generator_loss(score.float()),
            "matching": phase.feature_matching * feature_matching_loss(features, real_features),
        }

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, current in zip(self.average.parameters(), self.network.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    def _log(self, figures: dict[str, float]) -> None:
        if self._writer is None:
            return
        for name, value in figures.items():
            self._writer.add_scalar(name, value, self.step)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.step, "time": time.time(), **figures}) + "\n")

    def save(self) -> None:
        """Write ``checkpoint.pt``, whole or not at all; one process does it for all."""
        if not self.processes.main:
            return
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": self.step, "config": asdict(self.config), "random": torch.get_rng_state()}
        partial = self.checkpoint_path.with_suffix(".part")
        torch.save(state, partial)
        partial.rename(self.checkpoint_path)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]
        torch.set_rng_state(state["random"].cpu())

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimiser": self.optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }
