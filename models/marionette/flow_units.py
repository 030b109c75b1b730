"""Numbers by which flow heads scale what they see and say, for every runtime that computes them."""

from __future__ import annotations

from typing import Final

#: Maps splatted from the landmarks at each scale: mesh flow (x, y), canonical coordinates (x, y, z), density.
MESH_MAPS: Final = 6
#: Flows are about 0.1 in ``grid_sample`` units; the head's other inputs are about 1.
FLOW_GAIN: Final = 5.0
GATE_GAIN: Final = 4.0
RESIDUAL_GAIN: Final = 0.5
#: Before training what the flow brings is trusted (sigmoid of this).
TRUST_BIAS: Final = 2.0
