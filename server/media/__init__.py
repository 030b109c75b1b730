"""Peer connections, tracks and clocks. Never runs a model."""
