"""Causal smoothing of landmarks that follows fast motion: the One-Euro filter over whole arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["OneEuroFilter", "OneEuroSettings"]


@dataclass(frozen=True)
class OneEuroSettings:
    """What trades jitter against lag; lengths in face sizes, so that distance to the camera is no matter.

    Attributes:
        min_cutoff: cut-off frequency of a resting point, Hz. Lower is steadier and slower.
        beta: how much the cut-off rises with speed, Hz per (face size / s).
        derivative_cutoff: cut-off frequency of the speed estimate, Hz.
        reset_after: a gap longer than this (seconds) starts the filter anew.
    """

    min_cutoff: float = 1.0
    beta: float = 40.0
    derivative_cutoff: float = 4.0
    reset_after: float = 0.5

    def __post_init__(self) -> None:
        if min(self.min_cutoff, self.derivative_cutoff, self.reset_after) <= 0 or self.beta < 0:
            raise ValueError("cut-offs and the reset gap must be positive, beta not negative")


class OneEuroFilter:
    """One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), each coordinate of an array by itself.

    With T the time since the last sample and alpha(f) = 1 / (1 + 1 / (2 pi f T)):
    speed = lowpass(dx / T, alpha(derivative_cutoff)), x' = lowpass(x, alpha(min_cutoff + beta |speed|)).
    T is taken from the samples' times, so a change of frame rate changes nothing but the sampling.
    """

    def __init__(self, settings: OneEuroSettings | None = None) -> None:
        self.settings = settings or OneEuroSettings()
        self._time = 0.0
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the past: the next sample passes unchanged."""
        self._value = self._speed = None

    def __call__(self, value: np.ndarray, time_s: float, scale: float = 1.0) -> np.ndarray:
        """Filter one sample.

        Args:
            value: array of any fixed shape, in any unit.
            time_s: when it was taken, in seconds. A time not after the last one returns the last result.
            scale: length of the settings' unit (the face size) in the unit of ``value``.

        Returns:
            The filtered sample, float64, of the shape of ``value``. Non-finite input is not taken in:
            the last result is returned instead, or the input itself when there is none yet.
        """
        value = np.asarray(value, np.float64)
        previous, speed = self._value, self._speed
        if not np.isfinite(value).all():
            return value if previous is None else previous
        if (
            previous is None
            or speed is None
            or previous.shape != value.shape
            or not 0 <= time_s - self._time <= self.settings.reset_after
        ):
            self._time, self._value, self._speed = time_s, value, np.zeros_like(value)
            return value
        step = time_s - self._time
        if step == 0:
            return previous
        raw_speed = (value - previous) / (step * scale)
        speed = speed + _alpha(self.settings.derivative_cutoff, step) * (raw_speed - speed)
        cutoff = self.settings.min_cutoff + self.settings.beta * np.abs(speed)
        result = np.asarray(previous + _alpha(cutoff, step) * (value - previous))
        self._time, self._value, self._speed = time_s, result, speed
        return result


def _alpha(cutoff: float | np.ndarray, step: float) -> float | np.ndarray:
    """Weight of the new sample in a first-order low-pass of this cut-off (Hz) after ``step`` seconds."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff * step))
