"""The template's file format: what is written is read, and what is wrong is refused with a code."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from models.templates import library as library_module
from models.templates.errors import TemplateError
from models.templates.library import Library, builtin_templates
from models.templates.regions import REGIONS, cover_of_points, region_weights
from models.templates.template import MAX_BYTES, Template, load_template, save_template


@pytest.fixture(scope="module")
def happy() -> Template:
    return Library().find("happy")


def test_what_is_saved_is_loaded(happy: Template, tmp_path: Path) -> None:
    path = tmp_path / "mine.template"
    save_template(replace(happy, name="mine"), path)
    loaded = load_template(path)
    assert (loaded.name, loaded.title, loaded.cover) == ("mine", happy.title, happy.cover)
    for name in ("time", "expression", "lids", "gaze", "head"):
        np.testing.assert_allclose(getattr(loaded, name), getattr(happy, name), atol=1e-3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.template"]


def test_a_taken_name_is_kept(happy: Template, tmp_path: Path) -> None:
    path = tmp_path / "mine.template"
    path.write_bytes(b"somebody's")
    with pytest.raises(TemplateError, match="already") as caught:
        save_template(happy, path, replace=False)
    assert caught.value.code == "template_exists"
    assert path.read_bytes() == b"somebody's"
    assert len(list(tmp_path.iterdir())) == 1


def _changed(happy: Template, tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "changed.template"
    save_template(happy, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["understudy"])
    path.write_bytes(save(load(content), {"understudy": json.dumps(header | changes)}))
    return path


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"layout": "dlib-68"}, "template_layout"),
        ({"normalisation": "none"}, "template_layout"),
        ({"version": 2}, "template_version"),
        ({"format": "understudy-landmarks"}, "template_unreadable"),
        ({"name": "../../etc/passwd"}, "template_invalid"),
        ({"cover": {"ears": 1.0}}, "template_invalid"),
        ({"cover": {"mouth": 7}}, "template_invalid"),
        ({"cover": [1]}, "template_unreadable"),
        ({"onset": -1}, "template_invalid"),
        ({"onset": "soon"}, "template_unreadable"),
        ({"onset": 10**400}, "template_unreadable"),
        ({"cover": {"mouth": 10**400}}, "template_unreadable"),
        ({"interpolation": "jump"}, "template_invalid"),
    ],
)
def test_a_header_that_does_not_fit(
    happy: Template, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        load_template(_changed(happy, tmp_path, **changes))
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("content", [b"", b"\x00" * 16, b"not a template at all, by any means", b"\xff" * 64])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.template"
    path.write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        load_template(path)
    assert caught.value.code == "template_unreadable"


def test_a_header_nested_deeper_than_can_be_read(happy: Template, tmp_path: Path) -> None:
    path = tmp_path / "x.template"
    save_template(happy, path)
    path.write_bytes(save(load(path.read_bytes()), {"understudy": "[" * 100_000 + "]" * 100_000}))
    with pytest.raises(TemplateError) as caught:
        load_template(path)
    assert caught.value.code == "template_unreadable"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.template"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(TemplateError, match="larger"):
        load_template(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": np.array([0.0, 0.0], np.float32)},
        {"time": np.array([0.1, 0.9], np.float32)},
        {"time": np.array([0.0, 1e9], np.float32)},
        {"time": np.array([0.0], np.float32)},
        {"expression": np.zeros((2, 68, 3), np.float32)},
        {"expression": np.full((2, 478, 3), np.nan, np.float32)},
        {"expression": np.full((2, 478, 3), 5, np.float32)},
        {"lids": np.full((2, 4), -0.5, np.float32)},
        {"head": np.full((2, 3), 90, np.float32)},
    ],
)
def test_contents_that_contradict_the_format(happy: Template, changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(TemplateError) as caught:
        replace(happy, **changes)  # type: ignore[arg-type]
    assert caught.value.code == "template_invalid"


def test_library(happy: Template, tmp_path: Path) -> None:
    library = Library(tmp_path)
    save_template(replace(happy, name="mine", title="Mine"), tmp_path / "mine.template")
    (tmp_path / "broken.template").write_bytes(b"x")
    assert library.find("mine").title == "Mine"
    assert [template.name for template in library.own()] == ["mine"]
    assert len(library.all()) == len(builtin_templates()) + 1
    for name in ("hapy", "../mine", str(tmp_path / "mine.template"), "", "A" * 500):
        with pytest.raises(TemplateError) as caught:
            library.find(name)
        assert caught.value.code == "template_unknown"
    assert library.find(str(tmp_path / "mine.template"), files=True).name == "mine"


def test_regions_are_a_partition() -> None:
    weights = region_weights()
    assert weights.shape == (len(REGIONS), 478)
    assert (weights >= 0).all()
    assert (weights.sum(0) <= 1).all()
    one_eye = cover_of_points({"left_eye": 1.0})[:, 0]
    assert one_eye[386] == 1.0  # its own upper lid
    assert one_eye[[159, 13, 61, 291]].max() < 0.05  # the other one's, the mouth


def test_a_template_is_read_again_only_when_it_changed(
    happy: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a call frames wait for it, and strangers give its name as often as they like."""
    path, library = tmp_path / "mine.template", Library(tmp_path)
    save_template(replace(happy, name="mine"), path)
    read = []
    monkeypatch.setattr(library_module, "load_template", lambda p: read.append(p) or load_template(p))
    monkeypatch.setattr(Library, "own", lambda _: pytest.fail("a folder was searched"))
    first = library.known("mine")
    assert library.known("mine") is first
    assert [library.known(name) for name in ("nobody", "../mine", "A" * 500)] == [None] * 3
    assert read == [path]
    os.utime(path, ns=(1, 1))
    assert library.known("mine") is not first
    path.unlink()
    assert library.known("mine") is None
