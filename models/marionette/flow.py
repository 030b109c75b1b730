"""How a network corrects a flow it is given: a gate on it and a residual, both neutral at the start."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.marionette.flow_units import FLOW_GAIN, GATE_GAIN, MESH_MAPS, RESIDUAL_GAIN, TRUST_BIAS

__all__ = ["MESH_MAPS", "CorrectedFlow", "FlowHead"]


class CorrectedFlow(NamedTuple):
    """A flow and how far what it brings is to be trusted.

    Attributes:
        flow: ``[B, 2, h, w]`` in ``grid_sample`` units.
        trust: ``[B, 1, h, w]`` in 0..1; low where the source never showed what is needed.
    """

    flow: Tensor
    trust: Tensor


class FlowHead(nn.Module):
    """Estimates ``flow = gate * base + residual`` and a trust, with the flow by a 1x1 convolution ([0193]).

    The head sees the splatted mesh maps and the base flow directly, beside ``u``: instance norm in the
    attention blocks removes how *far* the face moved, and a head that sees only ``u`` does not learn.
    The last layer starts at zero, hence ``flow == base`` before training.

    Args:
        channels: channels of ``u``.
        hidden: width of the head.
    """

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Conv2d(channels + MESH_MAPS + 2, hidden, 3, padding=1), nn.SiLU())
        self.estimate = nn.Conv2d(hidden, 4, 1)
        nn.init.zeros_(self.estimate.weight)
        assert self.estimate.bias is not None
        nn.init.zeros_(self.estimate.bias)

    def forward(self, u: Tensor, mesh_maps: Tensor, base: Tensor) -> CorrectedFlow:
        """Correct ``base`` ``[B, 2, h, w]`` given ``u`` and ``mesh_maps`` ``[B, 6, h, w]``."""
        estimate = self.estimate(self.hidden(torch.cat((u, mesh_maps, FLOW_GAIN * base), dim=1)))
        gate, residual, trust = estimate[:, :1], estimate[:, 1:3], estimate[:, 3:]
        flow = base * (2.0 * torch.sigmoid(GATE_GAIN * gate)) + RESIDUAL_GAIN * residual
        return CorrectedFlow(flow, torch.sigmoid(GATE_GAIN * trust + TRUST_BIAS))
