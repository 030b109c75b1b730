"""Trains the landmark transformer on separated landmarks of many people.

    understudy landmarks separate FACES/clips/*.mp4 --every 3 --crops 72 --out data/landmarks
    understudy train transformer --config models/training/configs/landmark_transformer.yaml \
        --store data/landmarks/landmarks.safetensors --people FACES/clips.csv --out runs/transformer

Run it again with the same ``--out`` and it goes on from its last checkpoint, as if it had never stopped.
First the expression bases (PCA for each semantic group) and the linear prior are computed in closed form,
then the transformer with the image encoder is trained, then the one of landmarks only is taught by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.landmarks.basis import ExpressionBasis
from models.landmarks.transformer import (
    LandmarkTransformer,
    TransformerConfig,
    save_transformer,
)
from models.training.landmark_data import Person, mirrored
from models.training.landmark_samples import Samples, TransformerTraining

__all__ = ["TransformerTraining", "train_transformer"]


def initial_transformers(
    samples: Samples, config: TransformerTraining
) -> tuple[LandmarkTransformer, LandmarkTransformer, ExpressionBasis]:
    """Both transformers before training, at the closed-form prior, and the basis that they share.

    For identity and expression that are Gaussian with covariances S_id and S_exp, the expression expected
    behind a difference d from the average is S_exp (S_exp + S_id)^-1 d.
    """
    points = samples.average.shape[0]
    weight = samples.weight.numpy()
    expressions = samples.expression.numpy().reshape(-1, points, 3)
    basis = ExpressionBasis.fit(
        np.concatenate([expressions, mirrored(expressions)]),
        np.concatenate([weight, weight]),
        variance=config.variance,
    )
    of_expression, of_identity = samples.covariances()
    total = of_expression + of_identity + config.ridge * np.eye(len(of_identity))
    prior = basis.vectors @ np.linalg.solve(total, of_expression).T
    scale = 3.0 * float((samples.identity + samples.expression).std(0).mean())
    torch.manual_seed(config.seed)

    def make(features: int) -> LandmarkTransformer:
        return LandmarkTransformer(
            TransformerConfig(
                coefficients=len(basis.vectors),
                hidden=config.hidden,
                image_features=features,
                channels=config.channels,
                dropout=config.dropout,
            ),
            torch.from_numpy(samples.average),
            torch.from_numpy(basis.vectors),
            torch.from_numpy(prior),
            scale=scale,
        )

    return make(config.image_features), make(0), basis


def train_transformer(
    people: Sequence[Person],
    config: TransformerTraining,
    out: Path,
    *,
    stop_after: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Path | None:
    """Train, going on from the last checkpoint in ``out`` if there is one.

    Args:
        people: of all splits; those of ``dev`` only serve the curves.
        config: of the run.
        out: folder for checkpoints, TensorBoard logs, the final plot and the weights.
        stop_after: end after this many more steps, as if interrupted right after a checkpoint.
        report: told a line now and then.

    Returns:
        The weights' file, or None when stopped before the end.

    Raises:
        ValueError: the people do not suffice, or the checkpoint in ``out`` is of another configuration.
    """
    from torch.utils.tensorboard import SummaryWriter

    out.mkdir(parents=True, exist_ok=True)
    samples = Samples.of(people, config)
    image, landmarks, basis = initial_transformers(samples, config)
    held_out = [person for person in people if person.split == "dev" and not person.still]
    phases = [
        _Phase("image", image, config.image_steps, None),
        _Phase("landmarks", landmarks, config.landmark_steps, image),
    ]
    run = _Run(config, samples, held_out, out, report)
    writer = SummaryWriter(str(out / "tensorboard"))
    try:
        left = stop_after
        for phase in phases:
            done = run.train(phase, writer, left)
            if left is not None:
                left -= done
                if left <= 0 and not phase.complete:
                    return None
    finally:
        writer.close()
    _plot(out)
    weights = out / "landmark-transformer.safetensors"
    notes = {
        "groups": dict(basis.sizes),
        "explained": {name: round(share, 4) for name, share in basis.explained.items()},
        "training": asdict(config),
        "people": len({person.name for person in people if person.split != "dev"}),
    }
    save_transformer(weights, image, landmarks, notes)
    return weights


class _Phase:
    """One of the two trainings."""

    def __init__(
        self, name: str, model: LandmarkTransformer, steps: int, teacher: LandmarkTransformer | None
    ) -> None:
        self.name, self.model, self.steps, self.teacher = name, model, steps, teacher
        self.complete = False


class _Run:
    """What both phases share: data, logs, checkpoints."""

    def __init__(
        self,
        config: TransformerTraining,
        samples: Samples,
        held_out: Sequence[Person],
        out: Path,
        report: Callable[[str], None],
    ) -> None:
        self._config, self._samples, self._held_out = config, samples, held_out
        self._out, self._report = out, report

    def train(self, phase: _Phase, writer: Any, stop_after: int | None) -> int:
        """Train a phase to its end, or for ``stop_after`` steps; returns the number of steps made."""
        config, model = self._config, phase.model
        optimiser = torch.optim.AdamW(
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(phase.steps, 1))
        draws = torch.Generator().manual_seed(config.seed + 1)
        torch.manual_seed(config.seed + 2)  # dropout
        step = self._restore(phase, optimiser, schedule, draws)
        made = 0
        model.train()
        if phase.teacher is not None:
            phase.teacher.eval()
        while step < phase.steps and (stop_after is None or made < stop_after):
            loss = self._step(phase, optimiser, draws)
            schedule.step()
            step, made = step + 1, made + 1
            if step % config.log_steps == 0 or step == phase.steps:
                self._log(writer, phase.name, step, "loss", loss)
            if step % config.evaluate_steps == 0 or step == phase.steps:
                ratio = held_out_ratio(model, self._held_out)
                self._log(writer, phase.name, step, "held-out error, share of naive", ratio)
                self._report(
                    f"{phase.name} {step}/{phase.steps}: loss {loss:.3f}, held-out share {ratio:.3f}"
                )
            if step % config.checkpoint_steps == 0 or step == phase.steps or made == stop_after:
                self._keep(phase, optimiser, schedule, draws, step)
        phase.complete = step >= phase.steps
        model.eval()
        return made

    def _step(self, phase: _Phase, optimiser: torch.optim.Optimizer, draws: torch.Generator) -> float:
        model, samples = phase.model, self._samples
        normalised, expression, faces = samples.draw(self._config, draws, faces=True)
        estimate = model.expression(model(normalised, faces if model.encoder is not None else None)).flatten(
            1
        )
        goal = expression
        if phase.teacher is not None:
            with torch.no_grad():
                taught = phase.teacher.expression(phase.teacher(normalised, faces)).flatten(1)
            goal = expression + self._config.taught * (taught - expression)
        # distances, not their squares: what is measured, and kinder to people whose mean is no neutral face
        loss = torch.sqrt(((estimate - goal) ** 2).sum(1) + 1e-4).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return float(loss.detach())

    def _log(self, writer: Any, phase: str, step: int, what: str, value: float) -> None:
        writer.add_scalar(f"{phase}/{what}", value, step)
        with (self._out / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"phase": phase, "step": step, "what": what, "value": value}) + "\n")

    def _path(self, phase: _Phase) -> Path:
        return self._out / f"checkpoint-{phase.name}.pt"

    def _keep(self, phase: _Phase, optimiser: Any, schedule: Any, draws: torch.Generator, step: int) -> None:
        state = {
            "config": asdict(self._config),
            "step": step,
            "model": phase.model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "draws": draws.get_state(),
            "dropout": torch.get_rng_state(),
        }
        partial = self._path(phase).with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self._path(phase))

    def _restore(self, phase: _Phase, optimiser: Any, schedule: Any, draws: torch.Generator) -> int:
        path = self._path(phase)
        if not path.exists():
            return 0
        state = torch.load(path, weights_only=True)
        if state["config"] != asdict(self._config):
            raise ValueError(f"{path} is of another configuration; choose another --out, or remove it")
        phase.model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        draws.set_state(state["draws"])
        torch.set_rng_state(state["dropout"])
        self._report(f"{phase.name}: going on from step {state['step']}")
        return int(state["step"])


def held_out_ratio(model: LandmarkTransformer, people: Sequence[Person], *, frames: int = 60) -> float:
    """Mean distance of few-shot identities to the many-shot ones, as a share of the naive estimate's.

    Over at most ``frames`` frames a person; every person counts the same. NaN without people.
    """
    if not people:
        return float("nan")
    training = model.training
    model.eval()
    few, naive = 0.0, 0.0
    with torch.no_grad():
        for person in people:
            chosen = np.linspace(0, len(person.landmarks) - 1, min(frames, len(person.landmarks))).astype(int)
            shown = torch.from_numpy(person.landmarks[chosen])
            faces = None
            if model.encoder is not None:
                if person.crops is None:
                    return float("nan")
                faces = torch.from_numpy(person.crops[chosen])
            truth = torch.from_numpy(person.mean).float() - model.average.view(-1, 3)
            estimate = model.identity(shown, model(shown, faces))
            few += float((estimate - truth).flatten(1).norm(dim=1).mean())
            naive += float((shown - model.average.view(-1, 3) - truth).flatten(1).norm(dim=1).mean())
    model.train(training)
    return few / naive


def _plot(out: Path) -> None:
    """Draw the curves of a finished run to ``curve.png``."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    points = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    whats = list(dict.fromkeys(point["what"] for point in points))
    figure, axes = plt.subplots(1, len(whats), figsize=(5 * len(whats), 3.5), squeeze=False)
    for ax, what in zip(axes[0], whats, strict=True):
        for phase in dict.fromkeys(point["phase"] for point in points):
            # a resumed run repeats the steps since its checkpoint: the last value of a step counts
            series = {p["step"]: p["value"] for p in points if p["what"] == what and p["phase"] == phase}
            ax.plot(list(series), list(series.values()), label=phase)
        ax.set_title(what)
        ax.set_xlabel("step")
        ax.legend()
    figure.tight_layout()
    figure.savefig(out / "curve.png", dpi=100)
    plt.close(figure)
