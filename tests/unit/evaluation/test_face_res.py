"""HSE-FaceRes: graphs computed as TensorFlow would, faces cropped, and who it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.evaluation import face_res
from models.evaluation.face_res import FaceResNetwork, face_crop
from models.evaluation.identity_network import cosine
from models.evaluation.tensorflow_graph import GraphModel
from server.bench.clip import astronaut

Weights = dict[str, np.ndarray]


def node(kind: str, name: str, *inputs: str, stride: int = 1, padding: str = "SAME") -> dict[str, Any]:
    attributes = {
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "padding": {"s": base64.b64encode(padding.encode()).decode()},
    }
    return {"op": kind, "name": name, "input": list(inputs), "attr": attributes}


def write(path: Path, nodes: list[dict[str, Any]], weights: Weights, *, half: bool = False) -> Path:
    """A graph as TensorFlow.js keeps it; floating weights in half precision, if that is asked."""
    manifest, content = [], b""
    for name, value in weights.items():
        entry: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
        stored = value
        if half and value.dtype == np.float32:
            entry["quantization"] = {"dtype": "float16"}
            stored = value.astype(np.float16)
        manifest.append(entry)
        content += stored.tobytes()
    constants = [{"op": "Const", "name": name} for name in weights]
    path.write_text(
        json.dumps({"modelTopology": {"node": constants + nodes}, "weightsManifest": [{"weights": manifest}]})
    )
    path.with_suffix(".bin").write_bytes(content)
    return path


@pytest.mark.parametrize("half", [False, True])
def test_a_graph_is_computed_as_its_nodes_say(half: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    weights: Weights = {
        "kernel": random.normal(size=(3, 3, 3, 4)).astype(np.float32),
        "bias": random.normal(size=4).astype(np.float32),
        "six": np.float32(6.0).reshape(()),
        "none": np.float32(0.0).reshape(()),
        "each": random.normal(size=(3, 3, 4, 1)).astype(np.float32),
        "scale": random.normal(size=4).astype(np.float32),
        "axes": np.array([1, 2], np.int32),
    }
    nodes = [
        node("Placeholder", "picture"),
        node("Conv2D", "a", "picture", "kernel", stride=2),
        node("Add", "b", "a", "bias"),
        node("Relu", "c", "b"),
        node("Minimum", "d", "c", "six"),
        node("Maximum", "e", "d", "none"),
        node("DepthwiseConv2dNative", "f", "e:0", "each", padding="VALID"),
        node("Mul", "g", "f", "scale"),
        node("Mean", "embedding", "g", "axes"),
        node("Softmax", "age", "embedding"),  # after the embedding: not looked at
    ]
    model = GraphModel(write(tmp_path / "graph.json", nodes, weights, half=half), "embedding")
    picture = torch.from_numpy(random.normal(size=(2, 3, 8, 8)).astype(np.float32))

    def kept(name: str) -> torch.Tensor:
        return torch.from_numpy(
            weights[name].astype(np.float16).astype(np.float32) if half else weights[name]
        )

    # stride 2 on 8 pixels with 3 taps: one column is missing, and TensorFlow adds it at the end
    x = F.conv2d(F.pad(picture, (0, 1, 0, 1)), kept("kernel").permute(3, 2, 0, 1), kept("bias"), stride=2)
    x = F.conv2d(F.relu6(x), kept("each").permute(2, 3, 0, 1), groups=4)
    torch.testing.assert_close(model(picture), (x * kept("scale")[:, None, None]).mean((2, 3)))


def test_what_is_no_such_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.json does not hold a network with out"):
        GraphModel(tmp_path / "missing.json", "out")
    graph = write(
        tmp_path / "graph.json", [node("Placeholder", "picture"), node("Softmax", "out", "picture")], {}
    )
    with pytest.raises(ValueError, match="does not hold a network with other"):
        GraphModel(graph, "other")
    with pytest.raises(ValueError, match="Softmax is not known"):
        GraphModel(graph, "out")


def test_a_crop_holds_the_face_and_a_margin() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[40:140, 100:150] = 255  # 100 high, 50 wide
    face = face_crop(picture, np.array([[100, 40], [149, 139]], np.float32), 120) > 127
    rows, columns = np.flatnonzero(face[..., 0].any(1)), np.flatnonzero(face[..., 0].any(0))
    assert len(rows) == pytest.approx(100, abs=2)
    assert len(columns) == pytest.approx(50, abs=2)
    assert rows.mean() == pytest.approx(59.5, abs=1)
    assert columns.mean() == pytest.approx(59.5, abs=1)


def test_embeddings_are_of_faces_less_what_all_have_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that averages colours: faces of one colour are one person."""
    nodes = [node("Placeholder", "picture"), node("Mean", "global_pooling/Mean", "picture", "axes")]
    graph = write(tmp_path / "faceres.json", nodes, {"axes": np.array([1, 2], np.int32)})
    monkeypatch.setattr(face_res, "fetch_npm_members", lambda *_: [graph])
    network = FaceResNetwork(tmp_path)
    image, landmarks = astronaut()
    reddish, bluish = image.copy(), image.copy()
    reddish[..., 0] //= 2
    bluish[..., 2] //= 2
    blue, green, red = network.embed(image, landmarks)  # in the network's order, less its mean
    crop = face_crop(image, landmarks, 128).reshape(-1, 3).mean(0) - (123.68, 116.779, 103.939)
    np.testing.assert_allclose((red, green, blue), crop, atol=1e-3)
    assert cosine(network.embed(reddish, landmarks), network.embed(bluish, landmarks)) < 0.9
    network.centre(np.stack([network.embed(face, landmarks) for face in (reddish, bluish)]))
    assert cosine(network.embed(reddish, landmarks), network.embed(bluish, landmarks)) == pytest.approx(-1)
