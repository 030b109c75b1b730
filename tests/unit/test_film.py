"""A film that a phone took upright is stored lying, with a note of how it was held."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from models.film import open_film, upright
from models.landmarks import extraction
from models.training.clips import read_frames

#: Of an MP4's track header: the matrix by which its pictures are turned, clockwise, and what says so.
_TURNED = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.fixture(params=list(_TURNED))
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """64 x 48 pixels as seen, its upper left quarter white, stored turned by so many degrees."""
    seen = np.zeros((48, 64, 3), np.uint8)
    seen[:24, :32] = 255
    stored = np.ascontiguousarray(np.rot90(seen, request.param // 90))
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = stored.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in _TURNED[request.param])
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def shows_it(picture: np.ndarray) -> bool:
    corners = picture[:20, :28], picture[:20, 36:], picture[28:, :28], picture[28:, 36:]
    return picture.shape == (48, 64, 3) and [corner.mean() > 128 for corner in corners] == [1, 0, 0, 0]


def test_its_pictures_are_as_seen(film: Path) -> None:
    with av.open(str(film)) as container:
        assert all(shows_it(upright(frame)) for frame in container.decode(video=0))


def test_training_sees_them_so(film: Path) -> None:
    pictures = list(read_frames(film, fps=10))
    assert len(pictures) == 3
    assert all(shows_it(picture) for picture in pictures)


def test_tracking_sees_them_so(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Detector:
        def __init__(self, **_: object) -> None: ...

        def __enter__(self) -> Detector:
            return self

        def __exit__(self, *_: object) -> None: ...

        def detect(self, picture: np.ndarray) -> list[np.ndarray]:
            seen.append(picture)
            return []

    monkeypatch.setattr(extraction, "FaceDetector", Detector)
    with av.open(str(film)) as container:
        assert list(extraction._faces(container.decode(video=0), check=100, second_face=0.6)) == []
    assert len(seen) == 4  # one of them is searched for a second face
    assert all(shows_it(picture) for picture in seen)


def test_a_title_in_an_old_encoding_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Cafe au lait"
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode()])
    path.write_bytes(path.read_bytes().replace(b"Cafe", "Café".encode("latin-1")))
    with open_film(path) as film:
        assert film.metadata["title"].endswith(" au lait")
    assert len(list(read_frames(path, 10))) == 1
