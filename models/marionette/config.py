"""Sizes of the network, for what must not load torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NetworkConfig"]


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        size: pixels a side of the picture the network works on.
        width: channels at the finest scale; doubled at each coarser one.
        scales: number of scales with a normalised feature.
        finest: how many pixels of the picture a cell of the finest scale is wide: 2 or 4. The last warp is of
            the photo itself in any case; at 4 a frame costs a third of what it costs at 2.
        attention_blocks: image attention blocks, at the coarsest scale.
        attention_channels: ``c_a`` of Eq. 13.
        driver_scales: how many scales, from the coarsest, the driver encoder works on; 0 for all. With fewer
            it begins with a coarser drawing: fine motion is in the mesh maps of every scale.
        raster_channels: colours of the landmark drawing.
        synthesis_channels: width of the synthesis that is added to the warped photo.
        synthesis_cell: it works on cells of so many pixels a side, each pixel a channel of its own: 1, 2 or
            4. At 4 it costs a third of what it costs at 1, and sees four times as far.
        registered: whether it is told where skin lies instead of where the landmarks are
            (:mod:`models.landmarks.registration`).
    """

    size: int = 256
    width: int = 24
    scales: int = 3
    finest: int = 2
    attention_blocks: int = 2
    attention_channels: int = 64
    driver_scales: int = 0
    raster_channels: int = 3
    synthesis_channels: int = 16
    synthesis_cell: int = 1
    registered: bool = False

    def __post_init__(self) -> None:
        if self.finest not in (2, 4):
            raise ValueError(f"finest must be 2 or 4, not {self.finest}")
        if not 0 <= self.driver_scales <= self.scales:
            raise ValueError(f"driver_scales must be 0 to {self.scales}, not {self.driver_scales}")
        if self.synthesis_cell not in (1, 2, 4):
            raise ValueError(f"synthesis_cell must be 1, 2 or 4, not {self.synthesis_cell}")

    @property
    def channels(self) -> list[int]:
        """Width of each scale, finest (1/2) first."""
        return [self.width * 2**scale for scale in range(self.scales)]

    @property
    def driver_channels(self) -> list[int]:
        """Width of each level of the driver encoder, finest first."""
        return self.channels[-self.driver_scales :]  # all of them for 0

    @property
    def driver_stride(self) -> int:
        """By how much the driver encoder's first convolution makes the drawing smaller."""
        left_out = self.scales - len(self.driver_channels)
        return self.finest // 2 << left_out

    @property
    def resolutions(self) -> list[int]:
        """Cells a side of each scale, finest first."""
        return self.resolutions_of(self.size)

    def resolutions_of(self, size: int) -> list[int]:
        """The same for pictures of another size, which training begins with."""
        return [size // self.finest >> scale for scale in range(self.scales)]
