"""The processes that share a training run: one, or as many as ``accelerate launch`` started."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Processes"]


class Processes:
    """Which of them this one is, and what they do together.

    The network's parts are called one by one, not as one module, so its gradients are averaged here and not
    by a wrapper around its ``forward``.

    Args:
        device: of this process; None: a GPU of its own, where there are any.

    Raises:
        ModuleNotFoundError: there are several, and accelerate is not installed.
    """

    def __init__(self, device: str | None = None) -> None:
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", "1")), 0
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.count > 1:
            from accelerate import PartialState  # of the `train` extra

            state = PartialState(cpu=self.device.type == "cpu")
            self.rank = state.process_index
            if self.device.type != "cpu":  # there it would say cpu:1, from which torch.load cannot restore
                self.device = state.device

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self.rank == 0

    def share(self, start: int, end: int, batch: int) -> range | list[int]:
        """Samples of this process, of those from ``start`` to ``end``: of every step ``batch`` for each."""
        if self.count == 1:
            return range(start, end)
        steps = range(start + self.rank * batch, end, self.count * batch)
        return [step + index for step in steps for index in range(batch)]

    def wait(self) -> None:
        """Until all of them have come to here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def end(self) -> None:
        """Part, all at once, when there is nothing left to do together.

        Without it the first to end its process cuts the line to the others, which may abort in theirs.
        """
        if self.count > 1:
            from accelerate import PartialState

            self.wait()
            PartialState().destroy_process_group()

    @torch.no_grad()
    def begin_alike(self, module: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.count > 1:
            from accelerate.utils import broadcast

            for tensor in module.state_dict().values():
                tensor.copy_(broadcast(tensor))

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count > 1:
            from accelerate.utils import reduce

            # which parameters have one, is the same in each: all of them make the same step
            gradients: list[Tensor] = [one.grad for one in parameters if one.grad is not None]
            mean = reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
            for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
