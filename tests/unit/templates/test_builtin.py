"""The built-in templates do what their names say, and only that: as landmarks, on eleven targets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.animation.animator import Animator
from models.landmarks.features import EYES, eye_heights, lip_gap, mouth_width
from models.landmarks.geometry import normalise
from models.mesh_warp import MeshWarpGenerator
from models.templates.authoring import RECIPES
from models.templates.library import BUILTIN_FOLDER, Library, builtin_templates
from models.templates.timeline import Timeline
from server.targets.store import TargetStore

STORE = TargetStore(Path("unused"))
TARGETS = [record.id for record in STORE.built_ins()]


@cache
def animator(target: str) -> Animator:
    kept = STORE.load(target)
    return Animator(MeshWarpGenerator(256), kept.images, kept.landmarks)


@cache
def shown(target: str, name: str) -> np.ndarray:
    """Normalised landmarks at the template's end, minus the photo's, and the photo's: ``[2, 478, 3]``."""
    line = Timeline([Library().find(name)])
    photo = normalise(animator(target).landmarks_of(line.at(0.0)))[0]
    end = normalise(animator(target).landmarks_of(line.at(line.seconds)))[0]
    return np.stack([end - photo, photo])


def corners_up(change: np.ndarray) -> float:
    """How far the corners of the mouth rise against the middle of the lips."""
    return float(change[[13, 14], 1].mean() - change[[61, 291], 1].mean())


def brows_up(change: np.ndarray, *points: int) -> float:
    return float(-change[list(points), 1].mean())


INNER, OUTER = (107, 336, 55, 285), (70, 300, 46, 276)


def eyes_open(target: str, name: str) -> np.ndarray:
    """Heights of right and left eye as shares of the photo's."""
    change, photo = shown(target, name)
    return eye_heights(photo + change) / eye_heights(photo)


def test_the_shipped_files_are_what_the_recipes_say() -> None:
    assert {path.stem for path in BUILTIN_FOLDER.iterdir()} == {recipe.name for recipe in RECIPES}
    for recipe in RECIPES:
        made, shipped = recipe.template(), Library().find(recipe.name)
        np.testing.assert_allclose(shipped.expression, made.expression, atol=1e-3)
        np.testing.assert_allclose(shipped.lids, made.lids, atol=1e-3)
        assert shipped.cover == made.cover


def test_all_of_the_patents_are_there() -> None:
    wanted = {
        "sad",
        "happy",
        "wink-left",
        "wink-right",
        "depressed",
        "blank",
        "surprised",
        "angry",
        "wink-smile",
    }
    assert {template.name for template in builtin_templates()} == wanted
    assert all(path.stat().st_size < 12_000 for path in BUILTIN_FOLDER.iterdir())


@pytest.mark.parametrize("target", TARGETS)
class TestOnTarget:
    def test_happy(self, target: str) -> None:
        change, photo = shown(target, "happy")
        smiles_already = target == "astronaut"
        assert corners_up(change) > (-0.03 if smiles_already else 0.05)
        assert mouth_width(photo + change) > mouth_width(photo) * (0.97 if smiles_already else 1.05)
        assert abs(brows_up(change, *INNER)) < 0.06

    def test_sad(self, target: str) -> None:
        change, _ = shown(target, "sad")
        assert corners_up(change) < -0.05
        assert brows_up(change, *INNER) > brows_up(change, *OUTER) + 0.05

    def test_surprised(self, target: str) -> None:
        change, photo = shown(target, "surprised")
        assert brows_up(change, *INNER) > 0.08
        assert brows_up(change, *OUTER) > 0.08
        assert lip_gap(photo + change) > max(0.2, lip_gap(photo) + 0.07)
        assert (eyes_open(target, "surprised") > 1.05).all()

    def test_angry(self, target: str) -> None:
        change, _ = shown(target, "angry")
        assert brows_up(change, *INNER) < -0.1
        assert brows_up(change, *INNER) < brows_up(change, *OUTER) - 0.05
        assert change[285, 0] - change[55, 0] < -0.02  # drawn together
        assert corners_up(change) < 0.0

    def test_depressed(self, target: str) -> None:
        change, _ = shown(target, "depressed")
        assert corners_up(change) < -0.02
        assert (eyes_open(target, "depressed") < 0.85).all()

    def test_blank_is_at_rest(self, target: str) -> None:
        change, photo = shown(target, "blank")
        assert lip_gap(photo + change) < 0.03
        if target == "astronaut":  # who smiles in the photo
            assert corners_up(change) < -0.05

    @pytest.mark.parametrize(("name", "closed"), [("wink-right", 0), ("wink-left", 1), ("wink-smile", 1)])
    def test_one_eye_winks(self, target: str, name: str, closed: int) -> None:
        opened = eyes_open(target, name)
        assert opened[closed] < 0.25
        assert opened[1 - closed] > 0.75

    @pytest.mark.parametrize(("name", "side"), [("wink-right", 1), ("wink-left", -1)])
    def test_a_wink_leaves_the_rest_alone(self, target: str, name: str, side: int) -> None:
        """``side``: +1, the face's half on the picture's right does not wink; -1, the other."""
        change, photo = shown(target, name)
        far = photo[:, 0] * side > 0.35
        assert np.linalg.norm(change[far], axis=1).max() < 0.06
        assert lip_gap(photo + change) < lip_gap(photo) + 0.03

    def test_nothing_leaves_the_skull(self, target: str) -> None:
        """Forehead's edge, temples and the bridge of the nose stay where bones are."""
        for template in builtin_templates():
            change, _ = shown(target, template.name)
            assert np.linalg.norm(change[[10, 127, 356, 6, 197]], axis=1).max() < 0.09, template.name

    def test_irises_stay_in_their_eyes(self, target: str) -> None:
        for template in builtin_templates():
            change, photo = shown(target, template.name)
            points = photo + change
            for upper, _, iris in EYES:
                left, right = sorted(points[[upper[0], upper[-1]], 0])
                assert left < points[iris, 0] < right
