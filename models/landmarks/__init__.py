"""Facial landmarks: detection, geometry, smoothing, separation and retargeting."""
