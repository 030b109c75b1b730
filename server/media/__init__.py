"""The media worker's calls: peer connections, tracks and clocks. Never runs a model."""
