"""Photos that move: from exactly the photo on, smoothly, and to a detector's eye as the template says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from models.landmarks.detector import FaceDetector
from models.landmarks.features import eye_heights, lip_gap
from models.landmarks.geometry import normalise
from models.templates.library import Library, builtin_templates
from models.templates.timeline import Sample, Timeline

from .conftest import animator

NAMES = [template.name for template in builtin_templates()]
#: Targets that the detector follows through every expression.
SEEN = ("astronaut", "ines", "marguerite", "leila", "kenji")


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(static=True) as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_the_first_picture_is_the_photo(name: str) -> None:
    moved = animator("astronaut")
    pictures = list(moved.play(Timeline([Library().find(name)]).frames(25)))
    assert np.array_equal(pictures[0], moved.still)
    assert pictures[-1].shape == (256, 256, 3)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_change_smoothly(name: str) -> None:
    """No single step makes more than a third of the whole change (a wink takes about six frames)."""
    pictures = list(animator("ines").play(Timeline([Library().find(name)], seconds=2.0).frames(25)))
    stack = np.stack(pictures).astype(np.float32)
    steps = np.abs(np.diff(stack, axis=0)).mean((1, 2, 3))
    whole = np.abs(stack[-1] - stack[0]).mean()
    assert steps.max() < 0.4 * whole + 0.05


@pytest.mark.parametrize("target", ["astronaut", "ines", "kenji"])
def test_nothing_moved_is_the_photo_to_the_generator_too(target: str) -> None:
    """What is shown just after the photo must not differ from it in light or teeth."""
    moved = animator(target)
    landmarks = moved.landmarks_of(Sample.nothing())
    picture = moved._generator.generate([moved._features], landmarks[None])[0]
    difference = np.abs(picture.astype(np.float32) - moved.still).mean(2)
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99.5) < 16


def _seen(detector: FaceDetector, target: str, name: str) -> np.ndarray:
    """Normalised landmarks found on the photo and on the template's last picture, ``[2, 478, 3]``."""
    moved = animator(target, 512)
    line = Timeline([Library().find(name)])
    last = next(iter(moved.play([line.at(line.seconds)])))
    found = [detector.detect(picture) for picture in (moved.still, last)]
    assert all(found), f"no face is seen on {target} {name}"
    return np.stack([normalise(faces[0])[0] for faces in found])


@pytest.mark.parametrize("target", SEEN)
def test_a_detector_sees_the_expression(detector: FaceDetector, target: str) -> None:
    def rise(points: np.ndarray) -> float:
        return float(points[[13, 14], 1].mean() - points[[61, 291], 1].mean())

    photo, happy = _seen(detector, target, "happy")
    if target != "astronaut":  # who smiles already
        assert rise(happy) > rise(photo) + 0.03
    photo, sad = _seen(detector, target, "sad")
    assert rise(sad) < rise(photo) - 0.03
    photo, surprised = _seen(detector, target, "surprised")
    brows = [107, 336, 105, 334]
    assert surprised[brows, 1].mean() < photo[brows, 1].mean() - 0.04
    assert lip_gap(surprised) > max(0.2, lip_gap(photo) + 0.07)
    photo, angry = _seen(detector, target, "angry")
    assert angry[[107, 336], 1].mean() > photo[[107, 336], 1].mean() + 0.03


@pytest.mark.parametrize("target", ["astronaut", "ines", "marguerite"])
@pytest.mark.parametrize(("name", "closed"), [("wink-right", 0), ("wink-left", 1), ("wink-smile", 1)])
def test_a_detector_sees_one_eye_closed(detector: FaceDetector, target: str, name: str, closed: int) -> None:
    """FaceMesh ties the two eyes together and never says that one is quite shut: by comparison, then."""
    photo, wink = _seen(detector, target, name)
    share = eye_heights(wink) / eye_heights(photo)
    assert share[closed] < 0.8 * share[1 - closed]


def test_a_driver_is_followed(detector: FaceDetector) -> None:
    from models.animation.driving import motions_of

    reference = animator("ines")
    line = Timeline([Library().find("surprised")], seconds=2.0)
    landmarks = [reference.landmarks_of(sample) for sample in [Sample.nothing()] * 30 + line.frames(25)]
    motions = motions_of(landmarks, [index / 25 for index in range(len(landmarks))])
    pictures = list(animator("kenji", 512).follow(motions))
    assert len(pictures) == len(landmarks)
    first, last = (normalise(detector.detect(picture)[0])[0] for picture in (pictures[5], pictures[-1]))
    assert lip_gap(last) > lip_gap(first) + 0.1
    assert last[[107, 336, 105, 334], 1].mean() < first[[107, 336, 105, 334], 1].mean() - 0.03


def test_frames_without_a_face_repeat_the_motion() -> None:
    from models.animation.driving import motions_of

    reference = animator("ines")._reference
    motions = motions_of([None, reference, None, reference], [0.0, 0.04, 0.08, 0.12])
    assert motions[0] is motions[1] is motions[2]
    with pytest.raises(ValueError, match="no frame"):
        motions_of([None, None], [0.0, 0.1])
