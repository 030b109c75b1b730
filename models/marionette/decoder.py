"""The decoder: warp-alignment blocks from coarse to fine, last the photo itself (FIG. 10, [0189]-[0193])."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.marionette.blocks import ResidualBlock, resize, warp
from models.marionette.flow import MESH_MAPS, CorrectedFlow, FlowHead
from models.marionette.target_encoder import resize_flow


class Aligned(NamedTuple):
    """The target's features in the driver's pose, and where that pose's photo is to be taken from.

    Attributes:
        u: ``[B, C, h, w]`` at the finest scale.
        correction: learned part of the last flow, ``[B, 2, h, w]`` in ``grid_sample`` units; the
            photo is warped by the mesh flow plus this.
        flows: the flow of every scale, coarsest first.
    """

    u: Tensor
    correction: Tensor
    flows: list[Tensor]


class WarpAlignmentBlock(nn.Module):
    """Brings the target's normalised features to the driver's pose and joins them with ``u`` ([0192]-[0193]).

    Args:
        channels: channels of ``u``, kept.
        feature_channels: channels of the normalised feature map.
    """

    def __init__(self, channels: int, feature_channels: int) -> None:
        super().__init__()
        self.flow = FlowHead(channels)
        self.join = nn.Conv2d(channels + feature_channels, channels, 1)

    def forward(
        self, u: Tensor, normalised: Tensor, mesh_maps: Tensor, base: Tensor
    ) -> tuple[Tensor, CorrectedFlow]:
        """All at one resolution: ``u`` ``[B, C, h, w]``, features, mesh maps and the coarser scale's flow."""
        corrected = self.flow(u, mesh_maps, base)
        aligned = warp(normalised, corrected.flow) * corrected.trust
        return u + self.join(torch.cat((u, aligned), dim=1)), corrected


class Decoder(nn.Module):
    """From the mixed feature map to the picture.

    Args:
        channels: width of ``u`` at each scale, finest first; the coarsest is that of ``z_xy``.
        feature_channels: width of each normalised feature map, finest first.
        synthesis_channels: width of the synthesis.
        synthesis_cell: pixels a side of its cells; it gets and gives the pixels of a cell as channels
            (sub-pixel convolution, Shi et al. 2016).
    """

    def __init__(
        self,
        channels: Sequence[int],
        feature_channels: Sequence[int],
        synthesis_channels: int = 16,
        synthesis_cell: int = 1,
    ) -> None:
        super().__init__()
        coarse_first = list(zip(channels, feature_channels, strict=True))[::-1]
        self.enter = nn.Conv2d(coarse_first[0][0] + MESH_MAPS, coarse_first[0][0], 1)
        self.align = nn.ModuleList(WarpAlignmentBlock(width, feature) for width, feature in coarse_first)
        widths = [width for width, _ in coarse_first]
        self.up = nn.ModuleList(
            ResidualBlock(before, after, "up") for before, after in itertools.pairwise(widths)
        )
        self.cell = synthesis_cell
        colours = 3 * synthesis_cell**2
        self.synthesis = nn.Sequential(
            nn.Conv2d(channels[0] + colours, synthesis_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(synthesis_channels, synthesis_channels, 3, padding=1),
            nn.SiLU(),
        )
        # Synthesised pixels are added to the photo and start at zero: an untrained decoder is the mesh
        # warp. (A mask that blends the two and starts at the photo closes for good.)
        self.add = nn.Conv2d(synthesis_channels, colours, 3, padding=1)
        nn.init.zeros_(self.add.weight)
        assert self.add.bias is not None
        nn.init.zeros_(self.add.bias)

    def forward(self, z_xy: Tensor, normalised: Sequence[Tensor], mesh_maps: Sequence[Tensor]) -> Aligned:
        """All but the last step of one batch.

        Args:
            z_xy: mixed feature map ``[B, C, h, w]``.
            normalised: pose-normalised target features, mean over K, finest first (Eq. 12, [0193]).
            mesh_maps: splats of driver to reference landmarks at each feature's resolution, finest first.
        """
        coarse_first = list(zip(normalised, mesh_maps, strict=True))[::-1]
        u = self.enter(torch.cat((z_xy, coarse_first[0][1]), dim=1))
        correction = torch.zeros_like(coarse_first[0][1][:, :2])  # learned so far, over the mesh flow
        flows = []
        for index, (align, (features, maps)) in enumerate(zip(self.align, coarse_first, strict=True)):
            if index:
                u = self.up[index - 1](u)
                correction = resize_flow(correction, u)
            # each scale brings its own, finer mesh flow; only the correction comes from the coarser one
            u, corrected = align(u, features, maps, maps[:, :2] + correction)
            correction = corrected.flow - maps[:, :2]
            flows.append(corrected.flow)
        return Aligned(u, correction, flows)

    def synthesise(self, u: Tensor, photo: Tensor) -> Tensor:
        """The last step: learned pixels added to the aligned photo.

        Args:
            u: of :class:`Aligned`.
            photo: the reference photo, warped by the last flow, eyes and mouth drawn, ``[B, 3, H, W]``.

        Returns:
            ``[B, 3, H, W]`` in -1..1; in training it may go beyond, where clamping would end its gradient.
        """
        cells = F.pixel_unshuffle(photo, self.cell)
        fine = resize(u, (cells.shape[2], cells.shape[3]))
        added = self.add(self.synthesis(torch.cat((fine, cells), dim=1)))
        picture = photo + F.pixel_shuffle(added, self.cell)
        return picture if self.training else picture.clamp(-1.0, 1.0)


def photo_flow(mesh_maps: Tensor, correction: Tensor, size: int) -> Tensor:
    """The flow by which the photo is warped, ``[B, 2, size, size]`` in ``grid_sample`` units."""
    goal = (size, size)
    return resize(mesh_maps[:, :2], goal) + resize(correction, goal)
