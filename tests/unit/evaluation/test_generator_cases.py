"""What is drawn to be measured: the same again, never the answer among the photos, far from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.evaluation.generator_cases import crops, draw_cross_cases, draw_self_cases
from models.training.clips import ClipShard
from models.training.samples import load_people
from tests.unit.evaluation.footage import make_footage


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[list[ClipShard]]:
    return load_people(make_footage(tmp_path_factory.mktemp("data") / "built"), ["dev"])


def test_cases_are_the_same_again_and_do_not_depend_on_the_others(people: list[list[ClipShard]]) -> None:
    both = draw_self_cases(people, pairs=3, photos=4, seed=7)
    assert both == draw_self_cases(people, pairs=3, photos=4, seed=7)
    assert both[:3] == draw_self_cases(people[:1], pairs=3, photos=4, seed=7)
    assert both != draw_self_cases(people, pairs=3, photos=4, seed=8)
    assert [case.photos[0] for case in both] == [
        case.photos[0] for case in draw_self_cases(people, pairs=3, photos=1, seed=7)
    ]


def test_the_frame_to_be_made_is_far_and_no_photo(people: list[list[ClipShard]]) -> None:
    for case in draw_self_cases(people, pairs=6, photos=6, seed=1):
        clip = people[case.target][case.target_clip]
        assert case.frame not in case.photos
        assert len(set(case.photos)) == 6
        assert all(abs(photo - case.frame) > 2 for photo in case.photos[1:])
        points = clip.landmarks[..., :2]
        distances = np.abs(points - points[case.photos[0]]).mean((1, 2))
        if case.far == "pose":
            assert distances[case.frame] == distances.max()


def test_short_clips_give_what_they_have(people: list[list[ClipShard]]) -> None:
    assert {len(case.photos) for case in draw_self_cases(people, pairs=2, photos=30, seed=1)} == {11}


def test_nobody_drives_themselves_across(people: list[list[ClipShard]]) -> None:
    cases = draw_cross_cases(people, pairs=2, photos=1, seed=1)
    assert [(case.target, case.driver) for case in cases] == [(0, 1), (0, 1), (1, 0), (1, 0)]
    assert all(case.frame >= 6 for case in cases)
    with pytest.raises(ValueError, match="two people"):
        draw_cross_cases(people[:1], pairs=1, photos=1, seed=1)


def test_crops_shrink_back_to_the_frames_they_are(people: list[list[ClipShard]]) -> None:
    clip = people[0][0]
    images, landmarks = crops(clip, [3])
    assert images.shape == (1, 512, 512, 3)
    small = cv2.resize(images[0], (256, 256), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(small, clip.frame(3))
    # pixel centres: the first of 256 lies between the first two of 512
    np.testing.assert_allclose((landmarks[0, :, :2] + 0.5) / 2 - 0.5, clip.landmarks[3, :, :2], atol=1e-3)
