"""Activation ranges of trained networks, for 8-bit arithmetic (:mod:`models.marionette.openvino_int8`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models.marionette.network import MarionetteNetwork
from models.marionette.weights import ActivationRanges
from models.training.reconstruction import reconstruct
from models.training.samples import ClipSamples, SampleOptions, load_people

__all__ = ["calibrate"]

#: How much of each end of a channel is left out, in each sample: a few outliers would make all steps coarser.
_LEFT_OUT: Final = 2e-4
#: What runs for each photo instead of each frame is not worth less precision.
_ONCE: Final = "target_encoder."


def calibrate(
    network: MarionetteNetwork,
    data: Path,
    *,
    samples: int = 96,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> ActivationRanges:
    """Activation ranges of every convolution that runs for each frame, over samples of training's people.

    Args:
        network: trained.
        data: a built dataset.
        samples: frames, each of a person drawn anew.
        seed: of the draw.
        progress: called with the number of frames done.

    Raises:
        ValueError: the dataset holds none of the people of training.
    """
    config = network.config
    people = load_people(data, ["train", "generated"])
    options = SampleOptions(size=config.size, photos=4, registered=config.registered)
    loader = DataLoader(ClipSamples(people, options, length=samples, seed=seed), batch_size=4)
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    with torch.inference_mode(), _ranges_of(network) as ranges:
        for done, batch in enumerate(loader, 1):
            reconstruct(network, {name: value.to(device) for name, value in batch.items()})
            progress(min(4 * done, samples))
    network.train(was_training)
    return {name: value.float().cpu().numpy() for name, value in ranges.items()}


@contextmanager
def _ranges_of(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collects, while it is entered, the ranges ``[2, C]`` of what each convolution reads."""
    ranges: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def seen(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            values = inputs[0].detach().float().flatten(2)
            low = values.quantile(_LEFT_OUT, dim=2).amin(0)
            high = values.quantile(1 - _LEFT_OUT, dim=2).amax(0)
            if name in ranges:
                low, high = torch.minimum(low, ranges[name][0]), torch.maximum(high, ranges[name][1])
            ranges[name] = torch.stack([low, high])

        return seen

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith(_ONCE)
    ]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()
