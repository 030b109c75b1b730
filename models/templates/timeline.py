"""Templates in time: what is shown when, how strongly, and how one goes over into the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from models.landmarks.driver import DriverMotion
from models.landmarks.geometry import Float64
from models.landmarks.topology import LANDMARK_COUNT
from models.templates.regions import cover_of_points
from models.templates.template import Template

__all__ = ["BLEND_S", "HOLD_S", "Play", "Sample", "Timeline", "overlay", "reaction"]

Float32 = npt.NDArray[np.float32]
Play = Literal["once", "return", "loop"]

#: How long a reaction in a call takes to begin and to give way again, seconds.
BLEND_S: Final = 0.3
#: How long the full expression is held where no length is asked for, seconds.
HOLD_S: Final = 0.8
#: A template is slowed down by at most this to fill a length; the rest of the time its end is held.
_SLOWEST: Final = 1.5
#: Where a head turns about, below and behind the face's middle, in normalised units: the top of the neck.
_NECK: Final = np.array([0.0, 1.0, 1.0])


@dataclass(frozen=True)
class Sample:
    """What templates add to a face at one moment, and how much of its own expression they replace.

    Attributes:
        expression: float32 ``[478, 3]``, normalised.
        lids: ``[4]``, closure and widening, as in :class:`Template`.
        gaze: ``[2]``, eye widths.
        head: ``[3]``, degrees.
        cover: float32 ``[478, 1]``, share of the face's own expression that gives way.
        cover_eyes: share of the face's own lid motion and gaze that gives way.
        weight: 0 (nothing is added) to 1.
    """

    expression: Float32
    lids: Float32
    gaze: Float32
    head: Float32
    cover: Float32
    cover_eyes: float
    weight: float

    @classmethod
    def nothing(cls) -> Sample:
        """Leaves a face as it is."""
        shapes = (LANDMARK_COUNT, 3), (4,), (2,), (3,), (LANDMARK_COUNT, 1)
        expression, lids, gaze, head, cover = (np.zeros(shape, np.float32) for shape in shapes)
        return cls(expression, lids, gaze, head, cover, cover_eyes=0.0, weight=0.0)

    @classmethod
    def of(cls, template: Template, time: float, *, weight: float = 1.0, intensity: float = 1.0) -> Sample:
        """A template at a time of its own, before its first keyframe at that, after its last at that.

        Args:
            weight: 0..1, how far it is blended in.
            intensity: lambda_exp of Eq. 7: how strongly it is shown.
        """
        time = float(np.clip(time, 0.0, template.seconds))
        after = int(np.clip(np.searchsorted(template.time, time, side="right"), 1, len(template.time) - 1))
        begin, end = template.time[after - 1], template.time[after]
        share = float((time - begin) / (end - begin))
        if template.interpolation == "ease":
            share = _eased(share)

        def between(values: Float32) -> Float32:
            return np.asarray(values[after - 1] + share * (values[after] - values[after - 1]), np.float32)

        strength = np.float32(weight * intensity)
        eyes = max(template.cover.get(f"{side}_eye", 0.0) for side in ("right", "left"))
        return cls(
            expression=between(template.expression) * strength,
            lids=np.clip(between(template.lids) * strength, 0.0, 1.0),
            gaze=between(template.gaze) * strength,
            head=between(template.head) * strength,
            cover=cover_of_points(template.cover) * np.float32(weight),
            cover_eyes=eyes * weight,
            weight=weight,
        )

    def plus(self, other: Sample) -> Sample:
        """Both together, as when one gives way to the other."""
        return Sample(
            self.expression + other.expression,
            np.clip(self.lids + other.lids, 0.0, 1.0),
            self.gaze + other.gaze,
            self.head + other.head,
            np.minimum(self.cover + other.cover, np.float32(1.0)),
            min(self.cover_eyes + other.cover_eyes, 1.0),
            min(self.weight + other.weight, 1.0),
        )


def overlay(live: DriverMotion, sample: Sample) -> DriverMotion:
    """A face's own motion with templates over it: the same in a call and on a photo.

    Args:
        live: what the face does of itself.
        sample: what is put over it; where its cover is 0, ``live`` shows through in full.
    """
    if sample.weight == 0.0:
        return live
    own = 1.0 - sample.cover_eyes
    turn = Rotation.from_euler("ZXY", sample.head[[2, 1, 0]], degrees=True).as_matrix()
    closure, widening = sample.lids[:2], sample.lids[2:]
    return replace(
        live,
        expression=live.expression * (1.0 - sample.cover) + sample.expression,
        closure=_pair(own * np.array(live.closure) + closure),
        widening=_pair(own * np.array(live.widening) + widening),
        gaze=own * live.gaze + sample.gaze,
        rotation=turn @ live.rotation,
        shift=live.shift + _NECK - turn @ _NECK,
    )


def _pair(values: Float64) -> tuple[float, float]:
    right, left = np.clip(values, 0.0, 1.0)
    return float(right), float(left)


class Timeline:
    """Templates one after another, each at full strength at its end.

    Each gets the same share of the length; while the next one takes over, the former gives way.

    Args:
        templates: one or more.
        seconds: length of the whole; without it each template takes its own time and is then held for
            :data:`HOLD_S`.
        intensity: lambda_exp of Eq. 7.
        play: ``once`` ends with the last template's full expression; ``return`` goes there and back, and ends
            as it began; ``loop`` as ``return``, to be repeated without a seam.

    Raises:
        ValueError: there are no templates, or length or intensity are not positive.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        *,
        seconds: float | None = None,
        intensity: float = 1.0,
        play: Play = "once",
    ) -> None:
        if not templates:
            raise ValueError("a timeline needs a template")
        if (seconds is not None and not seconds > 0) or not intensity > 0:
            raise ValueError("length and intensity must be positive")
        self.templates = list(templates)
        self.play = play
        self._intensity = intensity
        back_too = 1.0 if play == "once" else 2.0
        natural = [template.seconds + HOLD_S / back_too for template in templates]
        total = sum(natural)
        self._way = total if seconds is None else seconds / back_too
        ends = np.cumsum(natural) * (self._way / total)
        self._begins = np.concatenate([[0.0], ends[:-1]])
        self._slots = np.diff(np.concatenate([[0.0], ends]))

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return self._way if self.play == "once" else 2.0 * self._way

    def at(self, time: float) -> Sample:
        """What is shown at a time; before the start and after the end as at them."""
        time = float(np.clip(time, 0.0, self.seconds))
        if time > self._way:
            time = self.seconds - time
        now = int(np.searchsorted(self._begins, time, side="right")) - 1
        sample = self._shown(now, time, rising=True)
        if now > 0:
            taken = self._taken_over(now, time)
            if taken < 1.0:
                sample = sample.plus(self._shown(now - 1, time, rising=False, weight=1.0 - taken))
        return sample

    def frames(self, fps: float) -> list[Sample]:
        """The samples of a clip: the first shows the face as it is, the last as ``play`` says."""
        count = max(round(self.seconds * fps), 2)
        steps = count if self.play == "loop" else count - 1
        return [self.at(self.seconds * index / steps) for index in range(count)]

    def _pace(self, index: int) -> float:
        """Seconds of the timeline for a second of the template."""
        return min(self._slots[index] / self.templates[index].seconds, _SLOWEST)

    def _taken_over(self, index: int, time: float) -> float:
        onset = min(self.templates[index].onset * self._pace(index), self._slots[index])
        return _eased(float((time - self._begins[index]) / onset))

    def _shown(self, index: int, time: float, *, rising: bool, weight: float = 1.0) -> Sample:
        if rising:
            weight = self._taken_over(index, time)
        if weight <= 0.0:
            return Sample.nothing()
        own = (time - self._begins[index]) / self._pace(index)
        return Sample.of(self.templates[index], own, weight=weight, intensity=self._intensity)


def reaction(
    template: Template,
    time: float,
    *,
    held_s: float = HOLD_S,
    intensity: float = 1.0,
    blend_s: float = BLEND_S,
) -> Sample | None:
    """A template over a live face: begins, is held, and gives way again within ``blend_s``.

    Args:
        time: seconds since it was set off.
        held_s: how long its end is held.

    Returns:
        What :func:`overlay` takes; None once it is over.
    """
    end = template.seconds + held_s
    if time >= end + blend_s:
        return None
    weight = _eased(time / blend_s) * _eased((end + blend_s - time) / blend_s)
    return Sample.of(template, time, weight=weight, intensity=intensity)


def _eased(share: float) -> float:
    """0 to 1 with no speed at either end."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)
