"""Run in two processes at once: trains for two steps, then says what each of them holds."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import gather

from models.training.generator import Phase, Trainer
from models.training.processes import Processes
from tests.unit.training.test_generator_training import TINY


def all_parameters(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def main(data: Path, out: Path) -> None:
    processes = Processes("cpu")
    one = torch.nn.Parameter(torch.zeros(2))
    one.grad = torch.full((2,), float(processes.rank))
    processes.average_gradients([one])
    assert one.grad.tolist() == [0.5, 0.5]

    phase = Phase(steps=1, size=64, batch=2, adversarial=0.1, taught_flow=0.0)
    Trainer(replace(TINY, phases=[phase]), data, out, cache=out, device="cpu").run()
    trainer = Trainer(replace(TINY, phases=[phase, phase]), data, out, cache=out, device="cpu")
    assert trainer.step == 1  # goes on from there
    begun = all_parameters(trainer.network)
    trainer.run()
    ended = all_parameters(trainer.network)
    mine, other = gather(ended[None])
    assert torch.equal(mine, other), "the processes' networks have drifted apart"
    assert not torch.equal(begun, ended)
    trainer.processes.end()
    if trainer.processes.main:
        print("trained in", trainer.processes.count, "processes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
