"""Further opinions on CSIM: faces where ArcFace expects them, and what happens where one is not to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.evaluation import arc_face, identity_networks
from models.evaluation.arc_face import ArcFaceNetwork, aligned_face
from models.evaluation.identity_network import IdentityNetwork
from models.marionette.silent_openvino import openvino, ops
from models.registry_files import Unavailable

#: Landmarks that ArcFace's alignment looks at, and where they belong in a picture of 112 pixels a side.
POINTS = (468, 473, 1, 61, 291)
TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * points @ np.array([[cos, sin], [-sin, cos]]) + shift


@pytest.mark.parametrize("degrees", [0.0, 30.0, -75.0])
def test_a_face_is_turned_to_where_arcface_expects_it(degrees: float) -> None:
    landmarks = np.zeros((478, 3))
    landmarks[list(POINTS), :2] = turned(TEMPLATE, degrees, 2.5, (220.0, 190.0))
    picture = np.zeros((600, 600, 3), np.uint8)
    for index, (x, y) in enumerate(np.rint(landmarks[list(POINTS), :2]).astype(int)):
        picture[y - 4 : y + 5, x - 4 : x + 5] = 50 + 40 * index
    face = aligned_face(picture, landmarks)
    assert face.shape == (112, 112, 3)
    for index, (x, y) in enumerate(np.rint(TEMPLATE).astype(int)):
        assert face[y, x, 0] == pytest.approx(50 + 40 * index, abs=3)


def test_embeddings_are_what_the_network_says_of_the_aligned_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that averages colours, in place of the one that is fetched."""
    picture = ops.parameter([1, 112, 112, 3], openvino.Type.f32)
    colours = ops.reduce_mean(picture, ops.constant(np.array([1, 2])), False)
    openvino.save_model(openvino.Model([colours], [picture], "colours"), tmp_path / "net.xml", False)
    monkeypatch.setattr(arc_face, "fetch_npm_members", lambda *_: [tmp_path / "net.xml"])
    landmarks = np.zeros((478, 3))
    landmarks[list(POINTS), :2] = TEMPLATE
    face = np.full((112, 112, 3), (255, 128, 0), np.uint8)
    embedding = ArcFaceNetwork(tmp_path).embed(face, landmarks)
    np.testing.assert_allclose(embedding, (np.array([255, 128, 0]) - 127.5) / 128.0, atol=1e-4)


def test_a_further_network_that_is_not_to_be_had_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Network(IdentityNetwork):
        def __init__(self, _: Path) -> None: ...

        def _embedding(self, *_: object) -> np.ndarray:
            return np.zeros(1)

    def missing(_: Path) -> IdentityNetwork:
        raise Unavailable("no npm here")

    monkeypatch.setattr(identity_networks, "DlibNetwork", Network)
    monkeypatch.setattr(identity_networks, "_FURTHER", {"csim_arcface": missing, "csim_faceres": Network})
    assert list(identity_networks.identity_networks(tmp_path)) == ["csim", "csim_faceres"]
    assert "csim_arcface is not measured: no npm here" in caplog.text
